"""A backbone with fastai's head on top, and the model that runs, trains and stores both.

Parameters of the head begin with ``head.``; those of the backbone have the names that its weights
are published under.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_float32, images_to_c
from mlclassify.checks import check_has
from mlclassify.rng import HEAD_INIT, uniforms
from mlclassify.tensor import Tensor
from mlclassify.types import AnyArray, ArrayLike, Float32, Float64
from mlclassify.vision.backbones import Architecture, Layer
from mlclassify.weights import ModelFileError

_Sum: TypeAlias = Callable[[Float64], object]

_HEAD_BATCHNORM_BIAS = 1e-3
_HEAD_WIDTH = 512
_LAYERSCALE = 1e-6  # a block of a fresh network adds next to nothing
_NOT_KEPT = "num_batches_tracked"


def create_model(
    arch: Architecture,
    n_out: int,
    ps: float = 0.5,
    seed: int = 0,
    body: Mapping[str, ArrayLike] | None = None,
    source: str = "these weights",
    exact: bool = False,
) -> Model:
    """Build a backbone with fastai's head, ready to train.

    The head is: maximum and mean of each channel, batch norm, dropout ps / 2, a linear layer to
    512, ReLU, batch norm, dropout ps, a linear layer to `n_out`; no biases.

    Parameters
    ----------
    arch : Architecture
    n_out : int
        Number of labels.
    ps : float
        Dropout before the last layer, in [0, 1).
    seed : int
        Of the head's random start, and the backbone's when `body` is None.
    body : dict of str to ndarray, optional
        Pretrained tensors under the names of `arch`; others in it, as ``fc``, are left out.
    source : str
        How messages call `body`, for instance its file.
    exact : bool
        Convolutions by direct sums only, which take longer and round a little less.

    Returns
    -------
    Model
    """
    model = build_model(arch, n_out, ps, exact)
    model.start(seed, body=body is None)
    if body is not None:
        model.load_body(body, source)
    return model


def build_model(
    arch: Architecture, n_out: int, ps: float = 0.5, exact: bool = False
) -> Model:
    """Build the network of `create_model` without weights to start from."""
    layers = arch.layers()
    x = layers.add("concatpool", "head.pool", len(layers))
    x = layers.batchnorm(x, "head.bn1")
    x = layers.add("dropout", "head.drop1", x, p=ps / 2)
    x = layers.add("linear", "head.fc1", x, out=_HEAD_WIDTH, bias=False)
    x = layers.add("relu", "head.relu", x)
    x = layers.batchnorm(x, "head.bn2")
    x = layers.add("dropout", "head.drop2", x, p=ps)
    layers.add("linear", "head.fc2", x, out=n_out, bias=False)
    return Model(arch, n_out, layers, ps, exact)


def build_backbone(arch: Architecture, exact: bool = False) -> Model:
    """Build a backbone that ends with the maximum and the mean of each channel, without weights.

    It has no head: what it is for is `Model.forward_with_features`.

    Parameters
    ----------
    arch : Architecture
    exact : bool
        As in `create_model`.

    Returns
    -------
    Model
    """
    layers = arch.layers()
    layers.add("concatpool", "pool", len(layers))
    return Model(arch, 2 * arch.features, layers, 0.0, exact)


def create_classifier(
    arch: Architecture, n_out: int = 1000, seed: int = 0, exact: bool = False
) -> Model:
    """Build a backbone with the head that its ImageNet weights have.

    Parameters
    ----------
    arch : Architecture
    n_out : int
    seed : int
        Of the random start.
    exact : bool
        Convolutions by direct sums only, which take longer and round a little less.

    Returns
    -------
    Model
        `load_state_dict` takes torchvision's weights as they are, of the mobile networks timm's.
    """
    layers = arch.layers()
    arch.top(layers, len(layers), n_out)
    model = Model(arch, n_out, layers, 0.0, exact)
    model.start(seed)
    return model


class Model:
    """A network with its weights: called with images it gives logits.

    Made by `create_model`, `build_model`, `build_backbone` or `create_classifier`.

    Parameters
    ----------
    arch : Architecture
    n_out : int
    layers : list
        The whole network, as ``_core.Net`` takes it.
    ps : float
        The dropout that `layers` were made with; kept for the model file.
    exact : bool
        Convolutions by direct sums only; kept for the model file, too.

    Attributes
    ----------
    net : _core.Net
    groups : list of lists of str
        Parameter names by group, the first layers first.
    pretrained : bool
        Whether weights were loaded; fine-tuning freezes only what has learned something.
    weights_file : Path or None
        What `vision_learner` read them from.
    trainable : list of str
        The parameters that training moves now.
    last_map : str
        The layer that writes the last feature map.
    head : list of layers
        What comes after it, as in `layers`.
    """

    trainable: list[str]
    weights_file: Path | None

    def __init__(
        self,
        arch: Architecture,
        n_out: int,
        layers: Sequence[Layer],
        ps: float,
        exact: bool = False,
    ) -> None:
        self.arch, self.n_out, self.ps, self.exact = arch, n_out, ps, bool(exact)
        self.pretrained, self.weights_file = False, None
        first = len(arch.layers())
        self.last_map, self.head = layers[first - 1][1], list(layers[first:])
        self.net = _core.Net(list(layers), 3, exact)
        self._bf16 = False
        self._kinds = {name: kind for kind, name, _, _ in layers}
        self.groups = _split(self.net.parameters(), arch.groups)
        self.net.set_groups(self.groups)
        self.set_decay()
        self.freeze_to(0)

    @property
    def bf16(self) -> bool:
        """Whether training keeps its activations as bfloat16; `set_bf16` says."""
        return self._bf16

    def set_bf16(self, bf16: bool) -> None:
        """Choose what a training step keeps from its forward pass for the backward one.

        It keeps the outputs of convolutions, most of the memory that it takes; bfloat16 halves
        them, rounded to 8 bits, and batch norms read what is kept, forward and backward. So are
        numbers rounded that 1 x 1 convolutions of 64 channels or more multiply, but for the
        gradient of their weights. Weights, statistics, gradients, the head and all sums stay
        float32, and predictions give the same bits. It holds from the next step on, and loses
        nothing.

        Parameters
        ----------
        bf16 : bool
            False: float32.

        Examples
        --------
        >>> from mlclassify.vision.backbones import resnet18
        >>> from mlclassify.vision.models import create_model
        >>> model = create_model(resnet18, n_out=3)
        >>> before = model.net.memory(64, 224, 224, train=True)
        >>> model.set_bf16(True)
        >>> model.net.memory(64, 224, 224, train=True) < 0.6 * before
        True
        """
        self.net.set_bf16(bf16)
        self._bf16 = bool(bf16)

    def __call__(self, x: ArrayLike) -> Tensor:
        """Return the logits of a batch of images in evaluation mode.

        Parameters
        ----------
        x : array_like (N, 3, H, W)
            Normalised images.

        Returns
        -------
        Tensor float32 (N, n_out)
        """
        return np.ndarray.view(self.forward(images_to_c(x)), type=Tensor)

    def forward(
        self, x: Float32, train: bool = False, seed: int = 0, epoch: int = 0, position: int = 0,
        sum: _Sum | None = None
    ) -> Float32:
        """Run the network; `seed`, `epoch` and `position` of the first image key the dropout.

        In training ``sum(values)`` adds a float64 array up, in place, over the processes that have
        the rest of the batch.
        """
        logits = self.net.forward(
            x, train=train, seed=seed, epoch=epoch, position=position, sum=sum
        )
        return cast(Float32, logits)

    def forward_with_features(self, x: Float32) -> tuple[Float32, Float32]:
        """Run the network; also return what its head reads of the last feature map.

        Parameters
        ----------
        x : float32 (N, 3, H, W)
            As batches come.

        Returns
        -------
        logits : float32 (N, n_out)
        features : float32 (N, F)
            The maximum of each channel, where the head reads those too, and the mean of each; as
            two vectors of length 1, so a cosine of features is the mean of their two.
        """
        kind, pool = self.head[0][:2]
        logits, pooled = self._forward_with(x, pool)
        parts = pooled.reshape(len(pooled), 2 if kind == "concatpool" else 1, -1)
        lengths = np.linalg.norm(parts, axis=2, keepdims=True)
        features: AnyArray = parts / np.where(lengths, lengths, 1)
        return logits, features.reshape(len(pooled), -1)

    def forward_with_map(self, x: Float32) -> tuple[Float32, Float32]:
        """Run the network; also return its last feature map.

        Parameters
        ----------
        x : float32 (N, 3, H, W)
            As batches come.

        Returns
        -------
        logits : float32 (N, n_out)
        feature_map : float32 (N, F, h, w)
        """
        return self._forward_with(x, self.last_map)

    def _forward_with(self, x: Float32, layer: str) -> tuple[Float32, Float32]:
        """Run the network; also return what a layer of it writes."""
        return cast(tuple[Float32, Float32], self.net.forward(x, also=layer))

    def backward(
        self, gradient: Float32, accumulate: bool = False, sum: _Sum | None = None,
        ready: Callable[[str], object] | None = None
    ) -> None:
        """Carry d loss / d logits, float32 (N, n_out), to the gradients of the parameters.

        `sum` as in `forward`; ``ready(layer)`` is told each layer whose gradients are complete.
        """
        self.net.backward(gradient, accumulate=accumulate, sum=sum, ready=ready)

    def rollback(self) -> None:
        """Undo what a training forward without its step did to the running statistics."""
        self.net.rollback()

    def start(self, seed: int, body: bool = True) -> None:
        """Draw the weights to start from: the head's, and the backbone's if `body`.

        Convolutions start as torchvision's (He, by outputs), linear layers as fastai's (He, by
        inputs), those of a ConvNeXt as timm's (standard deviation 0.02); norms at scale 1 and
        shift 0, batch norms of the head at 1e-3; a layer scale at 1e-6.
        """
        state = {}
        for position, (name, value) in enumerate(self.net.parameters().items()):
            if body or not self._in_body(name):
                state[name] = self._start_of(name, value.shape, seed, position)
        for name, value in self.net.buffers().items():
            if body or not self._in_body(name):
                constant = 1 if name.endswith("running_var") else 0
                state[name] = np.full(value.shape, constant, np.float32)
        self.net.load_state_dict(state)

    def _start_of(
        self, name: str, shape: tuple[int, ...], seed: int, position: int
    ) -> Float32:
        kind = self._kinds[name.rpartition(".")[0]]
        if name.endswith(".bias"):
            in_head = kind == "batchnorm" and not self._in_body(name)
            return np.full(shape, _HEAD_BATCHNORM_BIAS if in_head else 0, np.float32)
        if self._is_norm(name):
            return np.ones(shape, np.float32)
        if kind == "layerscale":
            return np.full(shape, _LAYERSCALE, np.float32)
        if self.arch.std is not None and self._in_body(name):
            return _normal(shape, seed, position, self.arch.std)
        filters = 1 if kind == "depthwise" else shape[0]
        fan = filters * shape[2] * shape[3] if len(shape) == 4 else shape[1]
        return _normal(shape, seed, position, np.sqrt(2 / fan))

    def _is_norm(self, name: str) -> bool:
        return self._kinds[name.rpartition(".")[0]] in ("batchnorm", "layernorm")

    def _in_body(self, name: str) -> bool:
        return any(name.split(".", maxsplit=1)[0] in group for group in self.arch.groups)

    # --- weights

    def parameters(self) -> dict[str, Float32]:
        """Return the parameters by name, as read-only views."""
        return self.net.parameters()

    def state_dict(self) -> dict[str, Float32]:
        """Return a copy of every parameter and running statistic, float32, by name."""
        own = {**self.net.parameters(), **self.net.buffers()}
        return {name: np.array(value) for name, value in own.items()}

    def load_state_dict(
        self, state: Mapping[str, ArrayLike], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Write weights into the model, all of them or none.

        Parameters
        ----------
        state : dict of str to array_like
            With or without torch's ``num_batches_tracked``.
        strict : bool
            Whether every name must be there and known; else what fits is loaded.

        Returns
        -------
        missing, unexpected : lists of str

        Raises
        ------
        ValueError
            A shape differs, or `strict` and the names differ.
        """
        check_has("load_state_dict", "state", state, "be a dict from names to arrays", "items")
        own = {**self.net.parameters(), **self.net.buffers()}
        given = {k: v for k, v in state.items() if not k.endswith(_NOT_KEPT)}
        missing = [k for k in own if k not in given]
        unexpected = [k for k in given if k not in own]
        if strict and (missing or unexpected):
            raise ValueError(
                "load_state_dict: `state` must have the names of the model, got "
                f"{_some(missing)} missing and {_some(unexpected)} unknown"
            )
        fitting = {k: v for k, v in given.items() if k in own}
        self.net.load_state_dict(_as_shapes_of(own, fitting, "load_state_dict: `state`"))
        self.pretrained = True
        return missing, unexpected

    def load_body(self, tensors: Mapping[str, ArrayLike], source: str) -> None:
        """Write the backbone's weights and leave the head alone.

        Parameters
        ----------
        tensors : dict of str to ndarray
            Under the names of the architecture; others in it, as ``fc``, are left out.
        source : str
            How messages call them.

        Raises
        ------
        ModelFileError
            A name is missing, or a shape differs.
        """
        own = {**self.net.parameters(), **self.net.buffers()}
        body = {k: v for k, v in own.items() if self._in_body(k)}
        missing = [k for k in body if k not in tensors]
        if missing:
            raise ModelFileError(
                f"{self.arch.name}: {source} must hold all weights of the backbone under "
                f"{self.arch.library}'s names, got {_some(missing)} missing"
            )
        fitting = {k: tensors[k] for k in body}
        try:
            self.net.load_state_dict(_as_shapes_of(own, fitting, f"{self.arch.name}: {source}"))
        except ValueError as error:
            raise ModelFileError(str(error)) from None
        self.pretrained = True

    # --- what is trained

    def freeze_to(self, n: int, train_bn: bool = True) -> None:
        """Train the parameter groups from `n` on; negative numbers count from the end.

        Parameters
        ----------
        n : int
        train_bn : bool
            Whether norms of the frozen groups go on training, as fastai has it.
        """
        if not isinstance(n, (int, np.integer)) or not -len(self.groups) <= n < len(self.groups):
            raise ValueError(
                f"freeze_to: `n` must be one of the {len(self.groups)} groups, got {n!r}"
            )
        first = n % len(self.groups)
        self.set_trainable([
            name for i, group in enumerate(self.groups) for name in group
            if i >= first or (train_bn and self._is_norm(name))
        ])

    def set_trainable(self, names: Sequence[str]) -> None:
        """Train exactly these parameters."""
        self.net.set_trainable(names)
        self.trainable = list(names)

    def freeze(self, train_bn: bool = True) -> None:
        """Train only the last group."""
        self.freeze_to(-1, train_bn)

    def unfreeze(self) -> None:
        """Train everything."""
        self.freeze_to(0)

    def set_decay(self, wd_bn_bias: bool = False) -> None:
        """Let weight decay reach all parameters, or all but norms and biases."""
        self.net.set_decay([
            name for group in self.groups for name in group
            if wd_bn_bias or not (self._is_norm(name) or name.endswith(".bias"))
        ])

    def first_not_finite(self) -> str | None:
        """Return the name of the first parameter that holds NaN or infinity, or None."""
        for name, value in self.net.parameters().items():
            if not np.isfinite(value).all():
                return name
        return None

    def first_norm_not_finite(self) -> str | None:
        """Return the name of the first batch norm whose running statistics are not finite, or None.

        After a training forward and before its rollback: the layer where activations overflowed.
        """
        for name, value in self.net.buffers().items():
            if not np.isfinite(value).all():
                return name.rpartition(".")[0]
        return None

    @property
    def needs_pairs(self) -> bool:
        """Whether training normalizes over the photos of a batch alone, so that one is too few."""
        return any(kind == "batchnorm" and not self._in_body(name)
                   for name, kind in self._kinds.items())

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned, frozen ones included."""
        return sum(value.size for value in self.net.parameters().values())

    def __repr__(self) -> str:
        sizes = {name: value.size for name, value in self.net.parameters().items()}
        trained = sum(sizes[name] for name in self.trainable)
        return (f"{self.arch.name} for {self.n_out} labels: {self.num_parameters:,} parameters, "
                f"{trained:,} of them training")


def _split(names: Iterable[str], prefixes: Sequence[Sequence[str]]) -> list[list[str]]:
    """Sort parameter names into the groups of a backbone and, last, all others."""
    groups: list[list[str]] = [[] for _ in range(len(prefixes) + 1)]
    for name in names:
        top = name.split(".")[0]
        groups[next((i for i, g in enumerate(prefixes) if top in g), -1)].append(name)
    return groups


def _as_shapes_of(
    own: Mapping[str, Float32], given: Mapping[str, ArrayLike], where: str
) -> dict[str, Float32]:
    """Return `given` as contiguous float32 arrays, or say which one has another shape."""
    out = {}
    for name, value in given.items():
        out[name] = as_float32(name, where, value)
        if out[name].shape != own[name].shape:
            raise ValueError(f"{where} must hold {name} of shape {own[name].shape}, "
                             f"got {out[name].shape}")
    return out


def _some(names: Sequence[str]) -> str:
    """Name the first of several names, for a message."""
    if not names:
        return "none"
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _normal(shape: tuple[int, ...], seed: int, position: int, std: float) -> Float32:
    """Draw normal numbers by key, two of them from two uniform ones (Box and Muller, 1958)."""
    n = int(np.prod(shape))
    half = (n + 1) // 2
    u = uniforms(seed, 0, [position], HEAD_INIT, 2 * half)[0]
    radius = std * np.sqrt(-2 * np.log1p(-u[:half]))
    angle = 2 * np.pi * u[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:n].astype(np.float32).reshape(shape)
