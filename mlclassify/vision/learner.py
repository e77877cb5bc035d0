"""The factory of learners for photos: a backbone, its weights, a head, normalized data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlclassify.checks import check_has, check_whole
from mlclassify.data.loaders import DataLoaders
from mlclassify.learner import Learner, Metrics
from mlclassify.optim import Adam, Hyper
from mlclassify.rng import check_seed, default_seed
from mlclassify.trainer import Cbs
from mlclassify.types import Function, StrPath
from mlclassify.vision.augment import Normalize, add_normalization, imagenet_stats
from mlclassify.vision.backbones import ARCHS, Architecture
from mlclassify.vision.models import create_model
from mlclassify.weights import pretrained_tensors


def vision_learner(dls: DataLoaders, arch: Architecture | str, normalize: bool = True,
                   n_out: int | None = None, pretrained: bool = True,
                   weights: StrPath | None = None, loss_func: Any = None,
                   opt_func: Function = Adam, lr: Hyper = 1e-3, cbs: Cbs = None,
                   metrics: Metrics = None, path: StrPath | None = None,
                   model_dir: StrPath = "models", wd: float | None = None,
                   wd_bn_bias: bool = False, train_bn: bool = True,
                   moms: Sequence[float] = (0.95, 0.85, 0.95), ps: float = 0.5,
                   seed: int | None = None, exact: bool = False) -> Learner:
    """Make a learner of a backbone with a fresh head.

    Parameters
    ----------
    dls : DataLoaders
        Their images are normalized from now on.
    arch : Architecture or str
        For instance `resnet18`, or its name; ``"efficientnet_b0"``, as fastai names timm's.
    normalize : bool
        Whether to normalize with ImageNet's statistics where `dls` do not normalize already.
    n_out : int, optional
        Default the number of labels of `dls`.
    pretrained : bool
        Whether to start from ImageNet weights and freeze all but the head; else from scratch,
        nothing frozen.
    weights : str or Path, optional
        A safetensors file with torchvision's, timm's or fastai's names, or a folder that holds
        ``<arch>.safetensors``. Else ``MLCLASSIFY_WEIGHTS``, the cache, and a download are tried.
    ps : float
        Dropout of the head, in [0, 1).
    seed : int, optional
        Of the head, the dropout, the order and the augmentation.
    exact : bool
        Convolutions by direct sums only. Else those that it makes faster use Winograd's algorithm,
        which takes a quarter of the multiplications and rounds a little more.
    loss_func, opt_func, lr, cbs, metrics, path, model_dir, wd, wd_bn_bias, train_bn, moms
        As in `Learner`.

    Returns
    -------
    Learner

    Raises
    ------
    FileNotFoundError
        There are no weights; the message says the ways out.
    """
    arch = _architecture(arch)
    check_has("vision_learner", "dls", dls, "be DataLoaders, as DataBlock(...).dataloaders(source) "
              "gives", "train", "valid", "c")
    n_out = dls.c if n_out is None else n_out
    n_out = check_whole("vision_learner", "n_out", n_out, at_least=1)
    _check("ps", ps, "lie in [0, 1)", lambda p: 0 <= p < 1)
    if weights is not None and not pretrained:
        raise ValueError(
            f"vision_learner: `weights` must be None with pretrained=False, got {weights!r}"
        )
    seed = default_seed() if seed is None else check_seed("vision_learner", seed)
    body, source = (pretrained_tensors(arch.name, weights, library=arch.library)
                    if pretrained else (None, ""))
    model = create_model(arch, n_out, ps, seed, body, str(source), bool(exact))
    model.weights_file = Path(source).resolve() if pretrained else None
    if normalize:
        add_normalization(dls, Normalize.from_stats(*imagenet_stats))
    learn = Learner(dls, model, loss_func, opt_func, lr, cbs, metrics, path, model_dir, wd,
                    wd_bn_bias, train_bn, moms, seed)
    if pretrained:
        learn.freeze()
    return learn


cnn_learner = vision_learner


def _architecture(arch: Architecture | str) -> Architecture:
    if isinstance(arch, Architecture):
        return arch
    if isinstance(arch, str) and arch in ARCHS:
        return ARCHS[arch]
    raise ValueError(f"vision_learner: `arch` must be one of {', '.join(ARCHS)}, got {arch!r}")


def _check(name: str, value: Any, rule: str, holds: Callable[[Any], bool]) -> None:
    try:
        good = holds(value)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"vision_learner: `{name}` must {rule}, got {value!r}")
