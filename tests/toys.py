"""A toy of each kind of thing that DESIGN.md says how to add, as edits of a copy of the project.

``TOYS`` has the edits by the row of the table "To add X, edit Y"; `test_adding.py` compares their
places with those of the row, makes them, and uses what they made.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    """`text` in front of what stands in the file once, or at its end; a new file is text alone."""

    path: str
    text: str
    before: str = ""


KERNEL = [
    Edit("csrc/kernels/kernels.def", """
/* toys */
KERNEL(toy_halve, (const float *x, float *y, size_t n))
KERNEL(toy_squared, (const mlc_loss *job, size_t row, size_t rows, double *sum, bool *outside))
"""),
    Edit("csrc/kernels/pointwise.c", """
/* y = x / 2; y may be x. */
static void toy_halve(const float *x, float *y, size_t n)
{
    vf half = v_set(0.5f);
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_mul(half, v_load(x + i)));
    if (i < n) v_store_n(y + i, v_mul(half, v_load_n(x + i, n - i)), n - i);
}
"""),
    Edit("csrc/kernels/losses.c", """
/* The squared error of the probability: L = (1 - s)^2, M = s^2. */
static inline v_cell v_toy_squared(const mlc_loss *job, vf x, vf t, vf w, vf q)
{
    (void)job;
    v_logit l = v_logit_of(x);
    vf wanted = v_mul(v_mul(q, t), l.not_s), absent = v_mul(v_sub(v_set(1.0f), t), l.s);
    vf slope = v_mul(v_set(2.0f), v_mul(l.s, l.not_s));
    return (v_cell){
        .loss = v_mul(w, v_add(v_mul(wanted, l.not_s), v_mul(absent, l.s))),
        .grad = v_mul(w, v_mul(slope, v_sub(absent, wanted))),
    };
}

static void toy_squared(const mlc_loss *job, size_t row, size_t rows, double *sum, bool *outside)
{
    loss_rows(job, v_toy_squared, row, rows, sum, outside);
}
"""),
    Edit("tests/reference.py", """

@kernel
def toy_halve(x):
    return np.asarray(x, np.float64) / 2


@kernel
def toy_squared(logits, targets, weight=1.0, pos_weight=1.0, smoothing=0.0, missing=False):
    return _loss(logits, targets, weight, pos_weight, smoothing, missing,
                 lambda s, r, *_: (r**2, -2 * s * r**2), lambda s, r, *_: (s**2, 2 * r * s**2))
"""),
]

ISA = [
    Edit("csrc/simd/toy.h", """/* The v_* vocabulary once more on one lane, under another name. */
#include "scalar.h"
"""),
    Edit("csrc/isa/toy.c", """/* Every kernel, as if for a processor of its own. */
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/toy.h"

#define MLC_TABLE mlc_kernels_toy
#define MLC_ISA "toy"
#include "all_kernels.h"
"""),
    Edit("csrc/isa/isas.def", "ISA(toy, true)\n", before="#if defined(__x86_64__)\n"),
]

CORE = [
    Edit("csrc/python/bind_scores.c", """
BINDING(toy_squared_with_logits)
{
    static const char *fn = "toy_squared_with_logits";
    mlc_loss job = {0};
    (void)module;
    if (args_count(fn, nargs, 9) < 0) return NULL;
    return loss_value(fn, args, mlc_kernel->toy_squared, &job);
}
"""),
    Edit("csrc/python/bindings.def", """
FUNCTION(toy_squared_with_logits, "toy_squared_with_logits(logits, targets, weight, pos_weight, "
                                  "smoothing, missing, mean, out, grad, /)\\n--\\n\\nA toy.")
"""),
    Edit("mlclassify/_core.pyi", """
def toy_squared_with_logits(
    logits: _Float32, targets: _Float32, weight: _Float32 | None, pos_weight: _Float32 | None,
    smoothing: SupportsFloat, missing: SupportsIndex, mean: SupportsIndex, out: _Float32 | None,
    grad: _Float32 | None, /
) -> float: ...
"""),
    Edit("tests/test_boundary.py", '    "toy_squared_with_logits": LOSS,\n',
         before='    "bce_with_logits": LOSS,\n'),
    Edit("tests/fuzz/calls.py", '    "toy_squared_with_logits": _LOSS,\n',
         before='    "bce_with_logits": _LOSS,\n'),
]

LAYER = [
    Edit("csrc/nn/layers.def", "LAYER(toy_halve)\n"),
    Edit("csrc/nn/layer_toy.c", """/* Half of the input. A task is one row of one image. */
#include "layer.h"

static mlc_status toy_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                            mlc_tensor *out, mlc_error *error)
{
    (void)layer, (void)train, (void)error;
    *out = (mlc_tensor){.n = in[0]->n, .h = in[0]->h, .w = in[0]->w, .c = in[0]->c};
    return MLC_OK;
}

