"""Every kernel on every instruction set against its definition in ``reference.py``.

Kernels are called one by one through ctypes. Outputs lie between guard bytes, inputs and outputs
off any alignment. Where a kernel works element by element, every instruction set must give the same
bits (NaN counts as one value) and an element must not depend on how many there are.
"""

import ctypes as C
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference

from mlclassify import _core

KERNEL_LIST = Path(__file__).resolve().parents[1] / "csrc" / "kernels" / "kernels.def"
LAYER_LIST = Path(__file__).resolve().parents[1] / "csrc" / "nn" / "layers.def"
ISAS = _core.isas()
ULP = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).smallest_subnormal)
EDGES = ("random", "zeros", "denormal", "infinite", "nan", "large")
SHAPES = [(0, 16), (1, 16), (2, 16), (7, 48), (3, 112), (40, 32)]  # pixels, channels


# --- the C side: structs and prototypes, as csrc/kernels/kernels.h and kernels.def have them

F, P, Z = C.c_float, C.c_void_p, C.c_size_t
TYPES = {"size_t": Z, "float": F, "int": C.c_int, "uint32_t": C.c_uint32, "uint64_t": C.c_uint64,
         "bool": C.c_bool}
HEADERS = [KERNEL_LIST.with_name("kernels.h"), KERNEL_LIST.parents[1] / "base" / "rng.h"]
DECLARED = re.sub(r"/\*.*?\*/", "", "".join(h.read_text() for h in HEADERS), flags=re.DOTALL)


def struct(name):
    """Return the C struct of this name; a pointer to anything is an address."""
    (body,) = re.findall(rf"typedef struct {{([^{{}}]*)}} {name};", DECLARED)
    fields = []
    for kind, places in re.findall(r"(?:const )?(\w+) ([^;]+);", body):
        for place in places.split(","):
            field = re.search(r"\w+$", place).group()
            fields.append((field, P if "*" in place else TYPES[kind]))
    return type(name, (C.Structure,), {"_fields_": fields})


Key = TYPES["mlc_key"] = struct("mlc_key")  # the one that is passed by value
Loss, Tile, Dots, Outer = map(struct, ("mlc_loss", "mlc_tile", "mlc_dots", "mlc_outer"))
Depthwise, DepthwiseWeights = map(struct, ("mlc_depthwise", "mlc_depthwise_weights"))
WinoIn, WinoOut, Grid, Marks = map(
    struct, ("mlc_wino_in", "mlc_wino_out", "mlc_grid", "mlc_marks"))
Adam, Sgd, Lion, WarpJob = map(struct, ("mlc_adam", "mlc_sgd", "mlc_lion", "mlc_warp"))
Norm, LayerNorm, Rewrite = map(
    struct, ("mlc_norm_backward", "mlc_layer_norm", "mlc_norm_rewrite"))
LayerScale, ScaleBackward = map(struct, ("mlc_layerscale", "mlc_scale_backward"))
STORE, ADD, SUMS, NORM = range(4)  # what follows wino_output

PARAMETERS = dict(re.findall(r"^KERNEL\((\w+), \((.*)\)\)$", KERNEL_LIST.read_text(), re.MULTILINE))


def prototype(parameters):
    """Return the types of C parameters; a pointer to anything is an address."""
    return tuple(P if "*" in parameter else TYPES[parameter.split()[0]]
                 for parameter in parameters.split(", "))


PROTOTYPES = {name: prototype(parameters) for name, parameters in PARAMETERS.items()}
# Kernels of these two forms are found and tested without being named here, once they are defined.
POINTWISE = [name for name, of in PARAMETERS.items() if of == "const float *x, float *y, size_t n"]
LOSSES = [name for name, of in PARAMETERS.items() if of == PARAMETERS["bce"]
          and name in reference.KERNELS]


def call(isa, name, *args):
    """Run one kernel; arrays become addresses, structs references."""
    function = C.CFUNCTYPE(None, *PROTOTYPES[name])(_core.kernels(isa)[name])
    function(*(address(a) if isinstance(a, np.ndarray) else
               C.byref(a) if isinstance(a, C.Structure) and not isinstance(a, Key) else a
               for a in args))


def address(array):
    return array.ctypes.data


def aligned(shape):
    """Zeros where a whole vector may be streamed to."""
    size = int(np.prod(shape))
    memory = np.zeros(size + 16, np.float32)
    return memory[-address(memory) % 64 // 4:][:size].reshape(shape)


def pointers(arrays):
    return np.array([address(a) for a in arrays], np.uintp)


class Guarded:
    """Arrays that lie off alignment between bytes which a kernel must leave alone."""

    def __init__(self):
        self._kept = []

    def __call__(self, values, dtype=np.float32):
        values = np.asarray(values, dtype)
        buffer = np.full(values.nbytes + 256, 0xA5, np.uint8)
        start = 64 - address(buffer) % 64 + 64 + max(4, values.itemsize)
        view = buffer[start : start + values.nbytes].view(dtype).reshape(values.shape)
        view[...] = values
        self._kept.append((buffer, start, start + values.nbytes))
        return view

    def check(self):
        for buffer, start, end in self._kept:
            assert (buffer[:start] == 0xA5).all(), "a kernel wrote before its output"
            assert (buffer[end:] == 0xA5).all(), "a kernel wrote behind its output"


@pytest.fixture
def guarded():
    guard = Guarded()
    yield guard
    guard.check()


# --- inputs and comparisons

def draw(kind, shape, tag=""):
    """Floats of a kind; the same for the same arguments."""
    rng = np.random.default_rng(zlib.crc32(f"{kind}{tag}".encode()))
    n = int(np.prod(shape))
    x = rng.normal(size=max(n, 4000))[:n].astype(np.float32) * 4
    pick = rng.random(max(n, 4000))[:n]
    if kind == "zeros":
        x = np.where(pick < 0.5, np.float32(0.0), np.float32(-0.0))
    elif kind == "denormal":
        x = x * np.float32(1e-40)
    elif kind == "infinite":
        x = np.where(pick < 0.2, np.float32(np.inf), np.where(pick > 0.8, np.float32(-np.inf), x))
    elif kind == "nan":
        x = np.where(pick < 0.3, np.float32(np.nan), x)
    elif kind == "large":
        x = np.where(pick < 0.3, np.float32(3.3e38), x * np.float32(1e30))
    return x.astype(np.float32).reshape(shape)


def lengths(isa):
    v = _core.kernels(isa)["lanes"]
    return sorted({0, 1, max(v - 1, 0), v, v + 1, 3 * v + 2, 1000})


def close(got, want, relative, absolute=0.0):
    """NaN and infinities agree, and finite values within the bound (arrays or numbers)."""
    with np.errstate(over="ignore", invalid="ignore"):
        want = np.asarray(want, np.float64)
        rounded = want.astype(got.dtype).astype(np.float64)
        error = np.abs(np.asarray(got, np.float64) - want)
        bound = relative * np.abs(want) + np.nan_to_num(absolute, posinf=0) + TINY
    strange = ~np.isfinite(rounded)
    np.testing.assert_array_equal(np.asarray(got)[strange], rounded[strange])
    worst = np.where(strange, 0, error - bound)
    assert (worst <= 0).all(), f"off by {error[worst > 0][:3]}, allowed {bound[worst > 0][:3]}"


def bits(array):
    """The bytes of an array, every NaN the same."""
    array = np.array(array)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.tobytes()


each_isa = pytest.mark.parametrize("isa", ISAS)
each_edge = pytest.mark.parametrize("edge", EDGES)


# --- the list is complete

def names_in(path, macro):
    return re.findall(rf"^{macro}\((\w+)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", names_in(KERNEL_LIST, "KERNEL"))
def test_every_kernel_has_its_definition_and_its_test(name):
    assert name in reference.KERNELS, f"add {name}, from kernels.def, to tests/reference.py"
    tested = name in POINTWISE + LOSSES or f'call(isa, "{name}", ' in Path(__file__).read_text()
    assert tested, f"add a test of {name} to tests/test_kernels.py"


@pytest.mark.parametrize("kind", names_in(LAYER_LIST, "LAYER"))
def test_every_layer_has_its_definition(kind):
    assert kind in reference.LAYERS, f"add {kind}, from layers.def, to tests/reference.py"


def test_nothing_is_defined_that_does_not_exist():
    assert set(reference.KERNELS) == set(names_in(KERNEL_LIST, "KERNEL")) == set(PROTOTYPES)
    assert set(reference.LAYERS) == set(names_in(LAYER_LIST, "LAYER"))


@each_isa
def test_a_table_has_every_kernel_at_an_address_of_its_own(isa):
    table = _core.kernels(isa)
    assert set(table) == set(PROTOTYPES) | {"lanes", "tile_rows", "tile_columns"}
    assert len({table[name] for name in PROTOTYPES}) == len(PROTOTYPES)
    assert 16 % table["lanes"] == 0 and table["tile_columns"] % table["lanes"] == 0


# --- the random numbers that dropout and the loader draw

@pytest.mark.parametrize("counter, key, words", [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
])
def test_philox_gives_the_known_answers(counter, key, words):
    """The vectors of the Random123 distribution, for philox4x32 with 10 rounds."""
    assert tuple(reference.philox(counter, key)) == words


@pytest.mark.parametrize("key", [(0, 0, 0, 0), (7, 1, 2, 3), (2**64 - 1,) + (2**32 - 1,) * 3,
                                 (2**33 + 5, 9, 0, 77)])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17])
def test_random_uniform_is_philox(key, n, guarded):
    out = guarded(np.zeros(n), np.float64)
    _core.random_uniform(*key, out)
    np.testing.assert_array_equal(out, reference.random_uniform(*key, n))


# --- pointwise: elementwise, so bits agree everywhere and lengths do not matter

def run_pointwise(name):
    def run(isa, guarded, x):
        y = guarded(np.zeros_like(x))
        call(isa, name, guarded(x), y, x.size)
        return y

    return run


run_sigmoid = run_pointwise("sigmoid")


def run_relu_backward(isa, guarded, x):
    y, dx = guarded(draw("random", x.shape, "y")), guarded(np.zeros_like(x))
    call(isa, "relu_backward", y, guarded(x), dx, x.size, 0)
    return dx


def run_light(isa, guarded, x):
    y = guarded(x)
    call(isa, "light", y, x.size, 0.3, 1.2)
    return y


KEY = (2**40 + 3, 5, 6, 7)


def run_dropout(isa, guarded, x):
    y = guarded(np.zeros_like(x))
    call(isa, "dropout", guarded(x), y, x.size, Key(*KEY), 0.25, 0)
    return y


ACTS = {name: act for act, name in enumerate(reference.ACTIVATIONS)}


def run_activate(act):
    def run(isa, guarded, x):
        y = guarded(np.zeros_like(x))
        call(isa, "activate", guarded(x), y, x.size, act)
        return y

    return run


def run_slope(act):
    def run(isa, guarded, x):
        dx, dy = guarded(np.zeros_like(x)), guarded(draw("random", x.shape, "dy"))
        call(isa, "activate_backward", guarded(x), dy, dx, x.size, act, 0)
        return dx

    return run


