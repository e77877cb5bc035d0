"""Grad-CAM: where in a photo the evidence for a label lies (Selvaraju et al., ICCV 2017).

The map is ``relu(sum over channels k of a_k A_k)``, with A the last feature map and a_k the mean
over its places of d logit / dA_k. Everything between A and a logit is the head, a chain of a few
small layers, so its gradient is written out here: in evaluation mode, in float64, from the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from mlclassify.arrays import images_to_c
from mlclassify.types import ArrayLike, Float64
from mlclassify.vision.models import Model

Backward: TypeAlias = Callable[[Float64], Float64]
_Through: TypeAlias = tuple[Float64, Backward]  # what a layer gives, and its way back
_Own: TypeAlias = Mapping[str, Float64]
_Options: TypeAlias = Mapping[str, Any]


def grad_cam(model: Model, x: ArrayLike, label: int) -> Float64:
    """Return how much each place of the last feature map speaks for a label.

    Parameters
    ----------
    model : Model
    x : array_like (N, 3, H, W)
        Normalised images.
    label : int
        Its column.

    Returns
    -------
    float64 ndarray (N, h, w)
        Not negative; all 0 where nothing speaks for it.

    Examples
    --------
    ``grad_cam(learn.model, dls.one_batch()[0], label=2)``
    """
    feature_map = model.forward_with_map(images_to_c(x))[1].astype(np.float64)
    weights = head_gradient(model, feature_map, label).mean(axis=(2, 3))
    heat: Float64 = np.einsum("nk,nkhw->nhw", weights, feature_map)
    return np.maximum(heat, 0)


def head_gradient(model: Model, feature_map: Float64, label: int) -> Float64:
    """Return d logit / d feature map of one label.

    Parameters
    ----------
    model : Model
    feature_map : float64 (N, F, h, w)
    label : int

    Returns
    -------
    float64 ndarray (N, F, h, w)
    """
    logits, backward = head_logits(model, feature_map)
    gradient = np.zeros_like(logits)
    gradient[:, label] = 1
    return backward(gradient)


def head_logits(model: Model, feature_map: Float64) -> tuple[Float64, Backward]:
    """Run the head in evaluation mode.

    Parameters
    ----------
    model : Model
    feature_map : float64 (N, F, h, w)

    Returns
    -------
    logits : float64 (N, L)
    backward : function
        From d something / d logits to d something / d feature map.
    """
    state = {**model.net.parameters(), **model.net.buffers()}
    x, backwards = feature_map, list[Backward]()
    for kind, name, _, options in model.head:
        own = {key.removeprefix(f"{name}."): value.astype(np.float64)
               for key, value in state.items() if key.startswith(f"{name}.")}
        x, backward = _LAYERS[kind](x, own, options)
        backwards.append(backward)

    def through_all(gradient: Float64) -> Float64:
        for backward in reversed(backwards):
            gradient = backward(gradient)
        return gradient

    return x, through_all


# Each layer: (input, its parameters, its options) to (output, function from dy to dx).


def _average(x: Float64, own: _Own, options: _Options) -> _Through:
    n, channels, h, w = x.shape

    def backward(dy: Float64) -> Float64:
        return np.broadcast_to((dy / (h * w))[:, :, None, None], x.shape)

    return x.mean(axis=(2, 3)), backward


def _maximum(x: Float64, own: _Own, options: _Options) -> _Through:
    flat = x.reshape(*x.shape[:2], -1)
    at = flat.argmax(axis=2)[:, :, None]

    def backward(dy: Float64) -> Float64:
        dx = np.zeros_like(flat)
        np.put_along_axis(dx, at, dy[:, :, None], axis=2)
        return dx.reshape(x.shape)

    return np.take_along_axis(flat, at, axis=2)[:, :, 0], backward


def _maximum_and_average(x: Float64, own: _Own, options: _Options) -> _Through:
    (largest, of_largest), (mean, of_mean) = _maximum(x, own, options), _average(x, own, options)

    def backward(dy: Float64) -> Float64:
        return of_largest(dy[:, : x.shape[1]]) + of_mean(dy[:, x.shape[1] :])

    return np.concatenate([largest, mean], axis=1), backward


def _batchnorm(x: Float64, own: _Own, options: _Options) -> _Through:
    scale = own["weight"] / np.sqrt(own["running_var"] + options["eps"])
    return (x - own["running_mean"]) * scale + own["bias"], lambda dy: dy * scale


def _layernorm(x: Float64, own: _Own, options: _Options) -> _Through:
    d = x - x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((d * d).mean(axis=1, keepdims=True) + options["eps"])
    xhat = d * inverse

    def backward(dy: Float64) -> Float64:
        dz = dy * own["weight"]
        along = (dz * xhat).mean(axis=1, keepdims=True)
        dx: Float64 = inverse * (dz - dz.mean(axis=1, keepdims=True) - xhat * along)
        return dx

    return xhat * own["weight"] + own["bias"], backward


def _dropout(x: Float64, own: _Own, options: _Options) -> _Through:
    return x, lambda dy: dy


def _linear(x: Float64, own: _Own, options: _Options) -> _Through:
    weight = own["weight"].reshape(len(own["weight"]), -1)  # that of a 1x1 convolution, too
    return x @ weight.T + own.get("bias", 0.0), lambda dy: dy @ weight


def _relu(x: Float64, own: _Own, options: _Options) -> _Through:
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def _hardswish(x: Float64, own: _Own, options: _Options) -> _Through:
    """The one activation that a head of ImageNet has."""
    inside = np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0)
    return x * np.clip(x + 3, 0, 6) / 6, lambda dy: dy * inside


_LAYERS = {
    "activation": _hardswish, "avgpool": _average, "concatpool": _maximum_and_average,
    "batchnorm": _batchnorm, "dropout": _dropout, "layernorm": _layernorm, "linear": _linear,
    "relu": _relu,
}
