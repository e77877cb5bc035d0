"""What C takes from Python: calls of ``_core`` and of nets with arguments that are almost right.

Bytes say which call and what is wrong with it. Every array lies between guards, which must be as
they were; a call may refuse its arguments with one of `REFUSALS`, and nothing else.
"""

import numpy as np
from draw import Draw
from reference import small_resnet

from mlclassify import _core

# KeyError: a name of no tensor. RuntimeError: a backward that no forward went before.
REFUSALS = (TypeError, ValueError, MemoryError, OverflowError, KeyError, RuntimeError)
GUARD, PATTERN = 64, 0xA5

# The arguments of a function: dtype:shape of an array, with a ? where None is one; int, float.
_LOSS = "f4:n,l f4:n,l f4?:n,l f4?:n,l float int int f4?:n,l f4?:n,l"
CALLS = {
    "sigmoid": "f4:n,l f4:n,l",
    "bce_with_logits": _LOSS,
    "asymmetric_with_logits": f"{_LOSS} float float float",
    "accuracy_count": "f4:n,l u1:n,l f4:l",
    "ranked_columns": "f4:n,l u1:n,l f4:l,n i4:l,n i4:l,n",
    "column_ranking": "f4:n,l u1:n,l f8?:n f8:l,2",
    "column_curve": "f4:n,l u1:n,l f8?:n i8:l i8:l,n f8:l,n f8:l,n",
    "row_ranking": "f4:n,l u1:n,l f8:n,3",
    "row_gains": "f4:n,l u1:n,l f8:l+1 f8:n",
    "label_counts": "u1:n,l u1:n,l i8:3,l",
    "row_counts": "u1:n,l u1:n,l i8:3,n",
    "label_weights": "u1:n,l u1:n,l f8:n f8:3,l",
    "rank_histogram": "f4:n,l u1:n,l i8:l,b,2",
    "histogram_ranking": "i8:l,b,2 f8:l,6",
    "threshold_counts": "f4:n,l u1:n,l f4:t i8:l,t+1,2 i8:t+1",
    "threshold_search": "f4:n,l u1:n,l f4:l int f4:l,2 i8:l,5",
    "augment": "u1:n,h,w,3 f8?:n,3,3 int int int f4?:n,2 f4?:n,3,4 f4?:n f4:3 f4:3 f4:n,h,w,3",
    "random_uniform": "int int int int f8:n",
    "set_num_threads": "int",
    "kernels": "text",
    "cpus": "text",
    "isas": "",
    "isa": "",
    "get_num_threads": "",
}
SIZES = (3, 4, 0, 1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 100, 257)
INTS = (0, 1, 2, 3, -1, 7, 255, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 2**64, 2**200, -(2**70), True,
        np.int8(-1), np.uint64(2**63), 1.0, np.nan, None, "1", [1], b"1", object)  # fmt: skip
FLOATS = (0.0, 0.5, 1.0, -1.0, 2.0, 1e300, 1e-320, np.inf, -np.inf, np.nan, 3, 2**200,
          np.float32(1), None, "1", [1.0], 1j, object)  # fmt: skip


