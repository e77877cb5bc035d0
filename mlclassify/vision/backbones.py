"""Backbones as lists of layers.

A network is a list of (kind, name, inputs, options) for ``_core.Net``: tensor 0 is the batch of
images and layer i writes tensor i + 1. Parameters carry the names of others, torchvision's of a
ResNet and timm's of all others. A new backbone is a function that lists its layers, and a line in
ARCHS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Layer: TypeAlias = tuple[str, str, tuple[int, ...], dict[str, Any]]

_BATCHNORM = {"eps": 1e-5, "momentum": 0.1}


class Layers(list[Layer]):
    """A list of layers that is written from the first to the last."""

    def add(self, kind: str, name: str, *inputs: int, **options: Any) -> int:
        """Append a layer and return the number of the tensor that it writes."""
        self.append((kind, name, inputs, options))
        return len(self)

    def conv(self, x: int, name: str, out: int, kernel: int, stride: int) -> int:
        return self.add("conv", name, x, out=out, kernel=kernel, stride=stride,
                        padding=kernel // 2)

    def pointwise(self, x: int, name: str, out: int) -> int:
        return self.conv(x, name, out, 1, 1)

    def depthwise(self, x: int, name: str, kernel: int, stride: int, bias: bool = False) -> int:
        return self.add("depthwise", name, x, kernel=kernel, stride=stride, padding=kernel // 2,
                        bias=bias)

    def batchnorm(self, x: int, name: str, residual: int | None = None, relu: bool = False,
                  act: str | None = None) -> int:
        inputs = (x,) if residual is None else (x, residual)
        then = {"relu": relu} if act is None else {"act": act}
        return self.add("batchnorm", name, *inputs, **then, **_BATCHNORM)


    def layernorm(self, x: int, name: str) -> int:
        return self.add("layernorm", name, x, eps=1e-6)

    def linear(self, x: int, name: str, out: int) -> int:
        return self.add("linear", name, x, out=out, bias=True)

    def patches(self, x: int, name: str, out: int, side: int) -> int:
        """A convolution of patches side by side."""
        return self.add("conv", name, x, out=out, kernel=side, stride=side, padding=0, bias=True)


def _pooled_linear(layers: Layers, x: int, n_out: int) -> None:
    """ImageNet's head of a ResNet: the mean of each channel and one linear layer."""
    x = layers.add("avgpool", "avgpool", x)
    layers.add("linear", "fc", x, out=n_out, bias=True)


@dataclass(frozen=True)
class Architecture:
    """A backbone: what a factory takes as `arch`, and what a saved model names.

    Parameters
    ----------
    name : str
    layers : function
        ``layers()`` gives a fresh list of the layers up to the last feature map.
    features : int
        Channels of that feature map.
    groups : tuple of tuples of str
        The parameter groups of the backbone, as the first parts of parameter names.
    top : function
        ``top(layers, x, n_out)`` adds the head that its ImageNet weights come with.
    library : {'torchvision', 'timm'}
        Whose names its parameters have.
    std : float, optional
        Standard deviation that the weights of its backbone start with; default He's, by outputs.
    """

    name: str
    layers: Callable[[], Layers] = field(repr=False)
    features: int
    groups: tuple[tuple[str, ...], ...]
    top: Callable[[Layers, int, int], None] = field(default=_pooled_linear, repr=False)
    library: str = "torchvision"
    std: float | None = None


_Block: TypeAlias = Callable[[Layers, int, str, int, int, bool], int]


