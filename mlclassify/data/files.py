"""Files of photos, and the label that a file's folder gives it.

Files come sorted by the parts of their path below the root, in code-point order, so a seed means
the same split on every machine; fastai leaves the order to the file system.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mlclassify.checks import check_path
from mlclassify.data.lists import L
from mlclassify.types import StrPath

# What `mlclassify.vision.image.open_image` reads. Fewer than the image types that the operating
# system knows (which fastai takes): an .svg or .tif in the folder is not a photo to train on.
image_extensions = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib")
)


def get_files(
    path: StrPath,
    extensions: Iterable[str] | None = None,
    recurse: bool = True,
    folders: Iterable[str] | None = None,
    followlinks: bool = True,
) -> L[Path]:
    """List the files below a folder, sorted.

    Hidden files and folders are skipped. Every real folder is visited once, however many links lead
    to it, and under its own name if it lies below `path`; so loops of links end.

    Parameters
    ----------
    path : path or str
    extensions : collection of str, optional
        Such as ``{'.jpg'}``, upper or lower case; all files if not given.
    recurse : bool
        Look into folders.
    folders : collection of str, optional
        Look only into these folders of the first level ('.' stands for `path` itself).
    followlinks : bool
        Look into folders that are symbolic links.

    Returns
    -------
    L of Path

    Raises
    ------
    FileNotFoundError
        If `path` is not a folder.
    """
    root = check_path("get_files", "path", path)
    if not root.is_dir():
        raise FileNotFoundError(f"get_files: `path` must be an existing folder, got {root}")
    wanted = None if extensions is None else {str(e).lower() for e in L(extensions)}
    found = [
        parts
        for parts in _walk(root, recurse, frozenset(L(folders)), followlinks)
        if wanted is None or os.path.splitext(parts[-1])[1].lower() in wanted
    ]
    return L([root.joinpath(*parts) for parts in sorted(found)])


def get_image_files(
    path: StrPath, recurse: bool = True, folders: Iterable[str] | None = None
) -> L[Path]:
    """List the photos below a folder, sorted: files with one of `image_extensions`.

    Parameters
    ----------
    path : path or str
    recurse : bool
    folders : collection of str, optional
        As in `get_files`.

    Returns
    -------
    L of Path

    Raises
    ------
    FileNotFoundError
        If `path` is not a folder.
    """
    return get_files(path, extensions=image_extensions, recurse=recurse, folders=folders)


def parent_label(o: StrPath) -> str:
    """Return the name of the folder that a file is in.

    Parameters
    ----------
    o : path or str

    Returns
    -------
    str

    Examples
    --------
    >>> parent_label("bears/teddy/1.jpg")
    'teddy'
    """
    return check_path("parent_label", "o", o).parent.name


class RegexLabeller:
    """Read a label out of a path or name: what the first group of a pattern matches.

    Parameters
    ----------
    pat : str or re.Pattern
        With at least one group.
    match : bool
        The pattern must match from the start, else anywhere.

    Examples
    --------
    >>> RegexLabeller(r"([a-z]+)_\\d+\\.jpg$")("photos/teddy_12.jpg")
    'teddy'
    """

    def __init__(self, pat: str | re.Pattern[str], match: bool = False) -> None:
        try:
            self.pat = re.compile(pat)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"RegexLabeller: `pat` must be a regular expression, got {pat!r} ({error})"
            ) from None
        if not self.pat.groups:
            raise ValueError(
                "RegexLabeller: `pat` must have a group (in parentheses) around the label, "
                f"got {self.pat.pattern!r}"
            )
        self._find = self.pat.match if match else self.pat.search

    def __call__(self, o: StrPath) -> str:
        found = self._find(str(o))
        if found is None:
            raise ValueError(
                f"RegexLabeller: `pat` = {self.pat.pattern!r} must match every item, got {str(o)!r}"
            )
        return found.group(1)

    def __repr__(self) -> str:
        return f"RegexLabeller({self.pat.pattern!r})"


def _walk(
    root: Path, recurse: bool, chosen: Collection[str], followlinks: bool
) -> Iterator[tuple[str, ...]]:
    """Yield the files of `root` as the parts of their path below it, those of a folder together."""
    real_root = os.path.realpath(root)
    linked: set[str] = set()
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        folder = os.path.join(root, *parts)
        if not _is_new(folder, os.path.join(real_root, *parts), real_root, linked):
            continue
        names, folders = _visible(folder, chosen if not parts else frozenset())
        for name in names:
            yield *parts, name
        if recurse:
            # The last is popped first: links to one place are met in order of their names.
            for name in reversed(folders):
                if followlinks or not os.path.islink(os.path.join(folder, name)):
                    waiting.append((*parts, name))


def _is_new(folder: str, own: str, real_root: str, linked: set[str]) -> bool:
    """Tell whether to enter a folder; `own` is where it is if no link led to it."""
    real = os.path.realpath(folder)
    if real == own:
        return True
    if real in linked or os.path.join(real, "").startswith(os.path.join(real_root, "")):
        return False
    linked.add(real)
    return True


def _visible(folder: str, chosen: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the sorted names of the files and of the folders in `folder` that count."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    folders = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    files = sorted(set(names) - set(folders))
    if not chosen:
        return files, folders
    return files if "." in chosen else [], [name for name in folders if name in chosen]