static bool toy_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                     mlc_needs *needs)
{
    (void)layer, (void)in, (void)out, (void)needs;
    return true;
}

static void forward_row(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->toy_halve(run->x[0] + tensor_row_at(run->in[0], row),
                          run->y + tensor_row_at(run->out, row), run->out->w * run->out->stride);
}

static void backward_row(void *context, size_t row)
{
    const mlc_run *run = context;
    const float *dy = run->dy + tensor_row_at(run->dout, row);
    float *dx = run->dx[0] + tensor_row_at(run->din[0], row);
    for (size_t i = 0; i < run->out->w * run->out->stride; i++)
        dx[i] = 0.5f * dy[i] + (run->accumulate[0] ? dx[i] : 0.0f);
}

static bool toy_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), forward_row, (void *)run);
}

static bool toy_backward(const mlc_run *run)
{
    return !run->dx[0] || mlc_parallel_for(tensor_rows(run->out), backward_row, (void *)run);
}

const mlc_layer_class mlc_layer_toy_halve = {
    .kind = "toy_halve",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = mlc_same_channels,
    .shape = toy_shape,
    .plan = toy_plan,
    .forward = toy_forward,
    .backward = toy_backward,
};
"""),
    Edit("tests/reference.py", """

@layer("toy_halve")
def toy_halve_layer(inputs, params, options, **_):
    (x,) = inputs
    return x / 2, lambda dy: ((dy / 2,), {})
"""),
    Edit("tests/test_gradients.py", '    "toy_halve": ("toy_halve", [(2, 3, 3, 2)], {}, {}),\n',
         before='    "avgpool": ("avgpool"'),
    Edit("mlclassify/onnx.py", """

def _toy_halve(graph: _Graph, name: str, x: list[str], options: dict[str, Any],
               known: set[str]) -> str:
    return graph.add("Mul", *x, graph.constant(f"{name}.half", np.float32(0.5)), name=name)


_LAYERS["toy_halve"] = _toy_halve
"""),
]

BACKBONE = [
    Edit("mlclassify/vision/backbones.py", '''

def _toy_layers() -> Layers:
    layers = Layers()
    x = layers.conv(0, "conv1", 8, 3, 2)
    x = layers.batchnorm(x, "bn1", relu=True)
    x = layers.add("toy_halve", "halve", x)
    layers.conv(x, "layer1", 16, 3, 2)
    return layers


toynet = Architecture("toynet", _toy_layers, 16, (("conv1", "bn1"), ("layer1",)))
ARCHS["toynet"] = toynet
'''),
]

METRIC = [
    Edit("mlclassify/metrics/decisions.py", '''

def toy_of(counts: Counts) -> float:
    """Return the share of all cells in which a label is predicted."""
    return float(counts.decided.sum() / (counts.total * len(counts.decided)))
'''),
    Edit("mlclassify/metrics/columns.py", '''

from mlclassify.metrics.decisions import toy_of


class ToyMulti(DecisionMetric):
    """`toy_of` a validation pass."""

    name = "toy_score"

    def __init__(self, thresh: ArrayLike = 0.5, sigmoid: bool = True) -> None:
        super().__init__(thresh, sigmoid, None, None)

    def _of(self, counts: Counts) -> float:
        return toy_of(counts)
'''),
    Edit("mlclassify/metrics/__init__.py", """from mlclassify.metrics.columns import ToyMulti
from mlclassify.metrics.decisions import toy_of
""", before="from mlclassify.metrics.decisions import (\n"),
    Edit("mlclassify/metrics/__init__.py", '    "ToyMulti",\n    "toy_of",\n',
         before='    "accuracy_multi",\n'),
]

LOSS = [
    Edit("mlclassify/functional.py", '''

class ToyLoss(_LogitLoss):
    """The squared error of probabilities."""

    def _core(self) -> tuple[Function, str]:
        return _core.toy_squared_with_logits, "ToyLoss"
'''),
    Edit("mlclassify/losses.py", '''

from mlclassify.functional import ToyLoss


class ToyLossFlat(_LogitLossFlat):
    """`functional.ToyLoss` with what `BCEWithLogitsLossFlat` has around it."""

    @use_kwargs_dict(keep=True, **_OPTIONS)
    def __init__(self, axis: int = -1, floatify: bool = True, thresh: ArrayLike = 0.5,
                 **kwargs: Any) -> None:
        super().__init__(ToyLoss, axis=axis, floatify=floatify, thresh=thresh, **kwargs)
'''),
    Edit("mlclassify/export.py", """from mlclassify.functional import ToyLoss
from mlclassify.losses import ToyLossFlat

