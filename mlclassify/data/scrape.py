"""Photos of each label from the web, and the files among them that are none.

What erases a folder deletes only files that this module can have made.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from mlclassify.checks import check_path, check_whole
from mlclassify.data.download import (
    MANIFEST,
    OWN_NAME,
    check_limits,
    download_images,
    download_into,
    open_fetcher,
    read_manifest,
)
from mlclassify.data.files import get_image_files
from mlclassify.data.lists import L
from mlclassify.data.search import ImageHit, Provider, search_images
from mlclassify.progress import progress
from mlclassify.types import StrPath
from mlclassify.vision.image import verify_image

__all__ = [
    "ImageHit", "download_images", "duckduckgo_search", "erase_downloads", "scrape_images",
    "search_images", "verify_images",
]  # fmt: skip

_THREADS = 8
_File = TypeVar("_File", bound=StrPath)


def verify_images(fns: Iterable[_File]) -> L[_File]:
    """Find the files that are no readable photos, by decoding each in full.

    Parameters
    ----------
    fns : collection of paths

    Returns
    -------
    L
        Of those in `fns` that `open_image` cannot read, in order.

    Examples
    --------
    >>> verify_images(["no_such_file.jpg"])
    ['no_such_file.jpg']
    """
    files = L(fns)
    bad: list[_File] = []
    pool = ThreadPoolExecutor(_THREADS, "mlclassify-verify")
    try:
        with progress("verify", len(files)) as step:
            for fn, good in zip(files, pool.map(verify_image, files)):
                if not good:
                    bad.append(fn)
                step()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return L(bad)


def duckduckgo_search(
    path: StrPath, label: str, keywords: str, max_results: int = 100, **options: Any
) -> L[Path]:
    """Collect photos of one label: what the function of that name in jmd_imagescraper did.

    Parameters
    ----------
    path : path or str
        The photos come into the folder ``path/label``.
    label : str
    keywords : str
        What to search for.
    max_results : int
    **options
        Of ddgs, such as ``type_image`` and ``layout``; by default photographs that are square, as
        there.

    Returns
    -------
    L of Path
        The files; why others are missing stands in ``path/label/manifest.csv``.

    Raises
    ------
    ValueError
        `label` is no name of a folder, or `max_results` not positive.
    ImportError
        The extra ``[scrape]`` is not installed.
    SearchError
        No search engine answers.

    Examples
    --------
    ``duckduckgo_search(Path("bears"), "grizzly", "grizzly bear", max_results=100)``
    """
    fn = "duckduckgo_search"
    folder = check_path(fn, "path", path) / _folder_name(fn, "label", label)
    max_results = check_whole(fn, "max_results", max_results, at_least=1)
    print(f"Duckduckgo search: {keywords}")
    options = {"type_image": "photo", "layout": "Square", **options}
    hits = search_images(keywords, max_results, **options)
    print(f"Downloading results into {folder}")
    saved, errors = download_images(hits, folder)
    if errors:
        print(f"{len(errors)} of {len(hits)} failed{_first(errors)}")
    return saved


def scrape_images(
    path: StrPath,
    labels: str | Iterable[str],
    search_suffix: str,
    erase_dir: bool = True,
    max_images: int = 20,
    search: Literal["ddgs", "openverse"] | Provider = "ddgs",
    **options: Any,
) -> Path:
    """Collect photos of each label from the web into folders ``path/label``.

    Parameters
    ----------
    path : path or str
        Made if it does not exist.
    labels : str or collection of str
        Also the names of the folders.
    search_suffix : str
        Put after the label in what is searched for: 'bear' for 'black bear'.
    erase_dir : bool
        First delete what an earlier call has left in `path`.
    max_images : int
        Links to follow for each label.
    search : str, or function (query, max_images) -> collection of str or ImageHit
        As `provider` of `search_images`.
    **options
        As in `download_images`; `max_total` is for all labels together.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        If there is no such `search`, a label is no name of a folder, or `path` holds other things
        than earlier downloads and `erase_dir` is true.
    SearchError
        If the search engine does not answer.
    RuntimeError
        If no photo of some label could be had; what was had is kept.

    Examples
    --------
    ``scrape_images("bears", ["grizzly", "black", "teddy"], "bear", max_images=100)``
    """
    path, labels = check_path("scrape_images", "path", path), L(labels)
    check_whole("scrape_images", "max_images", max_images, at_least=1)
    for label in labels:
        _folder_name("scrape_images", "labels", label)
    n_workers = options.pop("n_workers", 8)
    limits = check_limits("scrape_images", **options)
    # Before anything is erased: a search engine may refuse.
    found = {label: search_images(f"{label} {search_suffix}".strip(), max_images, search)
             for label in labels}
    if erase_dir:
        erase_downloads(path)
    failed = []
    with open_fetcher("scrape_images", path, limits) as web:
        for label, hits in found.items():
            saved, errors = download_into(path / label, hits, web, n_workers)
            if not saved:
                failed.append(f"{label!r} ({len(hits)} links{_first(errors)})")
    if failed:
        raise RuntimeError(f"scrape_images: no photo could be had for {'; '.join(failed)}")
    for bad in verify_images(get_image_files(path)):
        if OWN_NAME.fullmatch(bad.name):  # what someone else put there is theirs to delete
            bad.unlink()
    total = len(get_image_files(path))
    print(f"After checking for issues, {total} (total) images remain.")
    return path


def _folder_name(function: str, name: str, label: str) -> str:
    """Return `label`, which a folder can be called."""
    good = isinstance(label, str) and label and not label.startswith(".")
    if not good or label != os.path.basename(label) or not label.isprintable() or "\\" in label:
        raise ValueError(
            f"{function}: `{name}` must be {'a name' if name == 'label' else 'names'} that a "
            f"folder can have, got {label!r}"
        )
    return label


def _first(errors: L[tuple[str, str]]) -> str:
    return f"; first error: {errors[0][1]} ({errors[0][0]})" if errors else ""


def erase_downloads(path: StrPath) -> None:
    """Delete a folder of folders of downloaded photos.

    It must hold nothing else: one file with a name that `download_images` does not give, one link
    or one folder further down, and nothing at all is deleted.

    Parameters
    ----------
    path : path or str
        Need not exist.

    Raises
    ------
    ValueError
        If there is anything else.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return
    foreign = _foreign(path)
    if foreign is not None:
        raise ValueError(
            "scrape_images: `path` must hold only earlier downloads to be erased, "
            f"got {foreign}; choose another folder, empty it yourself, or pass erase_dir=False"
        )
    for folder in path.iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    path.rmdir()


def _foreign(path: Path) -> Path | None:
    """Return the first thing at `path` that `scrape_images` cannot have made, or None."""
    here = path.resolve()
    if (
        path.is_symlink()
        or not path.is_dir()
        or here in (Path.cwd(), Path.home(), Path(here.anchor))
    ):
        return path
    for folder in sorted(path.iterdir()):
        if folder.is_symlink() or not folder.is_dir():
            return folder
        for file in sorted(folder.iterdir()):
            if file.is_symlink() or not file.is_file() or not _is_own(file):
                return file
    return None


def _is_own(file: Path) -> bool:
    if file.name != MANIFEST:
        return OWN_NAME.fullmatch(file.name) is not None
    try:
        read_manifest(file.parent)
    except ValueError:
        return False
    return True
