"""Lists of photos in files: read line by line, as often as needed, never held in memory."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlclassify.checks import check_path
from mlclassify.data.table import FNAME, LABELS
from mlclassify.wholefile import open_table

if TYPE_CHECKING:
    from mlclassify.types import StrPath


@dataclass(frozen=True)
class FileList:
    """A file that names photos: a table with a column ``fname``, or a name a line.

    Attributes
    ----------
    path : Path
        A table if its name ends in .csv; in it a column ``labels`` may say what is true.
    sha256 : str
    n : int
        How many photos it names.
    labelled : bool
    """

    path: Path
    sha256: str
    n: int
    labelled: bool

    def rows(self, start: int, stop: int) -> Iterator[tuple[str, str]]:
        """Yield the name and the labels, "" without any, of photos `start` to `stop`."""
        return islice(_rows(self.path), start, stop)


def read_list(path: StrPath) -> FileList:
    """Read through a list once, for its hash and its length.

    Raises
    ------
    FileNotFoundError
    ValueError
        It is no text in UTF-8, or a table without the column.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "photos.txt"
    >>> _ = file.write_text("a.jpg\\nb.jpg\\n")
    >>> read_list(file).n, list(read_list(file).rows(1, 2))
    (2, [('b.jpg', '')])
    """
    file: Path = check_path("score_files", "files", path)
    n = sum(1 for _ in _rows(file))
    return FileList(file, sha256_of(file), n, LABELS in _columns(file))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(path: Path) -> list[str]:
    if path.suffix != ".csv":
        return []
    with open_table(path, "score_files", "utf-8-sig") as file:
        return list(csv.DictReader(file).fieldnames or [])


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with open_table(path, "score_files", "utf-8-sig") as file:
            if path.suffix != ".csv":
                yield from ((line.rstrip("\r\n"), "") for line in file if line.strip())
                return
            for row in csv.DictReader(file):
                name, labels = row[FNAME], row.get(LABELS) or ""
                if "\n" in name + labels:  # a journal has a line a photo
                    raise ValueError(f"a line break in {name!r}, {labels!r}")
                yield name, labels
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        raise ValueError(
            f"score_files: `files` must be a table with a column {FNAME}, or a text with a name a "
            f"line, in UTF-8, got {str(path)!r} ({error})"
        ) from None
