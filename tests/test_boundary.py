"""What ``_core`` refuses, sentence by sentence, and that a refusal leaks nothing.

Every function gets every kind of wrong argument at every place. The sentences of the checks that
all functions share are made here from the place, the rule and the value.
"""

import contextlib
import gc
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import nhwc, small_resnet

from mlclassify import _core

TYPES = Path(__file__).resolve().parents[1] / "mlclassify" / "_core.pyi"
FUZZED = Path(__file__).parent / "fuzz" / "calls.py"
F4, F8, U1, I4, I8 = np.float32, np.float64, np.uint8, np.int32, np.int64


class Array:
    """An array argument: its name, dtype and shape, whether it is written, whether None is one, the
    sentence's end where its shape must be that of another argument, whether any shape will do."""

    def __init__(self, name, dtype, shape, out=False, optional=False, like=None, free=False):
        self.name, self.dtype, self.shape, self.free = name, np.dtype(dtype), shape, free
        self.out, self.optional, self.like = out, optional, like

    def good(self):
        return np.zeros(self.shape, self.dtype)


class Int:
    def __init__(self, name, most):
        self.name, self.most = name, most

    def good(self):
        return 1


class Float:
    def __init__(self, name):
        self.name = name

    def good(self):
        return 1.0


LOSS = [
    Array("logits", F4, (3, 4)), Array("targets", F4, (3, 4), like="logits"),
    Array("weight", F4, (3, 4), optional=True, like="logits"),
    Array("pos_weight", F4, (3, 4), optional=True, like="logits"),
    Float("smoothing"), Int("missing", 1), Int("mean", 1),
    Array("out", F4, (3, 4), out=True, optional=True, like="logits"),
    Array("grad", F4, (3, 4), out=True, optional=True, like="logits"),
]
FUNCTIONS = {
    "sigmoid": [Array("x", F4, (3, 4)), Array("out", F4, (3, 4), out=True, like="x")],
    "bce_with_logits": LOSS,
    "asymmetric_with_logits": [*LOSS, Float("gamma_neg"), Float("gamma_pos"), Float("clip")],
    "accuracy_count": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                       Array("thresh", F4, (4,))],
    "ranked_columns": [
        Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
        Array("out_scores", F4, (4, 3), out=True), Array("out_rows", I4, (4, 3), out=True),
        Array("out_positives", I4, (4, 3), out=True)],
    "column_ranking": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                       Array("weights", F8, (3,), optional=True),
                       Array("out", F8, (4, 2), out=True)],
    "column_curve": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                     Array("weights", F8, (3,), optional=True), Array("length", I8, (4,), out=True),
                     Array("row", I8, (4, 3), out=True), Array("positive", F8, (4, 3), out=True),
                     Array("all", F8, (4, 3), out=True)],
    "row_ranking": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                    Array("out", F8, (3, 3), out=True)],
    "row_gains": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                  Array("gains", F8, (5,)), Array("out", F8, (3,), out=True)],
    "label_counts": [Array("targets", U1, (3, 4)), Array("decided", U1, (3, 4), like="targets"),
                     Array("out", I8, (3, 4), out=True)],
    "row_counts": [Array("targets", U1, (2, 4)), Array("decided", U1, (2, 4), like="targets"),
                   Array("out", I8, (3, 2), out=True)],
    "label_weights": [Array("targets", U1, (3, 4)), Array("decided", U1, (3, 4), like="targets"),
                      Array("weights", F8, (3,)), Array("out", F8, (3, 4), out=True)],
    "rank_histogram": [Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
                       Array("histogram", I8, (4, 8, 2), out=True)],
    "histogram_ranking": [Array("histogram", I8, (4, 8, 2)), Array("out", F8, (4, 6), out=True)],
    "threshold_counts": [
        Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
        Array("thresholds", F4, (5,), free=True), Array("counts", I8, (4, 6, 2), out=True),
        Array("exact", I8, (6,), out=True)],
    "threshold_search": [
        Array("scores", F4, (3, 4)), Array("targets", U1, (3, 4), like="scores"),
        Array("start", F4, (4,)), Int("smooth", 1), Array("edges", F4, (4, 2), out=True),
        Array("counts", I8, (4, 5), out=True)],
    "augment": [Array("images", U1, (2, 5, 6, 3)),
                Array("homography", F8, (2, 3, 3), optional=True), Int("border", 2),
                Int("nearest", 1), Int("edges", 1), Array("lighting", F4, (2, 2), optional=True),
                Array("tint", F4, (2, 3, 4), optional=True),
                Array("turn", F4, (2,), optional=True), Array("mean", F4, (3,)),
                Array("std", F4, (3,)), Array("out", F4, (2, 5, 6, 3), out=True)],
    "random_uniform": [Int("seed", 2**64 - 1), Int("epoch", 2**32 - 1), Int("position", 2**32 - 1),
                       Int("operation", 2**32 - 1), Array("out", F8, (5,), out=True)],
    "set_num_threads": [Int("threads", 256)],
}
NO_ARGUMENTS = ("isas", "isa", "get_num_threads")
OWN_TESTS = ("kernels", "cpus")  # their one argument is a text
# Functions whose arrays may have any number of dimensions (ANY_NDIM in their bindings).
ANY_DIMENSIONS = ("sigmoid", *(name for name in FUNCTIONS if name.endswith("_with_logits")))


