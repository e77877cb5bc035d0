"""Binary cross entropy and the losses over it, against the definition in float64."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from tiny import LOSSES

from mlclassify import tensor as torch
from mlclassify.functional import AsymmetricLoss
from mlclassify.losses import (
    AsymmetricLossFlat,
    BaseLoss,
    BCEWithLogitsLossFlat,
    FocalLossFlat,
    use_kwargs_dict,
)
from mlclassify.tensor import F, Tensor, TensorBase, nn, tensor, value_and_grad

INF, NAN = float("inf"), float("nan")
REDUCE = {"none": np.asarray, "mean": np.mean, "sum": np.sum}
bce = F.binary_cross_entropy_with_logits

X = [[1.5, -2.0, 0.3], [0.0, 4.0, -1.0]]
Y = [[1.0, 0.0, 0.25], [0.0, 1.0, 1.0]]
WEIGHTS = {"weight": [1, 2, 0.5], "pos_weight": [3, 1, 0.2]}


def defined(x, y, weight=1.0, pos_weight=1.0):
    """The loss of each cell: -w (p y log s(x) + (1 - y) log(1 - s(x))), in float64."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    positive, negative = np.logaddexp(0, -x), np.logaddexp(0, x)  # -log s(x), -log(1 - s(x))
    return np.asarray(weight) * (np.asarray(pos_weight) * y * positive + (1 - y) * negative)


def rounding(x, weight=1.0, pos_weight=1.0):
    """What float32 may be off in a cell: a few roundings of its largest term."""
    return 4 * 2**-23 * (1 + np.abs(x)) * np.asarray(weight) * np.maximum(pos_weight, 1)


def slope(x, y, h=1e-5, **weights):
    """The derivative of each cell's loss by central differences."""
    x = np.asarray(x, np.float64)
    return (defined(x + h, y, **weights) - defined(x - h, y, **weights)) / (2 * h)


def test_matches_what_torch_printed(shared):
    text = Path(shared("mulan/corner_cases.txt")).read_text(encoding="utf-8")
    cases = re.findall(r"^\[(.*)\] (none|mean|sum) (\[.*\]) grad (\[.*\])$", text, re.MULTILINE)
    assert len(cases) == 12
    for names, reduction, values, grads in cases:
        weights = {name: WEIGHTS[name] for name in re.findall(r"\w+", names)}
        loss = bce(X, Y, reduction=reduction, **weights)
        # torch's own float32 is up to 2e-7 of the value off; ours has to be nearer to float64.
        assert loss.numpy().ravel() == pytest.approx(eval(values), rel=3e-7, abs=2e-7)
        exact = REDUCE[reduction](defined(X, Y, **weights)).ravel()
        np.testing.assert_allclose(loss.numpy().ravel(), exact, rtol=1e-7, atol=6e-8)
        if reduction != "none":
            _, grad = bce.value_and_grad(X, Y, reduction=reduction, **weights)
            assert grad.ravel() == pytest.approx(eval(grads), abs=2e-7)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 3), (33, 17), (2, 3, 4)])
@pytest.mark.parametrize("names", [(), ("weight",), ("pos_weight",), ("weight", "pos_weight")])
def test_matches_the_definition(rng, shape, names):
    x = rng.normal(scale=4, size=shape).astype(np.float32)
    y = rng.random(shape, np.float32)
    weights = {name: rng.random(shape[-1:], np.float32) * 3 for name in names}
    cells = defined(x, y, **weights)
    error = np.abs(bce(x, y, reduction="none", **weights).numpy() - cells)
    assert (error <= rounding(x, **weights)).all()
    assert bce(x, y, reduction="sum", **weights).item() == pytest.approx(cells.sum(), rel=1e-6)
    value, grad = bce.value_and_grad(x, y, **weights)
    assert value == pytest.approx(cells.mean(), rel=1e-6) and isinstance(value, float)
    assert grad.dtype == np.float32 and grad.shape == x.shape
    np.testing.assert_allclose(grad * x.size, slope(x, y, **weights), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (1, 3), (3,), (1,), ()])