def activation_cases():
    """Forward and backward of each, with what an output may be off: near a slope's zero in all."""
    for name, act in ACTS.items():
        yield name, (run_activate(act), lambda x, act=act: reference.activate(x, act), 6 * ULP,
                     3e-44)
        yield f"slope of {name}", (
            run_slope(act), lambda x, act=act: reference.activate_backward(
                x, draw("random", x.shape, "dy"), act), 6 * ULP, 60 * ULP)


ELEMENTWISE = {  # name: (run, definition, relative bound, absolute bound)
    **{name: (run_pointwise(name), reference.KERNELS[name], 4 * ULP, 0)
       for name in POINTWISE if name in reference.KERNELS},
    "relu": (run_pointwise("relu"), reference.relu, 0, 0),
    "relu_backward": (run_relu_backward,
                      lambda x: reference.relu_backward(draw("random", x.shape, "y"), x), 0, 0),
    "dropout": (run_dropout, lambda x: reference.dropout(x, *KEY, 0.25), ULP, 0),
    **{f"activation {name}": case for name, case in activation_cases()},
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)


@elementwise
@each_edge
@each_isa
def test_elementwise_is_its_definition(isa, name, edge, guarded):
    run, definition, relative, absolute = ELEMENTWISE[name]
    for n in lengths(isa):
        x = draw(edge, n)
        close(run(isa, guarded, x), definition(x), relative, absolute)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "light"])
@each_edge
def test_elementwise_has_the_same_bits_everywhere(name, edge, guarded):
    run = run_light if name == "light" else ELEMENTWISE[name][0]
    whole = run(ISAS[0], guarded, draw(edge, 1000))
    for isa in ISAS:
        for n in lengths(isa):
            part = run(isa, guarded, draw(edge, 1000)[:n])
            assert bits(part) == bits(whole[:n]), f"{isa}: {n} elements"


@each_edge
@each_isa
def test_sigmoid_and_relu_work_in_place(isa, edge, guarded):
    for name in ("sigmoid", "relu"):
        for n in lengths(isa):
            y = guarded(draw(edge, n))
            call(isa, name, y, y, n)
            assert bits(y) == bits(ELEMENTWISE[name][0](isa, guarded, draw(edge, n)))


@each_isa
def test_sigmoid_keeps_its_digits_in_both_tails_and_is_odd_around_a_half(isa, guarded):
    x = np.linspace(-110, 110, 20011).astype(np.float32)
    y = run_sigmoid(isa, guarded, x)
    close(y, reference.sigmoid(x), 4 * ULP, 2e-45)
    assert (np.diff(y.astype(np.float64)) >= -2 * ULP * y[1:]).all()
    assert y[x < -105].max() == 0 and y[x > 20].min() == 1


@each_isa
def test_gelu_keeps_its_digits_in_the_tail(isa, guarded):
    x = np.linspace(-15, 15, 30011).astype(np.float32)
    y = run_activate(ACTS["gelu"])(isa, guarded, x)
    close(y, reference.activate(x, ACTS["gelu"]), 6 * ULP, 2e-44)
    assert (y[x < -14.5] == 0).all() and (y[x > 6] == x[x > 6]).all()


@each_isa
def test_the_slope_of_gelu_is_near_to_its_terms(isa, guarded):
    """They cancel near -0.75."""
    x = np.linspace(-15, 15, 30011).astype(np.float32)
    slopes, act = guarded(np.ones_like(x)), ACTS["gelu"]
    call(isa, "activate_backward", guarded(x), slopes, slopes, x.size, act, 0)
    density = np.exp(-x.astype(float) ** 2 / 2) / np.sqrt(2 * np.pi)
    terms = reference.below(x) + abs(x) * density
    close(slopes, reference.slope(x, act), 0, 8 * ULP * terms + 2e-44)


@each_isa
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_activations_work_in_place_and_add(isa, act, guarded):
    for n in lengths(isa):
        x, there = draw("random", n), draw("random", n, "there")
        y, dx = guarded(x), guarded(draw("random", n, "dy"))
        call(isa, "activate", y, y, n, act)
        assert bits(y) == bits(run_activate(act)(isa, guarded, x))
        call(isa, "activate_backward", guarded(x), dx, dx, n, act, 0)
        assert bits(dx) == bits(run_slope(act)(isa, guarded, x))
        out = guarded(there)
        call(isa, "activate_backward", guarded(x), guarded(draw("random", n, "dy")), out, n, act, 1)
        np.testing.assert_array_equal(out, there + dx)


def test_activations_at_their_corners(guarded):
    x = np.array([-3, 3, 0, -0.0, -104, 104, -1e30, 1e30], np.float32)
    for isa in ISAS:
        for act in ACTS.values():
            y, slopes = guarded(x), guarded(np.ones_like(x))
            call(isa, "activate", y, y, x.size, act)
            close(y, reference.activate(x, act), 4 * ULP, 1e-43)
            call(isa, "activate_backward", guarded(x), slopes, slopes, x.size, act, 0)
            close(slopes, reference.slope(x, act), 6 * ULP, 1e-43)


@each_isa
@pytest.mark.parametrize("name", ["relu_backward", "dropout"])
def test_accumulating_adds_to_what_is_there(isa, name, guarded):
    for n in lengths(isa):
        x, there = draw("random", n), draw("random", n, "there")
        out = guarded(there)
        if name == "dropout":
            call(isa, "dropout", guarded(x), out, n, Key(*KEY), 0.25, 1)
        else:
            call(isa, "relu_backward", guarded(draw("random", n, "y")), guarded(x), out, n, 1)
        change = ELEMENTWISE[name][0](isa, guarded, x)
        np.testing.assert_array_equal(out, there + change)


@each_isa
def test_relu_backward_and_dropout_work_in_place(isa, guarded):
    for n in lengths(isa):
        y, g, d = guarded(draw("random", n, "y")), guarded(draw("nan", n)), guarded(draw("nan", n))
        call(isa, "relu_backward", y, g, g, n, 0)
        assert bits(g) == bits(run_relu_backward(isa, guarded, draw("nan", n)))
        call(isa, "dropout", d, d, n, Key(*KEY), 0.25, 0)
        assert bits(d) == bits(run_dropout(isa, guarded, draw("nan", n)))


# --- bfloat16

def every_half():
    """Every bfloat16, and what lies between it and the next one: a little, half, more."""
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return ((np.arange(65536, dtype=np.uint32) << 16)[:, None] | lower).ravel().view(np.float32)


@each_isa
def test_narrow(isa, guarded):
    x = every_half()
    halves = guarded(np.zeros(x.shape), np.uint16)
    call(isa, "narrow", guarded(x), halves, x.size)
    np.testing.assert_array_equal(halves, reference.narrow(x))
    for n in lengths(isa):
        some = guarded(np.zeros(n), np.uint16)
        call(isa, "narrow", guarded(x[:n]), some, n)
        np.testing.assert_array_equal(some, halves[:n])


@each_isa
def test_widen(isa, guarded):
    halves = np.arange(65536, dtype=np.uint16)
    for n in [*lengths(isa), halves.size]:
        x = guarded(np.zeros(n))
        call(isa, "widen", guarded(halves[:n], np.uint16), x, n)
        assert x.tobytes() == reference.widen(halves[:n]).tobytes()


def test_narrow_is_not_truncation():
    x = np.array([1, 1 + 2**-9, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, np.inf, np.nan, 1e-40],
                 np.float32)
    want = [1, 1, 1, 1 + 2**-6, np.inf, np.inf, np.nan, 2.0**-133]
    np.testing.assert_allclose(reference.widen(reference.narrow(x)), np.float32(want), rtol=1e-3)


# --- losses

def run_loss(isa, guarded, x, t, weight=None, pos_weight=None, scale=1.0, row=0, rows=None,
             name="bce", inside=True, **options):
    """(sum, loss, grad) of rows [row, row + rows) of the matrices."""
    loss, grad, total, outside = (guarded(np.zeros_like(x)), guarded(np.zeros_like(x)),
                                  guarded([0.0], np.float64), guarded([7], np.uint8))
    held = [guarded(a) if a is not None else None for a in (x, t, weight, pos_weight)]
    labels = x.shape[1]
    strides = [labels if a is not None and len(a) > 1 else 0 for a in (weight, pos_weight)]
    job = Loss(*(None if a is None else address(a) for a in held), labels, *strides, scale=scale,
               loss=address(loss), grad=address(grad), **options)
    call(isa, name, job, row, len(x) if rows is None else rows, total, outside)
    assert outside[0] == (not inside)
    return total[0], loss, grad


def loss_inputs(edge, labels, rows=5):
    t = np.random.default_rng(3).choice(np.array([0, 1, 0.3], np.float32), size=(rows, labels))
    return draw(edge, (rows, labels)), t


each_loss = pytest.mark.parametrize("name, options", [
    *((name, {}) for name in LOSSES), ("bce", {"smoothing": 0.1}),
    ("asymmetric", {"gamma_neg": 4, "gamma_pos": 1, "clip": 0.05}),
    ("asymmetric", {"gamma_neg": 2, "gamma_pos": 2, "smoothing": 0.2}),
    ("asymmetric", {"gamma_neg": 0.5, "clip": 0.7}),
])  # fmt: skip


@each_edge
@each_isa
@each_loss
def test_a_loss_is_its_definition(isa, edge, guarded, name, options):
    bound = 1 if name == "bce" else 4
    for labels in lengths(isa):
        x, t = loss_inputs(edge, labels, 3)
        total, loss, grad = run_loss(isa, guarded, x, t, scale=0.5, name=name, **options)
        want_loss, want_grad = reference.KERNELS[name](x, t, **options)
        close(loss, want_loss, 8 * bound * ULP, 0 if name == "bce" else 8 * ULP)
        close(grad, 0.5 * want_grad, 0, 4 * bound * ULP)
        finite = np.isfinite(loss).all()
        assert total == pytest.approx(loss.astype(np.float64).sum(), rel=1e-12) or not finite
        assert np.isnan(total) == np.isnan(loss).any()


@each_isa
@pytest.mark.parametrize("weight_rows", [None, 1, 4])
@pytest.mark.parametrize("pos_rows", [None, 1, 4])
@pytest.mark.parametrize("name, options", [("bce", {}), ("asymmetric", {"gamma_neg": 2})])
def test_losses_take_weights_by_row_or_for_all(isa, weight_rows, pos_rows, guarded, name, options):
    x, t = loss_inputs("random", 19, 4)
    rng = np.random.default_rng(1)
    weight, pos_weight = (None if rows is None else rng.random((rows, 19)).astype(np.float32) * 3
                          for rows in (weight_rows, pos_rows))
    total, loss, grad = run_loss(isa, guarded, x, t, weight, pos_weight, name=name, **options)
    want_loss, want_grad = reference.KERNELS[name](x, t, 1 if weight is None else weight,
                                                   1 if pos_weight is None else pos_weight,
                                                   **options)
    close(loss, want_loss, 16 * ULP)
    close(grad, want_grad, 0, 32 * ULP)
    assert total == pytest.approx(want_loss.sum(), rel=1e-6)