def strided(array):
    """The same values, not C-contiguous."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    return wide[..., ::2]


def read_only(array):
    array.flags.writeable = False
    return array


def array_faults(function, place):
    """(wrong value, exception, end of the sentence) for one array argument."""
    good, swapped = place.good(), np.dtype(place.dtype).newbyteorder(">")
    other = np.zeros(place.shape, np.int64 if place.dtype != I8 else np.int32)
    kind = f"`{place.name}` must be {place.dtype}, got"
    no_array = f"`{place.name}` must be a NumPy array, got"
    if not place.optional:
        yield None, TypeError, f"{no_array} NoneType"
    yield good.tolist(), TypeError, f"{no_array} list"
    yield 1.5, TypeError, f"{no_array} float"
    yield other, TypeError, f"{kind} {other.dtype}"
    yield good.astype(object), TypeError, f"{kind} object"
    if place.dtype.itemsize > 1:
        yield good.astype(swapped), TypeError, f"{kind} {swapped.str}"
        yield unaligned(good), ValueError, (
            f"`{place.name}` must be C-contiguous, got a strided view")
    if function not in ANY_DIMENSIONS:
        yield good[None], ValueError, (
            f"`{place.name}` must have {good.ndim} dimensions, got {good.ndim + 1}")
        yield np.zeros(good.shape[1:], good.dtype), ValueError, (
            f"`{place.name}` must have {good.ndim} dimensions, got {good.ndim - 1}")
    yield strided(good), ValueError, f"`{place.name}` must be C-contiguous, got a strided view"
    if good.ndim > 1:
        yield np.asfortranarray(good), ValueError, (
            f"`{place.name}` must be C-contiguous, got a strided view")
    if place.out:
        yield read_only(place.good()), ValueError, (
            f"`{place.name}` must be writable, got a read-only array")
    yield from shape_faults(function, place)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    return raw[1:].view(array.dtype).reshape(array.shape)


def shape_faults(function, place):
    first = next(p for p in FUNCTIONS[function] if isinstance(p, Array))
    if place is first or place.free:
        return  # it sets the shapes of the others
    wrong = (place.shape[0] + 1, *place.shape[1:])
    like = f" like `{place.like}`" if place.like else ""
    yield np.zeros(wrong, place.dtype), ValueError, (
        f"`{place.name}` must have shape {place.shape}{like}, got {wrong}")
    wrong = (*place.shape[:-1], 0)
    yield np.zeros(wrong, place.dtype), ValueError, (
        f"`{place.name}` must have shape {place.shape}{like}, got {wrong}")


def int_faults(place):
    whole = f"`{place.name}` must be an integer, got"
    rule = f"`{place.name}` must lie in [0, {place.most}]"
    for value in (1.0, "1", None, [1], float("nan"), np.float64(1)):
        yield value, TypeError, f"{whole} {value!r}"
    for value in (-1, place.most + 1, 2**64, 2**200, -(2**70)):
        yield value, ValueError, f"{rule}, got {value}"


def float_faults(place):
    for value in ("1", None, [1.0], b"1", 1j):
        yield value, TypeError, f"`{place.name}` must be a number, got {value!r}"


def faults():
    for function, places in FUNCTIONS.items():
        for at, place in enumerate(places):
            if isinstance(place, Array):
                found = array_faults(function, place)
            else:
                found = int_faults(place) if isinstance(place, Int) else float_faults(place)
            for value, error, end in found:
                yield pytest.param(function, at, value, error, f"{function}: {end}",
                                   id=f"{function}-{place.name}-{end[-30:]}")


def good_arguments(function):
    return [place.good() for place in FUNCTIONS[function]]


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = _core.get_num_threads()
    yield
    _core.set_num_threads(before)


def refused(error, message, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    got = caught.value.args[0] if error is KeyError else str(caught.value)
    assert got == message and caught.type is error


# --- functions

@pytest.mark.parametrize("function", FUNCTIONS)
def test_good_arguments_are_taken(function):
    getattr(_core, function)(*good_arguments(function))


def test_every_function_is_covered():
    """A function that is new in the module needs its line in three lists."""
    found = {name for name in dir(_core) if callable(getattr(_core, name)) and name != "Net"
             and not name.startswith("__")}
    typed = set(re.findall(r"^def (\w+)", TYPES.read_text(), re.MULTILINE))
    fuzzed = set(re.findall(r'^    "(\w+)": ', FUZZED.read_text(), re.MULTILINE))
    for place, names in (("FUNCTIONS in tests/test_boundary.py",
                          {*FUNCTIONS, *NO_ARGUMENTS, *OWN_TESTS}),
                         ("mlclassify/_core.pyi", typed), ("CALLS in tests/fuzz/calls.py", fuzzed)):
        assert not found - names, f"add {found - names} to {place}"
        assert not names - found, f"remove {names - found} from {place}"


@pytest.mark.parametrize("function, at, value, error, message", list(faults()))
def test_a_wrong_argument(function, at, value, error, message):
    args = good_arguments(function)
    args[at] = value
    refused(error, message, getattr(_core, function), *args)


@pytest.mark.parametrize("function", [*FUNCTIONS, *NO_ARGUMENTS, *OWN_TESTS])
def test_a_wrong_number_of_arguments(function):
    call = getattr(_core, function)
    count = len(FUNCTIONS.get(function, [None] if function in OWN_TESTS else []))
    for wrong in {count + 1, count + 5, max(count - 1, 0)} - {count}:
        refused(TypeError, f"{function}: takes {count} arguments, got {wrong}", call,
                *[None] * wrong)


def test_functions_take_no_keywords():
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        _core.sigmoid(x=np.zeros(3, F4), out=np.zeros(3, F4))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_optional_arrays_may_be_none(function):
    args = [None if getattr(place, "optional", False) else place.good()
            for place in FUNCTIONS[function]]
    getattr(_core, function)(*args)


@pytest.mark.parametrize("name", ["avx", "", "SCALAR", None, 3, b"scalar"])
def test_kernels_of_an_unknown_instruction_set(name):
    refused(ValueError, f"kernels: `isa` must be one of isas(), got {name!r}", _core.kernels, name)


@pytest.mark.parametrize("root", [None, 3, "nul\0", ["/"]])
def test_a_root_that_is_no_path(root):
    refused(TypeError, f"cpus: `root` must be a path, got {root!r}", _core.cpus, root)


def test_no_threads_at_all():
    refused(ValueError, "set_num_threads: `threads` must be at least 1, got 0",
            _core.set_num_threads, 0)


def test_scores_that_are_no_numbers():
    scores, targets = np.zeros((3, 4), F4), np.ones((3, 4), U1)
    scores[2, 1] = np.nan
    refused(ValueError, "column_ranking: `scores` must not hold NaN, got NaN",
            _core.column_ranking, scores, targets, None, np.zeros((4, 2)))
    refused(ValueError, "threshold_search: `scores` must not hold NaN, got NaN",
            _core.threshold_search, scores, targets, np.zeros(4, F4), 0, np.zeros((4, 2), F4),
            np.zeros((4, 5), I8))


@pytest.mark.parametrize("thresholds, got", [
    ([0.5, 0.25], "0.25 after 0.5"), ([np.nan], "nan after nan"), ([0, np.nan], "nan after 0")])
def test_thresholds_ascend(thresholds, got):
    n = len(thresholds) + 1
    refused(ValueError, f"threshold_counts: `thresholds` must ascend, got {got}",
            _core.threshold_counts, np.zeros((3, 4), F4), np.zeros((3, 4), U1),
            np.array(thresholds, F4), np.zeros((4, n, 2), I8), np.zeros(n, I8))


@pytest.mark.parametrize("bins", [0, 1, 3, 2**25])
def test_a_histogram_has_a_power_of_two_of_bins(bins):
    histogram = np.zeros((0, bins, 2), I8)
    refused(ValueError,
            f"rank_histogram: `histogram` must have 2, 4, 8... or 2**24 bins, got {bins}",
            _core.rank_histogram, np.zeros((3, 0), F4), np.zeros((3, 0), U1), histogram)


@pytest.mark.parametrize("count", [-1, 2**32, 2**53, 2**63 - 1, -(2**63)])
def test_a_histogram_holds_counts(count):
    """The ranking takes a step for each positive: from 2**53 on it would never end."""
    histogram, out = np.ones((2, 8, 2), I8), np.empty((2, 6))
    histogram[1, 7, 1] = count
    refused(ValueError, "histogram_ranking: `histogram` must hold counts in [0, 4294967295], got "
            f"{count}", _core.histogram_ranking, histogram, out)


def test_histograms_count_both_targets():
    refused(ValueError, "histogram_ranking: `histogram` must have shape (4, 8, 2), got (4, 8, 3)",
            _core.histogram_ranking, np.zeros((4, 8, 3), I8), np.zeros((4, 6)))


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_a_weight_is_one_row_or_all(name):
    args = good_arguments("bce_with_logits")
    at = 2 if name == "weight" else 3
    args[at] = np.ones(4, F4)
    _core.bce_with_logits(*args)
    args[at] = np.ones(5, F4)
    refused(ValueError, f"bce_with_logits: `{name}` must have shape (4,), got (5,)",
            _core.bce_with_logits, *args)
    for shape in ((2, 4), (1, 4), ()):
        args[at] = np.ones(shape, F4)
        refused(ValueError,
                f"bce_with_logits: `{name}` must have shape (3, 4) like `logits`, got {shape}",
                _core.bce_with_logits, *args)


@pytest.mark.parametrize("missing", [False, True])
def test_a_target_is_a_probability(missing):
    args = good_arguments("bce_with_logits")
    args[5] = missing
    args[1][0, 1] = np.nan if missing else 1
    args[1][1, 2] = 1.5
    refused(ValueError,
            "bce_with_logits: `targets` must lie in [0, 1], got 1.5 at row 1, label 2",
            _core.bce_with_logits, *args)


@pytest.mark.parametrize("name", ["gamma_neg", "gamma_pos"])
@pytest.mark.parametrize("gamma", [-1.0, np.nan])
def test_an_exponent_is_not_negative(name, gamma):
    """What lies in [0, 1] would leave it, and its exponential have no bits to be made of."""
    args = [*good_arguments("bce_with_logits"), 0.0, 0.0, 0.05]
    at = 9 if name == "gamma_neg" else 10
    args[at] = np.inf
    _core.asymmetric_with_logits(*args)
    args[at] = gamma
    refused(ValueError, f"asymmetric_with_logits: `{name}` must be at least 0, got {gamma}",
            _core.asymmetric_with_logits, *args)


def test_images_have_three_channels_and_sides_that_floats_can_count():
    args = good_arguments("augment")
    args[0] = np.zeros((2, 5, 6, 4), U1)
    refused(ValueError, "augment: `images` must have shape (2, 5, 6, 3), got (2, 5, 6, 4)",
            _core.augment, *args)
    args[0] = np.zeros((0, 1, 2**24 + 1, 3), U1)
    refused(ValueError,
            "augment: `images` must have sides of at most 16777216 pixels, got 16777217",
            _core.augment, *args)


def test_a_batch_has_other_sides_only_with_a_homography_and_pixels():
    args = good_arguments("augment")
    args[-1] = np.zeros((2, 3, 9, 3), F4)
    _core.augment(*args)
    args[1] = None
    refused(ValueError, "augment: `out` must have shape (2, 5, 6, 3), got (2, 3, 9, 3)",
            _core.augment, *args)
    args[0], args[1] = np.zeros((2, 0, 6, 3), U1), np.zeros((2, 3, 3))
    refused(ValueError, "augment: `out` must have shape (2, 0, 6, 3), got (2, 3, 9, 3)",
            _core.augment, *args)


@pytest.mark.parametrize("value", [True, np.int64(3), np.uint8(3)])
def test_integers_of_any_kind_are_integers(value):
    _core.random_uniform(value, value, value, value, np.zeros(2))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_empty_matrices_are_fine(shape):
    x, u = np.zeros(shape, F4), np.zeros(shape, U1)
    _core.sigmoid(x, x)
    assert _core.bce_with_logits(x, x, None, None, 0.0, False, False, x, x.copy()) == 0
    assert np.isnan(_core.bce_with_logits(x, x, None, None, 0.0, True, True, None, None))
    assert _core.accuracy_count(x, u, np.zeros(shape[1], F4)) == 0
    out = np.zeros((shape[1], 2))
    for weights in (None, np.ones(shape[0])):
        _core.column_ranking(x, u, weights, out)
        assert np.isnan(out).all()
    length, row = np.ones(shape[1], I8), x.T.astype(I8)
    positive, every = np.zeros((2, *x.T.shape))
    _core.column_curve(x, u, None, length, row, positive, every)
    assert not length.any() or shape[0]
    _core.row_ranking(x, u, rows := np.zeros((shape[0], 3)))
    assert np.isnan(rows[:, 0]).all() and not rows[:, 1:].any()
    _core.row_gains(x, u, np.ones(shape[1] + 1), gains := np.ones(shape[0]))
    assert not gains.any()
    for count, n in ((_core.label_counts, shape[1]), (_core.row_counts, shape[0])):
        counts = np.ones((3, n), I8)
        count(u, u, counts)
        assert not counts.any()
    sums = np.ones((3, shape[1]))
    _core.label_weights(u, u, np.ones(shape[0]), sums)
    assert not sums.any()
    histogram, ranking = np.zeros((shape[1], 8, 2), I8), np.empty((shape[1], 6))
    _core.rank_histogram(x, u, histogram)
    _core.histogram_ranking(histogram, ranking)
    assert not histogram.any() and np.isnan(ranking).all()
    counts, exact = np.ones((shape[1], 3, 2), I8), np.ones(3, I8)
    _core.threshold_counts(x, u, np.array([0.25, 0.5], F4), counts, exact)
    assert not counts.any() and exact.tolist() == [shape[0], 0, -shape[0]]
    edges, found = np.zeros((shape[1], 2), F4), np.ones((shape[1], 5), I8)
    _core.threshold_search(x, u, np.zeros(shape[1], F4), 0, edges, found)
    assert not found[:, 2].any() or shape[0]
    for size in ((0, 4, 4, 3), (2, 0, 4, 3), (2, 4, 0, 3)):
        empty = np.zeros(size, F4)
        _core.augment(np.zeros(size, U1), None, 0, 0, 0, None, None, None, np.zeros(3, F4),
                      np.ones(3, F4), empty)


# --- Net

@pytest.fixture
def net():
    return _core.Net(small_resnet())


CONV = {"out": 8, "kernel": 3}
OPTIONS = "out, kernel, stride, padding, p, eps, momentum, relu, act, bias"


@pytest.mark.parametrize("spec, error, message", [
    (None, TypeError, "Net: `spec` must be a list of layers, got <class 'NoneType'>"),
    ((), TypeError, "Net: `spec` must be a list of layers, got <class 'tuple'>"),
    ([3], TypeError,
     "Net: an item of `spec` must be a tuple (kind, name, inputs, options), got 3"),
    ([("relu", "", (0,))], TypeError, "Net() takes exactly 4 arguments (3 given)"),
    ([(1, "", (0,), {})], TypeError, "Net() argument 1 must be str, not int"),
    ([("relu", None, (0,), {})], TypeError, "Net() argument 2 must be str, not None"),
    ([("relu", "a\0b", (0,), {})], ValueError, "embedded null character"),
    ([("relu", "", [0], {})], TypeError, "Net() argument 3 must be tuple, not list"),
    ([("relu", "", (0,), ())], TypeError, "Net() argument 4 must be dict, not tuple"),
    ([("relu", "", ("0",), {})], TypeError, "Net: `inputs` must be an integer, got '0'"),
    ([("relu", "", (-1,), {})], ValueError, "Net: `inputs` must lie in [0, 1048576], got -1"),
    ([("conv", "c", (0,), CONV | {"strides": 2})], ValueError,
     f"Net: an option must be one of {OPTIONS}, got 'strides'"),
    ([("conv", "c", (0,), {1: 2})], ValueError, f"Net: an option must be one of {OPTIONS}, got 1"),
    ([("conv", "c", (0,), CONV | {"out": 2.5})], TypeError,
     "Net: `out` must be an integer, got 2.5"),
    ([("conv", "c", (0,), CONV | {"out": -1})], ValueError,
     "Net: `out` must lie in [0, 1048576], got -1"),
    ([("conv", "c", (0,), CONV | {"kernel": 2**70})], ValueError,
     f"Net: `kernel` must lie in [0, 1048576], got {2**70}"),
    ([("activation", "", (0,), {"act": "swish"})], ValueError,
     "Net: `act` must be one of relu, sigmoid, silu, hardsigmoid, hardswish, gelu, got 'swish'"),
    ([("activation", "", (0,), {"act": 1})], ValueError,
     "Net: `act` must be one of relu, sigmoid, silu, hardsigmoid, hardswish, gelu, got 1"),
    ([("dropout", "", (0,), {"p": "half"})], TypeError, "Net: `p` must be a number, got 'half'"),
])
def test_a_spec_of_the_wrong_kind(spec, error, message):
    refused(error, message, _core.Net, spec)


@pytest.mark.parametrize("channels, error, end", [
    ("3", TypeError, "be an integer, got '3'"), (3.0, TypeError, "be an integer, got 3.0"),
    (-1, ValueError, "lie in [0, 4096], got -1"), (4097, ValueError, "lie in [0, 4096], got 4097")])
def test_channels_of_the_wrong_kind(channels, error, end):
    refused(error, f"Net: `channels` must {end}", _core.Net, small_resnet(), channels)


def test_no_channels():
    refused(ValueError,
            "Net: `spec` must have 1 to 4096 layers and `channels` 1 to 4096, got 20 and 0",
            _core.Net, small_resnet(), 0)


X = "Net.forward: `x` must"


@pytest.mark.parametrize("x, error, message", [
    (None, TypeError, f"{X} be a NumPy array, got NoneType"),
    ([[1.0]], TypeError, f"{X} be a NumPy array, got list"),
    (np.zeros((2, 3, 8, 8)), TypeError, f"{X} be float32, got float64"),
    (nhwc(np.zeros((2, 3, 8, 8))).astype(">f4"), TypeError, f"{X} be float32, got >f4"),
    (np.zeros((3, 8, 8), F4), ValueError, f"{X} have 4 dimensions, got 3"),
    (nhwc(np.zeros((2, 4, 8, 8))), ValueError,
     f"{X} have shape (N, 3, H, W) with no 0, got (2, 4, 8, 8)"),
    (nhwc(np.zeros((0, 3, 8, 8))), ValueError,
     f"{X} have shape (N, 3, H, W) with no 0, got (0, 3, 8, 8)"),
    (nhwc(np.zeros((2, 3, 8, 0))), ValueError,
     f"{X} have shape (N, 3, H, W) with no 0, got (2, 3, 8, 0)"),
    (np.zeros((2, 3, 8, 8), F4), ValueError,
     f"{X} be a transposed view of contiguous (N, H, W, C) memory, got other strides"),
    (nhwc(np.zeros((4, 3, 8, 8)))[::2], ValueError,
     f"{X} be a transposed view of contiguous (N, H, W, C) memory, got other strides"),
    (nhwc(np.zeros((2, 3, 8, 9)))[..., :8], ValueError,
     f"{X} be a transposed view of contiguous (N, H, W, C) memory, got other strides"),
    (unaligned(np.zeros((2, 8, 8, 3), F4)).transpose(0, 3, 1, 2), ValueError,
     f"{X} be a transposed view of contiguous (N, H, W, C) memory, got other strides"),
])
def test_images_of_the_wrong_kind(net, x, error, message):
    refused(error, message, net.forward, x)


@pytest.mark.parametrize("name, most", [("seed", 2**64 - 1), ("epoch", 2**32 - 1),
                                        ("position", 2**32 - 1)])
def test_keys_of_the_wrong_kind(net, name, most):
    for value, error, end in int_faults(Int(name, most)):
        refused(error, f"Net.forward: {end}", net.forward, nhwc(np.zeros((2, 3, 8, 8))),
                **{name: value})
    net.forward(nhwc(np.zeros((2, 3, 8, 8))), **{name: most})


G = "Net.backward: `g` must"


@pytest.mark.parametrize("g, error, message", [
    (None, TypeError, f"{G} be a NumPy array, got NoneType"),
    (np.zeros((2, 5)), TypeError, f"{G} be float32, got float64"),
    (np.zeros((3, 5), F4), ValueError, f"{G} have shape (2, 5), got (3, 5)"),
    (np.zeros(10, F4), ValueError, f"{G} have shape (2, 5), got (10,)"),
    (np.zeros((2, 10), F4)[:, ::2], ValueError, f"{G} be C-contiguous, got a strided view"),
])
def test_a_gradient_of_the_wrong_kind(net, g, error, message):
    net.forward(nhwc(np.zeros((2, 3, 8, 8))), train=True)
    refused(error, message, net.backward, g)
    net.backward(np.zeros((2, 5), F4))  # the forward is still there


@pytest.mark.parametrize("shape, end", [
    ((2, 4, 3, 3), "have shape (2, 4, 5, 5), got (2, 4, 3, 3)"),
    ((2, 5, 5, 5), "have shape (N, 4, H, W) with no 0, got (2, 5, 5, 5)")])
def test_a_gradient_image_of_the_wrong_shape(shape, end):
    net = _core.Net([("conv", "c", (0,), {"out": 4, "kernel": 1})])
    net.forward(nhwc(np.zeros((2, 3, 5, 5))), train=True)
    refused(ValueError, f"{G} {end}", net.backward, nhwc(np.zeros(shape)))
    refused(ValueError, f"{G} be a transposed view of contiguous (N, H, W, C) memory, got other "
            "strides", net.backward, np.zeros((2, 4, 5, 5), F4))
    net.backward(nhwc(np.zeros((2, 4, 5, 5))))


HYPERS = ("lr", "mom", "sqr_mom", "eps", "wd")


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("value, error, end", [
    (0.1, TypeError, "be a sequence of numbers, got 0.1"),
    (None, TypeError, "be a sequence of numbers, got None"),
    ("1", TypeError, "be a sequence of numbers, got '1'"),
    (["1"], TypeError, "be a number, got '1'"),
    ([], ValueError, "have a number for each of the 1 groups, got 0"),
    ([1, 2], ValueError, "have a number for each of the 1 groups, got 2"),
])
def test_hyper_parameters_of_the_wrong_kind(net, at, value, error, end):
    args = [[0.1], [0.9], [0.99], [1e-5], [0.0]]
    args[at] = value
    refused(error, f"Net.adam_step: `{HYPERS[at]}` must {end}", net.adam_step, *args)


@pytest.mark.parametrize("state, error, end", [
    ([], TypeError, "`state` must be a dict, got <class 'list'>"),
    ({"nobody": np.zeros(3, F4)}, KeyError, "`state` must name tensors of this net, got 'nobody'"),
    ({None: np.zeros(3, F4)}, KeyError, "`state` must name tensors of this net, got None"),
    ({"fc2.bias": [0] * 5}, TypeError, "`fc2.bias` must be a NumPy array, got list"),
    ({"fc2.bias": np.zeros(5)}, TypeError, "`fc2.bias` must be float32, got float64"),
    ({"fc2.bias": np.zeros(6, F4)}, ValueError, "`fc2.bias` must have shape (5,), got (6,)"),
    ({"fc2.weight": np.zeros(200, F4)}, ValueError,
     "`fc2.weight` must have shape (5, 40), got (200,)"),
    ({"fc2.bias": np.zeros(10, F4)[::2]}, ValueError,
     "`fc2.bias` must be C-contiguous, got a strided view"),
    ({"stem_bn.running_var": np.zeros((20, 1), F4)}, ValueError,
     "`stem_bn.running_var` must have shape (20,), got (20, 1)"),
])
def test_a_state_of_the_wrong_kind(net, state, error, end):
    refused(error, f"Net.load_state_dict: {end}", net.load_state_dict, state)


@pytest.mark.parametrize("method", ["set_trainable", "set_decay"])
def test_names_of_the_wrong_kind(net, method):
    call, start = getattr(net, method), f"Net.{method}: `names` must"
    for value in (None, 3, "fc2.bias"):
        refused(TypeError, f"{start} be a sequence of parameter names, got {value!r}", call, value)
    for value in ("nobody", None, 3, "stem_bn.running_mean"):
        refused(KeyError, f"{start} name parameters of this net, got {value!r}", call, [value])


def test_groups_of_the_wrong_kind(net):
    start, names = "Net.set_groups:", list(net.parameters())
    for value in (None, 3, "ab"):
        refused(TypeError, f"{start} `groups` must be a sequence of lists of parameter names, got "
                f"{value!r}", net.set_groups, value)
    for value in (3, "fc2.bias"):
        refused(TypeError, f"{start} `names` must be a sequence of parameter names, got {value!r}",
                net.set_groups, [names, value])
    refused(ValueError, f"{start} `groups` must name every parameter, got none with 'fc2.bias'",
            net.set_groups, [names[:-1]])


def test_an_exception_of_the_callers_own_passes_through(net):
    class Own(Exception):
        pass

    def names():
        yield "fc2.bias"
        raise Own

    class NoFloat:
        def __float__(self):
            raise Own

    for method in (net.set_trainable, net.set_groups):
        with pytest.raises(Own):
            method(names())
    with pytest.raises(TypeError, match="`lr` must be a number"):
        net.adam_step([NoFloat()], [0], [0], [1], [0])


@pytest.mark.parametrize("call, message", [
    (lambda net: net.forward(), "forward() missing required argument 'x' (pos 1)"),
    (lambda net: net.backward(), "backward() missing required argument 'g' (pos 1)"),
    (lambda net: net.adam_step([1], [1], [1], [1]),
     "adam_step() missing required argument 'wd' (pos 5)"),
    (lambda net: net.sgd_step([1], [1]), "sgd_step() missing required argument 'wd' (pos 3)"),
    (lambda net: net.lion_step([1], [1], [1]),
     "lion_step() missing required argument 'wd' (pos 4)"),
    (lambda net: _core.Net(), "Net() missing required argument 'spec' (pos 1)"),
])
def test_missing_arguments(net, call, message):
    refused(TypeError, message, call, net)


def test_net_cannot_be_inherited_from():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (_core.Net,), {})


# --- nothing leaks

SHARED = (None, True, False, 0, 1, 2, "", ())  # of which the interpreter has one each


def references(objects):
    gc.collect()
    return [sys.getrefcount(o) for o in objects]


@pytest.fixture
def frozen():
    """Whatever lives before a test is left out of the collections in it, which take time else."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def assert_nothing_leaks(function, args):
    """1000 calls, whatever comes of them, leave every argument's reference count."""
    def call():
        with contextlib.suppress(TypeError, ValueError, KeyError, RuntimeError):
            function(*args)

    call()
    before, shared, blocks = references(args), references(SHARED), sys.getallocatedblocks()
    for _ in range(1000):
        call()
    assert references(args) == before
    assert all(abs(now - then) < 500 for now, then in zip(references(SHARED), shared))
    assert sys.getallocatedblocks() - blocks < 500


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_refused_and_taken_calls_leak_nothing(function):
    places = FUNCTIONS[function]
    assert_nothing_leaks(getattr(_core, function), good_arguments(function))
    for at, place in enumerate(places):
        args = good_arguments(function)
        if isinstance(place, Array):
            args[at] = np.zeros((*place.shape[:-1], place.shape[-1] + 1), place.dtype)
            assert_nothing_leaks(getattr(_core, function), args)
            args[at] = np.zeros(place.shape, np.int64)
        else:
            args[at] = ["a list is no number"]
        assert_nothing_leaks(getattr(_core, function), args)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("function, args", [
    ("isas", []), ("isas", [1]), ("isa", []), ("isa", [None]), ("kernels", ["scalar"]),
    ("kernels", ["no"]), ("kernels", [3]), ("cpus", [""]), ("cpus", [b"/"]), ("cpus", [None]),
    ("cpus", ["nul\0"]), ("get_num_threads", []), ("get_num_threads", [2])])