def test_weights_broadcast(rng, shape):
    x = rng.normal(size=(4, 3)).astype(np.float32)
    y, w = rng.random((4, 3), np.float32), rng.random(shape, np.float32)
    for name in ("weight", "pos_weight"):
        error = bce(x, y, reduction="none", **{name: w}).numpy() - defined(x, y, **{name: w})
        assert (np.abs(error) <= rounding(x, **{name: w})).all()


@pytest.mark.parametrize(
    "x, y, limit",
    [
        (INF, 1, 0), (-INF, 0, 0), (INF, 0, INF), (-INF, 1, INF), (INF, 0.5, INF),
        (NAN, 1, NAN), (NAN, 0, NAN), (100, 1, 3.7835e-44), (20, 1, 2.0611537e-9),
        (-100, 1, 100), (0.0, 0.5, np.log(2)), (1e-40, 0, np.log(2)), (-0.0, 1, np.log(2)),
    ],
)  # fmt: skip
def test_extreme_logits(x, y, limit):
    assert bce([x], [y]).item() == pytest.approx(limit, rel=1e-6, abs=1e-43, nan_ok=True)
    _, grad = bce.value_and_grad([x], [y])
    expected = NAN if np.isnan(x) else 1 / (1 + np.exp(-np.float64(np.clip(x, -700, 700)))) - y
    assert grad[0] == pytest.approx(expected, abs=1e-7, nan_ok=True)


def test_a_nan_logit_spoils_its_cell_only():
    cells = bce([NAN, 0.0, 1.0], [1, 0, 1], reduction="none")
    assert cells.isnan().tolist() == [True, False, False] and bce([NAN, 0], [1, 0]).isnan()


def test_no_cells():
    for shape in ((0, 3), (3, 0), (0,)):
        empty = torch.zeros(*shape)
        assert bce(empty, empty).isnan() and bce(empty, empty, reduction="sum") == 0
        assert bce(empty, empty, reduction="none").shape == shape
        assert bce.value_and_grad(empty, empty)[1].shape == shape


def test_any_array_is_accepted(rng):
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 2, (6, 4))
    expected = bce(x, y).item()
    for logits in (x.tolist(), tensor(x), np.asfortranarray(x), np.repeat(x, 2, 0)[::2]):
        for targets in (y.tolist(), y.astype(bool), y.astype(np.uint8), tensor(y).float(), y[::1]):
            assert bce(logits, targets).item() == expected
    assert bce(x.T, y.T).item() == pytest.approx(expected, rel=1e-6)
    assert type(bce(TensorBase(x), y)) is TensorBase and type(bce(x, y)) is Tensor


def test_inputs_stay_as_they_are(rng):
    x, y = tensor(rng.normal(size=(3, 2))), torch.ones(3, 2)
    before = x.clone(), y.clone()
    bce.value_and_grad(x, y, weight=[1, 2], pos_weight=[3, 4])
    assert x.equal(before[0]) and y.equal(before[1])