@each_isa
@pytest.mark.parametrize("name, options", [
    ("bce", {}), ("asymmetric", {}), ("asymmetric", {"gamma_neg": 4, "gamma_pos": 1})])
def test_a_loss_at_infinite_logits_is_its_limit(isa, guarded, name, options):
    inf = np.float32(np.inf)
    x, t = np.array([[inf, inf, -inf, -inf, inf, -inf]]), np.array([[1, 0, 1, 0, 0.5, 0.5]])
    total, loss, grad = run_loss(isa, guarded, x.astype(np.float32), t.astype(np.float32),
                                 name=name, **options)
    assert loss.tolist() == [[0, inf, inf, 0, inf, inf]]
    assert grad.tolist() == [[0, 1, -1, 0, 0.5, -0.5]] and total == inf


@each_isa
def test_the_gradient_of_bce_keeps_its_digits_in_both_tails(isa, guarded):
    x = np.linspace(-80, 80, 1601).astype(np.float32).reshape(1, -1)
    for target in (0, 1):
        t = np.full_like(x, target)
        close(run_loss(isa, guarded, x, t)[2], reference.bce(x, t)[1], 8 * ULP)


def test_the_defined_gradients_are_those_of_the_defined_losses():
    x = np.random.default_rng(2).normal(scale=3, size=(6, 50))
    t = np.random.default_rng(3).random((6, 50))
    for name, options in (("bce", {}), ("bce", {"smoothing": 0.3}),
                          ("asymmetric", {"gamma_neg": 4, "gamma_pos": 1, "clip": 0.05}),
                          ("asymmetric", {"gamma_neg": 2.5, "gamma_pos": 0.5, "pos_weight": 3})):
        after, before = (reference.KERNELS[name](x + h, t, **options)[0] for h in (1e-6, -1e-6))
        want = reference.KERNELS[name](x, t, **options)[1]
        close((after - before) / 2e-6, want, 1e-6, 1e-8)


@each_edge
@each_loss
def test_losses_have_the_same_bits_everywhere_and_rows_are_independent(edge, guarded, name,
                                                                       options):
    x, t = loss_inputs(edge, 37, 6)
    whole = run_loss(ISAS[0], guarded, x, t, name=name, **options)
    for isa in ISAS:
        got = run_loss(isa, guarded, x, t, name=name, **options)
        assert [bits(a) for a in got] == [bits(a) for a in whole]
        part = run_loss(isa, guarded, x, t, row=2, rows=3, name=name, **options)
        for got, want in zip(part[1:], whole[1:]):
            assert bits(got[2:5]) == bits(want[2:5])
            assert not got[:2].any() and not got[5:].any()


@each_isa
@each_loss
def test_missing_targets_leave_nothing(isa, guarded, name, options):
    x, t = loss_inputs("random", 19, 4)
    gap = np.random.default_rng(5).random(t.shape) < 0.3
    whole = run_loss(isa, guarded, x, t, name=name, **options)
    t[gap] = np.nan
    total, loss, grad = run_loss(isa, guarded, x, t, name=name, missing=True, **options)
    assert not loss[gap].any() and not grad[gap].any()
    assert bits(loss[~gap]) == bits(whole[1][~gap]) and bits(grad[~gap]) == bits(whole[2][~gap])
    assert total == pytest.approx(loss.astype(np.float64).sum(), rel=1e-12)
    want = reference.KERNELS[name](x, t, missing=True, **options)
    assert not want[0][gap].any() and not want[1][gap].any()
    run_loss(isa, guarded, x, t, name=name, inside=False, **options)


@each_isa
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("bad", [-1e-6, 1.0000001, np.inf, -np.inf])
def test_one_target_outside_is_seen_anywhere(isa, guarded, bad, missing):
    for place in range(40):
        x, t = loss_inputs("random", 20, 2)
        t[divmod(place, 20)] = bad
        run_loss(isa, guarded, x, t, inside=False, missing=missing)


@each_isa
def test_a_loss_without_outputs_gives_the_sum(isa, guarded):
    x, t = guarded(draw("random", (4, 9))), guarded(np.ones((4, 9)))
    total, outside = guarded([0.0], np.float64), guarded([7], np.uint8)
    job = Loss(address(x), address(t), labels=9, gamma_neg=2, scale=1)
    call(isa, "bce", job, 0, 4, total, outside)
    assert total[0] == run_loss(isa, guarded, x, t)[0] and not outside[0]
    call(isa, "asymmetric", job, 0, 4, total, outside)
    assert total[0] == run_loss(isa, guarded, x, t, name="asymmetric", gamma_neg=2)[0]


# --- counts, sort

def decisions(rows, labels):
    rng = np.random.default_rng(rows * 1000 + labels)
    return (rng.choice([0, 1, 2, 255], (rows, labels), p=(0.5, 0.3, 0.1, 0.1)) for _ in range(2))


@each_isa
@pytest.mark.parametrize("rows", [0, 1, 254, 255, 256, 511])
@pytest.mark.parametrize("labels", [0, 1, 5, 63, 64, 65, 130])
def test_decisions_are_counted_by_label_and_by_row(isa, rows, labels, guarded):
    t, d = (guarded(x, np.uint8) for x in decisions(rows, labels))
    counts = guarded(np.full((3, labels), 7), np.int64)
    call(isa, "count_labels", t, d, rows, labels, counts)
    np.testing.assert_array_equal(counts, 7 + reference.count_labels(t, d))
    by_row = guarded(np.full((3, rows + 2), -1), np.int64)
    call(isa, "count_rows", t, d, rows, labels, by_row, rows + 2)
    np.testing.assert_array_equal(by_row[:, :rows], reference.count_rows(t, d))
    assert (by_row[:, rows:] == -1).all()


@each_isa
@pytest.mark.parametrize("rows, labels", [(0, 3), (1, 1), (300, 5), (7, 65)])
def test_decisions_are_weighed(isa, rows, labels, guarded):
    t, d = (guarded(x, np.uint8) for x in decisions(rows, labels))
    weights = guarded(np.random.default_rng(1).random(rows), np.float64)
    sums, scalar = (guarded(np.full((3, labels), 0.5), np.float64) for _ in range(2))
    call(isa, "weigh_labels", t, d, weights, rows, labels, sums)
    call("scalar", "weigh_labels", t, d, weights, rows, labels, scalar)
    assert bits(sums) == bits(scalar)
    close(sums, 0.5 + reference.weigh_labels(t, d, weights), 1e-13)


@each_isa
@pytest.mark.parametrize("edge", [e for e in EDGES if e != "nan"])
@pytest.mark.parametrize("width", [1, 4, 9])
def test_ranks_are_counted_in_bins_open_below(isa, edge, width, guarded):
    scores, (targets, _) = draw(edge, (60, 9)), decisions(60, 9)
    scores[:5] = [[-np.inf], [np.inf], [0.5], [np.nextafter(np.float32(0.5), np.float32(1))], [0]]
    for n in (4, 10):
        counts = guarded(np.full((width, 1 << n, 2), 3), np.int64)
        held, wanted = guarded(scores), guarded(targets, np.uint8)
        call(isa, "count_ranks", held, wanted, 60, 9, width, n, counts)
        want = reference.count_ranks(scores[:, :width], targets[:, :width], n)
        np.testing.assert_array_equal(counts, 3 + want)


