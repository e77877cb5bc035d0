"""Files of named tensors: read, written, found and fetched.

The format is safetensors: a JSON header and raw numbers, so that reading a file runs none of its
contents. A file is read once, whole, into memory and checked there: nothing stays mapped, so
saving over a file that was loaded is safe.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlclassify.checks import check_path
from mlclassify.types import AnyArray, ArrayLike, StrPath
from mlclassify.weight_names import named_as_here
from mlclassify.wholefile import open_regular, write_file

Tensors: TypeAlias = dict[str, AnyArray]

_LARGEST_FILE = 4 << 30


class ModelFileError(ValueError):
    """A file of weights or a saved model that is damaged, foreign, or does not fit."""


@dataclass(frozen=True)
class Pinned:
    """Where the weights of an architecture are published, and what they must hash to."""

    repository: str
    revision: str
    file: str
    sha256: str


# ImageNet weights of torchvision's first recipe, BSD-3-Clause.
PINNED = {
    "resnet18": Pinned(
        "timm/resnet18.tv_in1k",
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "model.safetensors",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
}


def read_file(path: StrPath, function: str) -> bytes:
    """Return the bytes of a regular file.

    Parameters
    ----------
    path : str or Path
    function : str
        Whose name starts the messages.

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`.
    ModelFileError
        It is no regular file (a pipe, a device, a folder), or larger than 4 GiB.
    """
    try:
        file = open_regular(path, function)
    except ValueError as error:
        raise ModelFileError(str(error)) from None
    with file:
        if os.fstat(file.fileno()).st_size > _LARGEST_FILE:
            raise ModelFileError(f"{function}: {str(path)!r} must be at most 4 GiB large")
        return file.read()


def read_tensors(path: StrPath, function: str) -> tuple[Tensors, dict[str, str]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : str or Path
    function : str
        Whose name starts the messages.

    Returns
    -------
    tensors : dict of str to ndarray
    metadata : dict of str to str

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `read_file`; also where the file is no whole safetensors file.
    """
    return parse_tensors(read_file(path, function), path, function)


def parse_tensors(data: bytes, path: StrPath, function: str) -> tuple[Tensors, dict[str, str]]:
    """Read the bytes of a safetensors file; `path` is what messages call them."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{function}: {str(path)!r} must be a whole safetensors file; it is damaged, cut "
            f"short or of another kind ({error})"
        ) from None
    # The library has checked the header; it only has no function that gives metadata of bytes.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, header.get("__metadata__") or {}  # null is none


def write_tensors(path: StrPath, tensors: Mapping[str, ArrayLike],
                  metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, or leave what stood there untouched.

    Parameters
    ----------
    path : str or Path
    tensors : dict of str to ndarray
    metadata : dict of str to str, optional
    """
    write_file(path, tensors_to_bytes(tensors, metadata))


def tensors_to_bytes(tensors: Mapping[str, ArrayLike],
                     metadata: dict[str, str] | None = None) -> bytes:
    """Return what `write_tensors` writes."""
    from safetensors.numpy import save

    # safetensors takes the memory as it lies, whatever its strides say.
    whole = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    return save(whole, metadata)


@contextmanager
def named_place(function: str, path: Path, suffix: str) -> Iterator[None]:
    """Check a file name before it is written to, and have a write that fails say what it was for.

    Parameters
    ----------
    function : str
        Whose name starts the messages.
    path : Path
    suffix : str

    Raises
    ------
    ValueError
        The name ends in something else.
    OSError
        The folder does not exist (FileNotFoundError), or cannot be written to.
    """
    if path.suffix != suffix:
        raise ValueError(f"{function}: `fname` must end in {suffix}, got {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{function}: `fname` must lie in a folder that exists, got {str(path)!r}"
        )
    try:
        yield
    except OSError as error:
        told = type(error)(
            f"{function}: `fname` must be a place to write to, got {str(path)!r} "
            f"({error.strerror})"
        )
        told.errno = error.errno  # a caller tells a full disk from a missing permission by it
        raise told from error


def cache_folder() -> Path:
    """Return the folder for downloads: ``MLCLASSIFY_HOME``, else the platform's cache folder."""
    named = os.environ.get("MLCLASSIFY_HOME")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "mlclassify"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlclassify"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlclassify"


def pretrained_tensors(arch: str, weights: StrPath | None = None,
                       function: str = "vision_learner",
                       library: str = "torchvision") -> tuple[Tensors, Path]:
    """Find, check and read the pretrained weights of an architecture.

    Looks at `weights`, then at the environment variable ``MLCLASSIFY_WEIGHTS`` (each a file, or a
    folder that holds ``<arch>.safetensors``), then in the cache, then downloads.

    Parameters
    ----------
    arch : str
    weights : str or Path, optional
    function : str
        Whose name starts the messages.
    library : {'torchvision', 'timm'}
        Whose names the architecture has.

    Returns
    -------
    tensors : dict of str to ndarray
        Under the names that the architecture has.
    path : Path
        Where they were found.

    Raises
    ------
    FileNotFoundError
        Nothing was found; the message says the ways out.
    ModelFileError
        What was found is damaged.
    """
    named = os.environ.get("MLCLASSIFY_WEIGHTS") or None
    given = named if weights is None else weights
    if given is not None:
        rule = "`weights`" if weights is not None else "MLCLASSIFY_WEIGHTS"
        path = _file_in(check_path(function, "weights", given), arch, f"{function}: {rule}")
        return named_as_here(read_tensors(path, function)[0]), path
    if arch not in PINNED:
        made = {"torchvision": f"torchvision.models.{arch}(weights='DEFAULT')",
                "timm": f"timm.create_model('{arch}', pretrained=True)"}[library]
        raise FileNotFoundError(
            f"{function}: `weights` must name a file for {arch}, for there is no download that "
            f"this version knows, got None; pass weights='{arch}.safetensors' with {library}'s "
            f"names (with torch: safetensors.torch.save_file({made}.state_dict(), "
            f"'{arch}.safetensors')), set MLCLASSIFY_WEIGHTS to it, or train from scratch: "
            "pretrained=False"
        )
    path = cached_file(arch)
    data = read_file(path, function) if path.exists() else _download(arch, path, function)
    _check_sha256(data, arch, path, function)
    return parse_tensors(data, path, function)[0], path


def _file_in(path: Path, arch: str, who: str) -> Path:
    """Return `path`, or the file of `arch` in it when it is a folder."""
    file = path / f"{arch}.safetensors" if path.is_dir() else path
    if file.exists():
        return file
    raise FileNotFoundError(
        f"{who} must name a file, or a folder that holds {arch}.safetensors, got {str(path)!r}"
    )


def cached_file(arch: str) -> Path:
    """Return where the download of `arch` lies, whether or not it is there yet."""
    return cache_folder() / "weights" / f"{arch}-{PINNED[arch].sha256[:8]}.safetensors"


def _check_sha256(data: bytes, arch: str, path: StrPath, function: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != PINNED[arch].sha256:
        raise ModelFileError(
            f"{function}: {str(path)!r} must have the sha256 {PINNED[arch].sha256}, got {found}; "
            "delete the file to have it downloaded again"
        )


def _download(arch: str, path: Path, function: str) -> bytes:
    """Fetch the pinned file, check it, keep it at `path` and return its bytes."""
    pinned = PINNED[arch]
    try:
        from huggingface_hub import hf_hub_download

        fetched = hf_hub_download(pinned.repository, pinned.file, revision=pinned.revision)
    except Exception as error:  # the hub raises errors of several libraries below it
        raise FileNotFoundError(_ways_out(arch, path, function, error)) from error
    data = read_file(fetched, function)
    _check_sha256(data, arch, fetched, function)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
    return data


def _ways_out(arch: str, path: Path, function: str, error: Exception) -> str:
    return (
        f"{function}: no pretrained weights of {arch} here, and no download "
        f"({type(error).__name__}: {error}).\n"
        f"Three ways out:\n"
        f"  1. pass weights='FILE.safetensors' (torchvision's names), or a folder that holds "
        f"{arch}.safetensors;\n"
        f"  2. set MLCLASSIFY_WEIGHTS to such a file or folder;\n"
        f"  3. be online with pip install 'mlclassify[hub]': the file is fetched once, to "
        f"{str(path)!r}.\n"
        f"Or train from scratch: pretrained=False."
    )