FN = "binary_cross_entropy_with_logits"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0.0], [1.5]), rf"^{FN}: `target` must lie in \[0, 1\], got 1.5 at index 0$"),
        (([0.0], [-1]), rf"^{FN}: `target` must lie in \[0, 1\], got -1 at index 0$"),
        (([[0.0, 0.0]], [[1, NAN]]), r"`target` must lie in \[0, 1\], got nan at index \(0, 1\)$"),
        (([0.0], [INF]), r"`target` must lie in \[0, 1\], got inf"),
        (([0.0], [1], [-1]), "`weight` must be finite and not negative, got -1.0 at index 0$"),
        (([0.0], [1], [NAN]), "`weight` must be finite and not negative, got nan"),
        (([0.0], [1], None, "mean", [INF]), "`pos_weight` must be finite and not negative"),
        (([[0.0, 0.0]], [[1, 1]], [1, 2, 3]), r"`weight` must broadcast .*\(1, 2\), got \(3,\)$"),
        (([0.0], [1], [[1.0], [1.0]]), r"`weight` must broadcast to the shape of `input` \(1,\)"),
        (([0.0], [1], None, "avg"), "`reduction` must be one of .*, got 'avg'$"),
        (([0.0], ["a"]), "`target` must hold numbers"),
    ],
)
def test_bce_refuses(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        bce(*arguments)


def test_shapes_that_differ_end_in_torchs_sentence():
    sentence = (
        r"Target size \(torch.Size\(\[4\]\)\) must be the same as input size "
        r"\(torch.Size\(\[4, 1\]\)\)$"
    )
    for call in (bce, bce.value_and_grad, nn.BCEWithLogitsLoss(), F.binary_cross_entropy):
        with pytest.raises(ValueError, match=sentence):
            call(np.full((4, 1), 0.5), np.zeros(4))


def test_no_gradient_without_a_number():
    with pytest.raises(ValueError, match="`reduction` must be 'mean' or 'sum' to train"):
        bce.value_and_grad([0.0], [1], reduction="none")


# -- probabilities, one_hot, nn -------------------------------------------------------------------


def test_binary_cross_entropy(rng):
    p, y, w = rng.random((5, 3)).astype(np.float32), rng.random((5, 3)), rng.random(3)
    q = p.astype(np.float64)
    cells = -(y * np.log(q) + (1 - y) * np.log(1 - q))
    np.testing.assert_allclose(F.binary_cross_entropy(p, y, reduction="none"), cells, rtol=1e-6)
    assert F.binary_cross_entropy(p, y).item() == pytest.approx(cells.mean(), rel=1e-6)
    assert nn.BCELoss(w, reduction="sum")(p, y).item() == pytest.approx((w * cells).sum(), rel=1e-6)
    assert F.binary_cross_entropy([0.0, 1.0], [1, 0], reduction="none").tolist() == [100, 100]
    assert F.binary_cross_entropy([], []).isnan() and F.binary_cross_entropy([NAN], [1]).isnan()
    with pytest.raises(ValueError, match=r"`input` must lie in \[0, 1\], as probabilities do, got"):
        F.binary_cross_entropy([1.1], [1])
    with pytest.raises(ValueError, match="`weight` must broadcast"):
        F.binary_cross_entropy([0.5], [1], [1, 2])


def test_one_hot():
    assert F.one_hot(tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot([[1]], num_classes=2).shape == (1, 1, 2)
    assert F.one_hot(tensor([], dtype=torch.int64), 3).shape == (0, 3)
    with pytest.raises(ValueError, match=r"`tensor` must lie in \[0, 2\), got 2 at index 0"):
        F.one_hot([2], 2)
    with pytest.raises(ValueError, match="got -1"):
        F.one_hot([-1])
    with pytest.raises(TypeError, match="must hold integers, got float64"):
        F.one_hot([0.5])


def test_modules():
    assert repr(nn.BCEWithLogitsLoss()) == "BCEWithLogitsLoss()"
    assert repr(nn.Sigmoid()) == "Sigmoid()"
    assert nn.functional is F and nn.Sigmoid()([0.0]).tolist() == F.sigmoid([0.0]).tolist() == [0.5]
    assert F.relu([-1, 2]).tolist() == [0.0, 2.0]
    loss = nn.BCEWithLogitsLoss(tensor([1, 2, 0.5]), pos_weight=tensor([3, 1, 0.2]))
    assert loss(X, Y).item() == pytest.approx(0.3421853, abs=3e-7)
    assert loss.value_and_grad(X, Y)[0] == pytest.approx(0.3421853, abs=3e-7)
    with pytest.raises(ValueError, match="BCEWithLogitsLoss: `pos_weight` must be finite and not"):
        nn.BCEWithLogitsLoss(pos_weight=[-1])
    with pytest.raises(ValueError, match="BCELoss: `reduction` must be one of"):
        nn.BCELoss(reduction="avg")


# -- the losses of fastai -------------------------------------------------------------------------


def test_flat_loss_accepts_any_two_shapes_of_as_many_cells():
    x, y = [[0.0122], [0.2294], [-0.1563], [-0.1483]], [0.5, 0.29, 0.36, 0.03]
    loss = BCEWithLogitsLossFlat(reduction="mean")
    assert repr(loss) == "FlattenedLoss of BCEWithLogitsLoss()"
    assert repr(loss(tensor(x), tensor(y))) == "TensorBase(0.6854)"
    value, grad = loss.value_and_grad(tensor(x), tensor(y))
    assert value == pytest.approx(0.6854, abs=5e-5) and grad.shape == (4, 1)
    with pytest.raises(ValueError, match=r"Target size \(torch.Size\(\[3\]\)\)"):
        loss(x, y[:3])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("names", [(), ("weight",), ("pos_weight",), ("weight", "pos_weight")])
def test_flat_loss_and_gradient(rng, reduction, names):
    x, y = rng.normal(size=(6, 3)).astype(np.float32), rng.random((6, 3)).astype(np.float32)
    weights = {name: WEIGHTS[name] for name in names}
    loss = BCEWithLogitsLossFlat(reduction=reduction, **weights)
    expected = getattr(np, reduction)(defined(x, y, **weights))
    scale = 1 if reduction == "sum" else 1 / x.size
    assert loss(x, y).item() == pytest.approx(expected, rel=1e-6)
    value, grad = loss.value_and_grad(x, y)
    assert value == pytest.approx(expected, rel=1e-6)
    assert type(grad) is np.ndarray and grad.flags.c_contiguous and grad.dtype == np.float32
    np.testing.assert_allclose(grad, slope(x, y, **weights) * scale, rtol=2e-5, atol=1e-6)


def test_axis_moves_the_labels_to_the_end(rng):
    x, y = rng.normal(size=(2, 3, 5)).astype(np.float32), rng.random((2, 3, 5))
    loss = BCEWithLogitsLossFlat(axis=1, pos_weight=[3, 1, 0.2])
    expected = defined(x, y, pos_weight=np.reshape([3, 1, 0.2], (3, 1)))
    assert loss(x, y).item() == pytest.approx(expected.mean(), rel=1e-6)
    _, grad = loss.value_and_grad(x, y)
    slopes = slope(x, y, pos_weight=np.reshape([3, 1, 0.2], (3, 1)))
    np.testing.assert_allclose(grad * x.size, slopes, rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match=r"`axis` must be a dimension .*, got 1 for shape \(4,\)"):
        loss(np.zeros(4), np.zeros(4))


def test_reduction_can_be_changed():
    loss = BCEWithLogitsLossFlat()
    loss.reduction = "none"
    assert loss.reduction == loss.func.reduction == "none" and loss(X, Y).shape == (6,)
    with pytest.raises(ValueError, match="`reduction` must be 'mean' or 'sum' to train"):
        loss.value_and_grad(X, Y)


def test_flatten_and_weights():
    with pytest.raises(ValueError, match="to avoid a RuntimeError due to shape mismatch$"):
        BCEWithLogitsLossFlat(pos_weight=[1, 2], flatten=True)
    assert BCEWithLogitsLossFlat(pos_weight=[1, 2]).flatten is False
    assert BCEWithLogitsLossFlat(tensor([1, 2])).flatten is False
    assert BCEWithLogitsLossFlat(weight=2.0).flatten is True
    assert BCEWithLogitsLossFlat(flatten=False).flatten is False
    with pytest.raises(ValueError, match="torch.Size"):
        BCEWithLogitsLossFlat(flatten=False)([[0.0]], [1.0])
    with pytest.raises(ValueError, match="`weight` must be finite and not negative, got -1.0"):
        BCEWithLogitsLossFlat(weight=-1)
    with pytest.raises(TypeError):
        BCEWithLogitsLossFlat(wieght=1)


def test_threshold_decides_and_is_checked():
    loss = BCEWithLogitsLossFlat(thresh=0.95)
    probs = loss.activation(tensor([[0.3, -2.7, 4.0]]))
    assert probs.equal(tensor([[0.3, -2.7, 4.0]]).sigmoid())
    assert loss.decodes(probs).tolist() == [[False, False, True]]
    loss.thresh = [0.5, 0.01, 0.999]
    assert loss.thresh.dtype == np.float32
    assert loss.decodes(probs).tolist() == [[True, True, False]]
    for bad in (95, NAN, "0.5"):
        with pytest.raises((ValueError, TypeError), match="BCEWithLogitsLossFlat: `thresh` must"):
            BCEWithLogitsLossFlat(thresh=bad)
        with pytest.raises((ValueError, TypeError), match="BCEWithLogitsLossFlat: `thresh` must"):
            loss.thresh = bad
    assert loss.thresh[0] == 0.5


class Recorder:
    """A loss that remembers what it was handed."""

    def __call__(self, inp, targ):
        self.inp, self.targ = inp, targ
        return inp.sum()


@pytest.mark.parametrize(
    "options, inp_shape, targ_shape",
    [
        ({}, (6, 4), (6,)),
        ({"is_2d": False}, (24,), (6,)),
        ({"flatten": False}, (2, 3, 4), (2, 3)),
    ],
)
def test_base_loss_flattens(options, inp_shape, targ_shape):
    loss = BaseLoss(Recorder, **options)
    loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int32))
    assert loss.func.inp.shape == inp_shape and loss.func.targ.shape == targ_shape
    assert type(loss.func.inp) is type(loss.func.targ) is TensorBase
    assert loss.activation(3) == 3 and loss.decodes(4) == 4