def _resnet(depth: int, block: _Block, repeats: Sequence[int], expansion: int) -> Architecture:
    """Describe a ResNet of arXiv:1512.03385, its layers named and strided as torchvision's.

    Parameters
    ----------
    depth : int
        What its name ends in.
    block : function
        `_basic_block` or `_bottleneck`.
    repeats : sequence of int
        Blocks of each of the four stages.
    expansion : int
        Channels that leave a block, for each of its width.

    Returns
    -------
    Architecture
    """
    widths = (64, 128, 256, 512)

    def layers() -> Layers:
        layers = Layers()
        x = layers.conv(0, "conv1", 64, 7, 2)
        x = layers.batchnorm(x, "bn1", relu=True)
        x = layers.add("maxpool", "maxpool", x, kernel=3, stride=2, padding=1)
        channels = 64
        for stage, (width, n) in enumerate(zip(widths, repeats), start=1):
            for i in range(n):
                stride = 2 if i == 0 and stage > 1 else 1
                projected = stride != 1 or channels != expansion * width
                x = block(layers, x, f"layer{stage}.{i}", width, stride, projected)
                channels = expansion * width
        return layers

    # fastai cuts all of them at the same place.
    groups = (("conv1", "bn1", "layer1", "layer2"), ("layer3", "layer4"))
    return Architecture(f"resnet{depth}", layers, expansion * widths[-1], groups)


def _basic_block(
    layers: Layers, x: int, name: str, width: int, stride: int, projected: bool
) -> int:
    """Two 3x3 convolutions and a shortcut, which is projected where the shape changes.

    The shortcut comes first so that its backward comes last: the gradient of x, of which a 1x1 of
    stride 2 has three quarters of zeros, is then written by the other path and only added to.
    """
    shortcut = _shortcut(layers, x, name, width, stride) if projected else x
    y = layers.conv(x, f"{name}.conv1", width, 3, stride)
    y = layers.batchnorm(y, f"{name}.bn1", relu=True)
    y = layers.conv(y, f"{name}.conv2", width, 3, 1)
    return layers.batchnorm(y, f"{name}.bn2", residual=shortcut, relu=True)


def _bottleneck(
    layers: Layers, x: int, name: str, width: int, stride: int, projected: bool
) -> int:
    """1x1, 3x3 and 1x1 to four times the width; the stride is in the 3x3, as torchvision has it."""
    shortcut = _shortcut(layers, x, name, 4 * width, stride) if projected else x
    y = layers.conv(x, f"{name}.conv1", width, 1, 1)
    y = layers.batchnorm(y, f"{name}.bn1", relu=True)
    y = layers.conv(y, f"{name}.conv2", width, 3, stride)
    y = layers.batchnorm(y, f"{name}.bn2", relu=True)
    y = layers.conv(y, f"{name}.conv3", 4 * width, 1, 1)
    return layers.batchnorm(y, f"{name}.bn3", residual=shortcut, relu=True)


def _shortcut(layers: Layers, x: int, name: str, out: int, stride: int) -> int:
    x = layers.conv(x, f"{name}.downsample.0", out, 1, stride)
    return layers.batchnorm(x, f"{name}.downsample.1")


resnet18 = _resnet(18, _basic_block, (2, 2, 2, 2), 1)
resnet34 = _resnet(34, _basic_block, (3, 4, 6, 3), 1)
resnet50 = _resnet(50, _bottleneck, (3, 4, 6, 3), 4)
resnet101 = _resnet(101, _bottleneck, (3, 4, 23, 3), 4)


# --- mobile networks, with timm's names


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a stage that are alike but for the first one's input and stride."""

    stage: int
    repeats: int
    kernel: int
    stride: int
    widening: float
    channels: int
    act: str
    excites: bool


@dataclass(frozen=True)
class _Excitation:
    """Squeeze-and-excitation (arXiv:1709.01507): its two activations, and its narrow width."""

    act: str
    gate: str
    width: Callable[[int, int], int]  # of a block's input channels and widened ones

    def add(self, layers: Layers, x: int, name: str, channels: int, width: int) -> int:
        y = layers.add("avgpool", f"{name}.pool", x)
        y = layers.add("linear", f"{name}.conv_reduce", y, out=width, bias=True, kernel=1)
        y = layers.add("activation", f"{name}.act1", y, act=self.act)
        y = layers.add("linear", f"{name}.conv_expand", y, out=channels, bias=True, kernel=1)
        y = layers.add("activation", f"{name}.gate", y, act=self.gate)
        return layers.add("scale", name, x, y)


