"""Schedules and Adam against fastai's own numbers and a float64 definition."""

from functools import partial

import numpy as np
import pytest
import reference

from mlclassify import _core
from mlclassify.optim import (
    HYPERS,
    SGD,
    Adam,
    Lion,
    RAdam,
    spread,
)
from mlclassify.schedule import combined_cosine, cosine


class Recording:
    """Stands where a Net would and keeps what the optimizer asks of it."""

    def __init__(self):
        self.steps, self.cleared = [], 0

    def adam_step(self, *hypers):
        self.steps.append(hypers)

    def clear_state(self):
        self.cleared += 1


def adam_float64(p, grads, lr, mom, sqr_mom=0.99, eps=1e-5, wd=0.01):
    """Adam written as its formula, one array, the hyper-parameters given per step."""
    m, v, path = np.zeros_like(p), np.zeros_like(p), []
    for t, (g, a, b) in enumerate(zip(grads, lr, mom), start=1):
        p = p * (1 - a * wd)
        m, v = b * m + (1 - b) * g, sqr_mom * v + (1 - sqr_mom) * g * g
        p = p - a / (1 - b**t) * m / (np.sqrt(v / (1 - sqr_mom**t)) + eps)
        path.append(p)
    return np.array(path)


def one_cycle(steps, lr, moms=(0.95, 0.85, 0.95), pct_start=0.25, div=25.0, div_final=1e5):
    lrs = [combined_cosine(pct_start, x / div, x, x / div_final) for x in spread(lr, 3)]
    mom = combined_cosine(pct_start, *moms)
    return [[[f(t / steps), mom(t / steps)] for f in lrs] for t in range(steps)]


def test_one_cycle_is_fastais(shared):
    golden = np.load(shared("golden/schedule.npz"))["fit_one_cycle"]
    ours = one_cycle(9, slice(1e-5, 1e-3))
    np.testing.assert_allclose(ours, golden[:, :, :2], rtol=1e-6)


def test_fine_tune_is_fastais(shared):
    golden = np.load(shared("golden/schedule.npz"))["fine_tune"]
    ours = one_cycle(3, slice(2e-3), pct_start=0.99)
    ours += one_cycle(12, slice(1e-5, 1e-3), pct_start=0.3, div=5.0)
    np.testing.assert_allclose(ours, golden[:, :, :2], rtol=1e-6)


def test_adam_definition_is_fastais(shared):
    golden = np.load(shared("golden/adam.npz"))
    ours = adam_float64(golden["p0"], golden["grads"], golden["lr"], golden["mom"])
    np.testing.assert_allclose(ours, golden["trajectory"], rtol=1e-12, atol=1e-12)


def test_adam_kernel_follows_fastai(shared):
    golden = np.load(shared("golden/adam.npz"))
    net, name = _linear_net(_core, golden["p0"].astype(np.float32))
    opt = Adam(net, 1)
    for g, lr, mom, want in zip(*(golden[k] for k in ("grads", "lr", "mom", "trajectory"))):
        _give_gradient(net, name, g)
        opt.set_hypers(lr=lr, mom=mom)
        opt.step()
        np.testing.assert_allclose(net.parameters()[name], want, rtol=5e-6, atol=5e-6)


def test_a_step_consumes_the_gradients():
    net, name = _linear_net(_core, np.ones((5, 7), np.float32))
    _give_gradient(net, name, np.ones((5, 7)))
    Adam(net, 1).step()
    assert not net.gradients()[name].any()


def test_clear_state_starts_again():
    start = np.ones((5, 7), np.float32)
    net, name = _linear_net(_core, start)
    opt, ends = Adam(net, 1), []
    for _ in range(2):
        net.load_state_dict({name: start})
        _give_gradient(net, name, np.full((5, 7), 0.5))
        opt.step()
        opt.clear_state()
        ends.append(net.parameters()[name].copy())
    assert (ends[0] == ends[1]).all()


# Eight steps on three numbers by fastai 2.8.12 in float64, the rate and the momentum scheduled.
FASTAI = {
    "sgd": (partial(SGD, wd=0.1), [0.4070822345, -0.9193381949, 1.943117616]),
    "sgd with momentum": (partial(SGD, mom=0.9, wd=0.1),
                          [0.3174048651, -0.8526090804, 1.939710496]),
    "radam": (partial(RAdam, wd=0.1), [0.4467151015, -0.9272020008, 1.941265541]),
}