@pytest.mark.parametrize("given, kept", [("int32", "int64"), ("uint8", "uint8"), ("f4", "f4")])
def test_floatify(given, kept):
    targets = tensor([1, 0], dtype=given)
    plain, floats = BaseLoss(Recorder), BaseLoss(Recorder, floatify=True)
    plain(torch.zeros(2, 1), targets)
    floats(torch.zeros(2, 1), targets)
    assert plain.func.targ.dtype == kept and floats.func.targ.dtype == np.float32


NO_AUTOGRAD = "there is no autograd here"


def test_a_loss_without_a_known_gradient_says_so():
    for loss in (BaseLoss(nn.BCELoss), BaseLoss(Recorder)):
        with pytest.raises(NotImplementedError, match=f"must know its gradient.*{NO_AUTOGRAD}"):
            loss.value_and_grad(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(NotImplementedError, match="function .*<lambda>"):
        value_and_grad(lambda x, y: x.sum(), X, Y)


@pytest.mark.parametrize("method", ["forward", "__call__"])
def test_a_redefined_loss_does_not_inherit_the_gradient(method):
    mine = type("Mine", (nn.BCEWithLogitsLoss,), {method: lambda self, x, y: tensor(7.0)})
    assert mine()(X, Y) == 7
    with pytest.raises(NotImplementedError, match=f"`Mine` must define its own.*{NO_AUTOGRAD}"):
        mine().value_and_grad(X, Y)
    with pytest.raises(NotImplementedError, match="`Mine` must define its own"):
        BaseLoss(mine, is_2d=False).value_and_grad(X, Y)


def test_a_redefined_flat_loss_brings_its_own_gradient():
    class Doubled(BCEWithLogitsLossFlat):
        def __call__(self, inp, targ):
            return 2 * super().__call__(inp, targ)

    with pytest.raises(NotImplementedError, match="`Doubled` must define its own"):
        Doubled().value_and_grad(X, Y)

    class Trained(Doubled):
        def value_and_grad(self, inp, targ):
            value, grad = super().value_and_grad(inp, targ)
            return 2 * value, 2 * grad

    assert Trained().value_and_grad(X, Y)[0] == pytest.approx(Trained()(X, Y).item())


def test_own_subclass_over_bce_trains():
    class Mine(BaseLoss):
        def __init__(self):
            super().__init__(nn.BCEWithLogitsLoss, floatify=True, is_2d=False, reduction="sum")

    value, grad = Mine().value_and_grad(X, tensor([[1, 0, 1], [0, 0, 1]]))
    assert value == pytest.approx(defined(X, [[1, 0, 1], [0, 0, 1]]).sum(), rel=1e-6)
    assert grad.shape == (2, 3)


def test_value_and_grad_finds_the_gradient_of_what_has_one():
    losses = (bce, nn.BCEWithLogitsLoss(), BCEWithLogitsLossFlat())
    results = [value_and_grad(loss, X, Y) for loss in losses]
    for value, grad in results:
        assert value == results[0][0] and np.array_equal(grad, results[0][1])


# -- imbalance, smoothing, missing labels ---------------------------------------------------------


def asymmetric(x, y, gamma_neg=4.0, gamma_pos=1.0, clip=0.05):
    """Each cell by the formula of the paper, in float64."""
    s = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    p = np.maximum(s - np.float64(np.float32(clip)), 0)
    return -(y * (1 - s) ** gamma_pos * np.log(s) + (1 - y) * p**gamma_neg * np.log(1 - p))


FOCUS = [
    {}, {"gamma_neg": 2.0, "gamma_pos": 0.0, "clip": 0.2}, {"gamma_neg": 0.0, "clip": 0.0},
    {"gamma_neg": 1.5, "gamma_pos": 2.5, "clip": 0.0},
]  # fmt: skip


@pytest.mark.parametrize("options", FOCUS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_asymmetric_loss_and_gradient(rng, options, reduction):
    x, y = rng.normal(scale=3, size=(7, 5)).astype(np.float32), rng.random((7, 5), np.float32)
    loss = AsymmetricLossFlat(reduction=reduction, **options)
    reduce = REDUCE[reduction]
    assert loss(x, y).item() == pytest.approx(reduce(asymmetric(x, y, **options)), rel=1e-6)
    value, grad = loss.value_and_grad(x, y)
    assert value == pytest.approx(reduce(asymmetric(x, y, **options)), rel=1e-6)
    wide = x.astype(np.float64)
    after, before = (asymmetric(wide + h, y, **options) for h in (1e-6, -1e-6))
    scale = 1 if reduction == "sum" else x.size
    np.testing.assert_allclose(grad * scale, (after - before) / 2e-6, rtol=1e-5, atol=1e-6)
    cells = AsymmetricLoss(reduction="none", **options)(x, y)
    np.testing.assert_allclose(cells, asymmetric(x, y, **options), rtol=3e-6, atol=2e-7)


def test_the_focal_loss_of_its_paper(rng):
    x, y = rng.normal(scale=3, size=(6, 4)).astype(np.float32), rng.integers(0, 2, (6, 4))
    p = np.where(y == 1, 1 / (1 + np.exp(-x.astype(np.float64))), 1 / (1 + np.exp(x * 1.0)))
    alpha = np.where(y == 1, 0.25, 0.75)
    expected = (-alpha * (1 - p) ** 2 * np.log(p)).mean()
    loss = FocalLossFlat(weight=0.75, pos_weight=1 / 3)
    assert loss(x, y).item() == pytest.approx(expected, rel=1e-6)
    assert repr(loss) == "FlattenedLoss of AsymmetricLoss(gamma_neg=2, gamma_pos=2, clip=0)"
    assert FocalLossFlat(0)(x, y).item() == pytest.approx(bce(x, y).item(), rel=1e-6)


each_class = pytest.mark.parametrize("cls", LOSSES)


@each_class
def test_label_smoothing_moves_the_targets(rng, cls):
    x, y = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3))
    smooth, moved = cls(label_smoothing=0.1), cls()
    got, want = (
        f.value_and_grad(x, t) for f, t in ((smooth, y), (moved, 0.9 * y + 0.05))
    )
    assert got[0] == pytest.approx(want[0], rel=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-8)


