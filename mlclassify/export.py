"""Saved learners: one safetensors file, weights and JSON, nothing that runs.

The tensors stand under their own names. ``__metadata__`` holds three texts: the version of the
format, a JSON object with all that is no tensor, and the sha256 of both. What the JSON names
(architecture, loss, transforms) is looked up in the tables below and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

import mlclassify
from mlclassify.calibration import Calibration
from mlclassify.data.block import empty_dataloaders
from mlclassify.data.loaders import DataLoaders
from mlclassify.functional import AsymmetricLoss
from mlclassify.losses import AsymmetricLossFlat, BaseLoss, BCEWithLogitsLossFlat
from mlclassify.novelty import Novelty
from mlclassify.rng import check_seed
from mlclassify.tensor import nn, tensor
from mlclassify.thresholds import check_thresh
from mlclassify.types import AnyArray, Float32, StrPath
from mlclassify.vision import augment
from mlclassify.vision.backbones import ARCHS, Architecture
from mlclassify.vision.image import Image
from mlclassify.vision.models import Model, build_backbone, build_model
from mlclassify.weights import (
    ModelFileError,
    named_place,
    parse_tensors,
    read_file,
    tensors_to_bytes,
)
from mlclassify.wholefile import write_file

_Json: TypeAlias = dict[str, Any]  # an object of JSON

FORMAT_VERSION = 1
_VERSION, _LEARNER, _HASH = (f"mlclassify.{k}" for k in ("format_version", "learner", "sha256"))
_NOVELTY = "novelty.maxima_means"  # the tensor of its features
_BACKBONE = "novelty.backbone."  # before the names of the tensors of the untrained body
_OLD_NOVELTY = "novelty.features"  # of means alone, with a cut for the k-th neighbour
_LAST = "head.fc2.weight"  # of every network that `build_model` makes
# Losses by name: the class, that of the loss within, and the options a file may leave out.
_PLAIN = {"label_smoothing": 0.0, "missing": None}
_FOCUS = {**_PLAIN, "gamma_neg": 4.0, "gamma_pos": 1.0, "clip": 0.05}
_LOSSES: dict[str, tuple[type[Any], type[Any], dict[str, float | None]]] = {
    "BCEWithLogitsLossFlat": (BCEWithLogitsLossFlat, nn.BCEWithLogitsLoss, _PLAIN),
    "AsymmetricLossFlat": (AsymmetricLossFlat, AsymmetricLoss, _FOCUS),
}
_ITEM_TFMS: dict[str, type[Any]] = {
    t.__name__: t for t in (augment.CropPad, augment.RandomResizedCrop, augment.Resize)
}
_BATCH_TFMS: dict[str, type[Any]] = {
    t.__name__: t
    for t in (
        augment.AffineWarp, augment.Brightness, augment.Contrast, augment.Dihedral, augment.Flip,
        augment.Hue, augment.Lighting, augment.Normalize, augment.RandomErasing,
        augment.RandomResizedCropGPU, augment.Rotate, augment.Saturation, augment.Warp,
        augment.Zoom,
    )
}


@dataclass
class Saved:
    """What a file of a learner holds."""

    model: Model
    dls: DataLoaders
    loss_func: Any
    seed: int
    epochs_begun: int
    novelty: Novelty | None


class Exported(Protocol):
    """What is saved of a learner."""

    model: Model
    loss_func: Any
    seed: int
    epochs_begun: int
    novelty: Novelty | None

    @property
    def dls(self) -> DataLoaders: ...


def write_learner(learn: Exported, path: StrPath) -> None:
    """Write a learner to `path`, whole or not at all.

    Raises
    ------
    ValueError
        The file name, the loss or a transform is none that a file can hold.
    OSError
        The folder does not exist (FileNotFoundError), or cannot be written to.
    """
    with named_place("export", Path(path), ".safetensors"):
        write_file(path, learner_to_bytes(learn))


def learner_to_bytes(learn: Exported) -> bytes:
    """Return what `write_learner` writes."""
    text = json.dumps(_described(learn), allow_nan=False, ensure_ascii=False)
    tensors: dict[str, AnyArray] = {**learn.model.state_dict()}
    if learn.novelty is not None:
        tensors |= _novelty_tensors(learn.novelty)
    metadata = {_VERSION: str(FORMAT_VERSION), _LEARNER: text, _HASH: digest(tensors, text)}
    return tensors_to_bytes(tensors, metadata)


def _described(learn: Exported) -> _Json:
    """Return all of a learner that is no tensor, as JSON has it."""
    model, train = learn.model, learn.dls.train
    loss = _described_loss(learn.loss_func)
    _check_can_be_rebuilt(model)
    return {
        "written_by": mlclassify.__version__,
        "arch": model.arch.name,
        "ps": float(model.ps),
        "exact": model.exact,
        "bf16": model.bf16,
        "vocab": [str(label) for label in learn.dls.vocab],
        "loss": loss,
        "item_tfms": _described_transforms(train.item_tfms, _ITEM_TFMS),
        "batch_tfms": _described_transforms(train.batch_tfms, _BATCH_TFMS),
        "seed": learn.seed,
        "epochs_begun": learn.epochs_begun,
        "novelty": _described_novelty(learn.novelty),
    }


def _described_calibration(calibration: Calibration | None) -> _Json | None:
    return None if calibration is None else calibration.to_dict()


def _described_novelty(novelty: Novelty | None) -> _Json | None:
    if novelty is None:
        return None
    return {"names": novelty.names, "cut": jsonable(novelty.cut), "k": novelty.k}


def _novelty_tensors(novelty: Novelty) -> dict[str, AnyArray]:
    backbone = {} if novelty.backbone is None else novelty.backbone.state_dict()
    return {_NOVELTY: novelty.features, **{_BACKBONE + k: v for k, v in backbone.items()}}


def _check_can_be_rebuilt(model: Model) -> None:
    """Refuse a network that `build_model` could not make again from a name."""
    if ARCHS.get(model.arch.name) is not model.arch or _LAST not in model.parameters():
        raise ValueError(
            f"export: `model` must be create_model's of {', '.join(ARCHS)}, for a file holds no "
            f"functions, got {model.arch.name}; mlclassify.weights.write_tensors(path, "
            "model.state_dict()) saves the weights alone"
        )


def _described_loss(loss: Any) -> _Json:
    """Return the arguments of the loss; refuse one that another class could not stand for."""
    name = _name_of(loss)
    thresh = getattr(loss, "thresh", 0.5)
    check_decides_alike(loss, "export")
    return {
        "name": name,
        "thresh": jsonable(thresh),
        "reduction": loss.reduction,
        "weight": jsonable(loss.func.weight),
        "pos_weight": jsonable(loss.func.pos_weight),
        "flatten": bool(loss.flatten),
        "calibration": _described_calibration(getattr(loss, "calibration", None)),
        **{option: getattr(loss.func, option) for option in _LOSSES[name][2]},
    }


def _name_of(loss: Any) -> str:
    """Return which of `_LOSSES` computes as `loss` does."""
    for name, (_, within, _) in _LOSSES.items():
        if isinstance(loss, BaseLoss) and isinstance(loss.func, within):
            return name
    raise ValueError(
        f"export: `loss_func` must be one of {', '.join(_LOSSES)}, for a file holds no functions, "
        f"got {loss!r}; assign learn.loss_func = BCEWithLogitsLossFlat(thresh=...) first"
    )


def check_decides_alike(loss: Any, function: str) -> None:
    """Refuse a loss of the user's whose decisions its threshold and calibration do not tell."""
    thresh = getattr(loss, "thresh", 0.5)
    plain = BCEWithLogitsLossFlat(thresh=thresh)
    plain.calibration = calibration = getattr(loss, "calibration", None)
    labels = max(np.size(thresh), 1 if calibration is None else calibration.scale.size)
    logits = tensor(np.linspace(-8, 8, 101)[:, None].repeat(labels, axis=1))
    probs = plain.activation(logits)
    alike = np.allclose(loss.activation(logits), probs, atol=1e-6) and np.array_equal(
        loss.decodes(probs), plain.decodes(probs)
    )
    if not alike:
        raise ValueError(
            f"{function}: `loss_func` must decide as BCEWithLogitsLossFlat does with its `thresh`, "
            f"for a file holds no functions, got {type(loss).__name__}"
        )