def test_calls_about_the_machine_leak_nothing(function, args):
    assert_nothing_leaks(getattr(_core, function), args)


@pytest.mark.usefixtures("frozen")
def test_a_nets_calls_leak_nothing(net):
    x, g, names = nhwc(np.zeros((2, 3, 8, 8))), np.zeros((2, 5), F4), list(net.parameters())
    state = dict(net.parameters())
    rates, wrong = [[1e-3], [0.9], [0.99], [1e-5], [0.01]], [[1e-3], [0.9], [0.99], [1e-5], ["x"]]
    calls = (
            (net.rollback, []), (net.rollback, [1]), (net.times, []), (net.clear_state, []),
            (net.adam_step, rates), (net.radam_step, rates), (net.radam_step, wrong),
            (net.sgd_step, [rates[0], rates[1], rates[4]]), (net.sgd_step, wrong),
            (net.lion_step, [rates[0], rates[1], rates[2], rates[4]]), (net.lion_step, wrong),
            (net.forward, [x, True, 2**64]), (net.backward, [x]), (net.__reduce__, []),
            (net.forward, [x]), (net.forward, [g]), (net.forward, [x, False, "seed"]),
            (net.backward, [g]), (net.load_state_dict, [state]),
            (net.load_state_dict, [state | {"fc2.bias": g}]), (net.load_state_dict, [{"no": g}]),
            (net.set_trainable, [names]), (net.set_trainable, [[*names, "no"]]),
            (net.set_decay, [7]), (net.set_groups, [[names]]), (net.set_groups, [[names[:3]]]),
            (net.adam_step, [[1], [1], [1], [1], ["x"]]), (net.optimizer_state, []),
            (net.load_optimizer_state, [net.optimizer_state()]), (net.shapes, [1, 8, 8]),
            (net.load_optimizer_state, [{"fc2.bias": (1, g, g)}]), (net.shapes, [1, 8, "8"]),
            (net.memory, [1, 8, 8, True]), (net.memory, [0, 8, 8]), (net.memory, [1, 8, "8"]),
            (net.set_bf16, [True]), (net.set_bf16, [g]),
            (net.parameters, []), (net.buffers, []), (net.gradients, []),
            (_core.Net, [small_resnet()]), (_core.Net, [[("relu", "", (1,), {})]]),
            (_core.Net, [[*small_resnet(), ("no", "", (0,), {})]]))
    for function, args in calls:
        assert_nothing_leaks(function, args)
    methods = {name for name in dir(net) if not name.startswith("__")}
    assert methods == {f.__name__ for f, _ in calls} - {"Net", "__reduce__"}