@each_class
@pytest.mark.parametrize("pos_weight", [None, [1.0, 2.0, 3.0]])
def test_missing_labels_are_left_out(rng, cls, pos_weight):
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.random((8, 3), np.float32)
    gap = rng.random((8, 3)) < 0.4
    holed = np.where(gap, NAN, y)
    plain, masked = (cls(pos_weight=pos_weight, missing=m) for m in (None, "mask"))
    plain.reduction = "none"
    cells = plain(x, y).numpy().reshape(8, 3)[~gap].astype(np.float64)
    value, grad = masked.value_and_grad(x, holed)
    assert value == pytest.approx(cells.mean(), rel=1e-6)
    assert masked(x, holed).item() == pytest.approx(cells.mean(), rel=1e-6)
    plain.reduction = "sum"
    want = plain.value_and_grad(x, y)[1] / len(cells)
    np.testing.assert_allclose(grad, np.where(gap, 0, want), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match=r"`target` must lie in \[0, 1\], got nan at index"):
        cls().value_and_grad(x, holed)
    with pytest.raises(ValueError, match=r"`target` must lie in \[0, 1\], got 2.0 at index"):
        masked.value_and_grad(x, np.where(gap, NAN, 2.0))
    masked.reduction = "none"
    assert (masked(x, holed).numpy().reshape(8, 3)[gap] == 0).all()


