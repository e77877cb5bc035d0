"""Threads: the same bits for any number, several callers at once, forks, Ctrl-C, and the two
environment variables. What may hang or dies runs in a process of its own, with a time limit."""

import math
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from reference import Network, nhwc, random_state, small_resnet

from mlclassify import _core

COUNTS = (1, 2, 3, 7)
HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = _core.get_num_threads()
    yield
    _core.set_num_threads(before)


def with_each_count(function):
    """Run `function` with each number of threads and return the results."""
    results = []
    for threads in COUNTS:
        _core.set_num_threads(threads)
        results.append(function())
    return results


def python(source, timeout=60, **environment):
    """Run a script beside this file; its standard output, and what went wrong."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MLCLASSIFY_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)], check=False, cwd=HERE,
        text=True, capture_output=True, timeout=timeout, env=variables | environment)


def output(source, **settings):
    done = python(source, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- the same bits

def train(rng, steps=3):
    """Bytes of everything that a few steps of a small net make."""
    net = _core.Net(small_resnet(width=36))
    net.load_state_dict(random_state(net, rng))
    found = []
    for i in range(steps):
        y = net.forward(nhwc(rng.normal(size=(6, 3, 45, 40))), train=True, seed=1, position=6 * i)
        net.backward(rng.normal(size=y.shape).astype(np.float32))
        found += [y, *(g.copy() for g in net.gradients().values())]
        net.adam_step([1e-2], [0.9], [0.99], [1e-5], [0.01])
    found += [*net.parameters().values(), *net.buffers().values()]
    found.append(net.forward(nhwc(rng.normal(size=(5, 3, 45, 40)))))
    return b"".join(a.tobytes() for a in found)


def test_training_has_the_same_bits_for_any_number_of_threads():
    assert len(set(with_each_count(lambda: train(np.random.default_rng(1))))) == 1


def test_losses_and_metrics_have_the_same_bits_for_any_number_of_threads(rng):
    x = rng.normal(size=(9001, 7)).astype(np.float32)
    t = (rng.random(x.shape) < 0.3).astype(np.float32)
    scores = np.round(x, 1)
    truth, decided = t.astype(np.uint8), (x > 0.5).astype(np.uint8)
    many = np.tile(truth, 40), np.tile(decided, 40)  # more cells than one chunk of counts

    def run():
        grad, loss, ap, p = np.empty_like(x), np.empty_like(x), np.empty((7, 2)), np.empty_like(x)
        total = _core.bce_with_logits(x, t, None, None, 0, False, True, loss, grad)
        _core.column_ranking(scores, truth, None, ap)
        _core.column_ranking(scores, truth, np.linspace(0, 1, 9001), weighed_ap := np.empty((7, 2)))
        _core.row_ranking(scores, truth, orders := np.empty((9001, 3)))
        _core.row_gains(scores, truth, np.linspace(0, 1, 8), gains := np.empty(9001))
        _core.sigmoid(x, p)
        count = _core.accuracy_count(p, truth, np.full(7, 0.5, np.float32))
        labels, photos = np.empty((3, 280), np.int64), np.empty((3, 9001), np.int64)
        weighed, histogram = np.empty((3, 280)), np.zeros((7, 1 << 9, 2), np.int64)
        _core.label_counts(*many, labels)
        _core.row_counts(*many, photos)
        _core.label_weights(*many, np.linspace(0, 1, 9001), weighed)
        assert labels[0].sum() == photos[0].sum() == many[0][many[1] != 0].sum()
        _core.rank_histogram(scores, truth, histogram)
        _core.histogram_ranking(histogram, ranking := np.empty((7, 6)))
        counts, exact = np.empty((7, 12, 2), np.int64), np.empty(12, np.int64)
        _core.threshold_counts(x, truth, np.linspace(-2, 2, 11, dtype=np.float32), counts, exact)
        edges, cuts = np.empty((7, 2), np.float32), np.empty((7, 5), np.int64)
        _core.threshold_search(scores, truth, np.zeros(7, np.float32), 0, edges, cuts)
        found = [labels, photos, weighed, histogram, ranking, weighed_ap, orders, gains, counts,
                 exact, edges, cuts]
        return total, count, *(a.tobytes() for a in (*found, grad, loss, ap, p))

    assert len(set(with_each_count(run))) == 1


def test_augmentation_has_the_same_bits_for_any_number_of_threads(rng):
    images = rng.integers(0, 256, (3, 61, 50, 3), dtype=np.uint8)
    homography = np.eye(3) + rng.normal(size=(3, 3, 3)) * 0.05
    lighting, tint, turn = (rng.random((3, *shape)).astype(np.float32)
                            for shape in ((2,), (3, 4), ()))

    def run():
        out = np.empty((3, 40, 70, 3), np.float32)
        _core.augment(images, homography, 0, 0, 0, lighting, tint, turn, np.zeros(3, np.float32),
                      np.ones(3, np.float32), out)
        return out.tobytes()

    assert len(set(with_each_count(run))) == 1


# --- several callers

def loaded_net(rng):
    net = _core.Net(small_resnet())
    net.load_state_dict(random_state(net, rng))
    return net


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_of_python_predict_side_by_side(threads, rng):
    _core.set_num_threads(threads)
    net = loaded_net(rng)
    batches = [nhwc(rng.normal(size=(n, 3, side, side))) for n, side in
               ((1, 20), (3, 20), (2, 31), (4, 24), (3, 20), (5, 16))]
    want = [net.forward(x).tobytes() for x in batches]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda i: net.forward(batches[i % 6]).tobytes(), range(120)))
    assert got == [want[i % 6] for i in range(120)]


def test_predictions_and_training_take_turns(rng):
    """Neither keeps the other out: readers that overlap must not lock a writer out for good."""
    net, x = loaded_net(rng), nhwc(rng.normal(size=(4, 3, 24, 24)))
    net.set_trainable([])
    parameters = {name: value.copy() for name, value in net.parameters().items()}
    stop, failures, predictions = threading.Event(), [], []

    def predict():
        try:
            while not stop.is_set():
                predictions.append(net.forward(x))
        except Exception as error:  # pytest would not see it
            failures.append(error)

    readers = [threading.Thread(target=predict) for _ in range(2)]
    for reader in readers:
        reader.start()
    before = net.forward(x).tobytes()
    for _ in range(40):
        y = net.forward(x, train=True)
        net.backward(np.ones_like(y))
        net.rollback()
    stop.set()
    for reader in readers:
        reader.join(timeout=20)
        assert not reader.is_alive(), "a prediction hangs"
    assert not failures and predictions
    assert net.forward(x).tobytes() == before
    assert all((parameters[name] == v).all() for name, v in net.parameters().items())
    assert all(np.isfinite(p).all() for p in predictions)


def test_threads_that_train_one_net_fail_cleanly(rng):
    """Which forward a backward belongs to is unknown, but nothing is read out of bounds."""
    net = loaded_net(rng)

    def work(n):
        x, refused = nhwc(rng.normal(size=(n, 3, 20, 20))), 0
        for _ in range(40):
            y = net.forward(x, train=True)
            try:
                net.backward(np.ones_like(y))
            except (RuntimeError, ValueError) as error:
                assert "must follow" in str(error) or "must have shape" in str(error)
                refused += 1
        return refused

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, (2, 9))) < 80


def test_changes_of_the_number_of_threads_during_work(rng):
    net, x = loaded_net(rng), nhwc(rng.normal(size=(4, 3, 31, 31)))
    want = net.forward(x).tobytes()
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(lambda: net.forward(x).tobytes()) for _ in range(60)]
        for i in range(200):
            _core.set_num_threads(1 + i % 7)
        assert {done.result() for done in work} == {want}


# --- forks

FORK = """
    import os, sys, time
    import numpy as np
    from reference import nhwc, random_state, small_resnet
    from mlclassify import _core

    _core.set_num_threads(3)
    rng = np.random.default_rng(0)
    net = _core.Net(small_resnet())
    net.load_state_dict(random_state(net, rng))
    x = nhwc(rng.normal(size=(4, 3, 31, 31)))

    def work():
        y = net.forward(x, train=True)
        net.backward(np.ones_like(y))
        net.rollback()
        return net.forward(x).tobytes()

    want = work()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if work() == want else 1)
        assert work() == want
        deadline = time.monotonic() + 20
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.kill(child, 9)
                sys.exit("the child hangs")
            time.sleep(0.005)
        assert status == 0, f"the child ended with {status}"
    print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_predicts_and_trains():
    assert output(FORK) == "fine"