def jsonable(value: Any) -> Any:
    """Return numbers as JSON has them; it has no infinity, so that becomes a text."""
    if value is None:
        return None
    value = np.asarray(value, np.float64)
    if value.ndim:
        return [jsonable(v) for v in value]
    return float(value) if np.isfinite(value) else str(float(value))


def _numbers(value: Any) -> Any:
    """Undo `jsonable`."""
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return None if value is None else float(value)


def _described_transforms(
    transforms: Iterable[Any], known: Mapping[str, type[Any]]
) -> list[list[Any]]:
    for t in transforms:
        if known.get(type(t).__name__) is not type(t):
            raise ValueError(
                f"export: a transform must be one of {', '.join(known)}, got {t!r}; a file holds "
                "no functions"
            )
    return [[type(t).__name__, t.config()] for t in transforms]


def digest(tensors: Mapping[str, AnyArray], text: str) -> str:
    """Return the sha256 of named tensors and a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        total.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        total.update(value.data)
    return total.hexdigest()


def read_learner(path: StrPath) -> Saved:
    """Read what `write_learner` wrote, and check all of it.

    Returns
    -------
    Saved

    Raises
    ------
    FileNotFoundError
    ModelFileError
    """
    return parse_learner(read_file(path, "load_learner"), path)


def parse_learner(data: bytes, path: StrPath) -> Saved:
    """Read the bytes of a file of a learner; `path` is what messages call them."""
    tensors, metadata = parse_tensors(data, path, "load_learner")
    text = _checked_text(path, tensors, metadata)
    try:
        return _restored(json.loads(text), tensors)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"load_learner: {str(path)!r} must describe a learner that this version knows: {error}"
        ) from error


def _checked_text(
    path: StrPath, tensors: Mapping[str, AnyArray], metadata: Mapping[str, str]
) -> str:
    """Return the JSON of a file whose format and hash are as they should be."""
    name = f"load_learner: {str(path)!r}"
    if not {_VERSION, _LEARNER, _HASH} <= set(metadata):
        raise ModelFileError(
            f"{name} must be a file that learn.export wrote, got other tensors; weights go to "
            "vision_learner(weights=...)"
        )
    check_version(f"{name} must have format version", metadata[_VERSION], FORMAT_VERSION,
                  metadata[_LEARNER])  # fmt: skip
    if metadata[_HASH] != digest(tensors, metadata[_LEARNER]):
        raise ModelFileError(f"{name} must match its own hash; it is damaged or was changed")
    return metadata[_LEARNER]


def check_version(rule: str, found: str, known: int, text: str) -> None:
    """Refuse a file of another format, and say which version of mlclassify reads it.

    Parameters
    ----------
    rule : str
        The message up to the version that there must be.
    found : str
        The version of the file's format.
    known : int
        That of this mlclassify, the newest that it reads.
    text : str
        The file's JSON, which says who wrote it in every format.
    """
    if found == str(known):
        return
    if not (re.fullmatch("[0-9]{1,9}", found) and int(found) > known):
        raise ModelFileError(f"{rule} {known}, got {found!r}, which no mlclassify writes")
    try:
        writer = json.loads(text)["written_by"]
        public = re.fullmatch(_PUBLIC_VERSION, writer)
    except (LookupError, RecursionError, TypeError, ValueError):
        public = None  # it is damaged; what is later than this one may still know more
    wanted = f">={public[0]}" if public else ""
    raise ModelFileError(
        f"{rule} {known}, got {found!r}, which a later mlclassify wrote; pip install --upgrade "
        f"'mlclassify{wanted}'"
    )


_PUBLIC_VERSION = r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}((a|b|rc|\.post|\.dev)[0-9]{1,4})?"
_TYPES: dict[str, Any] = {
    "written_by": (str, type(None)), "arch": str, "ps": float, "exact": bool, "bf16": bool,
    "vocab": list, "loss": dict, "item_tfms": list, "batch_tfms": list, "seed": int,
    "epochs_begun": int, "novelty": (dict, type(None)),
}  # fmt: skip


def _restored(config: Any, tensors: dict[str, AnyArray]) -> Saved:
    """Build a learner's parts from checked JSON; errors are the caller's to name the file in."""
    config = _check_types(config)
    if _OLD_NOVELTY in tensors:
        raise ValueError(
            "its novelty is that of a preview of mlclassify 0.1.0, which went by other features; "
            "install that preview to load it, or call learn.fit_novelty() and export again"
        )
    novelty = _restored_novelty(config, tensors)
    dls = empty_dataloaders(
        config["vocab"],
        _made(config["item_tfms"], _ITEM_TFMS),
        _made(config["batch_tfms"], _BATCH_TFMS),
    )
    return Saved(
        _restored_model(config, tensors),
        dls,
        _restored_loss(config["loss"], len(config["vocab"])),
        check_seed("learner", config["seed"]),
        config["epochs_begun"],
        novelty,
    )


def _check_types(config: Any) -> _Json:
    """Return the fields of a file; those that the first files had not are as they were."""
    if isinstance(config, dict):
        config = {"exact": False, "bf16": False, "written_by": None, **config}
    if not isinstance(config, dict) or set(config) != set(_TYPES):
        raise ValueError(f"its fields must be {', '.join(_TYPES)}")
    for name, kind in _TYPES.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(config[name]) not in kinds:
            names = " or ".join(k.__name__ for k in kinds)
            raise TypeError(f"its field {name} must be a {names}")
    vocab = config["vocab"]
    texts = [v for v in vocab if isinstance(v, str) and v]
    if len(set(texts)) != len(vocab) or not vocab:
        raise ValueError("its vocab must hold texts that are not empty, each once")
    if config["arch"] not in ARCHS:
        raise ValueError(f"its arch must be one of {', '.join(ARCHS)}, got {config['arch']!r}")
    if not 0 <= config["ps"] < 1:
        raise ValueError(f"its ps must lie in [0, 1), got {config['ps']}")
    if not 0 <= config["epochs_begun"] < 2**32:
        raise ValueError("its epochs_begun must lie in [0, 2**32)")
    return config


def _restored_model(config: _Json, tensors: Mapping[str, Float32]) -> Model:
    last = tensors.get(_LAST)
    # Before a network of that size is built: the file itself must be as large.
    if last is None or last.shape[:1] != (len(config["vocab"]),):
        raise ValueError("its last layer must have an output for each label")
    if any(t.dtype != np.float32 for t in tensors.values()):
        raise TypeError("its tensors must be float32")
    model = build_model(ARCHS[config["arch"]], len(config["vocab"]), config["ps"], config["exact"])
    model.set_bf16(config["bf16"])
    model.load_state_dict(tensors)
    return model


def _restored_loss(config: _Json, n_labels: int) -> Any:
    config = {"name": "BCEWithLogitsLossFlat", **config}
    cls, _, optional = _LOSSES[config.pop("name")]
    config = {"calibration": None, **optional, **config}
    names = {"thresh", "reduction", "weight", "pos_weight", "flatten", "calibration", *optional}
    if set(config) != names:
        raise ValueError(f"its loss must have {', '.join(sorted(names))}")
    numbers = {k: _numbers(config[k]) for k in ("weight", "pos_weight")}
    flatten = bool(config.pop("flatten"))
    if config["pos_weight"] is None:
        config["flatten"] = flatten
    thresh = check_thresh("loss", _numbers(config["thresh"]), n_labels)
    calibration = _restored_calibration(config.pop("calibration"), n_labels)
    loss = cls(**{**config, **numbers, "thresh": thresh})
    loss.calibration = calibration
    return loss


def _restored_calibration(config: _Json | None, n_labels: int) -> Calibration | None:
    if config is None:
        return None
    calibration = Calibration.from_dict(config)
    if calibration.scale.shape not in ((), (n_labels,)):
        raise ValueError(f"its calibration must be for {n_labels} labels")
    return calibration


def _restored_novelty(config: _Json, tensors: dict[str, AnyArray]) -> Novelty | None:
    """Take the tensors of the novelty out of all; return it, or None."""
    features = tensors.pop(_NOVELTY, None)
    backbone = {k.removeprefix(_BACKBONE): tensors.pop(k) for k in list(tensors)
                if k.startswith(_BACKBONE)}
    arch, exact, config = ARCHS[config["arch"]], config["exact"], config["novelty"]
    if len({config is None, features is None, features is None and not backbone}) > 1:
        raise ValueError(f"its novelty must come with the tensor {_NOVELTY}, and that with it")
    if config is None or features is None:
        return None
    if set(config) != {"names", "cut", "k"} or type(config["names"]) is not list:
        raise ValueError("its novelty must have names, cut, k")
    width = 2 * arch.features * (2 if backbone else 1)
    if features.shape[1:] != (width,):
        raise ValueError(f"its tensor {_NOVELTY} must have {width} columns")
    return Novelty(features, config["names"], _numbers(config["cut"]), config["k"],
                   _restored_backbone(arch, exact, backbone) if backbone else None)


def _restored_backbone(
    arch: Architecture, exact: bool, tensors: Mapping[str, AnyArray]
) -> Model:
    if any(t.dtype != np.float32 for t in tensors.values()):
        raise TypeError("its tensors must be float32")
    backbone = build_backbone(arch, exact)
    backbone.load_state_dict(tensors)
    return backbone


def _made(pairs: Iterable[tuple[str, _Json]], known: Mapping[str, type[Any]]) -> list[Any]:
    return [_checked_size(known[name](**config)) for name, config in pairs]


def _checked_size(transform: Any) -> Any:
    """Refuse a transform that makes photos larger than those that may be opened."""
    config, limit = transform.config(), Image.MAX_IMAGE_PIXELS
    if config.get("size") and limit is not None:
        extra = config.get("val_xtra", 0) * max(config["size"])
        if math.prod(side + extra for side in config["size"]) > limit:
            raise ValueError(f"its transforms must make photos of at most {limit} pixels "
                             f"(PIL.Image.MAX_IMAGE_PIXELS), got {transform!r}")
    return transform
