"""The state of training in a file: weights, and what the optimizer remembers.

Safetensors with the tensors of the model under their own names and the optimizer's moments under
``optimizer.m.`` and ``optimizer.v.``; ``__metadata__`` holds the rest as JSON. Unlike an export it
holds no architecture, threshold or transform: it is loaded into a learner that has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mlclassify
from mlclassify.export import check_version, digest
from mlclassify.rng import check_seed
from mlclassify.types import AnyArray, Float32
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

FORMAT_VERSION = 1
_VERSION, _TRAINING, _HASH = (f"mlclassify.{k}" for k in ("checkpoint_version", "training",
                                                          "sha256"))
_FIRST, _SECOND = "optimizer.m.", "optimizer.v."


@dataclass
class Checkpoint:
    """What a file holds.

    Attributes
    ----------
    weights : dict of str to float32 array
        Under their names.
    vocab : list of str
        The labels.
    optimizer : dict or None
        None where it was saved without; else name, hypers, state (as `Optimizer.state_dict`),
        trainable, seed and epochs_begun.
    """

    weights: dict[str, Float32]
    vocab: list[str]
    optimizer: dict[str, Any] | None


def write_checkpoint(path: Path, weights: Mapping[str, Float32], vocab: list[str],
                     optimizer: dict[str, Any] | None = None) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    Parameters
    ----------
    path : Path
        Its folder is made.
    weights : dict of str to ndarray
    vocab : list of str
    optimizer : dict, optional
        See `Checkpoint`.
    """
    tensors, about = dict(weights), None
    if optimizer is not None:
        state = optimizer["state"]
        about = {**optimizer, "state": {name: step for name, (step, _, _) in state.items()}}
        tensors |= {_FIRST + name: m for name, (_, m, _) in state.items()}
        tensors |= {_SECOND + name: v for name, (_, _, v) in state.items()}
    text = json.dumps({"written_by": mlclassify.__version__, "vocab": vocab, "optimizer": about},
                      allow_nan=False, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {_VERSION: str(FORMAT_VERSION), _TRAINING: text,
                                  _HASH: digest(tensors, text)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what `write_checkpoint` wrote, and check that it is whole.

    Returns
    -------
    Checkpoint

    Raises
    ------
    FileNotFoundError, ModelFileError
    """
    tensors, metadata = read_tensors(path, "load")
    name = f"load: {str(path)!r}"
    if not {_VERSION, _TRAINING, _HASH} <= set(metadata):
        raise ModelFileError(f"{name} must be a file that learn.save wrote; load_learner reads "
                             "those of learn.export")
    check_version(f"{name} must have checkpoint version", metadata[_VERSION], FORMAT_VERSION,
                  metadata[_TRAINING])
    if metadata[_HASH] != digest(tensors, metadata[_TRAINING]):
        raise ModelFileError(f"{name} must match its own hash; it is damaged or was changed")
    try:
        return _restored(json.loads(metadata[_TRAINING]), tensors)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name} must describe a training that this version knows: "
                             f"{error}") from error


def _restored(about: dict[str, Any], tensors: Mapping[str, AnyArray]) -> Checkpoint:
    vocab, optimizer = about["vocab"], about["optimizer"]
    if not isinstance(vocab, list) or not all(isinstance(label, str) for label in vocab):
        raise TypeError("its vocab must hold texts")
    weights = {k: v for k, v in tensors.items() if not k.startswith((_FIRST, _SECOND))}
    if optimizer is not None:
        steps = optimizer["state"]
        optimizer["state"] = {
            name: (steps[name], tensors[_FIRST + name], tensors[_SECOND + name]) for name in steps
        }
        check_seed("training", optimizer["seed"])
        if not 0 <= optimizer["epochs_begun"] < 2**32:
            raise ValueError("its epochs_begun must lie in [0, 2**32)")
        if not optimizer.keys() >= {"name", "hypers", "trainable"}:
            raise ValueError("its optimizer must have name, hypers and trainable")
    if any(t.dtype != np.float32 for t in tensors.values()):
        raise TypeError("its tensors must be float32")
    return Checkpoint(weights, vocab, optimizer)