FORK_MEANWHILE = """
    import os, sys, threading, time, warnings
    import numpy as np
    from reference import nhwc, random_state, small_resnet
    from mlclassify import _core

    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12
    _core.set_num_threads(2)
    rng = np.random.default_rng(0)
    net = _core.Net(small_resnet())
    net.load_state_dict(random_state(net, rng))
    x, done, began = nhwc(rng.normal(size=(16, 3, 64, 64))), threading.Event(), threading.Event()

    def predict():
        net.forward(x[:1])

    def train():
        net.backward(np.ones_like(net.forward(x, train=True)))
        net.adam_step([1e-3], [0.9], [0.99], [1e-5], [0.01])

    def go_on(work):
        while not done.is_set():
            work()
            began.set()

    def in_the_child():
        refused = False
        for _ in range(3):
            for work in (predict, train):
                try:
                    work()
                except RuntimeError as error:
                    assert str(error).startswith("Net: was being written by another thread"), error
                    refused = True
        return 3 if refused else 0

    answers = []
    work = {"train": train, "predict": predict}[sys.argv[1]]
    thread = threading.Thread(target=go_on, args=(work,))
    thread.start()
    began.wait()
    for i in range(20):
        time.sleep(0.003 * (i % 5))
        child = os.fork()
        if child == 0:
            os._exit(in_the_child())
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, 9)
                done.set()
                sys.exit("the child hangs")
            time.sleep(0.005)
        answers.append(os.waitstatus_to_exitcode(ended[1]))
    done.set()
    thread.join()
    train(), predict()
    print(sorted(set(answers)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("meanwhile", ["train", "predict"])
def test_a_child_forked_while_a_net_is_used_never_hangs(meanwhile):
    """It predicts and trains, or says that what it has is half a step."""
    source = f"import sys; sys.argv = ['test', {meanwhile!r}]\n" + textwrap.dedent(FORK_MEANWHILE)
    answers = output(source, timeout=120)
    assert answers in ({"train": ("[3]", "[0, 3]"), "predict": ("[0]",)}[meanwhile])


# --- Ctrl-C

INTERRUPT = """
    import os, signal, sys, threading, time
    import numpy as np
    from reference import nhwc
    from mlclassify import _core

    layers, rng = [], np.random.default_rng(0)
    for i in range(16):
        layers.append(("conv", f"c{i}", (2 * i,), {"out": 32, "kernel": 3, "padding": 1}))
        layers.append(("batchnorm", f"n{i}", (2 * i + 1,), {"relu": True}))
    layers += [("avgpool", "", (32,), {}), ("linear", "fc", (33,), {"out": 3})]

    def fresh():
        rng = np.random.default_rng(1)
        net = _core.Net(layers)
        net.load_state_dict({name: rng.normal(size=v.shape).astype(np.float32) / 17
                             for name, v in net.parameters().items()})
        return net

    def everything(net):
        return {k: v.tobytes() for k, v in (net.parameters() | net.buffers()).items()}

    def small_step(net):
        y = net.forward(nhwc(np.ones((2, 3, 8, 8))), train=True)
        net.backward(np.linspace(-1, 1, y.size, dtype=np.float32).reshape(y.shape))
        net.adam_step([1e-3], [0.9], [0.99], [1e-5], [0.01])

    def interrupted(work):
        sent = []
        def send():
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        timer = threading.Timer(0.15, send)
        timer.start()
        try:
            work()
            sys.exit("the work ended before Ctrl-C came: make it longer")
        except KeyboardInterrupt:
            took = time.monotonic() - sent[0]
        timer.join()
        assert took < 1, f"Ctrl-C took {took:.2f} s"

    net = fresh()
    small_step(net)
    before, x = everything(net), nhwc(np.random.default_rng(2).normal(size=(4, 3, 48, 48)))
    if sys.argv[1:] == ["backward"]:
        y = net.forward(x, train=True)
        interrupted(lambda: net.backward(np.ones_like(y)))
    else:
        interrupted(lambda: net.forward(x, train=sys.argv[1:] == ["train"]))
    assert everything(net) == before, "not the state of the last whole step"
    for call in (lambda: net.backward(np.ones((4, 3), np.float32)),
                 lambda: net.adam_step([1], [0], [0], [1], [0])):
        try:
            call()
            sys.exit("a half step was accepted")
        except RuntimeError:
            pass
    small_step(net)
    other = fresh()
    small_step(other), small_step(other)
    assert everything(net) == everything(other), "the next step is not what it would have been"
    print("fine")