@pytest.mark.usefixtures("frozen")
def test_whole_steps_leak_nothing(net):
    """A step needs a backward before it, so that the calls above were refused."""
    x, g = nhwc(np.zeros((2, 3, 8, 8))), np.zeros((2, 5), F4)

    def steps():
        for step in (lambda: net.adam_step([1e-3], [0.9], [0.99], [1e-5], [0.01]),
                     lambda: net.radam_step([1e-3], [0.9], [0.99], [1e-5], [0.01]),
                     lambda: net.sgd_step([1e-3], [0.9], [0.01]),
                     lambda: net.lion_step([1e-3], [0.9], [0.99], [0.01])):
            net.forward(x, train=True)
            net.backward(g)
            net.gradients(), net.optimizer_state()
            step()

    assert_nothing_leaks(steps, [])


def test_nets_that_come_and_go_give_their_memory_back():
    resource = pytest.importorskip("resource")
    x = nhwc(np.zeros((2, 3, 16, 16)))

    def live():
        net = _core.Net(small_resnet(width=100))
        net.backward(np.ones_like(net.forward(x, train=True)))
        net.adam_step([0.1], [0.9], [0.99], [1e-5], [0])

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(5):
        live()
    before = peak()
    for _ in range(40):
        live()
    assert peak() - before < 20_000, "kilobytes are kept"