""", before="_LOSSES: dict["),
    Edit("mlclassify/export.py", '    "ToyLossFlat": (ToyLossFlat, ToyLoss, _PLAIN),\n',
         before='    "BCEWithLogitsLossFlat": ('),
    Edit("tests/test_messages.py", "ToyLossFlat, ",
         before="BCEWithLogitsLossFlat, AsymmetricLossFlat, for a file "),
    Edit("tests/test_losses.py", '''

def test_toy_loss_and_gradient(rng):
    from mlclassify.losses import ToyLossFlat

    def squares(x):
        return (1 / (1 + np.exp(-x)) - y) ** 2

    x, y = rng.normal(size=(7, 5)).astype(np.float32), rng.integers(0, 2, (7, 5))
    wide = x.astype(np.float64)
    value, grad = ToyLossFlat(reduction="sum").value_and_grad(x, y)
    assert value == pytest.approx(squares(wide).sum(), rel=1e-6)
    slopes = (squares(wide + 1e-6) - squares(wide - 1e-6)) / 2e-6
    np.testing.assert_allclose(grad, slopes, rtol=1e-5, atol=1e-6)
'''),
]

TRANSFORM = [
    Edit("mlclassify/vision/augment.py", '''

class ToyShade(_Configured):
    """Bring the logits of all photos of a training batch nearer to grey, by one factor."""

    order = 35
    _names = ("factor",)

    def __init__(self, factor: float) -> None:
        self.factor = float(factor)

    def plan(self, batch: BatchPlan) -> None:
        if batch.train:
            batch.light(np.zeros(batch.n), np.full(batch.n, self.factor))
'''),
    Edit("mlclassify/export.py", "augment.ToyShade, ", before="augment.AffineWarp, "),
]

CALLBACK = [
    Edit("mlclassify/tracker.py", '''

class ToyCounter(Callback):
    """Count the steps of a fit."""

    def before_fit(self) -> None:
        self.steps = 0

    def after_step(self) -> None:
        self.steps += 1
'''),
]

PUBLIC = [
    Edit("mlclassify/vision/all.py", """from mlclassify.losses import ToyLossFlat
from mlclassify.metrics import ToyMulti
from mlclassify.tracker import ToyCounter
from mlclassify.vision.augment import ToyShade
from mlclassify.vision.backbones import toynet
""", before="from mlclassify.weights import ModelFileError\n"),
    Edit("mlclassify/vision/all.py", '"ToyCounter", "ToyLossFlat", "ToyMulti", "ToyShade",\n    ',
         before='"TrackerCallback", '),
    Edit("mlclassify/vision/all.py", '"toynet", ', before='"use_kwargs_dict", '),
    Edit("docs/fastai.md", "| toys | `ToyCounter`, `ToyLossFlat`, `ToyShade(factor=)` | "
         "[test_adding.py::test_a_toy_of_each_kind](../tests/test_adding.py) |\n",
         before="| `RandomErasing` | "),
]

TOYS = {
    "a kernel": KERNEL, "an instruction set": ISA, "a function of `_core`": CORE,
    "a kind of layer": LAYER, "a backbone": BACKBONE, "a metric": METRIC, "a loss": LOSS,
    "a transform": TRANSFORM, "a callback": CALLBACK, "a public name": PUBLIC,
}

USE = """
from mlclassify import _core
from mlclassify.vision.all import *
from tiny import first, photos, second

assert _core.isa() == "toy"
block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(), item_tfms=Resize(16),
                  batch_tfms=[ToyShade(0.9), Normalize.from_stats(*imagenet_stats)])
dls, steps = block.dataloaders(photos(48), bs=8), ToyCounter()
learn = vision_learner(dls, "toynet", pretrained=False, loss_func=ToyLossFlat(thresh=0.4),
                       metrics=[ToyMulti(thresh=0.4)], seed=1)
learn.fine_tune(3, 1e-2, cbs=steps)
losses = [row[0] for row in learn.recorder.values]
assert losses[-1] < losses[0] < 1, losses
assert steps.steps == 3 * len(dls.train), steps.steps

probs, targets = learn.get_preds()
squares = (np.asarray(probs, np.float64) - np.asarray(targets)) ** 2
assert np.isclose(learn.recorder.values[-1][1], squares.mean(), atol=1e-5)
assert np.isclose(learn.recorder.values[-1][2], (np.asarray(probs) > 0.4).mean())

learn.export("toy.safetensors")
again = load_learner("toy.safetensors")
assert type(again.loss_func) is ToyLossFlat and again.loss_func.thresh == np.float32(0.4)
assert again.model.arch is toynet
assert [type(t) for t in again.dls.train.batch_tfms] == [ToyShade, Normalize]
photo = photos(1)[0][0]
assert (again.predict(photo).probs == learn.predict(photo).probs).all()
"""

USE_ONNX = """
import onnxruntime

learn.export_onnx("toy.onnx")
session = onnxruntime.InferenceSession("toy.onnx")
(found,) = session.run(["probs"], {session.get_inputs()[0].name: photo[None]})
assert np.allclose(found, learn.predict(photo).probs, atol=1e-5)
"""