"""


@pytest.mark.parametrize("where", ["predict", "train", "backward"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_ctrl_c_is_prompt_and_leaves_the_last_whole_step(where, threads):
    source = f"import sys; sys.argv = ['test', {where!r}]\n" + textwrap.dedent(INTERRUPT)
    assert output(source, MLCLASSIFY_ISA="scalar", MLCLASSIFY_NUM_THREADS=threads) == "fine"


WAITING = """
    import os, signal, sys, threading, time
    import numpy as np
    from reference import nhwc
    from mlclassify import _core

    layers = []
    for i in range(16):
        layers.append(("conv", f"c{i}", (i,), {"out": 32, "kernel": 3, "padding": 1}))
    net = _core.Net([*layers, ("avgpool", "", (16,), {}), ("linear", "fc", (17,), {"out": 3})])
    x, began, ended = nhwc(np.zeros((16, 3, 96, 96))), threading.Event(), threading.Event()

    def train():
        began.set()
        net.forward(x, train=True)
        ended.set()

    thread = threading.Thread(target=train)
    thread.start()
    began.wait()
    time.sleep(0.05)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        net.forward(x[:1], train=sys.argv[1] == "train")
        sys.exit("the call ended before Ctrl-C came: make the other thread's longer")
    except KeyboardInterrupt:
        assert not ended.is_set(), "Ctrl-C waited for the other thread"
    thread.join()
    assert ended.is_set() and net.forward(x[:1]).shape == (1, 3)  # nothing holds the net
    print("fine")
