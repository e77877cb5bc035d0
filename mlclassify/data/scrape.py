"""Photos from the web, and the files among them that are none.

Nothing that comes over the network is trusted: a download has limits of time and size, is decoded
in full before it gets its name, and the name comes from its content alone. What erases a folder
deletes only files that this module can have made.
"""

import hashlib
import logging
import os
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from mlclassify.checks import check_path, check_whole
from mlclassify.data.files import get_image_files
from mlclassify.data.lists import L
from mlclassify.vision.image import UnreadableImageError, photo_extension, verify_image

MAX_BYTES = 20_000_000  # of one photo
TIMEOUT = 10  # seconds for one answer of a server
DEADLINE = 30  # seconds for a whole photo, however steadily its bytes drip in
_REDIRECTS = 5
_THREADS = 8

# What `_save` calls a photo, and what it leaves behind if the process is killed while it writes.
_OWN_NAME = re.compile(r"[0-9a-f]{40}\.(jpg|png|webp|gif|bmp)|\.part-[0-9a-f]{16}")

_log = logging.getLogger(__name__)


def verify_images(fns):
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
    fns = L(fns)
    pool = ThreadPoolExecutor(_THREADS, "mlclassify-verify")
    try:
        good = list(pool.map(verify_image, fns))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return L([fn for fn, ok in zip(fns, good) if not ok])


def scrape_images(path, labels, search_suffix, erase_dir=True, max_images=20, search=None):
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
    search : function (query, max_images) -> collection of str
        Gives the addresses of photos.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        If `search` is missing, a label is no name of a folder, or `path` holds other things than
        earlier downloads and `erase_dir` is true.
    RuntimeError
        If no photo of some label could be had; what was had is kept.
    """
    path, labels = check_path("scrape_images", "path", path), L(labels)
    _check_scrape(labels, max_images, search)
    if erase_dir:
        erase_downloads(path)
    failed = []
    for label in labels:
        urls = list(search(f"{label} {search_suffix}".strip(), max_images))[:max_images]
        saved, errors = download_images(urls, path / label)
        if not saved:
            failed.append(f"{label!r} ({len(urls)} links{_first(errors)})")
    if failed:
        raise RuntimeError(f"scrape_images: no photo could be had for {'; '.join(failed)}")
    for bad in verify_images(get_image_files(path)):
        bad.unlink()
    total = len(get_image_files(path))
    print(f"After checking for issues, {total} (total) images remain.")
    return path


def _check_scrape(labels, max_images, search):
    if not callable(search):
        raise ValueError(
            "scrape_images: `search` must be a function (query, max_images) -> addresses of "
            f"photos, got {search!r}; pass one that asks the search engine of your choice"
        )
    check_whole("scrape_images", "max_images", max_images, at_least=1)
    for label in labels:
        if not _is_folder_name(label):
            raise ValueError(
                f"scrape_images: `labels` must be names that a folder can have, got {label!r}"
            )


def _is_folder_name(label):
    if not isinstance(label, str) or not label or label.startswith("."):
        return False
    return label == os.path.basename(label) and "\\" not in label


def _first(errors):
    return f"; first error: {errors[0][1]} ({errors[0][0]})" if errors else ""


def download_images(urls, folder, max_bytes=MAX_BYTES, timeout=TIMEOUT, deadline=DEADLINE):
    """Download photos into a folder, several at a time.

    A file is named by its content, with the extension of the format that it really has; so the same
    photo from two places is one file. It appears in the folder whole or not at all.

    Parameters
    ----------
    urls : collection of str
        Only http and https.
    folder : path or str
        Made if it does not exist.
    max_bytes : int
        A longer answer is cut off and counts as an error.
    timeout : float
        Seconds to wait for a server to connect or to send something.
    deadline : float
        Seconds for one photo in all.

    Returns
    -------
    (L of Path, L of (str, str))
        The files, and for each address that failed the reason.
    """
    httpx = _import_httpx()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    limits = max_bytes, deadline
    saved, errors = L(), L()
    pool = ThreadPoolExecutor(_THREADS, "mlclassify-download")
    # Compressed answers could grow without bound when unpacked; photos gain nothing from it.
    headers = {"accept-encoding": "identity", "accept": "image/*"}
    with httpx.Client(
        timeout=timeout, headers=headers, follow_redirects=True, max_redirects=_REDIRECTS
    ) as client:
        try:
            jobs = [(url, pool.submit(_download, client, url, folder, *limits)) for url in urls]
            for url, job in jobs:
                _collect(url, job, httpx, saved, errors)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return saved.unique(), errors


def _import_httpx():
    try:
        import httpx
    except ImportError as error:
        raise ImportError(
            "download_images: needs httpx, which is not installed; pip install 'mlclassify[scrape]'"
        ) from error
    return httpx


def _collect(url, job, httpx, saved, errors):
    """Put the outcome of one download where it belongs."""
    try:
        saved.append(job.result())
    except UnreadableImageError:
        errors.append((url, "not a readable photo"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        errors.append((url, str(error) or type(error).__name__))
    else:
        return
    _log.info("not downloaded: %s: %s", *errors[-1])


def _download(client, url, folder, max_bytes, deadline):
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("neither http nor https")
    end, data = time.monotonic() + deadline, bytearray()
    with client.stream("GET", url) as response:
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > max_bytes:
                raise ValueError(f"more than {max_bytes} bytes")
            if time.monotonic() > end:
                raise ValueError(f"more than {deadline} seconds")
    return _save(bytes(data), folder)


def _save(data, folder):
    """Write a photo under the name that its content gives it, in one step."""
    target = folder / (hashlib.sha256(data).hexdigest()[:40] + photo_extension(data))
    part = folder / f".part-{secrets.token_hex(8)}"
    try:
        part.write_bytes(data)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def erase_downloads(path):
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


def _foreign(path):
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
            if file.is_symlink() or not file.is_file() or not _OWN_NAME.fullmatch(file.name):
                return file
    return None