def ranks_of(scores):
    """The places of floats on the line of all float32s, -0 as 0."""
    bits = (np.asarray(scores, np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    return np.where(bits < 0, 2**31 - 1 - (bits & 0x7FFFFFFF), 2**31 + bits)


@each_isa
@pytest.mark.parametrize("edge", [e for e in EDGES if e != "nan"])
@pytest.mark.parametrize("count, step", [(0, 0), (1, 1), (5, 4), (100, 64)])
def test_all_thresholds_are_counted_at_once(isa, edge, count, step, guarded):
    for labels in (1, 3, 9):
        scores, (targets, _) = draw(edge, (60, labels)), decisions(60, labels)
        thresholds = np.sort(np.r_[draw(edge, count, "t")[: count // 2],
                                   scores.ravel()[: count - count // 2]])
        ranks = ranks_of(thresholds)
        first = guarded(np.searchsorted(ranks >> 16, np.arange(1 << 16)), np.uint32)
        padded = guarded(np.r_[ranks, np.full(step, 2**32 - 1)], np.uint32)
        counts = guarded(np.full((labels, count + 1, 2), 3), np.uint32)
        exact = guarded(np.full(count + 1, 3), np.int32)
        call(isa, "count_above", guarded(scores), guarded(targets, np.uint8), 60, labels,
             Grid(address(padded), address(first), count, step), counts, exact)
        want, right = reference.count_above(scores, targets, thresholds)
        np.testing.assert_array_equal(counts, 3 + want)
        np.testing.assert_array_equal(exact[:count], 3 + right)


def cells_of(scores, lowest, scale, last):
    """The cell of each score, float32 after every operation."""
    with np.errstate(all="ignore"):
        cell = (np.asarray(scores, np.float32) - np.float32(lowest)) * np.float32(scale)
    return np.clip(cell + np.float32(1), 0, last).astype(np.int64)


@each_isa
@pytest.mark.parametrize("edge", [e for e in EDGES if e != "nan"])
@pytest.mark.parametrize("cells, scale", [(1, 1), (16, 1), (64, 16), (64, 1e-38), (16, 3e38)])
def test_scores_are_counted_between_marks(isa, edge, cells, scale, guarded):
    for n, count in ((0, 1), (1, 1), (511, 3), (512, 40), (1100, 200)):
        scores = draw(edge, n)
        scores[1::3] = scores[:1]  # ties
        marks = np.unique(np.r_[scores[::7], draw("random", count, "m")].astype(np.float32) + 0)
        lowest = np.clip(marks[0], -3, 3)
        inside = np.bincount(cells_of(marks, lowest, scale, cells - 1), minlength=cells)
        step = 1 << (int(inside.max()).bit_length() - 1)
        ranks = guarded(np.r_[ranks_of(marks), np.full(2 * step, 2**32 - 1)], np.uint32)
        table = guarded(2 * (np.cumsum(inside) - inside) + (inside > 0), np.uint32)
        counts = guarded(np.full((len(marks) + 1, 2), 5), np.uint32)
        passed = guarded(np.full((2, len(marks) + 1, 2), 5), np.uint32)
        call(isa, "count_between", guarded(scores), n,
             Marks(address(ranks), address(table), len(marks), step, lowest, scale, cells - 1),
             counts, passed)
        np.testing.assert_array_equal(counts, reference.count_between(scores, marks.tolist()))


@each_isa
@each_edge
def test_scores_beside_a_limit(isa, edge, guarded):
    for n in (0, *lengths(isa)):
        scores = draw(edge, n)
        for limit in (*scores[:1], *scores[-1:], 0.25, np.inf, -np.inf, np.nan):
            count, highest = guarded([7], np.int64), guarded([7])
            call(isa, "count_over", guarded(scores), n, limit, count)
            assert count[0] == reference.count_over(scores, limit)
            if not np.isnan(scores).any():
                call(isa, "highest_below", guarded(scores), n, limit, highest)
                assert highest[0] == reference.highest_below(scores, limit)


@each_edge
@each_isa
def test_counts_are_exact(isa, edge, guarded):
    for labels in lengths(isa):
        scores, thresh = draw(edge, (3, labels)), draw("random", labels, "thresh")
        thresh[: labels // 2] = scores[1, : labels // 2]  # equal is not above
        targets = guarded(np.random.default_rng(0).choice([0, 1, 2, 255], (3, labels)), np.uint8)
        count = guarded([7], np.int64)
        call(isa, "count_equal", guarded(scores), targets, guarded(thresh), 3, labels, count)
        assert count[0] == 7 + reference.count_equal(scores, targets, thresh)


@each_isa
@pytest.mark.parametrize("distinct", [1, 3, 300, 2**32])
def test_the_sort_is_stable_and_looks_at_the_upper_half(isa, distinct, guarded):
    for n in (0, 1, 2, 5, 1000, 2047, 2048, 5003):
        rng = np.random.default_rng(n)
        upper = rng.integers(0, distinct, n, dtype=np.uint64) << np.uint64(32)
        items = upper | rng.integers(0, 2**32, n, dtype=np.uint64)
        one, other = guarded(items, np.uint64), guarded(np.zeros(n), np.uint64)
        at = np.zeros(1, np.uintp)
        call(isa, "sort_descending", one, other, n, at)
        found = one if at[0] == address(one) else other
        assert at[0] == address(found)
        np.testing.assert_array_equal(found, reference.sort_descending(items))


@each_isa
@each_edge
def test_items_of_columns(isa, edge, guarded):
    for rows, labels, width in ((0, 1, 1), (1, 1, 1), (3, 20, 16), (16, 16, 16), (37, 19, 3)):
        scores = draw(edge, (rows, labels))
        targets = np.random.default_rng(labels).integers(0, 3, (rows, labels), np.uint8)
        column = rows + 5
        items, nan = guarded(np.zeros((width, column)), np.uint64), guarded([0], np.uint8)
        call(isa, "column_items", guarded(scores), guarded(targets, np.uint8), 7, rows, labels,
             width, items, column, nan)
        want, has_nan = reference.column_items(scores[:, :width], targets[:, :width], 7)
        assert nan[0] == has_nan
        if not has_nan:
            np.testing.assert_array_equal(items[:, :rows], want)
        assert not items[:, rows:].any()


@each_isa
@each_edge
def test_scores_of_columns(isa, edge, guarded):
    for rows, labels, width in ((1, 1, 1), (3, 20, 16), (16, 16, 16), (37, 19, 3), (50, 9, 9)):
        scores = draw(edge, (rows, labels))
        targets = np.random.default_rng(labels).choice([0, 0, 1, 255], (rows, labels))
        column = (rows + 15) // 16 * 16 + 16
        columns = guarded(np.full((width, column), 7.0))
        positives = guarded(np.zeros((width, rows)), np.uint64)
        found, nan = guarded(np.full(width, 9), np.uint64), guarded([0], np.uint8)
        call(isa, "column_scores", guarded(scores), guarded(targets, np.uint8), rows, labels,
             width, columns, column, positives, rows, found, nan)
        want, ranks, has_nan = reference.column_scores(scores[:, :width], targets[:, :width])
        assert nan[0] == has_nan
        if not has_nan:
            np.testing.assert_array_equal(columns[:, :rows], want)
            assert not np.signbit(columns[:, :rows][want == 0]).any()
        assert (columns[:, -16:] == 7).all()
        for label in range(width if not has_nan else 0):
            assert (positives[label, : found[label]] >> np.uint64(32)).tolist() == ranks[label]


@each_isa
@pytest.mark.parametrize("edge", [e for e in EDGES if e != "nan"])
def test_places_of_a_rows_labels(isa, edge, guarded):
    for labels in (0, *lengths(isa)):
        scores = draw(edge, labels)
        scores[1::3] = scores[:1]  # ties
        targets = np.random.default_rng(labels).choice([0, 0, 1, 255], labels)
        present, place = guarded(np.zeros(labels)), guarded(np.zeros((labels, 3)), np.uint32)
        count = guarded([7], np.uint64)
        call(isa, "row_places", guarded(scores), guarded(targets, np.uint8), labels, present, place,
             count)
        want = reference.row_places(scores, targets)
        assert count[0] == len(want)
        np.testing.assert_array_equal(place[: len(want)], want)


# --- matrix products

def tile_cases(isa):
    table = _core.kernels(isa)
    columns = range(table["lanes"], table["tile_columns"] + 1, table["lanes"])
    for rows in range(1, table["tile_rows"] + 1):
        for taps, run in ((0, 5), (1, 1), (3, 7), (2, 256), (3, 300)):
            yield rows, columns[rows % len(columns)], taps, run
    yield 1, columns[-1], 1, 513


def run_tile(isa, guarded, case, accumulate, started=False):
    rows, columns, taps, run = case
    tile_columns = _core.kernels(isa)["tile_columns"]
    image = draw("random", (rows + 3, 700), "image")
    weights = draw("random", (taps, run, tile_columns), "weights")
    offset = np.array([0, 350, -13], np.intp)[:taps]
    there = draw("random", (rows, columns), "there")
    out, source, held = [guarded(row) for row in there], guarded(image), guarded(weights)
    start = guarded(draw("random", columns, "start"))
    places, results = pointers([row[13:] for row in source[:rows]]), pointers(out)
    call(isa, "gemm_tile", Tile(address(places), address(results), rows, columns, address(offset),
                                taps, run, address(held), address(start) if started else None, 100,
                                accumulate))
    flat, at = source.ravel(), [13 + 700 * i for i in range(rows)]
    starts = [flat[i - 13 :] for i in at]
    want = reference.gemm_tile(starts, offset + 13, run, weights)
    size = reference.gemm_tile([abs(s) for s in starts], offset + 13, run, abs(weights))
    base = (there if accumulate else 0) + (start if started else 0)
    return np.array(out), want[:, :columns] + base, size[:, :columns] + 1


@each_isa
@pytest.mark.parametrize("accumulate, started", [(False, False), (True, False), (False, True)])
def test_gemm_tile_is_a_matrix_product(isa, accumulate, started, guarded):
    for case in tile_cases(isa):
        got, want, size = run_tile(isa, guarded, case, accumulate, started)
        close(got, want, 0, 8 * ULP * size)


@pytest.mark.parametrize("accumulate, started", [(False, False), (True, False), (False, True)])
def test_gemm_dots_rounds_as_the_machines_instruction_does(accumulate, started, guarded):
    for run in 2, 64, 250:
        rows = reference.narrow(draw("random", (7, run + 6), "rows"))
        weights = reference.narrow(draw("random", (run // 2, 64, 2), "weights"))
        start, there = draw("random", 64, "start"), draw("random", (7, 64), "there")
        want = reference.gemm_dots(rows[:, :run], weights, start if started else 0.0, 100,
                                   there if accumulate else None)
        exact = reference.widen(rows[:, :run]).astype(float) @ reference.widen(
            weights).astype(float).transpose(0, 2, 1).reshape(run, 64)
        base = (start if started else 0) + (there if accumulate else 0)
        close(want, exact + base, 0, 2e-6 * run)
        for isa in ISAS:
            table, source = _core.kernels(isa), guarded(rows, np.uint16)
            width, lanes = table["tile_columns"], table["lanes"]
            for count in range(1, table["tile_rows"] + 1):
                columns = width - count % (width // lanes) * lanes
                out = [guarded(row[:columns]) for row in there[:count]]
                results, held = pointers(out), guarded(weights[:, :width], np.uint16)
                begin = guarded(start[:columns])
                call(isa, "gemm_dots", Dots(
                    address(source), run + 6, address(results), count, columns, run,
                    address(held), address(begin) if started else None, 100, accumulate))
                assert bits(np.array(out)) == bits(want[:count, :columns]), isa


@each_isa
@pytest.mark.parametrize("accumulate", [False, True])
def test_gemm_outer_sums_outer_products(isa, accumulate, guarded):
    table = _core.kernels(isa)
    width, lanes = table["tile_columns"], table["lanes"]
    for rows in range(1, table["tile_rows"] + 1):
        columns = width - (rows % (width // lanes)) * lanes
        for segments, pixels in ((0, 4), (1, 1), (3, 5), (2, 100)):
            a = guarded(draw("random", (segments, pixels, rows + 2), "a"))
            b = guarded(draw("random", (segments, pixels, width + 16), "b"))
            there = draw("random", (rows, columns + 5), "there")
            out, a_at, b_at = guarded(there), pointers(a), pointers(b)
            call(isa, "gemm_outer", Outer(
                address(a_at), address(b_at), segments, pixels, rows + 2, width + 16, rows, columns,
                address(out), columns + 5, accumulate))
            x, y = a.reshape(-1, rows + 2)[:, :rows], b.reshape(-1, width + 16)[:, :columns]
            want = reference.gemm_outer(x, y) + (there[:, :columns] if accumulate else 0)
            close(out[:, :columns], want, 0, 4 * ULP * (reference.gemm_outer(abs(x), abs(y)) + 1))
            assert bits(out[:, columns:]) == bits(there[:, columns:])


# --- depthwise convolution

each_filter = pytest.mark.parametrize("cols, step", [
    (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2)])
each_row = pytest.mark.parametrize("pixels, channels", [
    (1, 16), (2, 48), (4, 16), (7, 112), (13, 16), (14, 32)])


@each_filter
@each_row
@pytest.mark.parametrize("edge", ["random", "nan", "infinite", "denormal"])
@pytest.mark.parametrize("biased, accumulate, apart", [(True, 0, 1), (False, 1, 2)])
def test_depthwise_row(cols, step, pixels, channels, edge, biased, accumulate, apart, guarded):
    """`apart`: pixels of the output that are for others lie between."""
    rows = cols - cols // 3
    x = draw(edge, (rows, step * (pixels - 1) + cols, channels))
    weights, bias = draw("random", (rows, cols, channels), "w"), draw("random", channels, "b")
    there = draw("random", (pixels, apart, channels), "there")
    base = (bias if biased else 0.0) + (there[:, 0] if accumulate else 0.0)
    want = reference.depthwise_row(x, weights, step, pixels, base)
    with np.errstate(invalid="ignore"):
        size = reference.depthwise_row(abs(x), abs(weights), step, pixels, abs(base))
    results = []
    for isa in ISAS:
        out, source = guarded(there), guarded(x)
        call(isa, "depthwise_row", Depthwise(
            address(source), x[0].size, rows, cols, step, address(guarded(weights)),
            address(guarded(bias)) if biased else None, pixels, channels, address(out),
            apart * channels, accumulate))
        close(out[:, 0], want, 0, (rows * cols + 2) * ULP * size)
        assert bits(out[:, 1:]) == bits(there[:, 1:])
        results.append(bits(out))
    assert len(set(results)) == 1


@pytest.mark.parametrize("cols, step", [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2)])
@each_row
@pytest.mark.parametrize("edge", ["random", "nan"])
@pytest.mark.parametrize("biased", [False, True])
def test_depthwise_weights(cols, step, pixels, channels, edge, biased, guarded):
    x = draw("random", (cols, step * (pixels - 1) + cols, channels))
    dy, there = draw(edge, (pixels, channels), "dy"), draw("random", (cols, cols, channels), "t")
    want, want_bias = reference.depthwise_weights(x, dy, cols, step)
    size, size_bias = reference.depthwise_weights(abs(x), abs(dy), cols, step)
    results = []
    for isa in ISAS:
        sums, bias = guarded(there), guarded(there[0, 0])
        call(isa, "depthwise_weights", DepthwiseWeights(
            address(guarded(x)), address(guarded(dy)), x[0].size, cols, step, pixels, channels,
            address(sums), address(bias) if biased else None))
        close(sums, want + there, 0, (pixels + 1) * ULP * (size + abs(there)))
        wanted = want_bias if biased else 0.0
        close(bias, wanted + there[0, 0], 0, (pixels + 1) * ULP * (size_bias + abs(there[0, 0])))
        results.append(bits(sums) + bits(bias))
    assert len(set(results)) == 1


# --- Winograd

LINES = 9  # addresses and offsets of a row of a tile
SIZES = [(4, 4), (4, 3), (3, 4), (3, 3)]
each_tile = pytest.mark.parametrize("rows, cols", SIZES)


def lines_of(stride, outputs):
    return stride * outputs + 3 - stride


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rows, cols", SIZES)
def test_the_definitions_of_the_transforms_make_a_convolution(stride, rows, cols, rng):
    """And their transposes its gradients: closes the chain behind the kernels' definitions."""
    s2 = "_s2" if stride == 2 else ""
    run = {name: getattr(reference, f"wino{s2}_{name}")
           for name in ("input", "gradient", "output", "weights", "weights_backward")}
    high, wide = stride * (rows - 1) + 3, stride * (cols - 1) + 3
    d, g = rng.normal(size=(high, wide, 1)), rng.normal(size=(3, 3, 1))
    point = [point_of(stride, rows, i) for i in range(lines_of(stride, rows))]
    across = [point_of(stride, cols, j) for j in range(lines_of(stride, cols))]
    u, v = run["weights"](g)[point][:, across], run["input"](d)
    windows = np.lib.stride_tricks.sliding_window_view(d[..., 0], (3, 3))[::stride, ::stride]
    want = np.einsum("ijrs,rs->ij", windows, g[..., 0])
    np.testing.assert_allclose(run["output"](u * v)[..., 0], want, atol=1e-13)
    dy, du = rng.normal(size=want.shape), np.zeros((6, 6, 1))
    np.add.at(du, np.ix_(point, across), v * run["gradient"](dy[..., None]))
    got = run["weights_backward"](du)[..., 0]
    np.testing.assert_allclose(got, np.einsum("ijrs,ij->rs", windows, dy), atol=1e-13)


def point_of(stride, outputs, line):
    """The point of a line along an axis: for stride 2 the last lines are all the last point's."""
    return min(line, 5) if line < outputs + 3 - stride else 5


@pytest.mark.parametrize("rows, cols", SIZES)
def test_the_definitions_of_stride_2_backward_make_its_gradient(rows, cols, rng):
    """Of the inputs whose outputs are all in the tile and one line more."""
    dy, g = rng.normal(size=(rows + 1, cols + 1, 1)), rng.normal(size=(3, 3, 1))
    point = [point_of(2, rows, i) for i in range(2 * rows + 1)]
    across = [point_of(2, cols, j) for j in range(2 * cols + 1)]
    u = reference.wino_s2_weights(g[::-1, ::-1])[point][:, across]
    got = reference.wino_s2_back_output(u * reference.wino_s2_back_input(dy))[..., 0]
    dx = np.zeros((2 * rows + 3, 2 * cols + 3))  # its first row and column are outside the picture
    for i, j in np.ndindex(rows + 1, cols + 1):
        dx[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += dy[i, j] * g[..., 0]
    np.testing.assert_allclose(got, dx[1 : 2 * rows + 1, 1 : 2 * cols + 1], atol=1e-13)


def offsets(order, step):
    """Where each of LINES x LINES lines is, at places that its neighbours do not tell."""
    return np.asarray(order * step, np.uintp)


def transform(run, isa, guarded, high, wide, rows, cols, channels, width):
    """One tile of high x wide pixels through a kernel that reads pixels."""
    pixels = draw("random", (LINES, LINES, channels), "tile")
    held = guarded(pixels)
    blocks, step = -(-channels // width), 3 * width
    order = np.random.default_rng(1).permutation(LINES * LINES)
    v = guarded(np.full(blocks * (len(order) * step + 5), np.nan))
    block, to = len(order) * step + 5, offsets(order, step)
    at = pointers([held[i, j] if i < high and j < wide else held[0, 0]
                   for i in range(LINES) for j in range(LINES)])
    run(isa, WinoIn(address(at), address(to), rows, cols, channels, width, address(v) + 4 * width,
                    block, 4 * channels))
    got = v.reshape(blocks, block)[:, : block - 5].reshape(blocks, len(order), 3, width)
    assert np.isnan(got[:, :, [0, 2]]).all(), "another tile was written"
    got = np.moveaxis(got[:, order, 1], 0, 1).reshape(LINES, LINES, blocks * width)
    return got, pixels[:high, :wide]


@each_isa
@each_tile
@pytest.mark.parametrize("channels, width", [(16, 16), (96, 48), (96, 64), (128, 64)])
@pytest.mark.parametrize("run, want, pixels, stride", [
    (lambda isa, tile: call(isa, "wino_input", tile), reference.wino_input, lambda n: n + 2, 1),
    (lambda isa, tile: call(isa, "wino_gradient", tile), reference.wino_gradient, lambda n: n, 1),
    (lambda isa, tile: call(isa, "wino_s2_input", tile), reference.wino_s2_input,
     lambda n: 2 * n + 1, 2),
    (lambda isa, tile: call(isa, "wino_s2_gradient", tile), reference.wino_s2_gradient,
     lambda n: n, 2),
    (lambda isa, tile: call(isa, "wino_s2_back_input", tile), reference.wino_s2_back_input,
     lambda n: n + 1, 2)])
def test_wino_of_pixels(isa, run, want, pixels, stride, rows, cols, channels, width, guarded):
    got, tile = transform(run, isa, guarded, pixels(rows), pixels(cols), rows, cols, channels,
                          width)
    down, across = lines_of(stride, rows), lines_of(stride, cols)
    assert np.isnan(got[down:]).all() and np.isnan(got[:, across:]).all()
    assert np.isnan(got[..., channels:]).all()
    close(got[:down, :across, :channels], want(tile), 0, 60 * ULP * abs(tile).max())


@each_isa
@each_tile
@pytest.mark.parametrize("then", [STORE, ADD, SUMS, NORM])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("run, definition, stride", [
    (lambda isa, tile: call(isa, "wino_output", tile), reference.wino_output, 1),
    (lambda isa, tile: call(isa, "wino_s2_output", tile), reference.wino_s2_output, 2)])
def test_wino_output(isa, rows, cols, then, relu, residual, run, definition, stride, guarded):
    channels, tiles = 96, 2  # a block and a half
    m = draw("random", (2, LINES, LINES, tiles, 64), "m")
    there = draw("random", (4, 5, channels), "there")
    scale, shift = draw("random", (2, channels), "scale")
    other = draw("random", (4, 4, channels), "residual")
    y, held, sums = guarded(there), guarded(m), guarded(draw("random", (3, channels), "sums"))
    before, s, o = sums.copy(), guarded(np.stack([scale, shift])), guarded(other)
    at = offsets(np.arange(LINES * LINES), tiles * 64)
    run(isa, WinoOut(
        address(held) + 4 * 64, address(at), m[0].size, rows, cols, channels, address(y),
        5 * channels, channels, rows, cols, False, then, address(sums), address(sums[1]),
        address(sums[2]), True, address(s), address(s[1]), address(o) if residual else None,
        4 * channels, channels, relu))
    lines = np.moveaxis(m[:, : lines_of(stride, rows), : lines_of(stride, cols), 1], 0, 2)
    lines, part = lines.reshape(*lines.shape[:2], 128)[..., :channels], np.s_[:rows, :cols]
    want, error = definition(lines), 60 * ULP * abs(lines).max()
    if then == ADD:
        want = want + there[part]
    elif then == NORM:
        want = want * scale + shift + (other[part] if residual else 0)
        want, error = np.maximum(want, 0) if relu else want, error * (1 + abs(scale).max())
    close(y[part], want, 0, error)
    outside = np.ones(there.shape, bool)
    outside[part] = False
    assert bits(y[outside]) == bits(there[outside])
    if then != SUMS:
        assert bits(sums) == bits(before)
        return
    assert bits(sums[0]) == bits(y[0, 0])
    shifted = y[part].astype(float).reshape(-1, channels) - y[0, 0]
    close(sums[1] - before[1], shifted.sum(0), 0, 1e-4)
    close(sums[2] - before[2], (shifted**2).sum(0), 1e-4, 1e-3)


@each_isa
@each_tile
@pytest.mark.parametrize("then", [STORE, ADD])
@pytest.mark.parametrize("cut_rows, cut_cols", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_wino_s2_back_output(isa, rows, cols, then, cut_rows, cut_cols, guarded):
    channels = 96
    m = draw("random", (2, LINES, LINES, 64), "m")
    there = draw("random", (8, 9, channels), "there")
    y, held, at = guarded(there), guarded(m), offsets(np.arange(LINES * LINES), 64)
    high, wide = 2 * rows - cut_rows, 2 * cols - cut_cols
    call(isa, "wino_s2_back_output", WinoOut(
        address(held), address(at), m[0].size, rows, cols, channels, address(y), 9 * channels,
        channels, high, wide, False, then))
    lines = np.moveaxis(m[:, : 2 * rows + 1, : 2 * cols + 1], 0, 2)
    lines = lines.reshape(*lines.shape[:2], 128)[..., :channels]
    want, part = reference.wino_s2_back_output(lines)[:high, :wide], np.s_[:high, :wide]
    close(y[part], want + (there[part] if then == ADD else 0), 0, 60 * ULP * abs(lines).max())
    outside = np.ones(there.shape, bool)
    outside[part] = False
    assert bits(y[outside]) == bits(there[outside])


@each_isa
def test_wino_output_streams_to_aligned_memory(isa):
    m = draw("random", (LINES, LINES, 64), "m")
    y, at = aligned((4, 4, 64)), offsets(np.arange(LINES * LINES), 64)
    call(isa, "wino_output", WinoOut(address(m), address(at), 64, 4, 4, 64, address(y), 4 * 64, 64,
                                     4, 4, True))
    close(y, reference.wino_output(m[:6, :6]), 0, 60 * ULP * abs(m).max())


@each_isa
@pytest.mark.parametrize("run, run_backward, definition, backward", [
    (lambda isa, *args: call(isa, "wino_weights", *args),
     lambda isa, *args: call(isa, "wino_weights_backward", *args),
     reference.wino_weights, reference.wino_weights_backward),
    (lambda isa, *args: call(isa, "wino_s2_weights", *args),
     lambda isa, *args: call(isa, "wino_s2_weights_backward", *args),
     reference.wino_s2_weights, reference.wino_s2_weights_backward)])
def test_wino_weights_and_their_backward(isa, run, run_backward, definition, backward, guarded):
    g = draw("random", (3, 3, 16), "g")
    held, u = guarded(g), guarded(np.full((6, 6, 21), np.nan))
    run(isa, held, u, 21)
    close(u[..., :16], definition(g), 0, 8 * ULP * abs(g).max())
    assert np.isnan(u[..., 16:]).all()
    parts = draw("random", (3, 6, 6, 16), "du")
    du, out = guarded(parts), guarded(np.zeros((3, 3, 16)))
    run_backward(isa, du, 16, 3, 36 * 16, out)
    close(out, backward(parts.astype(float).sum(0)), 0, 60 * ULP * abs(parts).max())


# --- batch norm

each_shape = pytest.mark.parametrize("shape", SHAPES)


@each_shape
@each_edge
def test_norm_sums(shape, edge, guarded):
    x, shift = draw(edge, shape), draw("random", shape[1], "shift")
    start = draw("random", (2, shape[1]), "start")
    results = []
    for isa in ISAS:
        sums, squares = guarded(start[0]), guarded(start[1])
        call(isa, "norm_sums", guarded(x), *shape, guarded(shift), sums, squares)
        results.append(bits(sums) + bits(squares))
        if edge == "large":
            continue  # whether a sum overflows depends on its order
        want_sum, want_square = reference.norm_sums(x, shift)
        size = np.abs(x.astype(float) - shift).sum(0)
        steps = (len(x) + 1) * ULP
        close(sums, start[0] + want_sum, 0, steps * (size + abs(start[0])))
        close(squares, start[1] + want_square, 0, steps * (want_square + abs(start[1])))
    assert len(set(results)) == 1


@each_shape
@each_edge
@pytest.mark.parametrize("act, residual, place", [
    ("identity", False, "apart"), ("relu", False, "x"), ("identity", True, "residual"),
    ("relu", True, "apart"), ("silu", False, "apart"), ("hardswish", False, "x"),
    ("hardswish", False, "apart"), ("sigmoid", True, "apart"), ("hardsigmoid", False, "x")])
def test_norm_apply(shape, edge, act, residual, place, guarded):
    act = ACTS[act]
    x, scale = draw(edge, shape), draw("random", shape[1], "s")
    shift = draw("random", shape[1], "t")
    r = draw(edge, shape, "r") if residual else None
    results = []
    for isa in ISAS:
        held = {"x": guarded(x), "residual": guarded(r if residual else []),
                "apart": guarded(np.zeros_like(x))}
        call(isa, "norm_apply", held["x"], held["residual"] if residual else None, *shape,
             guarded(scale), guarded(shift), act, 0, held[place])
        results.append(bits(held[place]))
        if place == "apart":
            streamed = aligned(shape)
            call(isa, "norm_apply", held["x"], held["residual"] if residual else None, *shape,
                 guarded(scale), guarded(shift), act, 1, streamed)
            results.append(bits(streamed))
        if edge != "large":
            size = abs(x * scale.astype(float)) + abs(shift) + (abs(r) if residual else 0)
            want = reference.norm_apply(x, r, scale, shift, act)
            close(held[place], want, 0, 4 * ULP * (size + (act > 1)))
    assert len(set(results)) == 1


@each_shape
@pytest.mark.parametrize("copied", ["x", "residual", "x and residual"])
@pytest.mark.parametrize("act", [0, ACTS["relu"], ACTS["silu"]])
def test_norm_rewrite(shape, copied, act, guarded):
    halves = {"x": reference.narrow(draw("random", shape)),
              "residual": reference.narrow(draw("random", shape, "r"))}
    scale, shift = draw("random", shape[1], "s"), draw("random", shape[1], "t")
    given = {f"{name}_copy" if name in copied else name:
             guarded(half, np.uint16) if name in copied else guarded(reference.widen(half))
             for name, half in halves.items()}
    results = []
    for isa in ISAS:
        for stream, y in (0, guarded(np.zeros(shape))), (1, aligned(shape)):
            job = Rewrite(**{name: address(array) for name, array in given.items()},
                          pixels=shape[0], channels=shape[1], scale=address(guarded(scale)),
                          shift=address(guarded(shift)), act=act, stream=stream,
                          y=address(y))
            call(isa, "norm_rewrite", job)
            results.append(bits(y))
    size = (abs(reference.widen(halves["x"]) * scale.astype(float)) + abs(shift)
            + abs(reference.widen(halves["residual"])))
    want = reference.norm_rewrite(halves["x"], halves["residual"], scale, shift, act)
    close(y, want, 0, 2 * ULP * size)
    assert len(set(results)) == 1


def norm_job(guarded, relu, arrays, **outputs):
    """What the backward kernels read, and where the ReLU let the output pass."""
    x, scale, shift = arrays["x"], arrays["scale"], arrays["shift"]
    given = {name: address(guarded(arrays[name]))
             for name in ("x", "dy", "mean", "inverse", "a", "b", "c")}
    passed = np.ones(x.shape, bool)
    act = "relu" if relu == "of x" else relu
    if relu == "of y":
        passed, given["y"] = arrays["y"] > 0, address(guarded(arrays["y"]))
    elif act in ACTS:
        z = x * scale.astype(float) + shift
        passed = z > 0 if act == "relu" else reference.slope(z, ACTS[act])
        given |= {"scale": address(guarded(scale)), "shift": address(guarded(shift)),
                  "act": ACTS[act]}
    return Norm(pixels=x.shape[0], channels=x.shape[1], **given, **outputs), passed


def off_by(passed, v):
    """How much dz may be off, in units of dy: a slope moves with its rounded place."""
    if passed.dtype == bool:
        return passed
    return 2 + abs(v["x"] * v["scale"].astype(float)) + abs(v["shift"])


def norm_arrays(shape, edge):
    rows = {name: draw("random", shape, name) for name in ("x", "y")} | {"dy": draw(edge, shape)}
    return rows | {name: draw("random", shape[1], name)
                   for name in ("mean", "inverse", "scale", "shift", "a", "b", "c")}


each_relu = pytest.mark.parametrize(
    "relu", ["none", "of y", "of x", "silu", "hardswish"])


@each_shape
@each_edge
@each_relu
def test_norm_backward_sums(shape, edge, relu, guarded):
    v = norm_arrays(shape, edge)
    results = []
    for isa in ISAS:
        job, passed = norm_job(guarded, relu, v)
        sums, dots = guarded(np.zeros(shape[1])), guarded(np.zeros(shape[1]))
        call(isa, "norm_backward_sums", job, sums, dots)
        results.append(bits(sums) + bits(dots))
        if edge == "large":
            continue
        names = ("x", "dy", "mean", "inverse")
        want_sum, want_dot = reference.norm_backward_sums(passed, *(v[name] for name in names))
        size = reference.norm_backward(off_by(passed, v), abs(v["dy"]), 0, 0, 0, 0)[1]
        factor = abs((v["x"].astype(float) - v["mean"]) * v["inverse"])
        steps = (shape[0] + 3) * ULP
        rounded = 1.5 * shape[0] * TINY  # of dz, whose slope is below 1.5
        close(sums, want_sum, 0, steps * size.sum(0) + rounded)
        close(dots, want_dot, 0, steps * (size * factor).sum(0) + rounded * (1 + factor.max(
            0, initial=0)))
    assert len(set(results)) == 1


@each_shape
@each_edge
@each_relu
@pytest.mark.parametrize("outputs, add", [
    (("dx",), False), (("dx", "residual"), False), (("residual",), True),
    (("dx", "residual"), True)])
def test_norm_backward(shape, edge, relu, outputs, add, guarded):
    v, there = norm_arrays(shape, edge), draw("random", shape, "there")
    results = []
    for isa in ISAS:
        held = {name: guarded(there) for name in outputs}
        job, passed = norm_job(guarded, relu, v, add=add, add_residual=add,
                               **{name: address(array) for name, array in held.items()})
        call(isa, "norm_backward", job)
        results.append(b"".join(bits(array) for array in held.values()))
        if not add:
            held = {name: aligned(shape) for name in outputs}
            call(isa, "norm_backward", norm_job(guarded, relu, v, stream=1, **{
                name: address(array) for name, array in held.items()})[0])
            results.append(b"".join(bits(array) for array in held.values()))
        if edge == "large":
            continue
        coefficients = [v[name].astype(float) for name in "abc"]
        wants = reference.norm_backward(passed, v["dy"], v["x"], *coefficients)
        sizes = reference.norm_backward(off_by(passed, v), abs(v["dy"]), abs(v["x"]),
                                        *(abs(a) for a in coefficients))
        for name, want, size in zip(("dx", "residual"), wants, sizes):
            if name in held:
                start = there if add else 0
                close(held[name], want + start, 0, 4 * ULP * (size + abs(there)))
    assert len(set(results)) == 1


# --- layer norm and layer scale

def padded(pixels):
    """Rows of channels as the engine has them: zeros up to a multiple of 16."""
    pixels = np.atleast_2d(pixels)
    return np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % 16)))


LAYER_SHAPES = [(0, 16), (1, 1), (2, 15), (7, 16), (3, 17), (5, 96), (2, 100)]  # pixels, channels
each_layer_shape = pytest.mark.parametrize("shape", LAYER_SHAPES)


def layer_arrays(shape, edge):
    """Rows of an edge, and what else layer norm reads, all padded."""
    rows = {"x": draw(edge, shape, "x"), "dy": draw("random", shape, "dy")}
    rows |= {name: draw("random", shape[1], name) for name in ("weight", "bias")}
    return rows, {name: padded(value) for name, value in rows.items()}


def layer_job(guarded, shape, given, **more):
    return LayerNorm(pixels=shape[0], stride=-(-shape[1] // 16) * 16, channels=shape[1], eps=1e-3,
                     **{name: address(guarded(value)) for name, value in given.items()},
                     **{name: address(value) for name, value in more.items()})


@each_layer_shape
@each_edge
@pytest.mark.parametrize("in_place", [False, True])
def test_layer_norm(shape, edge, in_place, guarded):
    v, given = layer_arrays(shape, edge)
    results = []
    for isa in ISAS:
        x = guarded(given["x"])
        y = x if in_place else guarded(np.full_like(given["x"], 7))
        mean, inverse = guarded(np.zeros(shape[0])), guarded(np.zeros(shape[0]))
        job = layer_job(guarded, shape, {name: given[name] for name in ("weight", "bias")}, x=x,
                        y=y, mean=mean, inverse=inverse)
        call(isa, "layer_norm", job)
        results.append(bits(y) + bits(mean) + bits(inverse))
        assert (y[:, shape[1]:] == 0).all(), "padding"
        if edge in ("infinite", "large"):
            continue  # what sums of infinities and overflows make depends on their order
        want, want_mean, want_inverse = reference.layer_norm(v["x"], v["weight"], v["bias"], 1e-3)
        size = abs(v["x"].astype(float)).mean(1)[:, None]
        close(mean, want_mean, 0, 16 * ULP * size[:, 0])
        close(inverse, want_inverse, 16 * ULP)
        size = (abs(v["x"]) + size) * np.nan_to_num(want_inverse)[:, None] * abs(v["weight"])
        close(y[:, : shape[1]], want, 0, 32 * ULP * (size + abs(v["bias"])))
    assert len(set(results)) == 1


@each_layer_shape
@each_edge
@pytest.mark.parametrize("wanted, add", [(True, False), (True, True), (False, False)])
def test_layer_norm_backward(shape, edge, wanted, add, guarded):
    v, given = layer_arrays(shape, "random")
    v["dy"] = draw(edge, shape, "dy")
    given["dy"] = padded(v["dy"])
    there, results = padded(draw("random", shape, "there")), []
    _, mean, inverse = reference.layer_norm(v["x"], v["weight"], v["bias"], 1e-3)
    given |= {"mean": mean, "inverse": inverse}
    for isa in ISAS:
        dx = guarded(there)
        sums = [guarded(np.zeros(given["x"].shape[1])) for _ in range(2)]
        job = layer_job(guarded, shape, given, dweight=sums[0], dbias=sums[1])
        job.dx, job.add = address(dx) if wanted else None, add
        call(isa, "layer_norm_backward", job)
        results.append(bits(dx) + bits(sums[0]) + bits(sums[1]))
        assert (dx[:, shape[1]:] == 0).all(), "padding"
        if edge in ("infinite", "large"):
            continue
        wants = reference.layer_norm_backward(
            v["x"], v["dy"], v["weight"], *(np.float32(a) for a in (mean, inverse)))
        xhat = (abs(v["x"]) + abs(mean)[:, None]) * inverse[:, None]
        dy, steps = abs(v["dy"].astype(float)), 32 * ULP
        dz = dy * abs(v["weight"])
        size = inverse[:, None] * (dz + dz.mean(1)[:, None] + xhat * (dz * xhat).mean(1)[:, None])
        if wanted:
            start = there[:, : shape[1]] if add else 0
            close(dx[:, : shape[1]], wants[0] + start, 0, steps * (size + abs(start) + TINY / ULP))
        else:
            assert bits(dx) == bits(there)
        close(sums[0][: shape[1]], wants[1], 0, steps * (dy * xhat).sum(0) + shape[0] * TINY)
        close(sums[1][: shape[1]], wants[2], 0, steps * dy.sum(0))
    assert len(set(results)) == 1


@each_shape
@each_edge
@pytest.mark.parametrize("outputs, add", [
    (("dx",), False), (("dx", "residual"), False), (("residual",), True),
    (("dx", "residual"), True), ((), False)])
def test_layer_scale_backward(shape, edge, outputs, add, guarded):
    x, dy = draw("random", shape, "x"), draw(edge, shape)
    scale, there, results = draw("random", shape[1]), draw("random", shape, "there"), []
    start = draw("random", shape[1], "start")
    for isa in ISAS:
        held, dot = {name: guarded(there) for name in outputs}, guarded(start)
        job = LayerScale(address(guarded(x)), address(guarded(dy)), address(guarded(scale)), *shape,
                         add=add, add_residual=add,
                         **{name: address(array) for name, array in held.items()})
        call(isa, "layer_scale_backward", job, dot)
        results.append(b"".join(map(bits, (*held.values(), dot))))
        if edge == "large":
            continue
        want_dx, want_dot = reference.layer_scale_backward(x, dy, scale)
        for name, want in (("dx", want_dx), ("residual", dy)):
            if name in held:
                close(held[name], want + (there if add else 0), 0,
                      2 * ULP * (abs(want) + abs(there)))
        size = (abs(x * dy.astype(float))).sum(0) + abs(start)
        close(dot, start + want_dot, 0, (shape[0] + 3) * ULP * size)
    assert len(set(results)) == 1


@each_shape
@each_relu
def test_norm_backward_of_a_copy_and_in_place(shape, relu, guarded):
    v = norm_arrays(shape, "random")
    copy = guarded(reference.narrow(v["x"]), np.uint16)
    v["x"] = reference.widen(copy)
    for isa in ISAS:
        results = []
        for halves in None, copy:
            job, _ = norm_job(guarded, relu, v)
            if halves is not None:
                job.x, job.copy = None, address(halves)
            sums, dots = guarded(np.zeros(shape[1])), guarded(np.zeros(shape[1]))
            call(isa, "norm_backward_sums", job, sums, dots)
            dx, residual = guarded(np.zeros(shape)), guarded(np.zeros(shape))
            if halves is not None:
                dx = guarded(v["dy"])
                job.dy = address(dx)
            job.dx, job.residual = address(dx), address(residual)
            call(isa, "norm_backward", job)
            results.append(bits(sums) + bits(dots) + bits(dx) + bits(residual))
        assert len(set(results)) == 1, isa


# --- pooling

@pytest.mark.parametrize("channels", [16, 48, 112])
@each_edge
@pytest.mark.parametrize("taps", [1, 2, 9, 255])
def test_max_window_and_its_backward(channels, edge, taps, guarded):
    window, dy = draw(edge, (taps, channels)), draw("random", channels, "dy")
    want, want_tap = reference.max_window(window)
    there = draw("random", (taps, channels), "there")
    for isa in ISAS:
        places, y = [guarded(row) for row in window], guarded(np.zeros(channels))
        tap = guarded(np.zeros(channels), np.uint8)
        at = pointers(places)
        call(isa, "max_window", at, taps, channels, None, None, 0, y, tap)
        np.testing.assert_array_equal(y, want.astype(np.float32))
        np.testing.assert_array_equal(tap, want_tap)
        for first in {0, taps // 3}:
            dx, count = guarded(there), taps - first - first // 2
            call(isa, "max_window_backward", guarded(dy), tap, 1, first, count, 0, channels, dx)
            close(dx[:count], reference.max_window_backward(dy, want_tap - first, there[:count]),
                  ULP)
            np.testing.assert_array_equal(dx[count:], there[count:])


@pytest.mark.parametrize("taps, step", [(1, 2), (2, 2), (3, 2), (3, 1), (5, 3)])
def test_max_window_backward_of_windows_in_a_row(taps, step, guarded):
    windows, channels, first = 6, 48, 2
    dy = draw("random", (windows, channels), "dy")
    tap = np.random.default_rng(0).integers(0, taps + 4, (windows, channels))
    there = draw("random", ((windows - 1) * step + taps, channels), "there")
    want = there.astype(float)
    for p in range(windows):
        part = np.s_[p * step : p * step + taps]
        want[part] = reference.max_window_backward(dy[p], tap[p] - first, want[part])
    for isa in ISAS:
        dx = guarded(there)
        call(isa, "max_window_backward", guarded(dy), guarded(tap, np.uint8), windows, first, taps,
             step * channels, channels, dx)
        close(dx, want, 0, 8 * ULP * (abs(dy).max() + abs(there).max()))


@pytest.mark.parametrize("rectify", [0, 1, ACTS["silu"], ACTS["hardswish"]])
@pytest.mark.parametrize("taps", [1, 9])
def test_max_window_of_a_batch_norm(taps, rectify, guarded):
    window = draw("random", (taps, 48))
    scale, shift = draw("random", 48, "scale"), draw("random", 48, "shift")
    want, want_tap = reference.max_window(window, scale.astype(float), shift, rectify)
    for isa in ISAS:
        places, y = [guarded(row) for row in window], guarded(np.zeros(48))
        tap = guarded(np.zeros(48), np.uint8)
        call(isa, "max_window", pointers(places), taps, 48, guarded(scale), guarded(shift),
             rectify, y, tap)
        close(y, want, 0, 4 * ULP * ((abs(window) * abs(scale)).max(0) + abs(shift) + 1))
        np.testing.assert_array_equal(tap, want_tap)


@each_shape
@each_edge
def test_sum_and_max(shape, edge, guarded):
    x = draw(edge, (shape[0] + 1, shape[1]))
    want_sum, want_max, want_at = reference.sum_and_max(x, 40)
    results = []
    for isa in ISAS:
        sums, top = guarded(np.zeros(shape[1])), guarded(np.full(shape[1], -np.inf))
        at = guarded(np.full(shape[1], 40), np.uint32)
        half = len(x) // 2  # in two calls, as rows of an image come
        for first, part in ((40, x[:half]), (40 + half, x[half:])):
            call(isa, "sum_and_max", guarded(part), *part.shape, first, sums, top, at)
        results.append(bits(sums))
        np.testing.assert_array_equal(top, want_max.astype(np.float32))
        np.testing.assert_array_equal(at, want_at)
        if edge != "large":
            close(sums, want_sum, 0, len(x) * ULP * abs(x).sum(0))
    assert len(set(results)) == 1


@each_shape
@each_edge
def test_sum_and_spread_pixels(shape, edge, guarded):
    x, start = draw(edge, shape), draw("random", shape[1], "start")
    there, results = draw("random", shape, "there"), []
    for isa in ISAS:
        sums, written, added = guarded(start), guarded(there), guarded(there)
        call(isa, "sum_pixels", guarded(x), *shape, sums)
        call(isa, "spread_pixels", guarded(start), *shape, 0, written)
        call(isa, "spread_pixels", guarded(start), *shape, 1, added)
        results.append(bits(sums))
        np.testing.assert_array_equal(written, reference.spread_pixels(start, shape[0]))
        np.testing.assert_array_equal(added, there + start)
        if edge != "large":
            size = reference.sum_pixels(abs(x)) + abs(start)
            close(sums, reference.sum_pixels(x) + start, 0, (len(x) + 1) * ULP * size)
    assert len(set(results)) == 1


# --- scale

@each_shape
@each_edge
def test_scale_pixels(shape, edge, guarded):
    x, factor = draw(edge, shape), draw("random", shape[1], "factor")
    for isa in ISAS:
        y, streamed = guarded(np.zeros_like(x)), aligned(shape)
        call(isa, "scale_pixels", guarded(x), guarded(factor), *shape, 0, y)
        call(isa, "scale_pixels", guarded(x), guarded(factor), *shape, 1, streamed)
        close(y, reference.scale_pixels(x, factor), ULP)
        assert bits(streamed) == bits(y)


@each_shape
@each_edge
@pytest.mark.parametrize("wanted, add", [
    (("dx", "dfactor"), False), (("dx", "dfactor"), True), (("dx",), False), (("dfactor",), False)])
def test_scale_backward(shape, edge, wanted, add, guarded):
    x, dy, factor = draw("random", shape), draw(edge, shape, "dy"), draw("random", shape[1], "f")
    there = {"dx": draw("random", shape, "there"), "dfactor": draw("random", shape[1], "sums")}
    dx, dfactor = reference.scale_backward(x, dy, factor)
    _, size = reference.scale_backward(abs(x), abs(dy), factor)
    results = []
    for isa in ISAS:
        out = {name: guarded(value) for name, value in there.items()}
        places = {name: address(out[name]) for name in wanted}
        call(isa, "scale_backward", ScaleBackward(
            address(guarded(x)), address(guarded(dy)), address(guarded(factor)), *shape, add=add,
            **places))
        results.append(b"".join(bits(value) for value in out.values()))
        for name in set(out) - set(wanted):
            assert bits(out[name]) == bits(there[name])
        if edge == "large":
            continue
        if "dx" in wanted:
            base = there["dx"] if add else 0
            close(out["dx"], dx + base, 0, 2 * ULP * (abs(dx) + abs(there["dx"])))
        if "dfactor" in wanted:
            bound = (shape[0] + 1) * ULP * (size + abs(there["dfactor"]))
            close(out["dfactor"], dfactor + there["dfactor"], 0, bound)
    assert len(set(results)) == 1


# --- optimizer

HYPERS = {"keep": 1 - 1e-5, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-5, "rate": 2e-3, "debias": 9.5}


def run_adam(isa, guarded, state):
    held = [guarded(a) for a in state]
    call(isa, "adam", Adam(*HYPERS.values()), *held, len(state[0]))
    return held


def adam_state(edge, n):
    state = [draw(kind, n, name) for kind, name in
             (("random", "p"), (edge, "g"), ("random", "m"), ("random", "v"))]
    return [*state[:3], abs(state[3])]


@each_edge
@each_isa
def test_adam_is_its_definition(isa, edge, guarded):
    hypers = {name: float(np.float32(value)) for name, value in HYPERS.items()}
    for n in lengths(isa):
        p, g, m, v = adam_state(edge, n)
        got_p, got_g, got_m, got_v = run_adam(isa, guarded, (p, g, m, v))
        assert bits(got_g) == bits(np.zeros(n, np.float32))
        if edge == "large":
            continue  # g * g overflows float32, not float64
        want_p, want_m, want_v = reference.adam(*(a.astype(float) for a in (p, g, m, v)), **hypers)
        size = abs(m.astype(float)) + abs(g)
        close(got_m, want_m, 0, 2 * ULP * size)
        close(got_v, want_v, 4 * ULP)
        close(got_p, want_p, 0, 4 * ULP * (abs(p) + size))


@each_edge
def test_adam_has_the_same_bits_everywhere(edge, guarded):
    whole = run_adam(ISAS[0], guarded, adam_state(edge, 1000))
    for isa in ISAS:
        for n in lengths(isa):
            part = run_adam(isa, guarded, [a[:n] for a in adam_state(edge, 1000)])
            assert [bits(a) for a in part] == [bits(a[:n]) for a in whole]


ONE_MOMENT = {
    "sgd": {"keep": 1 - 1e-5, "mom": 0.9, "rate": 2e-3},
    "lion": {"keep": 1 - 1e-5, "mom": 0.9, "late_mom": 0.99, "rate": 2e-3},
}


def run_one_moment(name, isa, guarded, state):
    held, hypers, n = [guarded(a) for a in state], ONE_MOMENT[name].values(), len(state[0])
    if name == "sgd":
        call(isa, "sgd", Sgd(*hypers), *held, n)
    else:
        call(isa, "lion", Lion(*hypers), *held, n)
    return held


@each_edge
@each_isa
@pytest.mark.parametrize("name", ONE_MOMENT)
def test_an_optimizer_of_one_moment_is_its_definition(name, isa, edge, guarded):
    hypers = {k: float(np.float32(value)) for k, value in ONE_MOMENT[name].items()}
    for n in lengths(isa):
        p, g, m = adam_state(edge, n)[:3]
        got_p, got_g, got_m = run_one_moment(name, isa, guarded, (p, g, m))
        assert bits(got_g) == bits(np.zeros(n, np.float32))
        want_p, want_m = getattr(reference, name)(*(a.astype(float) for a in (p, g, m)), **hypers)
        if name == "lion":  # its step is a sign; one of NaN is none
            want_p = np.where(np.isnan(want_p), p * hypers["keep"], want_p)
        size = abs(m.astype(float)) + abs(g)
        close(got_m, want_m, 0, 2 * ULP * size)
        close(got_p, want_p, 0, 4 * ULP * (abs(p) + (1 if name == "lion" else size)))


@each_edge
@pytest.mark.parametrize("name", ONE_MOMENT)
def test_an_optimizer_of_one_moment_has_the_same_bits_everywhere(name, edge, guarded):
    whole = run_one_moment(name, ISAS[0], guarded, adam_state(edge, 1000)[:3])
    for isa in ISAS:
        for n in lengths(isa):
            part = run_one_moment(name, isa, guarded, [a[:n] for a in adam_state(edge, 1000)[:3]])
            assert [bits(a) for a in part] == [bits(a[:n]) for a in whole]


# --- pixels

MAPS = {
    "identity": np.eye(3),
    "shift": [[1, 0, 0.25], [0, 1, -0.5], [0, 0, 1]],
    "turn": [[0.9, -0.4, 3], [0.4, 0.9, -2], [0, 0, 1]],
    "far": [[3, 1, -90], [-2, 4, 60], [0, 0, 1]],
    "perspective": [[1, 0.1, 1], [0, 1.1, -1], [0.01, 0.02, 0.9]],
}


REFLECT, CLAMP, ZEROS = range(3)  # what lies outside of an image


def warp_row(isa, guarded, image, matrix, row, out, border=REFLECT, margin=0.0, nearest=False):
    height, width = image.shape[:2]
    pixels, matrix = guarded(image, np.uint8), guarded(matrix, np.float64)
    job = WarpJob(address(pixels), height, width, address(matrix), len(out), border, margin,
                  nearest)
    call(isa, "warp_row", job, row, out)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("border", [REFLECT, CLAMP, ZEROS])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (4, 1), (9, 17), (3, 131)])
def test_warp_row_samples_the_image_and_its_outside(name, border, height, width, guarded):
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3))
    matrix = np.array(MAPS[name], np.float64)
    for row, margin, out_width in ((0, 0, width), (height // 2, 0.5, width + 3),
                                   (height - 1, 0, max(1, width // 2))):
        want = reference.warp_row(image, matrix, row, out_width, border, margin)
        results = []
        for isa in ISAS:
            out = guarded(np.zeros((out_width, 3)))
            warp_row(isa, guarded, image, matrix, row, out, border, margin)
            close(out, want, 0, 1e-6 * 4 * (90 + 3 * width))  # float positions times a step of 1
            results.append(bits(out))
        assert len(set(results)) == 1


@pytest.mark.parametrize("border", [REFLECT, CLAMP, ZEROS])
def test_warp_row_takes_the_nearest_pixel(border, guarded):
    image = np.random.default_rng(1).integers(0, 256, (9, 17, 3))
    matrix = np.array([[0.9, -0.4, 3.3], [0.4, 0.9, -2.2], [0, 0, 1]])  # no half of a pixel
    for isa in ISAS:
        out = guarded(np.zeros((20, 3)))
        warp_row(isa, guarded, image, matrix, 4, out, border, nearest=True)
        want = reference.warp_row(image, matrix, 4, 20, border, nearest=True)
        close(out, want, 0, 2 * ULP)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 1e300, 3e38, 0.0])
@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("border", [REFLECT, CLAMP, ZEROS])
def test_warp_row_stays_inside_the_image_whatever_the_map(fill, place, border, guarded):
    image = np.random.default_rng(2).integers(0, 256, (5, 37, 3))
    matrix = np.eye(3).ravel()
    matrix[place] = fill
    for isa in ISAS:
        for nearest, margin in ((False, 0), (True, 0), (False, 0.5)):
            out = guarded(np.full((37, 3), 9.0))
            warp_row(isa, guarded, image, matrix, 3, out, border, margin, nearest)
            assert (out >= 0).all() and (out <= 1.000001).all()


@each_isa
@pytest.mark.parametrize("add, multiply", [(0.0, 1.0), (0.7, 1.3), (-2.0, 0.5), (0.0, 0.0)])
def test_light_works_in_logit_space(isa, add, multiply, guarded):
    for n in lengths(isa):
        x = np.random.default_rng(4).random(1000)[:n].astype(np.float32)
        x[: n // 8] = np.array([0, 1, 1e-7, 0.5, 1e-30])[np.arange(n // 8) % 5]
        y = guarded(x)
        call(isa, "light", y, n, add, multiply)
        want = reference.light(np.clip(x, np.float32(1e-7), np.float32(1 - 1e-7)), add, multiply)
        close(y, want, 0, 2e-6)


def colors(pixels):
    """Pixels at random, grey ones, black, white, and ones of two equal channels."""
    x = np.random.default_rng(6).random((pixels, 3)).astype(np.float32)
    x[::5] = x[::5, :1]
    x[1::7, 1] = x[1::7, 0]
    x[2::11], x[3::11] = 0, 1
    return x


@pytest.mark.parametrize("map_", [np.eye(3, 4), [[0.5, 0.3, 0.2, 0.4], [0.1, 1.2, -0.3, -1],
                                                 [0, 0.5, 0.5, 0]], np.zeros((3, 4))])
def test_tint_maps_logits(map_, guarded):
    map_ = np.array(map_, np.float32)
    for pixels in (0, 1, 15, 128, 129, 300):
        x, results = colors(pixels), []
        for isa in ISAS:
            y = guarded(x)
            call(isa, "tint", y, pixels, guarded(map_))
            want = reference.tint(np.clip(x, np.float32(1e-7), np.float32(1 - 1e-7)), map_)
            close(y, want, 0, 3e-6)
            results.append(bits(y))
        assert len(set(results)) == 1


@pytest.mark.parametrize("turn", [0.0, 0.05, 1 / 3, -0.4, 0.95, 1.1])
def test_hues_turn(turn, guarded):
    for pixels in (0, 1, 15, 128, 129, 300):
        x, results = colors(pixels), []
        for isa in ISAS:
            y = guarded(x)
            call(isa, "turn_hue", y, pixels, turn)
            close(y, reference.turn_hue(x, turn), 0, 4e-6)
            results.append(bits(y))
        assert len(set(results)) == 1


@each_isa
def test_normalize_and_its_repeated_channels(isa, guarded):
    mean, std = np.array([0.4, 0.5, -3], np.float32), np.array([0.2, 0.3, 7], np.float32)
    whole = None
    for pixels in (333, 0, 1, 2, 5, 6, 11, 16, 17):
        x = draw("random", (333, 3))[:pixels]
        y = guarded(x)
        call(isa, "normalize", y, 3 * pixels, guarded(np.tile(mean, 16)), guarded(np.tile(std, 16)))
        close(y, reference.normalize(x, mean, std), 2 * ULP, ULP)
        whole = y if whole is None else whole
        assert bits(y) == bits(whole[:pixels])


@each_isa
def test_look_up_takes_a_value_for_each_byte_and_channel(isa, guarded):
    table = draw("random", (256, 3))
    for pixels in (0, 1, 15, 300):
        x = np.random.default_rng(5).integers(0, 256, (pixels, 3))
        out = guarded(np.zeros((pixels, 3)))
        call(isa, "look_up", guarded(x, np.uint8), pixels, guarded(table), out)
        np.testing.assert_array_equal(out, reference.look_up(x, table))