"""


@pytest.mark.parametrize("what", ["predict", "train"])
def test_ctrl_c_does_not_wait_for_a_net_that_another_thread_has(what):
    source = f"import sys; sys.argv = ['test', {what!r}]\n" + textwrap.dedent(WAITING)
    assert output(source, MLCLASSIFY_ISA="scalar", MLCLASSIFY_NUM_THREADS="1") == "fine"


# --- numbers of threads

THREADS = "from mlclassify import _core; print(_core.get_num_threads())"


@pytest.mark.parametrize("named, threads", [("1", 1), ("5", 5), ("1000", 256)])
def test_the_environment_names_the_number_of_threads(named, threads):
    assert output(THREADS, MLCLASSIFY_NUM_THREADS=named) == str(threads)


def test_an_empty_number_of_threads_counts_as_unset():
    assert output(THREADS, MLCLASSIFY_NUM_THREADS="") == output(THREADS)


@pytest.mark.parametrize("named", ["0", "-3", "two", "2.5"])
def test_what_is_no_number_of_threads_is_refused_at_import(named):
    done = python(THREADS, MLCLASSIFY_NUM_THREADS=named)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ValueError: MLCLASSIFY_NUM_THREADS must be a whole number from 1 on, got '{named}'")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_number_of_threads():
    one = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + THREADS
    assert output(one) == "1"


QUOTAS = {  # what stands below the root, and the CPUs that it leaves
    "none": ({}, math.inf),
    "version 2": ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "version 2, no quota": ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
    "version 1": ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                   "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 3),
    "version 1, no quota": ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                             "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
    "a service of systemd": ({"proc/self/cgroup": "0::/user.slice/our.service\n",
                              "sys/fs/cgroup/user.slice/cpu.max": "max 100000",
                              "sys/fs/cgroup/user.slice/our.service/cpu.max": "50000 100000"}, 0.5),
    "a slice above": ({"proc/self/cgroup": "0::/user.slice/our.service\n",
                       "sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
                       "sys/fs/cgroup/user.slice/our.service/cpu.max": "400000 100000"}, 2),
    "a neighbour": ({"proc/self/cgroup": "0::/our\n", "sys/fs/cgroup/other/cpu.max": "1 1",
                     "sys/fs/cgroup/our2/cpu.max": "1 1"}, math.inf),
    "version 1, below": ({"proc/self/cgroup": "12:cpuset:/no\n4:cpu,cpuacct:/docker/ab\n0::/\n",
                          "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "250000",
                          "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000",
                          "sys/fs/cgroup/cpu/no/cpu.max": "1 1"}, 2.5),
    "a path that is not mounted": ({"proc/self/cgroup": "0::/docker/ab\n4:cpu:/../ab\n",
                                    "sys/fs/cgroup/cpu.max": "100000 50000"}, 2),
    "nonsense": ({"proc/self/cgroup": "0\n::\n\0:\n5:cpu\n0:" + "x" * 9000 + ":/\n",
                  "sys/fs/cgroup/cpu.max": "many 100000",
                  "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "",
                  "sys/fs/cgroup/cpu/cpu.cfs_period_us": "0"}, math.inf),
    "nothing of it": ({"sys/fs/cgroup/cpu.max": "0 100000"}, math.inf),
    "more than any machine has": ({"sys/fs/cgroup/cpu.max": f"{2**63} 1"}, 2.0**63),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_a_cgroup(case, tmp_path):
    files, cpus = QUOTAS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _core.cpus(tmp_path)[1] == cpus


def test_a_root_that_is_too_long():
    assert _core.cpus("x" * 100_000)[1] == math.inf


def test_the_default_is_what_affinity_and_quota_leave():
    affinity, quota = _core.cpus("")
    if hasattr(os, "sched_getaffinity"):
        assert affinity == len(os.sched_getaffinity(0))
    assert output(THREADS) == str(max(1, min(affinity, math.ceil(min(quota, 256)), 256)))


def test_set_num_threads():
    for threads in (1, 3, 256):
        _core.set_num_threads(threads)
        assert _core.get_num_threads() == threads


# --- instruction sets

@pytest.mark.parametrize("isa", _core.isas())
def test_the_environment_forces_an_instruction_set(isa):
    assert output("from mlclassify import _core; print(_core.isa())", MLCLASSIFY_ISA=isa) == isa


def test_the_last_instruction_set_is_the_default():
    source = "from mlclassify import _core; print(_core.isa())"
    assert output(source) == output(source, MLCLASSIFY_ISA="") == _core.isas()[-1]


def test_an_unknown_instruction_set_is_refused_at_import():
    done = python("import mlclassify._core", MLCLASSIFY_ISA="avx1024")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ValueError: MLCLASSIFY_ISA must be one of {', '.join(_core.isas())} on this machine, got "
        "'avx1024'")


NET = """
    import sys
    import numpy as np
    from reference import nhwc, random_state, small_resnet
    from mlclassify import _core

    rng = np.random.default_rng(4)
    net = _core.Net(small_resnet())
    net.load_state_dict(random_state(net, rng))
    y = net.forward(nhwc(rng.normal(size=(6, 3, 24, 24))), train=True, seed=2)
    net.backward(rng.normal(size=y.shape).astype(np.float32))
    np.savez(sys.argv[1], y=y, **net.gradients())
"""


@pytest.mark.parametrize("isa", _core.isas())
def test_a_net_agrees_with_its_definition_on_every_instruction_set(isa, tmp_path):
    file = tmp_path / "run.npz"
    output(f"import sys; sys.argv = ['', {str(file)!r}]\n" + textwrap.dedent(NET),
           MLCLASSIFY_ISA=isa)
    rng = np.random.default_rng(4)
    network = Network(small_resnet(), random_state(_core.Net(small_resnet()), rng))
    want = {"y": network.forward(rng.normal(size=(6, 3, 24, 24)).astype(np.float32), train=True,
                                 key=(2, 0, 0))}
    want |= network.backward(rng.normal(size=want["y"].shape).astype(np.float32))
    with np.load(file) as found:
        for name, got in found.items():
            assert np.linalg.norm(got - want[name]) <= 5e-5 * np.linalg.norm(want[name]), name
