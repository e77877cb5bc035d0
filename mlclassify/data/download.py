"""Photos from the web into a folder, each whole or not at all, with a table of where they are from.

A photo is decoded in full before it gets its name, and the name comes from its content alone; so
the same photo from two places is one file. The table, ``manifest.csv``, has a line for each
address: what came of it, and whose photo it is.
"""

import csv
import hashlib
import logging
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from mlclassify.checks import check_between, check_bytes, check_path, check_whole
from mlclassify.data.fetch import Fetcher, FetchError, Limits
from mlclassify.data.lists import L, listify
from mlclassify.data.search import ImageHit
from mlclassify.progress import progress
from mlclassify.types import StrPath
from mlclassify.vision.image import UnreadableImageError, photo_extension
from mlclassify.wholefile import open_table, table_text, write_file

MAX_BYTES = 20_000_000  # of one photo
MAX_TOTAL = "2GB"
TIMEOUT = 10  # seconds for one answer of a server
DEADLINE = 30  # seconds for a whole photo, however steadily its bytes drip in
MANIFEST = "manifest.csv"
COLUMNS = ("file", "url", "sha256", "bytes", "title", "page", "creator", "licence", "error")
_THREADS = 8

# What `_save` calls a photo, and what it and `write_file` leave behind if the process is killed.
OWN_NAME = re.compile(r"[0-9a-f]{40}\.(jpg|png|webp|gif|bmp)|\.part-[0-9a-f]{16}"
                      r"|\.manifest\.csv\.[a-z0-9_]{8}\.tmp")

Row: TypeAlias = dict[str, str]
"""A line of the manifest, from `COLUMNS` to their cells."""
Saved: TypeAlias = tuple[L[Path], L[tuple[str, str]]]
"""The files, and (address, reason) of what failed."""

_log = logging.getLogger(__name__)


def download_images(
    urls: str | ImageHit | Iterable[str | ImageHit],
    folder: StrPath,
    max_bytes: int | str = MAX_BYTES,
    timeout: float = TIMEOUT,
    deadline: float = DEADLINE,
    max_total: int | str = MAX_TOTAL,
    retries: int = 2,
    n_workers: int = _THREADS,
    allow_private: bool = False,
) -> Saved:
    """Download photos into a folder, several at a time.

    A file is named by its content, with the extension of the format that it really has. Where each
    is from stands in ``manifest.csv`` beside them; an address that it says was fetched is not
    asked again as long as the file is there.

    Parameters
    ----------
    urls : collection of str or ImageHit
        Only http and https. `search_images` gives them.
    folder : path or str
        Made if it does not exist.
    max_bytes : int or str
        A longer answer is cut off and counts as an error.
    timeout : float
        Seconds to wait for a server to connect or to send something.
    deadline : float
        Seconds for one photo in all: redirects, repeated tries and waits between them included.
    max_total : int or str
        Bytes of all answers together, such as '500MB'; and never more than half of what is free
        on the disk.
    retries : int
        How often a server that is busy, silent or breaks off is asked again, after a while that
        doubles each time, or that it asks for.
    n_workers : int
        Downloads at a time.
    allow_private : bool
        Whether to ask addresses of this machine and its network. Else they are refused, at every
        redirect too: an address in a search engine's answer has no business there.

    Returns
    -------
    (L of Path, L of (str, str))
        The files, and for each address that failed the reason.

    Raises
    ------
    ImportError
        The extra ``[scrape]`` is not installed.
    ValueError
        An argument is out of range, or the ``manifest.csv`` in `folder` is none of this function's.
    OSError
        The disk is full, or the folder cannot be written to.

    Examples
    --------
    ``saved, errors = download_images(search_images("teddy bear", 50), "bears/teddy")``
    """
    limits = check_limits("download_images", max_bytes, timeout, deadline, max_total, retries,
                          allow_private)
    with open_fetcher("download_images", folder, limits) as web:
        return download_into(folder, urls, web, n_workers)


def check_limits(
    function: str,
    max_bytes: int | str = MAX_BYTES,
    timeout: float = TIMEOUT,
    deadline: float = DEADLINE,
    max_total: int | str = MAX_TOTAL,
    retries: int = 2,
    allow_private: bool = False,
) -> Limits:
    """Return arguments of `download_images` as `Limits`.

    Examples
    --------
    >>> check_limits("download_images", max_total="1MB").max_total
    1000000
    """
    return Limits(
        max_bytes=check_bytes(function, "max_bytes", max_bytes),
        max_total=check_bytes(function, "max_total", max_total),
        timeout=check_between(function, "timeout", timeout, 0.001, math.inf),
        deadline=check_between(function, "deadline", deadline, 0.001, math.inf),
        retries=check_whole(function, "retries", retries, at_least=0),
        allow_private=bool(allow_private),
    )