def eight_steps(opt_func):
    net, name = _linear_net(_core, np.array([[0.5, -1.0, 2.0]], np.float32))
    opt = opt_func(net, 1, lr=0.1)
    for t in range(8):
        _give_gradient(net, name, np.array([[0.1 * (t + 1), -0.2, 0.05 * (-1) ** t]]))
        opt.set_hypers(lr=0.1 / (t + 1), mom=0.9 - 0.02 * t)
        opt.step()
    return net.parameters()[name][0], opt


@pytest.mark.parametrize("name", FASTAI)
def test_optimizers_follow_fastai(name):
    opt_func, want = FASTAI[name]
    np.testing.assert_allclose(eight_steps(opt_func)[0], want, rtol=1e-5)


@pytest.mark.parametrize("cls, step, options", [
    (SGD, reference.sgd_step, {"mom": 0.8, "wd": 0.3}),
    (Lion, reference.lion_step, {"mom": 0.8, "sqr_mom": 0.7, "wd": 0.3}),
    (RAdam, reference.radam_step, {"mom": 0.8, "sqr_mom": 0.7, "eps": 1e-2, "wd": 0.3}),
    (RAdam, reference.radam_step, {"mom": 0.8, "sqr_mom": 0.97, "eps": 1e-2, "wd": 0.3}),
])
def test_optimizers_are_their_definitions_with_every_number_its_own(cls, step, options, rng):
    start = rng.standard_normal((3, 4)).astype(np.float32)
    net, name = _linear_net(_core, start)
    opt = cls(net, 1, lr=0.05, **options)
    assert opt.hypers == [{"lr": 0.05, **options}] and list(opt.hypers[0]) == list(cls.names)
    p, moments = start.astype(float), [np.zeros(start.shape)] * (1 + (cls is RAdam))
    for t in range(1, 9):
        g = rng.standard_normal((3, 4)).astype(np.float32)
        _give_gradient(net, name, g)
        opt.step()
        count = [t] if cls is RAdam else []
        p, *moments = step(p, g.astype(float), *moments, *count, 0.05, **options)
    np.testing.assert_allclose(net.parameters()[name], p, rtol=1e-5, atol=1e-5)


def test_sgd_made_without_momentum_has_none_whatever_is_scheduled():
    plain, opt = eight_steps(partial(SGD, wd=0.1))
    assert opt.hypers[0]["mom"] == pytest.approx(0.76)
    assert not np.array_equal(plain, eight_steps(partial(SGD, mom=0.9, wd=0.1))[0])


@pytest.mark.parametrize("cls", [Adam, RAdam, SGD, Lion])
def test_an_optimizer_goes_on_from_its_state(cls):
    opt_func = partial(SGD, mom=0.9) if cls is SGD else cls
    start = np.ones((5, 7), np.float32)

    def step(net, name, opt, t):
        _give_gradient(net, name, np.full((5, 7), 0.5 - t))
        opt.step()

    net, name = _linear_net(_core, start)
    opt = opt_func(net, 1)
    for t in range(3):
        step(net, name, opt, t)
    opt.set_hypers(lr=0.25)
    kept, weights = opt.state_dict(), {name: net.parameters()[name].copy()}
    other, name = _linear_net(_core, start)
    again = opt_func(other, 1)
    step(other, name, again, 5)  # what it remembers is written over
    other.load_state_dict(weights)
    again.load_state_dict(kept)
    assert again.hypers == opt.hypers and again.state_dict()["state"][name][0] == 3
    for each, o in ((net, opt), (other, again)):
        step(each, name, o, 3)
    assert net.parameters()[name].tobytes() == other.parameters()[name].tobytes()
    again.load_state_dict({"hypers": kept["hypers"], "state": {}})
    assert other.optimizer_state() == {}