def test_where_all_labels_are_missing_there_is_no_loss():
    loss = BCEWithLogitsLossFlat(missing="mask")
    value, grad = loss.value_and_grad([[1.0, 2.0]], [[NAN, NAN]])
    assert value == 0 and not grad.any() and loss([[1.0, 2.0]], [[NAN, NAN]]) == 0


@each_class
def test_balanced_weights_come_from_the_targets(rng, cls):
    targets = np.array([[1, 0, 1, NAN], [0, 0, 1, 1], [0, 0, 1, 0.5], [0, NAN, 1, 0]])
    loss = cls(pos_weight="balanced")
    with pytest.raises(ValueError, match=f"{cls.__name__}: `pos_weight` must be numbers by now"):
        loss([[0.0] * 4], [[1.0] * 4])
    loss.balance(targets)
    assert loss.func.pos_weight.tolist() == [3, 1, 1, 1] and loss.flatten is False
    x, y = rng.normal(size=(5, 4)), rng.integers(0, 2, (5, 4))
    assert loss(x, y) == cls(pos_weight=[3.0, 1, 1, 1])(x, y)
    with pytest.raises(ValueError, match=r"balance: `targets` must have shape \(N, L\)"):
        loss.balance(np.zeros((0, 4)))
    with pytest.raises(ValueError, match=r"balance: `targets` must lie in \[0, 1\], got 2"):
        loss.balance([[2.0]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: BCEWithLogitsLossFlat(pos_weight="even"), "`pos_weight` must be 'balanced', got"),
        (lambda: BCEWithLogitsLossFlat(pos_weight="balanced", flatten=True), "`flatten` must not"),
        (lambda: BCEWithLogitsLossFlat(missing="skip"), "`missing` must be None or 'mask', got 's"),
        (lambda: BCEWithLogitsLossFlat(label_smoothing=1), r"`label_smoothing` must lie in \[0, 1"),
        (lambda: AsymmetricLossFlat(clip=1), r"AsymmetricLoss: `clip` must lie in \[0, 1\), got 1"),
        (lambda: AsymmetricLossFlat(-1), r"`gamma_neg` must lie in \[0, inf\), got -1"),
        (lambda: AsymmetricLossFlat(gamma_pos=NAN), "`gamma_pos` must lie"),
        (lambda: FocalLossFlat("2"), "FocalLossFlat: `gamma` must be a number, got '2'"),
        (lambda: FocalLossFlat(thresh=95), "FocalLossFlat: `thresh` must"),
    ],
)
def test_options_of_losses_are_checked(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@each_class
def test_every_loss_on_logits_decides_alike(cls):
    loss = cls(thresh=0.75)
    probs = loss.activation(tensor([-1.0, 1.0, 1.2]))
    assert probs.equal(tensor([-1.0, 1.0, 1.2]).sigmoid())
    assert loss.decodes(probs).tolist() == [False, False, True]
    assert "label_smoothing" in inspect.signature(cls).parameters


def test_use_kwargs_dict():
    shown = inspect.signature(BCEWithLogitsLossFlat)
    assert shown.parameters["reduction"].default == "mean" and "kwargs" in shown.parameters

    @use_kwargs_dict(a=1)
    def f(x, **kwargs):
        return kwargs

    assert str(inspect.signature(f)) == "(x, *, a=1)" and f(0, a=2) == {"a": 2} and f(0) == {}
