"""Regular files, read and written whole: what every file of this library goes through.

A file is written beside its place and renamed, so that at no moment a part of it stands there. The
writer holds a lock on the temporary file, which ends with its process, however that ends: so the
next writer of the same name knows the remains of one that was killed, and removes them.
"""

import csv
import errno
import fcntl
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

from mlclassify.types import StrPath

# A pipe or a device must not be waited for, be it put there between two looks at the path.
_READING = os.O_RDONLY | os.O_NONBLOCK
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFLNK: "a symbolic link",
}  # fmt: skip


def open_regular(path: StrPath, function: str) -> IO[bytes]:
    """Open a regular file for reading; a link to one is one.

    Parameters
    ----------
    path : str or Path
    function : str
        Whose name starts the messages.

    Returns
    -------
    binary file

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`.
    ValueError
        It is a folder, a pipe, a socket or a device.

    Examples
    --------
    >>> open_regular("/dev/null", "read_table")
    Traceback (most recent call last):
    ...
    ValueError: read_table: '/dev/null' must be a regular file, got a device
    """
    try:
        _check_kind(os.stat(path), path, function)
        handle = os.open(path, _READING)
    except FileNotFoundError:
        raise FileNotFoundError(f"{function}: there is no file {os.fspath(path)!r}") from None
    try:
        _check_kind(os.fstat(handle), path, function)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def open_table(path: StrPath, function: str, encoding: str = "utf-8",
               errors: str = "strict") -> TextIO:  # fmt: skip
    """Open a regular file for ``csv.reader``; arguments and errors as in `open_regular`."""
    file = open_regular(path, function)
    return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")


def table_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows of cells as CSV that ``csv.reader`` reads back, whatever the cells hold.

    Lines end with ``\n``. The writer quotes what it ends lines with itself; a ``\r`` alone ends a
    line, too, for whoever reads them.

    Examples
    --------
    >>> table_text([["1\r.jpg", "sea"]])
    '"1\r.jpg",sea\n'
    """
    line, lines = io.StringIO(), []
    write = csv.writer(line, lineterminator="\r\n").writerow
    for row in rows:
        write(row)
        lines.append(line.getvalue().removesuffix("\r\n") + "\n")
        line.seek(0)
        line.truncate()
    return "".join(lines)


def _check_kind(info: os.stat_result, path: StrPath, function: str) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(
            f"{function}: {os.fspath(path)!r} must be a regular file, got {_kind(info)}"
        )


def _kind(info: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(info.st_mode), "something else")


def write_file(path: StrPath, data: bytes) -> None:
    """Write `data` to `path` so that at no moment a part of it stands there.

    Parameters
    ----------
    path : str or Path
    data : bytes

    Raises
    ------
    FileExistsError, IsADirectoryError, OSError
        As in `replacing`.

    Examples
    --------
    >>> file = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> write_file(file, b"fname,labels")
    >>> file.read_bytes()
    b'fname,labels'
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: StrPath) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the name `path` when all is written.

    A temporary file in the same folder is written, flushed to the disk and renamed, and the rename
    flushed. When that fails, the temporary file is removed and the error goes on; it names `path`,
    which those of a full disk do not by themselves. The old file is left as it was, but where only
    the last flush failed: then the new one stands there, whole, and might not outlast a power cut.

    Parameters
    ----------
    path : str or Path
        Of a regular file, or of none. A link is refused: renamed over, it would be lost, and
        followed, it could lead anywhere.

    Raises
    ------
    FileExistsError, IsADirectoryError
        At `path` is something else than a regular file.
    OSError
    """
    path = Path(path)
    _check_replaceable(path)
    _remove_remains(path)
    with _temporary(path) as (temporary, file):
        os.chmod(temporary, 0o666 & ~_umask())
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, path)  # the lock is held until it is done
        with suppress(OSError):  # all is on the disk and in its place, whatever this says
            file.close()
        _flush_folder(path.parent)


def _check_replaceable(path: Path) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(info.st_mode):
        raise FileExistsError(errno.EEXIST, f"Is {_kind(info)}, no regular file", str(path))


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give a new file beside `path`, locked, and remove it if it still has its name on an error."""
    temporary, file = _new_locked(path)
    try:
        with file:
            yield temporary, file
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def _new_locked(path: Path) -> tuple[str, IO[bytes]]:
    while True:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
        )
        _lock(handle)
        # Another writer may have taken it for remains in the moment before it was locked.
        if os.fstat(handle).st_nlink:
            return temporary, os.fdopen(handle, "wb")
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file, unless another holds it or its file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_remains(path: Path) -> None:
    """Remove what writers of `path` left that were killed; what lives holds its lock."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"[a-z0-9_]{8}\.tmp")
    with suppress(OSError):  # a folder that may be written to, but not listed
        for name in filter(pattern.fullmatch, os.listdir(path.parent)):
            with suppress(OSError):  # another user's, or one that has just got its name
                _remove_unlocked(path.parent / name)


def _remove_unlocked(remains: Path) -> None:
    handle = os.open(remains, _READING | os.O_NOFOLLOW)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
            remains.unlink()
    finally:
        os.close(handle)


def _umask() -> int:
    """Return the permissions that new files go without; `mkstemp` makes private ones."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the file system can flush a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