def open_fetcher(function: str, folder: StrPath, limits: Limits) -> Fetcher:
    """Return a `Fetcher` for photos that come into `folder`, or below it, which is made.

    Parameters
    ----------
    function : str
        Who asks, for messages.
    folder : path or str
    limits : Limits
        Of the bytes in all never more than half of what is free on the disk.

    Returns
    -------
    Fetcher
    """
    folder = check_path(function, "folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    return Fetcher(function, replace(limits, max_total=min(limits.max_total, free // 2)))


def download_into(
    folder: StrPath,
    urls: str | ImageHit | Iterable[str | ImageHit],
    web: Fetcher,
    n_workers: int = _THREADS,
) -> Saved:
    """Do what `download_images` does, with a `Fetcher` that may have more to do.

    Parameters
    ----------
    folder, urls, n_workers
        As in `download_images`.
    web : Fetcher

    Returns
    -------
    (L of Path, L of (str, str))
    """
    folder = check_path("download_images", "folder", folder)
    n_workers = check_whole("download_images", "n_workers", n_workers, at_least=1)
    hits = {hit.url: hit for hit in map(_as_hit, listify(urls))}
    folder.mkdir(parents=True, exist_ok=True)
    rows = _download_all(hits, folder, web, n_workers)
    saved = [folder / row["file"] for row in rows if row["file"]]
    errors = [(row["url"], row["error"]) for row in rows if row["error"]]
    return L(saved).unique(), L(errors)


def _as_hit(url: str | ImageHit) -> ImageHit:
    return url if isinstance(url, ImageHit) else ImageHit(str(url))


def _download_all(
    hits: Mapping[str, ImageHit], folder: Path, web: Fetcher, n_workers: int
) -> list[Row]:
    """Return a line of the manifest for each hit, in their order, and write it however it ends."""
    before = read_manifest(folder)
    rows: dict[str, Row] = {}
    pool = ThreadPoolExecutor(n_workers, "mlclassify-download")
    try:
        jobs = [pool.submit(_row, web, hit, folder, before.get(hit.url)) for hit in hits.values()]
        with progress("Images downloaded", len(jobs)) as step:
            for job in as_completed(jobs):
                row = job.result()
                rows[row["url"]] = row
                step()
    except BaseException:
        web.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if rows:
            _write_manifest(folder, before | {url: rows[url] for url in hits if url in rows})
    return [rows[url] for url in hits]


def _row(web: Fetcher, hit: ImageHit, folder: Path, before: Row | None) -> Row:
    """Download one photo, if it is not there; return its line."""
    if before and OWN_NAME.fullmatch(before["file"]) and (folder / before["file"]).is_file():
        return before
    row = dict.fromkeys(COLUMNS, "") | vars(hit)
    try:
        data = web.get(hit.url)
        row["file"] = _save(data, folder).name
        row["sha256"], row["bytes"] = hashlib.sha256(data).hexdigest(), str(len(data))
    except UnreadableImageError:
        row["error"] = "not a readable photo"
    except FetchError as error:
        row["error"] = str(error)
    if row["error"]:
        _log.info("not downloaded: %s: %s", hit.url, row["error"])
    return row


def _save(data: bytes, folder: Path) -> Path:
    """Write a photo under the name that its content gives it, in one step."""
    target = folder / (hashlib.sha256(data).hexdigest()[:40] + photo_extension(data))
    part = folder / f".part-{secrets.token_hex(8)}"
    try:
        part.write_bytes(data)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


# --- the manifest ---


def read_manifest(folder: StrPath) -> dict[str, Row]:
    """Read the table of what was downloaded into a folder.

    Parameters
    ----------
    folder : path or str

    Returns
    -------
    dict of str to dict
        From each address to its line: file, url, sha256, bytes, title, page, creator, licence,
        error. Empty where there is no table.

    Raises
    ------
    ValueError
        The file of that name is none of `download_images`.

    Examples
    --------
    >>> read_manifest("no/such/folder")
    {}
    """
    path = check_path("read_manifest", "folder", folder) / MANIFEST
    if not path.exists():
        return {}
    with open_table(path, "download_images", errors="replace") as file:
        try:
            head, *lines = list(csv.reader(file)) or [[]]
        except csv.Error:
            head = []
    if tuple(head) != COLUMNS:
        raise ValueError(
            f"download_images: `folder` must have no {MANIFEST} but its own, got {str(path)!r}; "
            "move that file away, or choose another folder"
        )
    rows = [dict(zip(COLUMNS, map(_bare, cells))) for cells in lines if len(cells) == len(COLUMNS)]
    return {row["url"]: row for row in rows}


def _write_manifest(folder: Path, rows: Mapping[str, Row]) -> None:
    lines = [[_harmless(row[column]) for column in COLUMNS] for row in rows.values()]
    write_file(folder / MANIFEST, table_text([COLUMNS, *lines]).encode("utf-8", "replace"))


def _harmless(text: str) -> str:
    """Return text of the web so that a spreadsheet does not take it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "'") else text


def _bare(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" else cell
