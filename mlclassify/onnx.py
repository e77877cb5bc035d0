"""Learners as ONNX files, which other runtimes run: pixels go in, decisions come out.

The graph holds all that `Learner.predict` does once a photo has its size: the resizing of batch
transforms, normalization, network, probabilities, thresholds and novelty. What comes before it,
decoding and item transforms, is the caller's; ``__metadata__`` of the file, JSON texts, says how:

========================  =========================================================================
``mlclassify.version``    of the library that wrote the file
``mlclassify.arch``       name of the backbone
``mlclassify.vocab``      the labels, in the order of the columns
``mlclassify.thresh``     one threshold, or one a label; 'inf' is never, '-inf' always
``mlclassify.size``       [height, width] of the pictures that go in; null if any will do
``mlclassify.item_tfms``  [name, arguments] of what brings a photo to that size, in order
``mlclassify.novelty``    {cut, k, names of the training photos}, or null
========================  =========================================================================
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mlclassify
from mlclassify.data.batch import BatchPlan, make_plan, run_plan, shrunk
from mlclassify.export import Exported, check_decides_alike, jsonable
from mlclassify.novelty import Novelty
from mlclassify.rng import CROP, KeyedRandom
from mlclassify.types import AnyArray, Float32
from mlclassify.vision.image import open_image, shrink_weights
from mlclassify.vision.models import Model
from mlclassify.weights import named_place
from mlclassify.wholefile import write_file

# Opset 17 with version 8 of the file format (June 2022): no later opset has anything that this
# graph uses, and every runtime since then reads it.
OPSET, IR_VERSION = 17, 8
_LARGEST = 2**31 - 1  # bytes of a protobuf message
_TINY = np.float32(1e-30)  # divides features of length 0, which stay 0


def write_onnx(learn: Exported, path: Path) -> None:
    """Write a learner to `path`, whole or not at all.

    Parameters
    ----------
    learn : Exported or Learner
    path : Path

    Raises
    ------
    ImportError
        onnx is not installed.
    ValueError
        The file name, the loss or a transform is none that a graph can hold, or it would be larger
        than 2 GiB.
    OSError
        The folder does not exist (FileNotFoundError), or cannot be written to.
    """
    onnx = _onnx()
    with named_place("export_onnx", path, ".onnx"):
        model = _model(onnx, learn)
        onnx.checker.check_model(model, full_check=True)
        write_file(path, model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "export_onnx: needs onnx, which is not installed; pip install 'mlclassify[onnx]'"
        ) from error
    return onnx


def _model(onnx: Any, learn: Exported) -> Any:
    """Return the whole ``onnx.ModelProto`` of a learner."""
    _check_loss(learn.loss_func)
    size = _picture_size(learn.dls.valid.item_tfms)
    graph = _Graph(onnx)
    images = _add_pictures(graph, learn.dls.valid.batch_tfms, size)
    logits, pooled = _add_network(graph, learn.model, images)
    if learn.novelty is not None and learn.novelty.backbone is not None:
        pooled += _add_network(graph, learn.novelty.backbone, images, "novelty.backbone.")[1]
    outputs = _add_answers(graph, learn, logits, pooled)
    h, w = size or ("height", "width")
    inputs = [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", h, w, 3])]
    if graph.bytes > _LARGEST:
        raise ValueError(
            f"export_onnx: `learn` must fit into a file of 2 GiB, got {graph.bytes} bytes of "
            "weights and features; fit_novelty on fewer photos, or learn.novelty = None"
        )
    made = onnx.helper.make_graph(graph.nodes, learn.model.arch.name, inputs, outputs,
                                  graph.initializers)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", OPSET)],
                                   ir_version=IR_VERSION, producer_name="mlclassify",
                                   producer_version=mlclassify.__version__)
    onnx.helper.set_model_props(model, _metadata(learn, size))
    return model


def _metadata(learn: Exported, size: tuple[int, int] | None) -> dict[str, str]:
    novelty = learn.novelty
    told = {
        "version": mlclassify.__version__,
        "arch": learn.model.arch.name,
        "vocab": [str(label) for label in learn.dls.vocab],
        "thresh": jsonable(learn.loss_func.thresh),
        "size": size,
        "item_tfms": [[type(t).__name__, t.config() if hasattr(t, "config") else {}]
                      for t in learn.dls.valid.item_tfms],
        "novelty": None if novelty is None else
        {"cut": jsonable(novelty.cut), "k": novelty.k, "names": novelty.names},
    }
    return {f"mlclassify.{name}": value if isinstance(value, str) else
            json.dumps(value, ensure_ascii=False) for name, value in told.items()}


def _check_loss(loss: Any) -> None:
    if not all(hasattr(loss, name) for name in ("activation", "decodes", "thresh")):
        raise ValueError(
            "export_onnx: `loss_func` must decide by a threshold on probabilities, as "
            f"BCEWithLogitsLossFlat does, got {loss!r}"
        )
    check_decides_alike(loss, "export_onnx")


class _Graph:
    """Nodes and constants of a graph that is being written; values go by their names."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.channels: dict[str, int] = {}  # the first dimension of a constant
        self.flat: set[str] = set()  # values that are (N, C), not (N, C, H, W)
        self.bytes = 0

    def add(self, op: str, *inputs: str, name: str = "", unused: tuple[str, ...] = (),
            **attributes: Any) -> str:
        """Append an operation; returns the name of its output, a new one where none is given."""
        name = name or f"{op}_{len(self.nodes)}"
        outputs = [name, *unused]
        node = self.onnx.helper.make_node(op, list(inputs), outputs, name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, name: str, value: AnyArray | np.generic) -> str:
        """Add a constant array; returns its name."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        self.bytes += array.nbytes
        if array.ndim:
            self.channels[name] = len(array)
        return name

    def number(self, value: float) -> str:
        """Return the name of a constant number, which is made once."""
        name = f"number.{value}"
        known = any(constant.name == name for constant in self.initializers)
        return name if known else self.constant(name, np.float32(value))


# --- from pixels to images


def _picture_size(item_tfms: list[Any]) -> tuple[int, int] | None:
    """Return (height, width) of what item transforms make of any photo, None if it varies."""
    sizes = set()
    for shape in ((60, 80, 3), (350, 200, 3)):
        photo = open_image(np.zeros(shape, np.uint8))
        for transform in item_tfms:
            photo = transform.apply(photo, KeyedRandom(0, 0, 0, CROP), False)
        sizes.add((photo.height, photo.width))
    return sizes.pop() if len(sizes) == 1 else None


def _add_pictures(graph: _Graph, batch_tfms: list[Any], size: tuple[int, int] | None) -> str:
    """Add what batch transforms do at validation; returns images, float (N, 3, H, W)."""
    h, w = size or (64, 64)
    plan = make_plan(batch_tfms, n=1, h=h, w=w)
    _check_plan(plan)
    x = graph.add("Cast", "pixels", to=graph.onnx.TensorProto.FLOAT)
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    if plan.homography is not None or plan.out_size != (h, w):
        if size is None:
            raise ValueError(
                "export_onnx: `item_tfms` must bring all photos to one size where batch "
                "transforms resize them, got photos of their own sizes; add Resize(460)"
            )
        x = _add_resizing(graph, plan, x)
    x = graph.add("Div", x, graph.constant("pixels.max", np.float32(255)))
    mean, std = (np.float32(v).reshape(1, 3, 1, 1) for v in (plan.mean, plan.std))
    x = graph.add("Sub", x, graph.constant("normalize.mean", mean))
    return graph.add("Div", x, graph.constant("normalize.std", std), name="images")


def _check_plan(plan: BatchPlan) -> None:
    """Refuse what only transforms of a user do at validation."""
    colors = any(c is not None for c in (plan.lighting, plan.tint, plan.turn)) or plan.finish
    h = plan.homography
    if colors or (h is not None and np.count_nonzero(h[0, [0, 1, 2, 2], [1, 0, 0, 1]])):
        raise ValueError(
            "export_onnx: `batch_tfms` must only resize and normalize at validation, got "
            "transforms that change more"
        )


def _add_resizing(graph: _Graph, plan: BatchPlan, x: str) -> str:
    """Add the resampling of a plan: each side by a matrix of its own, for nothing is turned.

    Like the photos, those that are averaged first are rounded to whole numbers in between.
    """
    if plan.homography is None:
        plan.homography = np.eye(3)[None]
    h, w = plan.h, plan.w
    if plan.size:
        blank = np.zeros((1, h, w, 3), np.uint8)
        h, w = shrunk(blank, plan.out_size, plan.homography).shape[1:3]
    for name, n_in, n_out, axis in (("columns", plan.w, w, 1), ("rows", plan.h, h, 0)):
        if n_in != n_out:
            x = _along(graph, x, f"shrink.{name}", shrink_weights(n_in, n_out), axis)
            x = graph.add("Add", x, graph.constant(f"shrink.{name}.half", np.float32(0.5)))
            x = graph.add("Floor", x)
    for name, axis in (("rows", 0), ("columns", 1)):
        x = _along(graph, x, f"resize.{name}", _line_weights(plan, h, w, axis), axis)
    return x


def _along(graph: _Graph, x: str, name: str, weights: Float32, axis: int) -> str:
    """Add a matrix (out, in) that makes new rows (axis 0) or columns of pictures (N, 3, H, W)."""
    if axis == 0:
        return graph.add("MatMul", graph.constant(name, weights), x)
    return graph.add("MatMul", x, graph.constant(name, weights.T))


def _line_weights(plan: BatchPlan, h: int, w: int, axis: int) -> Float32:
    """Return the matrix (out, in) of one side: what becomes of pictures of a single bright line."""
    columns = []
    for i in range((h, w)[axis]):
        picture = np.zeros((1, h, w, 3), np.uint8)
        picture[(0, i) if axis == 0 else (0, slice(None), i)] = 255
        out = np.empty((1, *plan.out_size, 3), np.float32)
        run_plan(BatchPlan(1, h, w, homography=plan.homography, size=plan.size, mode=plan.mode,
                           border=plan.border, align_corners=plan.align_corners), picture, out)
        across = out[0, :, :, 0] if axis == 0 else out[0, :, :, 0].T
        columns.append(across[:, across.shape[1] // 2])
    return np.stack(columns, axis=1)


# --- the network


def _add_network(graph: _Graph, model: Model, images: str,
                 prefix: str = "") -> tuple[str, list[str]]:
    """Add all layers; returns the logits, and what the head reads of each channel, (N, C) each.

    `prefix` stands before the names of layers and weights.
    """
    layers = [*model.arch.layers(), *model.head]
    linear = {f"{name}.weight" for kind, name, _, _ in layers if kind == "linear"}
    for name, value in {**model.parameters(), **model.net.buffers()}.items():
        matrix = name in linear  # that of a convolution's shape, too
        graph.constant(prefix + name, value.reshape(len(value), -1) if matrix else value)
    known = {constant.name for constant in graph.initializers}
    values, pooled = [images], [""]
    for kind, name, inputs, options in layers:
        given, name = [values[i] for i in inputs], prefix + name
        if kind in _POOLS:
            pooled = [_add_pool(graph, name, op, given[0]) for op in _POOLS[kind]]
            values.append(pooled[0] if len(pooled) == 1 else
                          graph.add("Concat", *pooled, name=name, axis=1))
            graph.flat.add(values[-1])
        else:
            values.append(_LAYERS[kind](graph, name, given, options, known))
            graph.flat |= {values[-1]} if given[0] in graph.flat else set()
    return values[-1], pooled


_POOLS = {"concatpool": ("GlobalMaxPool", "GlobalAveragePool"), "avgpool": ("GlobalAveragePool",)}


def _add_pool(graph: _Graph, name: str, op: str, x: str) -> str:
    return graph.add("Flatten", graph.add(op, x, name=f"{name}.{op}"), axis=1)


def _conv(graph: _Graph, name: str, x: list[str], options: dict[str, Any], known: set[str],
          group: int = 1) -> str:
    k, s, p = (options[key] for key in ("kernel", "stride", "padding"))
    return graph.add("Conv", *x, *_own(name, known, "weight", "bias"), name=name, group=group,
                     kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)


def _linear(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
            known: set[str]) -> str:
    weight, *bias = _own(name, known, "weight", "bias")
    if x[0] in graph.flat:
        return graph.add("Gemm", *x, weight, *bias, name=name, transB=1)
    sides = graph.constant(f"{name}.sides", np.array([2, 3]))
    return graph.add("Conv", *x, graph.add("Unsqueeze", weight, sides), *bias, name=name,
                     kernel_shape=[1, 1])


def _layernorm(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
               known: set[str]) -> str:
    """Add a norm of channels, which are last for LayerNormalization."""
    own, eps = _own(name, known, "weight", "bias"), options["eps"]
    if x[0] in graph.flat:
        return graph.add("LayerNormalization", *x, *own, name=name, axis=-1, epsilon=eps)
    last = graph.add("Transpose", x[0], perm=[0, 2, 3, 1])
    y = graph.add("LayerNormalization", last, *own, axis=-1, epsilon=eps)
    return graph.add("Transpose", y, perm=[0, 3, 1, 2], name=name)


def _layerscale(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
                known: set[str]) -> str:
    sides = graph.constant(f"{name}.sides", np.array([1, 2]))
    gamma = graph.add("Unsqueeze", f"{name}.gamma", sides)
    return graph.add("Add", graph.add("Mul", x[0], gamma), x[1], name=name)


def _batchnorm(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
               known: set[str]) -> str:
    own = _own(name, known, "weight", "bias", "running_mean", "running_var")
    y = graph.add("BatchNormalization", x[0], *own, name=name, epsilon=options["eps"])
    if len(x) == 2:
        y = graph.add("Add", y, x[1])
    act = "relu" if options.get("relu") else options.get("act")
    return y if act is None else _activate(graph, act, y)


def _activate(graph: _Graph, act: str, x: str, name: str = "") -> str:
    """Add one of the functions of csrc/kernels/activations.c."""
    if act == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x), name=name)
    if act == "hardsigmoid":
        return graph.add("HardSigmoid", x, name=name, alpha=1 / 6)
    if act == "gelu":
        return _gelu(graph, x, name)
    op = {"relu": "Relu", "sigmoid": "Sigmoid", "hardswish": "HardSwish"}[act]
    return graph.add(op, x, name=name)


def _gelu(graph: _Graph, x: str, name: str) -> str:
    """Add x (1 + erf(x / sqrt 2)) / 2: opset 17 has no operation of its own for it."""
    root, one, half = (graph.number(value) for value in (np.sqrt(0.5), 1, 0.5))
    twice = graph.add("Add", graph.add("Erf", graph.add("Mul", x, root)), one)
    return graph.add("Mul", graph.add("Mul", x, half), twice, name=name)


def _activation(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
                known: set[str]) -> str:
    return _activate(graph, options["act"], x[0], name)


def _depthwise(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
               known: set[str]) -> str:
    return _conv(graph, name, x, options, known, group=graph.channels[f"{name}.weight"])


def _scale(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
           known: set[str]) -> str:
    axes = graph.constant(f"{name}.axes", np.array([2, 3]))
    return graph.add("Mul", x[0], graph.add("Unsqueeze", x[1], axes), name=name)


def _maxpool(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
             known: set[str]) -> str:
    k, s, p = (options[key] for key in ("kernel", "stride", "padding"))
    return graph.add("MaxPool", *x, name=name, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)


def _relu(graph: _Graph, name: str, x: list[str], options: dict[str, Any], known: set[str]) -> str:
    return graph.add("Relu", *x, name=name)


def _dropout(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
             known: set[str]) -> str:
    return x[0]  # it does nothing outside training


_LAYERS: dict[str, Callable[..., str]] = {
    "conv": _conv, "linear": _linear, "depthwise": _depthwise, "batchnorm": _batchnorm,
    "layernorm": _layernorm, "layerscale": _layerscale, "maxpool": _maxpool, "relu": _relu,
    "activation": _activation, "scale": _scale, "dropout": _dropout,
}


def _own(name: str, known: set[str], *parts: str) -> list[str]:
    """Return the names of those tensors of a layer that it has."""
    return [f"{name}.{part}" for part in parts if f"{name}.{part}" in known]


# --- from logits to decisions


def _add_answers(graph: _Graph, learn: Exported, logits: str, pooled: list[str]) -> list[Any]:
    """Add probabilities and decisions; returns the outputs of the graph."""
    loss, n_labels = learn.loss_func, learn.model.n_out
    if loss.calibration is not None:
        for op, value in (("Mul", loss.calibration.scale), ("Add", loss.calibration.shift)):
            constant = graph.constant(f"calibration.{op}", np.float32(value))
            logits = graph.add(op, logits, constant)
    graph.add("Sigmoid", logits, name="probs")
    above = graph.add("Greater", "probs", graph.constant("thresh", np.float32(loss.thresh)),
                      name="above" if learn.novelty else "mask")
    types, info = graph.onnx.TensorProto, graph.onnx.helper.make_tensor_value_info
    outputs = [info("probs", types.FLOAT, ["N", n_labels]),
               info("mask", types.BOOL, ["N", n_labels])]
    if learn.novelty is not None:
        _add_novelty(graph, learn.novelty, pooled)
        cut = graph.constant("novelty.cut", np.float32(learn.novelty.cut))
        known = graph.add("Not", graph.add("Greater", "novelty", cut))
        axis = graph.constant("novelty.axis", np.array([1]))
        graph.add("And", above, graph.add("Unsqueeze", known, axis), name="mask")
        outputs.append(info("novelty", types.FLOAT, ["N"]))
    return outputs


def _add_novelty(graph: _Graph, novelty: Novelty, pooled: list[str]) -> None:
    """Add the score of `Novelty.scores`: 1 - mean cosine to the k nearest training photos."""
    tiny = graph.constant("novelty.tiny", _TINY)

    def unit(x: str) -> str:
        length = graph.add("ReduceL2", x, axes=[1], keepdims=1)
        return graph.add("Div", x, graph.add("Max", length, tiny))

    parts = [unit(x) for x in pooled]
    features = unit(parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1))
    cosines = graph.add("MatMul", features, graph.constant("novelty.taught", novelty.features.T))
    k = graph.constant("novelty.k", np.array([novelty.k]))
    nearest = graph.add("TopK", cosines, k, unused=("novelty.rows",), axis=1)
    mean = graph.add("ReduceMean", nearest, axes=[1], keepdims=0)
    graph.add("Sub", graph.constant("novelty.one", np.float32(1)), mean, name="novelty")