def test_a_state_that_does_not_fit_changes_nothing():
    net, name = _linear_net(_core, np.ones((5, 7), np.float32))
    opt = Adam(net, 1)
    _give_gradient(net, name, np.ones((5, 7)))
    opt.step()
    before, m = opt.state_dict(), np.zeros((5, 7), np.float32)
    where = "Net.load_optimizer_state: "
    for state, error, message in (
            ({"no": (1, m, m)}, KeyError, "`state` must name parameters of this net, got 'no'"),
            ({name: (1, m)}, TypeError, "`state` must hold tuples (steps, m, v), got <class 'tu"),
            ({name: (-1, m, m)}, ValueError, "`steps` must "),
            ({name: (1, m[:4], m)}, ValueError, f"`{name}` must have shape (5, 7), got (4, 7)"),
            ([], TypeError, "`state` must be a dict, got <class 'list'>")):
        with pytest.raises(error) as caught:
            opt.load_state_dict({"hypers": opt.hypers, "state": state})
        assert where + message in str(caught.value.args[0])
    after = opt.state_dict()
    assert after["hypers"] == before["hypers"]
    for a, b in zip(after["state"][name], before["state"][name]):
        np.testing.assert_array_equal(a, b)


def _linear_net(core, weight):
    """A Net of one linear layer over pooled images, all of it trained and decayed."""
    out, n = weight.shape
    net = core.Net([("avgpool", "pool", (0,), {}),
                    ("linear", "fc", (1,), {"out": out, "bias": False})], n)
    net.set_groups([["fc.weight"]])
    net.set_trainable(["fc.weight"])
    net.set_decay(["fc.weight"])
    net.load_state_dict({"fc.weight": weight})
    return net, "fc.weight"


def _give_gradient(net, name, gradient):
    """Put `gradient` where a backward pass of a real batch has just left its own."""
    out, n = net.parameters()[name].shape
    x = np.zeros((2, 4, 4, n), np.float32).transpose(0, 3, 1, 2)
    net.forward(x, train=True)
    net.backward(np.zeros((2, out), np.float32))
    net.gradients()[name][:] = gradient


def test_cosine_ends():
    assert cosine(3.0, 5.0, 0) == 3.0
    assert cosine(3.0, 5.0, 1) == 5.0
    assert cosine(3.0, 5.0, 0.5) == pytest.approx(4.0)


@pytest.mark.parametrize("pct", [0, 1, -0.1, 1.5, float("nan")])
def test_pct_start_is_checked(pct):
    with pytest.raises(ValueError, match="pct_start"):
        combined_cosine(pct, 1, 2, 3)


def test_spread():
    assert spread(0.1, 2) == [0.1, 0.1]
    assert spread([0.1, 0.2], 2) == [0.1, 0.2]
    assert spread(np.float32(0.5), 1) == [0.5]
    assert spread(np.array(0.5), 2) == [0.5, 0.5]
    assert spread(slice(1e-3), 1) == [1e-3]
    assert spread(slice(1e-5, 1e-3), 1) == [1e-3]
    np.testing.assert_allclose(spread(slice(1e-6, 1e-2), 3), [1e-6, 1e-4, 1e-2])


@pytest.mark.parametrize("value", [[0.1], slice(None), slice(1, 2, 3), slice(0, 1), -1.0,
                                   float("nan"), float("inf")])
def test_spread_refuses(value):
    with pytest.raises(ValueError, match="`lr` must"):
        spread(value, 2)


def test_spread_refuses_what_is_no_number():
    with pytest.raises(TypeError, match="`lr` must be a number, got 'fast'"):
        spread("fast", 2)


def test_adam_hands_one_value_a_group_to_the_kernel():
    net = Recording()
    opt = Adam(net, 3, lr=slice(1e-3), wd=0.1)
    opt.step()
    assert net.steps == [([1e-4, 1e-4, 1e-3], [0.9] * 3, [0.99] * 3, [1e-5] * 3, [0.1] * 3)]
    opt.clear_state()
    assert net.cleared == 1


def test_set_hypers_changes_only_what_it_names():
    opt = Adam(Recording(), 2)
    before = opt.hypers
    opt.set_hypers(mom=0.5)
    assert opt.hypers == [{**h, "mom": 0.5} for h in before]
    assert list(opt.hypers[0]) == list(HYPERS)


def test_set_hypers_is_all_or_nothing():
    opt = Adam(Recording(), 2)
    before = opt.hypers
    with pytest.raises(ValueError, match=r"`mom` must lie in \[0, 1\), got 1.0"):
        opt.set_hypers(lr=0.5, mom=1)
    with pytest.raises(TypeError, match="got momentum"):
        opt.set_hypers(momentum=0.5)
    assert opt.hypers == before
