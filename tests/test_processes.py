"""A learner and processes: forked, spawned, from a server of forks; and the threads it leaves."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import numpy as np
import pytest
from tiny import photos, register, tiny_learner

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def run(folder, source):
    """Run a script, which other processes may import, and return what it prints."""
    script = folder / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(HERE)!r})\n" + textwrap.dedent(source))
    done = subprocess.run([sys.executable, "-W", "error", script], check=False, timeout=100,
                          text=True, capture_output=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- forks

FORK = """
    import os, time, warnings
    from tiny import photos, tiny_learner, tiny_loaders
    from mlclassify import _core

    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12
    _core.set_num_threads(3)
    learn = tiny_learner(dls=tiny_loaders(40, 8, num_workers=3))
    with learn.no_logging():
        learn.fit(1, 1e-2)
    pictures = [image for image, _ in photos(5)]

    def answers():
        return (learn.get_preds()[0].tobytes() + learn.predict(pictures[0]).probs.tobytes()
                + b"".join(told.probs.tobytes() for told in learn.predict(pictures)))

    want, batches = answers(), learn.dls.train.stream(0, 0)
    next(batches)  # whose threads go on decoding
    for _ in range(3):
        child = os.fork()
        if child == 0:
            same = answers() == want
            with learn.no_logging():
                learn.fit(1, 1e-2)
            os._exit(0 if same and answers() != want else 1)
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, 9)
                raise SystemExit("the child hangs")
            time.sleep(0.005)
        print(os.waitstatus_to_exitcode(ended[1]))
    batches.close()
    assert answers() == want  # what the children trained was theirs
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_learner_goes_on_in_a_forked_child(tmp_path):
    assert run(tmp_path, FORK) == ["0", "0", "0"]


# --- new processes

POOL = """
    import multiprocessing, os, sys
    import numpy as np
    from tiny import photos, tiny
    from mlclassify import _core
    from mlclassify.learner import load_learner
    from mlclassify.vision.backbones import ARCHS

    def prepare(file):
        global learn
        ARCHS["tiny"] = tiny
        learn = load_learner(file)

    def ask(picture):
        return os.getpid(), learn.predict(picture).probs.tobytes(), _core.get_num_threads()

    if __name__ == "__main__":
        pictures = [image for image, _ in photos(8)]
        prepare("m.safetensors")
        want = [learn.predict(picture).probs.tobytes() for picture in pictures]
        context = multiprocessing.get_context(METHOD)
        with context.Pool(2, prepare, ("m.safetensors",)) as pool:
            got = pool.map(ask, pictures)
        print([probs for _, probs, _ in got] == want, os.getpid() not in {pid for pid, _, _ in got})
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_that_load_a_file_answer_alike(method, tmp_path, monkeypatch):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    register(monkeypatch)
    learn = tiny_learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 1e-2)
    learn.export("m.safetensors")
    ignore = '    import warnings; warnings.simplefilter("ignore", DeprecationWarning)\n'
    source = f"    METHOD = {method!r}\n" + ignore + POOL
    assert run(tmp_path, source) == ["True True"]


@pytest.mark.parametrize("take", [pickle.dumps, copy.deepcopy])
def test_a_learner_does_not_go_through_a_pickle(take):
    learn = tiny_learner()
    for whole in (learn, learn.model, learn.model.net):
        with pytest.raises(TypeError, match="^Net: cannot be pickled or copied; write a file with "
                                            "learn.export, and load_learner reads it"):
            take(whole)


# --- threads that are left

THREADS = """
    import gc, os, threading
    from tiny import photos, tiny_learner, tiny_loaders
    from mlclassify import _core

    def count():
        return len(os.listdir("/proc/self/task"))

    before = count()
    _core.set_num_threads(3)
    seen = []
    for i in range(4):
        learn = tiny_learner(dls=tiny_loaders(40, 8, num_workers=3), seed=i)
        with learn.no_logging():
            learn.fit(1, 1e-2)
        learn.predict([image for image, _ in photos(9)])
        iterator = iter(learn.dls.train)
        next(iterator)
        del learn, iterator
        gc.collect()
        seen.append((count() - before, threading.active_count()))
    print(seen)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_learner_leaves_no_thread(tmp_path):
    """But the two of the kernels' pool, which there are once in a process."""
    assert run(tmp_path, THREADS) == [str([(2, 1)] * 4)]


def test_a_learner_is_gone_when_it_is_deleted():
    learn = tiny_learner()
    with learn.no_logging():
        learn.fit(1)
    assert np.isfinite(learn.predict(photos(1)[0][0]).probs).all()
    gone = [weakref.ref(learn), weakref.ref(learn.model), weakref.ref(learn.dls)]
    del learn
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