def _mobile_block(layers: Layers, x: int, name: str, channels: int, stride: int, like: _Blocks,
                  excitation: _Excitation) -> int:
    """Widen, filter each channel by itself, narrow; the sum with the input where shapes allow.

    Without widening the convolutions have the names of timm's DepthwiseSeparableConv, else those
    of its InvertedResidual (arXiv:1801.04381).
    """
    wide, separable = round(like.widening * channels), like.widening == 1
    y, n = x, 1
    if not separable:
        y = layers.batchnorm(layers.pointwise(y, f"{name}.conv_pw", wide), f"{name}.bn1",
                             act=like.act)
        n = 2
    y = layers.depthwise(y, f"{name}.conv_dw", like.kernel, stride)
    y = layers.batchnorm(y, f"{name}.bn{n}", act=like.act)
    if like.excites:
        y = excitation.add(layers, y, f"{name}.se", wide, excitation.width(channels, wide))
    y = layers.pointwise(y, f"{name}.conv_pw" if separable else f"{name}.conv_pwl", like.channels)
    kept = stride == 1 and channels == like.channels
    return layers.batchnorm(y, f"{name}.bn{n + 1}", residual=x if kept else None)


def _mobile_layers(stem: int, act: str, rows: Sequence[_Blocks],
                   excitation: _Excitation) -> Layers:
    """The stem and all stages of blocks."""
    layers = Layers()
    x = layers.conv(0, "conv_stem", stem, 3, 2)
    x = layers.batchnorm(x, "bn1", act=act)
    channels, done = stem, dict.fromkeys((row.stage for row in rows), 0)
    for row in rows:
        for i in range(row.repeats):
            name = f"blocks.{row.stage}.{done[row.stage]}"
            done[row.stage] += 1
            x = _mobile_block(layers, x, name, channels, row.stride if i == 0 else 1, row,
                              excitation)
            channels = row.channels
    return layers


