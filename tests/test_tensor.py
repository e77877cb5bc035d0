"""The tensor: prints, promotes and answers as torch's, and is an ordinary array to NumPy."""

import copy
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mlclassify import arrays, rng
from mlclassify import tensor as torch
from mlclassify.printing import set_printoptions
from mlclassify.tensor import (
    F,
    Size,
    Tensor,
    TensorBase,
    TensorImage,
    TensorMultiCategory,
    flatten_check,
    nn,
    tensor,
)

INF, NAN = float("inf"), float("nan")


class ForeignTensor:
    """What a torch tensor shows to others; with gradients it refuses to be an array."""

    def __init__(self, array, needs_detach=False):
        self.array, self.needs_detach = np.asarray(array), needs_detach

    def detach(self):
        return ForeignTensor(self.array)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if self.needs_detach:
            raise RuntimeError("call detach first")
        return self.array if dtype is None else self.array.astype(dtype)


class DLPackTensor:
    def __init__(self, array):
        self.array = np.asarray(array)

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


# -- printing -------------------------------------------------------------------------------------

PRINTED = [
    (3.14159, "tensor(3.1416)"),
    (-0.5, "tensor(-0.5000)"),
    (2.0, "tensor(2.)"),
    (7, "tensor(7)"),
    (True, "tensor(True)"),
    ([], "tensor([])"),
    ([0.0], "tensor([0.])"),
    ([-0.0], "tensor([-0.])"),
    ([1.0, -2.0], "tensor([ 1., -2.])"),
    ([1.0, 2.5], "tensor([1.0000, 2.5000])"),
    ([[1, 2, 3], [4, 5, 6]], "tensor([[1, 2, 3],\n        [4, 5, 6]])"),
    ([-1, 100], "tensor([ -1, 100])"),
    ([True, False], "tensor([ True, False])"),
    ([1.0, NAN, 2.0], "tensor([1., nan, 2.])"),
    ([1.5, NAN, -INF], "tensor([1.5000,    nan,   -inf])"),
    ([INF, -INF, 0.0], "tensor([inf, -inf, 0.])"),
    ([NAN], "tensor([nan])"),
    ([1e-10, 1.0, 1e10], "tensor([1.0000e-10, 1.0000e+00, 1.0000e+10])"),
    ([-1e-5, 0.0], "tensor([-1.0000e-05,  0.0000e+00])"),
    ([0.0001], "tensor([1.0000e-04])"),  # float32 has 9.99999975e-05
    ([0.00011], "tensor([0.0001])"),
    ([1.0, 1000.0], "tensor([   1., 1000.])"),
    ([1.0, 1001.0], "tensor([1.0000e+00, 1.0010e+03])"),
    ([100000000.0], "tensor([100000000.])"),
    ([200000000.0], "tensor([2.0000e+08])"),
    ([0.5, 499.5], "tensor([  0.5000, 499.5000])"),
    ([3.4e38, 1e-45], "tensor([3.4000e+38, 1.4013e-45])"),
    (
        [[[1, 2]], [[3, 4]]],
        "tensor([[[1, 2]],\n\n        [[3, 4]]])",
    ),
]


@pytest.mark.parametrize("data, text", PRINTED, ids=[text for _, text in PRINTED])
def test_prints_as_torch(data, text):
    assert repr(tensor(data)) == str(tensor(data)) == text


@pytest.mark.parametrize(
    "dtype, text",
    [
        ("float64", "tensor([1., 2.], dtype=torch.float64)"),
        ("float16", "tensor([1., 2.], dtype=torch.float16)"),
        ("uint8", "tensor([1, 2], dtype=torch.uint8)"),
        ("int32", "tensor([1, 2], dtype=torch.int32)"),
        ("int64", "tensor([1, 2])"),
        ("float32", "tensor([1., 2.])"),
    ],
)
def test_prints_dtypes_that_are_not_implied(dtype, text):
    assert repr(tensor([1, 2], dtype=dtype)) == text