class Guarded:
    """Arrays with a guard on either side of their memory."""

    def __init__(self):
        self._buffers = []

    def array(self, shape, dtype, draw):
        """Return a filled array of this shape."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        buffer = np.full(size + 2 * GUARD, PATTERN, np.uint8)
        self._buffers.append(buffer)
        whole = buffer[GUARD : GUARD + size].view(dtype).reshape(shape)
        _fill(whole, draw)
        return whole

    def check(self):
        """Assert that nobody wrote beside an array."""
        for buffer in self._buffers:
            assert (buffer[:GUARD] == PATTERN).all(), "written before an array"
            assert (buffer[-GUARD:] == PATTERN).all(), "written behind an array"


def _fill(whole, draw):
    whole = whole.reshape(-1)  # a view, also of no dimensions
    how, random = draw.below(8), draw.generator()
    if whole.dtype.kind != "f":
        top = 2 if how < 4 else np.iinfo(whole.dtype).max
        whole[...] = random.integers(0, top, whole.shape, whole.dtype)
        if how == 7:
            np.negative(whole, out=whole)
        return
    whole[...] = random.standard_normal(whole.shape)
    if how == 7:
        whole.view(np.uint8)[...] = random.integers(0, 256, whole.view(np.uint8).shape, np.uint8)
    elif how > 3:
        odd = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, 1e-45, 1.0)[draw.below(8)]
        whole[random.random(whole.shape) < (0.1, 0.5, 1.0)[how - 4]] = odd
    elif how == 3:
        whole.sort()


def core(data):
    """Call one function of ``_core``."""
    draw = Draw(data)
    name = draw.choice(list(CALLS))
    guarded, sizes = Guarded(), {key: draw.choice(SIZES) for key in "nlthw"}
    sizes["b"] = draw.choice((8, 2, 1, 16, 3, 0, 4096))
    if name == "augment":
        sizes["n"] = min(sizes["n"], 4)
    args = [_argument(kind, sizes, guarded, draw) for kind in CALLS[name].split()]
    if draw.rarely(32):
        args = args[:-1] if draw.rarely(2) else [*args, None]
    return _called(getattr(_core, name), args, {}, guarded)


def _called(function, args, options, guarded):
    try:
        function(*args, **options)
        return True
    except REFUSALS as error:
        assert str(error), "a refusal without a reason"
        return False
    finally:
        _core.set_num_threads(2)
        guarded.check()


def _argument(kind, sizes, guarded, draw):
    if kind == "int":
        return INTS[draw.below(3)] if not draw.rarely(8) else draw.choice(INTS)
    if kind == "float":
        return FLOATS[draw.below(3)] if not draw.rarely(8) else draw.choice(FLOATS)
    if kind == "text":
        return draw.choice((*_core.isas(), "", "no", None, "\0", "scalar\0", b"scalar", "é" * 999))
    dtype, shape = kind.split(":")
    if dtype.endswith("?") and draw.rarely(2):
        return None
    shape = tuple(_size(name, sizes) for name in shape.split(","))
    array = guarded.array(shape, dtype.rstrip("?"), draw)
    return draw.choice(FAULTS)(array, draw) if draw.rarely(12) else array


def _size(name, sizes):
    letter, _, more = name.partition("+")
    return int(letter) if letter.isdigit() else sizes[letter] + int(more or 0)


def _misaligned(a, draw):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    return raw[1:].view(a.dtype).reshape(a.shape)


def _read_only(a, draw):
    a.flags.writeable = False
    return a


def _strided(a, draw):
    """The same shape over memory that is read backwards, in steps, or again and again."""
    if not a.ndim:
        return a
    return draw.choice((
        lambda: a[::-1], lambda: np.repeat(a, 2, axis=-1)[..., ::2], lambda: np.asfortranarray(a),
        lambda: np.broadcast_to(a[..., :1], a.shape), lambda: a.T, lambda: a[..., ::-1],
        lambda: np.broadcast_to(np.zeros(1, a.dtype), (2**30, 2**28)),
        lambda: np.broadcast_to(np.zeros(1, a.dtype), (2**40,)),
    ))()  # fmt: skip


def _reshaped(a, draw):
    return draw.choice((
        lambda: a[None], lambda: a.ravel(), lambda: np.zeros((), a.dtype),
        lambda: np.zeros((0,) * a.ndim, a.dtype), lambda: np.zeros((2**40, 0), a.dtype),
        lambda: np.zeros((*a.shape[:-1], a.shape[-1] + 1) if a.ndim else 3, a.dtype),
        lambda: np.zeros((a.shape[0] + 1, *a.shape[1:]) if a.ndim else 3, a.dtype),
        lambda: np.zeros((1,) * 40, a.dtype),
    ))()  # fmt: skip


def _typed(a, draw):
    kind = draw.choice((a.dtype.newbyteorder(), "f2", "f4", "f8", "i8", "u8", "c8", "?", "S4", "O",
                        "M8[s]", "f4,i4"))  # fmt: skip
    return np.zeros(a.shape, kind)


def _wrapped(a, draw):
    class Odd(np.ndarray):
        pass

    return draw.choice((lambda: a.view(Odd), lambda: np.ma.array(a), lambda: memoryview(a.copy()),
                        lambda: a.tolist()))()  # fmt: skip


def _no_array(a, draw):
    return draw.choice((None, 1, 1.5, "x", [], (), {}, object(), np.float32(1), type))


FAULTS = (_strided, _reshaped, _typed, _misaligned, _read_only, _wrapped, _no_array)


# --- nets

KINDS = ("conv", "batchnorm", "relu", "dropout", "maxpool", "avgpool", "concatpool", "linear")
OPTIONS = {"out": (4, 1, 8, 20, 64, 33, 0), "kernel": (3, 1, 2, 5, 7, 15, 16),
           "stride": (1, 2, 3, 0), "padding": (1, 0, 2, 3, 7), "p": (0.5, 0.0, 1.0),
           "eps": (1e-5, 0.0, 1.0), "momentum": (0.1, 0.0, 1.0),
           "relu": (True, False), "bias": (True, False)}  # fmt: skip
OF_KIND = {"conv": ("out", "kernel", "stride", "padding"), "linear": ("out", "bias"),
           "batchnorm": ("eps", "momentum", "relu"), "dropout": ("p",),
           "maxpool": ("kernel", "stride", "padding")}  # fmt: skip


def net(data):
    """Make a net, and call it a few times."""
    draw, guarded = Draw(data), Guarded()
    try:
        spec, channels = _spec(draw), 3 if not draw.rarely(8) else draw.choice(INTS)
        made = _core.Net(spec, channels, draw.rarely(3))
    except REFUSALS as error:
        assert str(error)
        return False
    taken = False
    for _ in range(2 + draw.below(8)):
        action, args, options = _action(made, guarded, draw)
        taken |= _called(getattr(made, action), args, options, guarded)
    return taken


def _spec(draw):
    if draw.rarely(3):
        spec = small_resnet(draw.choice((4, 1, 8, 20)))
        for _ in range(draw.below(3)):
            spec[draw.below(len(spec))] = _layer(draw, draw.below(len(spec)))
        return spec
    return [_layer(draw, i) for i in range(1 + draw.below(6))]


def _layer(draw, i):
    kind = draw.choice(KINDS)
    name = f"{kind}{i}"
    if draw.rarely(16):
        name = draw.choice(("", "x" * 80, "x" * 81, "é", None))
    inputs = (i,) if not draw.rarely(8) else (draw.choice((0, i, i + 1, -1, 2**40, None)), i)
    options = {o: _option(o, draw) for o in OF_KIND.get(kind, ()) if not draw.rarely(16)}
    if draw.rarely(16):
        options[draw.choice((*OPTIONS, "strange", 1))] = draw.choice(INTS)
    layer = (kind, name, inputs, options)
    return layer if not draw.rarely(64) else draw.choice((layer[:3], list(layer), None, (1,) * 4))


def _option(name, draw):
    if draw.rarely(32):
        return draw.choice(INTS if name in ("out", "kernel", "stride", "padding") else FLOATS)
    return draw.choice(OPTIONS[name])


STEPS = {"adam_step": 5, "radam_step": 5, "sgd_step": 3, "lion_step": 4}


def _action(made, guarded, draw):
    names = list(made.parameters())
    kind = draw.choice(("forward", "train", "backward", "step", "names", "state", "moments", "ask"))
    if kind in ("forward", "train"):
        shape = (draw.choice((2, 1, 3, 0)), *(draw.choice((8, 16, 5, 1, 33, 0)) for _ in "hw"), 3)
        x = guarded.array(shape, "f4", draw).transpose(0, 3, 1, 2)
        also = draw.choice((None, None, *names, "no", 3))
        options = {"train": kind == "train", "seed": draw.choice(INTS[:3])} | (
            {"also": also} if draw.rarely(4) else {}
        )
        return "forward", [_perhaps_wrong(x, draw)], options
    if kind == "backward":
        g = guarded.array((2, draw.choice((5, 4, 8, 20))), "f4", draw)
        return "backward", [_perhaps_wrong(g, draw)], {"accumulate": draw.rarely(2)}
    if kind == "step":
        step = draw.choice(list(STEPS))
        return step, [_numbers(draw) for _ in range(STEPS[step])], {}
    if kind == "names":
        some = names[: draw.below(len(names) + 1)]
        value = draw.choice((names, some, [*some, "no"], None, "fc", [3], iter(some)))
        action = draw.choice(("set_trainable", "set_decay", "set_groups"))
        return action, [[value] if action == "set_groups" else value], {}
    if kind in ("state", "moments"):
        return _state(made, guarded, draw, kind)
    return draw.choice((
        ("rollback", [], {}), ("times", [], {}), ("clear_state", [], {}), ("buffers", [], {}),
        ("gradients", [], {}), ("optimizer_state", [], {}), ("parameters", [1], {}),
        ("shapes", [draw.choice(INTS) for _ in "nhw"], {}), ("shapes", [2, 16, 16], {}),
        ("set_bf16", [draw.choice((True, True, False, None, "yes", np.zeros(2)))], {}),
    ))  # fmt: skip


def _perhaps_wrong(array, draw):
    return draw.choice(FAULTS)(array, draw) if draw.rarely(8) else array


def _numbers(draw):
    good = [draw.choice((0.1, 0.9, 0.0, 1e-5))]
    return (
        good
        if not draw.rarely(12)
        else draw.choice(
            (
                [],
                [1, 2],
                None,
                "1",
                [None],
                [np.nan],
                [np.inf],
                [1e300],
                0.1,
                np.zeros(1),
                iter(good),
            )
        )
    )


def _state(made, guarded, draw, kind):
    weights = made.parameters() | made.buffers()
    state = {}
    for name in list(weights)[: 1 + draw.below(4)]:
        value = _perhaps_wrong(guarded.array(weights[name].shape, "f4", draw), draw)
        if kind == "moments":
            value = (draw.choice(INTS), value, guarded.array(weights[name].shape, "f4", draw))
            value = value if not draw.rarely(16) else draw.choice((None, value[:2], list(value)))
        state[name if not draw.rarely(16) else draw.choice(("no", None, 3))] = value
    action = "load_state_dict" if kind == "state" else "load_optimizer_state"
    return action, [state if not draw.rarely(16) else draw.choice((None, [], {}, 3))], {}