def _divisible(width: float) -> int:
    """The multiple of 8 next to a width, never less than 0.9 of it; as the papers round."""
    near = max(8, int(width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * width else near


def _mobilenetv3_layers() -> Layers:
    """MobileNetV3-Large (arXiv:1905.02244, table 1) up to its last feature map."""
    rows = [
        _Blocks(0, 1, 3, 1, 1, 16, "relu", False),
        _Blocks(1, 1, 3, 2, 4, 24, "relu", False),
        _Blocks(1, 1, 3, 1, 3, 24, "relu", False),
        _Blocks(2, 3, 5, 2, 3, 40, "relu", True),
        _Blocks(3, 1, 3, 2, 6, 80, "hardswish", False),
        _Blocks(3, 1, 3, 1, 2.5, 80, "hardswish", False),
        _Blocks(3, 2, 3, 1, 2.3, 80, "hardswish", False),
        _Blocks(4, 2, 3, 1, 6, 112, "hardswish", True),
        _Blocks(5, 3, 5, 2, 6, 160, "hardswish", True),
    ]
    excitation = _Excitation("relu", "hardsigmoid", lambda narrow, wide: _divisible(wide / 4))
    layers = _mobile_layers(16, "hardswish", rows, excitation)
    x = layers.pointwise(len(layers), "blocks.6.0.conv", 960)
    layers.batchnorm(x, "blocks.6.0.bn1", act="hardswish")
    return layers


def _mobilenetv3_top(layers: Layers, x: int, n_out: int) -> None:
    """Its head convolves after the mean, so fastai leaves that out with the head, as here."""
    x = layers.add("avgpool", "global_pool", x)
    x = layers.add("linear", "conv_head", x, out=1280, bias=True, kernel=1)
    x = layers.add("activation", "act2", x, act="hardswish")
    layers.add("linear", "classifier", x, out=n_out, bias=True)


def _efficientnet_layers() -> Layers:
    """EfficientNet-B0 (arXiv:1905.11946, table 1) up to its last feature map."""
    rows = [
        _Blocks(0, 1, 3, 1, 1, 16, "silu", True),
        _Blocks(1, 2, 3, 2, 6, 24, "silu", True),
        _Blocks(2, 2, 5, 2, 6, 40, "silu", True),
        _Blocks(3, 3, 3, 2, 6, 80, "silu", True),
        _Blocks(4, 3, 5, 1, 6, 112, "silu", True),
        _Blocks(5, 4, 5, 2, 6, 192, "silu", True),
        _Blocks(6, 1, 3, 1, 6, 320, "silu", True),
    ]
    excitation = _Excitation("silu", "sigmoid", lambda narrow, wide: round(narrow / 4))
    layers = _mobile_layers(32, "silu", rows, excitation)
    x = layers.pointwise(len(layers), "conv_head", 1280)
    layers.batchnorm(x, "bn2", act="silu")
    return layers


def _efficientnet_top(layers: Layers, x: int, n_out: int) -> None:
    x = layers.add("avgpool", "global_pool", x)
    layers.add("linear", "classifier", x, out=n_out, bias=True)


# fastai splits what it takes from timm between body and head.
mobilenetv3_large_100 = Architecture(
    "mobilenetv3_large_100", _mobilenetv3_layers, 960, (("conv_stem", "bn1", "blocks"),),
    _mobilenetv3_top, "timm")
efficientnet_b0 = Architecture(
    "efficientnet_b0", _efficientnet_layers, 1280,
    (("conv_stem", "bn1", "blocks", "conv_head", "bn2"),), _efficientnet_top, "timm")

# --- ConvNeXt


def _convnext_layers(depths: Sequence[int], widths: Sequence[int]) -> Layers:
    """ConvNeXt (arXiv:2201.03545), with timm's names, up to its last feature map.

    That is where timm's ``forward_features`` ends, and so what fastai puts its head on: the last
    layer norm comes after the mean and is part of ImageNet's head.
    """
    layers = Layers()
    x = layers.patches(0, "stem.0", widths[0], 4)
    x = layers.layernorm(x, "stem.1")
    for stage, (depth, width) in enumerate(zip(depths, widths)):
        if stage > 0:
            x = layers.layernorm(x, f"stages.{stage}.downsample.0")
            x = layers.patches(x, f"stages.{stage}.downsample.1", width, 2)
        for i in range(depth):
            x = _convnext_block(layers, x, f"stages.{stage}.blocks.{i}", width)
    return layers


def _convnext_block(layers: Layers, x: int, name: str, width: int) -> int:
    """Filter each channel by itself, then mix them at every pixel, and add that, scaled, to x."""
    y = layers.depthwise(x, f"{name}.conv_dw", 7, 1, bias=True)
    y = layers.layernorm(y, f"{name}.norm")
    y = layers.linear(y, f"{name}.mlp.fc1", 4 * width)
    y = layers.add("activation", f"{name}.mlp.act", y, act="gelu")
    y = layers.linear(y, f"{name}.mlp.fc2", width)
    return layers.add("layerscale", name, y, x)


def _convnext_top(layers: Layers, x: int, n_out: int) -> None:
    x = layers.add("avgpool", "head.global_pool", x)
    x = layers.layernorm(x, "head.norm")
    layers.linear(x, "head.fc", n_out)


convnext_tiny = Architecture(
    "convnext_tiny", lambda: _convnext_layers((3, 3, 9, 3), (96, 192, 384, 768)), 768,
    (("stem", "stages"),), _convnext_top, "timm", std=0.02)

ARCHS = {arch.name: arch for arch in (resnet18, resnet34, resnet50, resnet101,
                                      mobilenetv3_large_100, efficientnet_b0, convnext_tiny)}