def test_prints_empty_tensors():
    assert repr(torch.zeros(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(torch.zeros(0, dtype=torch.int64)) == "tensor([], dtype=torch.int64)"
    assert repr(torch.zeros(2, 0, dtype=torch.bool)) == "tensor([], size=(2, 0), dtype=torch.bool)"


def test_wraps_lines_in_aligned_columns():
    text = repr(torch.arange(30))
    first, second = text.split("\n")
    assert first == "tensor([" + ", ".join(f"{i:2d}" for i in range(18)) + ","
    assert second == " " * 8 + ", ".join(f"{i:2d}" for i in range(18, 30)) + "])"


def test_dtype_goes_to_its_own_line_where_the_last_one_is_full():
    row = tensor([0.5] * 8 + [0.25], dtype=torch.float64)
    assert repr(row) == (
        "tensor([" + ", ".join(["0.5000"] * 8) + ", 0.2500],\n       dtype=torch.float64)"
    )
    assert "\n" not in repr(row[:5])


def test_summarises_above_a_thousand_cells():
    assert "..." not in repr(torch.arange(1000))
    assert repr(torch.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    lines = repr(torch.zeros(50, 30)).split("\n")
    assert lines[0] == "tensor([[0., 0., 0.,  ..., 0., 0., 0.],"
    assert lines[3] == "        ...,"
    assert len(lines) == 7


def test_summary_takes_its_style_from_what_it_shows():
    x = torch.zeros(2000)
    x[1000] = 1e-9
    assert repr(x) == "tensor([0., 0., 0.,  ..., 0., 0., 0.])"


def test_printoptions():
    try:
        set_printoptions(precision=2, sci_mode=False)
        assert repr(tensor([1e-5, 1.0])) == "tensor([    0.00,     1.00])"  # as wide as 1.00e-05
        set_printoptions(sci_mode=True)
        assert repr(tensor([1.0])) == "tensor([1.00e+00])"
        set_printoptions(profile="full")
        assert "..." not in repr(torch.arange(1001))
        with pytest.raises(ValueError, match="`profile` must be one of"):
            set_printoptions(profile="long")
        with pytest.raises(TypeError, match="option must be one of"):
            set_printoptions(digits=3)
    finally:
        set_printoptions(profile="default")
    assert repr(tensor([0.12345])) == "tensor([0.1235])"


def test_subclasses_print_their_name_and_align_to_it():
    assert repr(TensorBase(0.6854)) == "TensorBase(0.6854)"
    assert repr(TensorBase([[1], [2]])) == "TensorBase([[1],\n" + " " * 12 + "[2]])"
    assert repr(TensorImage([0.5]))[:12] == "TensorImage("
    assert repr(TensorMultiCategory([0, 2])) == "TensorMultiCategory([0, 2])"


def test_format():
    assert f"{tensor(0.6854):.2f}" == "0.69" and f"{tensor(3)}" == "3"
    assert f"{tensor([1, 2])}" == "tensor([1, 2])" and f"{TensorBase(0.5)}" == "TensorBase(0.5000)"
    assert f"{TensorBase(0.5):.1f}" == "0.5"


# -- promotion ------------------------------------------------------------------------------------

f32, f64, i64, u8, b = (
    tensor([1.0]),
    tensor([1.0], dtype=torch.float64),
    tensor([1]),
    tensor([1], dtype=torch.uint8),
    tensor([True]),
)
PROMOTED = [
    ("f32 + 1", f32 + 1, "float32"),
    ("f32 * 1.5", f32 * 1.5, "float32"),
    ("1.5 - f32", 1.5 - f32, "float32"),
    ("f32 + np.float64", f32 + np.float64(0.5), "float32"),
    ("np.float64 * f32", np.float64(0.5) * f32, "float32"),
    ("i64 + f32", i64 + f32, "float32"),
    ("i64 * 1.5", i64 * 1.5, "float32"),
    ("i64 + 1", i64 + 1, "int64"),
    ("i64 / 2", i64 / 2, "float32"),
    ("i64 / i64", i64 / i64, "float32"),
    ("i64 // 2", i64 // 2, "int64"),
    ("i64 ** 2", i64**2, "int64"),
    ("i64 ** 0.5", i64**0.5, "float32"),
    ("2.0 ** i64", 2.0**i64, "float32"),
    ("u8 + 1", u8 + 1, "uint8"),
    ("u8 + i64", u8 + i64, "int64"),
    ("u8 + 0-d i64", u8 + tensor(1), "uint8"),
    ("u8 + 0-d f32", u8 + tensor(1.0), "float32"),
    ("u8 * 1.5", u8 * 1.5, "float32"),
    ("b + 1", b + 1, "int64"),
    ("b + b", b + b, "bool"),
    ("b * 1.5", b * 1.5, "float32"),
    ("b & b", b & b, "bool"),
    ("f32 + f64", f32 + f64, "float64"),
    ("f32 + 0-d f64", f32 + tensor(1.0, dtype=torch.float64), "float32"),
    ("f32 + ndarray f64", f32 + np.ones(1), "float64"),
    ("ndarray f64 + f32", np.ones(1) + f32, "float64"),
    ("0-d i64 + 0-d f32", tensor(1) + tensor(1.0), "float32"),
    ("exp(i64)", i64.exp(), "float32"),
    ("sqrt(b)", b.sqrt(), "float32"),
    ("i64 > 0.5", i64 > 0.5, "bool"),
    ("i64 @ f32", i64 @ f32, "float32"),
    ("sigmoid(i64)", i64.sigmoid(), "float32"),
    ("sigmoid(f64)", f64.sigmoid(), "float64"),
    ("sum(b)", b.sum(), "int64"),
    ("sum(u8)", u8.sum(), "int64"),
    ("sum(f32)", f32.sum(), "float32"),
    ("mean(f64)", f64.mean(), "float64"),
    ("clamp(i64, max=0.5)", i64.clamp(max=0.5), "float32"),
]


@pytest.mark.parametrize("name, result, dtype", PROMOTED, ids=[name for name, _, _ in PROMOTED])
def test_promotes_as_torch(name, result, dtype):
    assert type(result) is Tensor and result.dtype == dtype


def test_values_survive_promotion():
    assert (tensor([1, 2]) / 2).tolist() == [0.5, 1.0]
    assert (tensor([True, False]) + 1).tolist() == [2, 1]
    assert (tensor([200], dtype=torch.uint8) > 300).tolist() == [False]


def test_in_place():
    x = y = tensor([1.0, 2.0])
    x += 1
    x *= tensor([2, 2])
    assert y.tolist() == [4.0, 6.0] and type(x) is Tensor
    with pytest.raises(TypeError):
        i = tensor([1, 2])
        i += 0.5


def test_no_warnings_where_torch_has_none():
    assert tensor([0.0, -1.0]).log()[0] == -INF
    assert (1 / tensor([0.0])).item() == INF and (tensor([0.0]) / 0).isnan().all()
    assert tensor([1e30]).exp().item() == INF
    tensor([NAN]).long()


# -- an array to NumPy and to others --------------------------------------------------------------


def test_indexing_and_reductions_give_tensors_never_scalars():
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    for item in (x[0, 0], x[0][1], x.sum(), x.max(), np.sum(x), np.median(x), x[..., 0][0]):
        assert type(item) is Tensor and item.ndim == 0
    assert all(type(row) is Tensor for row in x) and all(type(c) is Tensor for c in x[0])
    cell = x[0, 1]
    cell += 5
    assert x[0, 1] == 7  # a view, as in torch


def test_numpy_functions_keep_numpys_meaning():
    x = tensor([[3.0, 1.0], [2.0, 5.0]])
    plain = x.numpy()
    assert type(plain) is np.ndarray and np.shares_memory(plain, x)
    for function in (np.sort, np.argsort, np.std, np.var, np.max, np.transpose, np.cumsum):
        np.testing.assert_array_equal(function(x), function(plain))
    np.testing.assert_array_equal(np.repeat(x, 2), np.repeat(plain, 2))
    np.testing.assert_array_equal(np.nonzero(x > 2), np.nonzero(plain > 2))
    assert np.sum(x, axis=1, keepdims=True).tolist() == [[4.0], [7.0]]
    assert type(np.concatenate([x, x])) is Tensor and type(np.array(x)) is np.ndarray
    assert x.size == 4 and np.size(x) == 4 and x.size() == (2, 2) and x.size(-1) == 2
    a = torch.zeros(2)
    np.add.at(a, [0, 0], 1)
    assert a.tolist() == [2.0, 0.0]
    assert np.add(x, 1, out=x) is x


def test_shape_is_a_size():
    shape = torch.zeros(4, 1).shape
    assert repr(shape) == "torch.Size([4, 1])" and shape == (4, 1) and isinstance(shape, tuple)
    assert repr(shape[:1]) == "torch.Size([4])" and shape[0] == 4 and shape.numel() == 4
    assert repr(tensor(1).shape) == "torch.Size([])" and np.zeros(shape).shape == (4, 1)
    assert Size((0, 3)).numel() == 0


def test_pandas():
    frame = pd.DataFrame(tensor([[0.5, 1.0]]), index=["a"])
    assert frame.loc["a"].tolist() == [0.5, 1.0]
    assert list(pd.Series(tensor([1, 2]))) == [1, 2]
    assert isinstance(pd.Series([1.0]) + tensor([1.0]), pd.Series)
    assert isinstance(tensor([1.0]) + pd.Series([1.0]), pd.Series)


def test_matplotlib_plots_lists_of_cells():
    xs = torch.linspace(0.05, 0.995, 100)
    figure, ax = plt.subplots()
    (line,) = ax.plot(xs, [tensor(0.5) + x for x in xs])
    assert line.get_ydata().dtype == np.float32 and len(line.get_xdata()) == 100
    ax.axvline(xs[3])
    plt.close(figure)


def test_copies_and_pickles():
    for x in (tensor([1.0]), TensorBase([1])):
        for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
            assert type(twin) is type(x) and twin.equal(x) and not np.shares_memory(twin, x)


def test_comparison_with_none_and_text_is_no_error():
    assert (tensor([1]) == None) is False  # noqa: E711
    assert (tensor([1]) != "a") is True


def test_subclass_of_results():
    base, image, labels = TensorBase([1.0]), TensorImage([1.0]), TensorMultiCategory([1.0])
    assert type(base + tensor([1.0])) is TensorBase and type(tensor([1]) * base) is TensorBase
    assert type(base + image) is TensorImage and type(image - labels) is TensorBase
    assert type(image[0]) is TensorImage and type(base.sigmoid().sum()) is TensorBase


def test_tensor_class():
    assert repr(Tensor([1, 2])) == "tensor([1., 2.])" and TensorBase([1, 2]).dtype == np.int64
    assert TensorBase(np.ones(1)).dtype == np.float32
    with pytest.raises(TypeError, match=r"torch.zeros\(3\)"):
        Tensor(3)


# -- methods --------------------------------------------------------------------------------------


@pytest.fixture
def x(rng):
    return tensor(rng.normal(size=(4, 5, 3)))


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_reductions_match_numpy_in_float64(x, dim, keepdim):
    plain = x.numpy().astype(np.float64)
    keep = {"axis": dim, "keepdims": keepdim}
    for name in ("sum", "mean", "prod"):
        expected = getattr(np, name)(plain, **keep)
        result = getattr(x, name)(dim, keepdim=keepdim)
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-7)
        assert getattr(x, name)(axis=dim, keepdims=keepdim).equal(result)
    np.testing.assert_allclose(x.var(dim, keepdim=keepdim), np.var(plain, ddof=1, **keep), 1e-6)
    np.testing.assert_allclose(x.std(dim, False, keepdim), np.std(plain, **keep), 1e-6)
    for name in ("argmax", "argmin"):
        result = getattr(x, name)(dim, keepdim)
        assert result.equal(getattr(np, name)(plain, **keep)) and result.dtype == np.int64
    assert x.amax(dim, keepdim).equal(np.max(x.numpy(), **keep))
    assert (x > 0).any(dim, keepdim).equal(np.any(plain > 0, **keep))
    assert (x > 0).all(dim, keepdim).equal(np.all(plain > 0, **keep))


def test_max_and_min_along_a_dimension(x):
    values, indices = x.max(dim=1)
    assert values.equal(x.numpy().max(1)) and indices.equal(x.numpy().argmax(1))
    assert x.min(1, keepdim=True).values.shape == (4, 1, 3)
    assert repr(tensor([1, 3, 2]).max(0)) == (
        "torch.return_types.max(\nvalues=tensor(3),\nindices=tensor(1))"
    )
    assert tensor([1.0, 5.0]).max(tensor([3.0, 3.0])).tolist() == [3.0, 5.0]
    assert tensor([1.0, NAN]).max().isnan()


def test_mean_of_nothing_is_nan():
    assert torch.zeros(0).mean().isnan() and torch.zeros(0).sum() == 0
    assert torch.zeros(0, 3).mean(0).isnan().all()
    assert torch.zeros(1).std().isnan()


def test_sort_argsort_topk():
    t = tensor([2.0, NAN, 2.0, -1.0])
    values, indices = t.sort()
    assert indices.tolist() == [3, 0, 2, 1] and values[3].isnan()
    assert t.sort(descending=True).indices.tolist() == [1, 0, 2, 3]
    assert t.tolist()[0] == 2.0  # not in place
    assert tensor([5, 1, 9]).topk(2).values.tolist() == [9, 5]
    assert tensor([[5, 1], [3, 4]]).topk(1, largest=False).indices.tolist() == [[1], [0]]
    with pytest.raises(ValueError, match=r"topk: `k` must lie in \[0, 3\], got 4"):
        tensor([5, 1, 9]).topk(4)


def test_shapes(x):
    assert x.view(4, -1).shape == x.view((4, 15)).shape == x.flatten(1).shape == (4, 15)
    assert x.flatten(0, 1).shape == (20, 3) and tensor(1).flatten().shape == (1,)
    assert x.transpose(0, 1).shape == (5, 4, 3) and x.permute(2, 0, 1).shape == (3, 4, 5)
    assert x.permute((2, 0, 1)).shape == (3, 4, 5) and x[0].t().shape == (3, 5)
    assert x.unsqueeze(-1).squeeze(-1).shape == x.squeeze(0).shape == (4, 5, 3)
    assert x.dim() == 3 and x.numel() == x.nelement() == 60
    assert x.transpose(0, 1).contiguous().flags.c_contiguous and x.contiguous() is x
    assert tensor([[1, 2]]).repeat(2, 2).tolist() == [[1, 2, 1, 2]] * 2
    assert tensor([[1], [2]]).expand(-1, 3).tolist() == [[1] * 3, [2] * 3]
    assert type(x.view(np.ndarray)) is np.ndarray and x.view(np.int32).dtype == np.int32


def test_dtypes_and_devices():
    t = tensor([0.0, 1.5])
    for name, dtype in [
        ("double", "float64"), ("half", "float16"), ("long", "int64"), ("int", "int32"),
        ("byte", "uint8"), ("bool", "bool"), ("float", "float32"),
    ]:  # fmt: skip
        assert getattr(t, name)().dtype == dtype
    assert t.to(torch.int64).tolist() == [0, 1] and t.to(tensor([1])).dtype == np.int64
    assert t.to("cpu") is t and t.cpu() is t and t.detach() is t
    assert t.type() == "torch.FloatTensor" and t.type(torch.bool).type() == "torch.BoolTensor"
    assert t.is_floating_point() and not t.long().is_floating_point()
    for call in (lambda: t.to("cuda"), t.cuda, lambda: tensor(1, device="cuda:0")):
        with pytest.raises(ValueError, match="`device` must be 'cpu'"):
            call()


def test_elementwise_against_float64(x):
    plain = x.numpy().astype(np.float64)
    sigmoid = 1 / (1 + np.exp(-plain))
    np.testing.assert_allclose(x.sigmoid(), sigmoid, rtol=1e-6)
    np.testing.assert_allclose(x.double().sigmoid(), sigmoid, rtol=1e-14)
    shares = np.exp(plain) / np.exp(plain).sum(1, keepdims=True)
    np.testing.assert_allclose(x.softmax(dim=1), shares, rtol=2e-6)
    for name in ("exp", "tanh", "abs", "floor", "ceil", "square"):
        np.testing.assert_allclose(getattr(x, name)(), getattr(np, name)(plain), rtol=1e-6)
    assert x.relu().equal(np.maximum(x.numpy(), 0)) and x.neg().equal(-x)
    assert x.clamp(-0.5, 0.5).equal(np.clip(x.numpy(), -0.5, 0.5))
    assert tensor([0.5, 1.5, 1.26]).round().tolist() == [0.0, 2.0, 1.0]
    assert x.eq(x).all() and not x.ne(x).any() and x.allclose(x + 1e-9)
    assert tensor([NAN, INF, 1]).isfinite().tolist() == [False, False, True]


@pytest.mark.parametrize("extreme", [0.0, -0.0, 1e-40, 100, -100, INF, -INF, NAN])
def test_sigmoid_at_the_ends(extreme):
    expected = NAN if np.isnan(extreme) else 1 / (1 + np.exp(-np.longdouble(extreme)))
    np.testing.assert_allclose(
        tensor(extreme).float().sigmoid(), np.float64(expected), rtol=1e-6, atol=1e-43
    )


def test_python_numbers():
    assert tensor(2).item() == 2 and tensor([[1.5]]).item() == 1.5
    assert float(tensor([1.5])) == 1.5 and int(tensor([2])) == 2 and bool(tensor(0)) is False
    assert ["a", "b"][tensor(1)] == "b" and tensor([1, 2]).tolist() == [1, 2]
    with pytest.raises(ValueError):
        bool(tensor([1, 2]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: tensor(1.0).backward(),
        lambda: tensor(1.0, requires_grad=True),
        lambda: tensor(1.0).requires_grad_(),
        lambda: setattr(tensor(1.0), "requires_grad", True),
    ],
)
def test_autograd_is_refused_with_what_to_do_instead(call):
    with pytest.raises(NotImplementedError, match="there is no autograd here: train with a Learn"):
        call()


def test_no_autograd_is_needed():
    x = tensor(1.0, requires_grad=False)
    assert x.requires_grad is False and x.grad is None and x.requires_grad_(False) is x
    x.requires_grad = False
    with torch.no_grad():
        pass

    @torch.no_grad()
    def double(y):
        return y * 2

    assert double(x) == 2


def test_flatten_check():
    inp, targ = flatten_check(torch.zeros(2, 3), np.ones((3, 2), np.int64))
    assert type(inp) is type(targ) is TensorBase and inp.shape == targ.shape == (6,)
    with pytest.raises(AssertionError, match=r"`targ` must have as many cells as `inp` \(6\)"):
        flatten_check(torch.zeros(2, 3), torch.zeros(2))


# -- the names of torch ---------------------------------------------------------------------------


def test_tensor_takes_what_users_have():
    assert tensor([0.9, 0.1], [0.25, 0.5]).shape == (2, 2)
    assert tensor(1, 2).tolist() == [1, 2]
    assert tensor([tensor(0.5), tensor(1.5)]).tolist() == [0.5, 1.5]
    assert tensor((tensor([1]), tensor([2]))).tolist() == [[1], [2]]
    assert tensor(np.ones(2)).dtype == np.float32 and tensor(np.ones(2, np.uint16)).dtype == "f4"
    assert tensor(np.ones(2, np.int32)).dtype == np.int32
    assert tensor(1.5, dtype=torch.float64).dtype == np.float64
    assert tensor(pd.Series([1.0, 2.0])).dtype == np.float32
    original = np.ones(2, np.float32)
    assert not np.shares_memory(tensor(original), original)
    assert np.shares_memory(torch.from_numpy(original), original)
    assert torch.from_numpy(np.ones(1)).dtype == np.float64


@pytest.mark.parametrize("foreign", [ForeignTensor, DLPackTensor])
def test_tensors_of_other_libraries(foreign):
    other = foreign(np.array([1.0, 2.0], np.float32))
    assert tensor(other).tolist() == [1.0, 2.0]
    assert (tensor([1.0, 1.0]) + other).tolist() == [2.0, 3.0]
    assert tensor([other, other]).shape == (2, 2)
    assert F.sigmoid(other).shape == (2,) and TensorBase(other).equal(other)


def test_foreign_tensor_with_gradients_is_detached():
    assert tensor(ForeignTensor([1.0], needs_detach=True)).tolist() == [1.0]


@pytest.mark.parametrize(
    "bad, error, rule",
    [
        ("bear", TypeError, "must hold numbers, got 'bear'"),
        ([1, None], TypeError, "must hold numbers"),
        ([1 + 2j], TypeError, "must hold numbers"),
        ([[1, 2], [3]], ValueError, r"must have rows of one length, got \[\[1, 2\], \[3\]\]"),
        ({"a": 1}, TypeError, "must hold numbers"),
        ([2**70], TypeError, "must hold numbers"),
    ],
)
def test_tensor_refuses(bad, error, rule):
    with pytest.raises(error, match=f"^tensor: `data` {rule}"):
        tensor(bad)


def test_makers():
    assert torch.zeros(2, 3).shape == torch.ones((2, 3)).shape == (2, 3)
    assert torch.full((2,), 7).dtype == np.int64 and torch.full((2,), 0.5).dtype == np.float32
    assert torch.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert torch.arange(2, 8, 3).tolist() == [2, 5] and torch.arange(3).dtype == np.int64
    assert torch.arange(0, 1, 0.25).dtype == np.float32
    assert torch.zeros_like(tensor([1])).dtype == np.int64
    assert torch.ones_like(tensor([1]), dtype=torch.float32).dtype == np.float32
    assert torch.cat([tensor([1]), tensor([0.5])]).dtype == np.float32
    assert torch.cat([torch.zeros(2, 1), torch.ones(2, 2)], dim=1).shape == (2, 3)
    assert torch.stack([tensor(1), tensor(0.5)]).tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match="`tensors` must hold at least one"):
        torch.cat([])


def test_where():
    condition = tensor([True, False])
    assert torch.where(condition, 1.0, tensor([2, 3])).dtype == np.float32
    assert torch.where(condition, tensor([1, 2]), 0).tolist() == [1, 0]
    assert torch.where(condition)[0].tolist() == [0]
    with pytest.raises(TypeError, match="must be given both or neither"):
        torch.where(condition, 1.0)


def test_linspace_counts_from_both_ends():
    xs = torch.linspace(0.05, 0.995, 100)
    low, high = np.float32(0.05), np.float32(0.995)
    step = (high - low) / np.float32(99)
    expected = [low + step * np.float32(i) for i in range(50)]
    expected += [high - step * np.float32(99 - i) for i in range(50, 100)]
    assert xs.dtype == np.float32 and xs.equal(np.array(expected, np.float32))
    assert xs[0] == low and xs[-1] == high
    np.testing.assert_allclose(xs, np.linspace(0.05, 0.995, 100), rtol=3e-7)
    assert torch.linspace(2, 3, 1).tolist() == [2.0] and torch.linspace(0, 1, 0).numel() == 0
    assert torch.linspace(0, 10, 3, dtype=torch.int64).tolist() == [0, 5, 10]
    with pytest.raises(ValueError, match="`steps` must not be negative"):
        torch.linspace(0, 1, -1)


def test_random_numbers_follow_the_seed():
    try:
        torch.manual_seed(3)
        a, again = torch.randn(4, 2), torch.randn(4, 2)
        torch.manual_seed(3)
        assert torch.randn(4, 2).equal(a) and not again.equal(a)
        rng.set_seed(4)
        b = torch.rand(3)
        rng.set_seed(3)
        assert torch.randn(4, 2).equal(a)
        rng.set_seed(4)
        assert torch.rand(3).equal(b)
    finally:
        rng.set_seed(None)
    assert not torch.rand(8).equal(torch.rand(8))


def test_random_numbers_are_distributed_as_they_should():
    torch.manual_seed(0)
    try:
        normal, even = torch.randn(100, 400), torch.rand(40000)
    finally:
        rng.set_seed(None)
    assert normal.dtype == even.dtype == np.float32 and normal.isfinite().all()
    # 4.5 standard errors of each statistic
    assert abs(normal.mean()) < 4.5 / 200 and abs(normal.std() - 1) < 4.5 / 283
    assert abs((normal**4).mean() - 3) < 4.5 * np.sqrt(96) / 200
    assert 0 <= even.min() and even.max() < 1 and abs(even.mean() - 0.5) < 4.5 * 0.2887 / 200
    assert abs(np.corrcoef(normal.view(2, -1))[0, 1]) < 4.5 / 141


def test_functions_are_the_methods():
    assert torch.sum(tensor([1, 2])) == 3 and torch.max([1.0, 2.0]) == 2
    assert torch.reshape(tensor([[1, 2]]), (2, 1)).shape == (2, 1)
    assert torch.topk(tensor([1, 3]), 1).values == 3
    for name in torch._METHODS:
        assert callable(getattr(torch, name)) and getattr(torch, name).__doc__
    assert torch.equal(tensor([1]), tensor([1])) is True
    assert torch.float == torch.float32 == np.float32 and torch.long == np.int64
    assert torch.is_tensor(tensor(1)) and not torch.is_tensor(np.ones(1))


@pytest.mark.parametrize("space, name", [(torch, "optim"), (F, "softmax"), (nn, "Linear")])
def test_unknown_names_say_what_exists(space, name):
    with pytest.raises(AttributeError, match=f"has no `{name}`; it has .*PyTorch is not behind"):
        getattr(space, name)
    assert not hasattr(space, name) and "sigmoid" in dir(F)
    assert copy.deepcopy(nn).functional.one_hot([1]).tolist() == [[0, 1]]


def test_device_idiom():
    assert torch.device("cuda" if torch.cuda.is_available() else "cpu") == "cpu"


def test_every_listed_name_exists():
    for name in dir(torch):
        assert getattr(torch, name) is not None


# -- arrays.py ------------------------------------------------------------------------------------


def test_as_float32_copies_only_where_needed():
    array = np.ones((3, 4), np.float32)
    assert arrays.as_float32("x", "f", array) is array
    strided = arrays.as_float32("x", "f", array.T)
    assert strided.flags.c_contiguous and strided.shape == (4, 3)
    assert type(arrays.as_float32("x", "f", Tensor([1]))) is np.ndarray
    assert arrays.as_float32("x", "f", [1e300])[0] == INF
    assert arrays.as_float32("x", "f", 3).shape == ()


def test_as_matrix():
    assert arrays.as_matrix("x", "f", [[1, 2]]).shape == (1, 2)
    with pytest.raises(ValueError, match=r"f: `x` must have shape \(N, L\) or \(N,\), got \(1, 1"):
        arrays.as_matrix("x", "f", [[[1]]])


def test_as_uint8_mask():
    assert arrays.as_uint8_mask("y", "f", [[True], [False]]).tolist() == [[1], [0]]
    assert arrays.as_uint8_mask("y", "f", [0, -2, 0.3]).tolist() == [0, 1, 1]
    assert arrays.as_uint8_mask("y", "f", [0, 1.0], strict=True).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"f: `y` must not be NaN, got nan at index \(0, 1\)"):
        arrays.as_uint8_mask("y", "f", [[0, NAN]])
    with pytest.raises(ValueError, match="f: `y` must hold only 0 and 1, got 0.3 at index 1"):
        arrays.as_uint8_mask("y", "f", [0, 0.3], strict=True)


def test_images_to_c(rng):
    planes = rng.random((2, 3, 4, 5))
    view = arrays.images_to_c(planes)
    assert view.dtype == np.float32 and view.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(view, planes, rtol=1e-6)
    assert np.shares_memory(arrays.images_to_c(view), view)
    with pytest.raises(ValueError, match=r"must have shape \(N, 3, H, W\), got \(2, 4, 5, 3\)"):
        arrays.images_to_c(planes.transpose(0, 2, 3, 1))
