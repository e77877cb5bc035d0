"""Several processes that train one model, as `mlclassify launch` starts them, over MPI.

The reference is the same script in one process. All is compared that users see: losses of every
step, the epoch table, weights, predictions, files.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from mlclassify.cli.launch import describe_status, find_mpirun
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.ranks import Ranks, current, part_of
from mlclassify.together import Bucket, Together, make_buckets

SCRIPT = Path(__file__).with_name("launched.py")
needs_mpi = pytest.mark.skipif(
    find_mpirun() is None, reason="mpirun is not there: pip install 'mlclassify[mpi]' brings it"
)


def launch(n, out, *args, environment=()):
    """Run the script in n processes; return how it ended and what each has written."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlclassify", "launch", "-n", str(n), str(SCRIPT), str(out)]
    run = subprocess.run([*command, *map(str, args)], capture_output=True, text=True, timeout=240,
                         env={**os.environ, **dict(environment)})
    seen = [dict(np.load(out / f"{rank}.npz")) for rank in range(n)
            if (out / f"{rank}.npz").exists()]
    return run, seen


def trained(n, out, *args, **options):
    run, seen = launch(n, out, *args, **options)
    assert run.returncode == 0, run.stderr
    assert len(seen) == n and all(s["size"] == n for s in seen)
    return run, seen


def weights(seen):
    return {name: value for name, value in seen.items() if name.startswith("weights.")}


def same_bits(a, b):
    return all((a[name] == b[name]).all() for name in a if name not in ("threads", "seeds", "net"))


def check_like_one(one, several):
    """Losses to 1e-6, and everything that follows from them."""
    for seen in several:
        np.testing.assert_allclose(seen["losses"], one["losses"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(seen["valid"], one["valid"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(seen["search"], one["search"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(seen["preds"], one["preds"], rtol=0, atol=1e-5)
        for name, value in weights(one).items():
            np.testing.assert_allclose(seen[name], value, rtol=0, atol=1e-5, err_msg=name)
    for seen in several[1:]:
        assert same_bits(several[0], seen) and (seen["seeds"] == several[0]["seeds"]).all()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(1, tmp_path_factory.mktemp("alone"))[1][0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    return (*trained(2, out), out)


@needs_mpi
def test_two_train_as_one(alone, two):
    check_like_one(alone, two[1])


@needs_mpi
def test_rank_0_alone_prints_and_writes(two):
    run, _, out = two
    assert run.stdout.count("trained by 2") == 1
    assert run.stdout.count("train_loss") == 1
    rows = list(csv.reader((out / "history.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["epoch", "0", "1"]
    left = {path.name for path in out.iterdir()}
    assert left == {"0.npz", "1.npz", "history.csv", "models", "model.safetensors"}
    assert [path.name for path in (out / "models").iterdir()] == ["best.safetensors"]


@needs_mpi
@pytest.mark.slow
def test_four_train_as_one(alone, tmp_path):
    check_like_one(alone, trained(4, tmp_path, "--buckets", 1000)[1])


@needs_mpi
@pytest.mark.slow
def test_a_size_that_cuts_batches_unevenly(alone, tmp_path):
    check_like_one(alone, trained(3, tmp_path)[1])


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--local",)])
def test_the_same_number_of_ranks_gives_the_same_bits(options, tmp_path):
    first = trained(4, tmp_path / "first", *options)[1]
    again = trained(4, tmp_path / "again", *options)[1]
    assert same_bits(first[0], again[0])


@needs_mpi
@pytest.mark.slow
def test_statistics_of_their_own(alone, tmp_path):
    seen = trained(2, tmp_path, "--local")[1]
    assert same_bits(*seen)
    assert np.isfinite(seen[0]["losses"]).all()
    assert abs(seen[0]["losses"] - alone["losses"]).max() > 1e-3


@needs_mpi
@pytest.mark.slow
def test_activations_kept_as_bfloat16(alone, tmp_path):
    one = trained(1, tmp_path / "one", "--bf16")[1][0]
    two, again = (trained(2, tmp_path / name, "--bf16")[1] for name in ("two", "again"))
    assert same_bits(*two) and same_bits(two[0], again[0])
    # Sums that ranks add in another order make some numbers round to the next one; steps of this
    # size carry that on.
    apart, rounded = (abs(other["losses"] - one["losses"]) for other in (two[0], alone))
    assert apart[:4].max() < 1e-3 < rounded[:4].max()


@needs_mpi
@pytest.mark.slow
def test_accumulated_gradients(tmp_path):
    one = trained(1, tmp_path / "one", "--accumulate", 16)[1][0]
    check_like_one(one, trained(2, tmp_path / "two", "--accumulate", 16)[1])


@needs_mpi
@pytest.mark.slow
def test_threads_are_shared_out(tmp_path):
    named = trained(2, tmp_path, environment={"MLCLASSIFY_NUM_THREADS": "3"})[1]
    assert [int(seen["threads"]) for seen in named] == [3, 3]


@needs_mpi
def test_two_share_the_threads_of_one(alone, two):
    assert [int(s["threads"]) for s in two[1]] == [max(1, int(alone["threads"]) // 2)] * 2


@needs_mpi
def test_an_error_of_one_rank_ends_all(tmp_path):
    began = time.monotonic()
    run, seen = launch(2, tmp_path, "--fail", 1, 3, "raise")
    assert time.monotonic() - began < 120  # it is not waited for ever
    assert run.returncode == 1 and not seen
    assert "rank 1 of 2:" in run.stderr
    assert "ZeroDivisionError: photo 13 brings bad luck" in run.stderr
    assert "launched.py" in run.stderr  # the traceback
    assert "the script did not end well in all of 2 processes: status 1" in run.stderr


@needs_mpi
@pytest.mark.slow
def test_an_error_of_all_is_told_once(tmp_path):
    run, _ = launch(2, tmp_path, "--bs", 2)
    assert run.returncode == 1
    assert run.stderr.count("ValueError: fit: each of 2 processes must get at least 2 photos") == 1


@needs_mpi
def test_a_killed_rank_ends_all(tmp_path):
    run, seen = launch(2, tmp_path, "--fail", 1, 6, "kill")
    assert run.returncode == 137 and not seen
    assert "status 137, ended by SIGKILL" in run.stderr
    # What was written after the first epoch is whole; nothing else is there.
    rows = list(csv.reader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["epoch", "0"]
    assert not list(tmp_path.rglob("*.tmp"))


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("what, told", [("seed", "the seed must be the same on all ranks"),
                                        ("weights", "the weights must be the same on all ranks")])
def test_ranks_that_do_not_train_the_same_are_told(what, told, tmp_path):
    run, _ = launch(2, tmp_path, "--other", what)
    assert run.returncode == 1 and f"ValueError: fit: {told}" in run.stderr


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_mpi
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_launch_ends_all(number, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, sys, time\nfrom mlclassify.ranks import current\n"
                      "open(f'{sys.argv[1]}/{current().rank}', 'w').write(str(os.getpid()))\n"
                      "print('begun')\ncurrent().wait()\ntime.sleep(300)\n")
    command = [sys.executable, "-m", "mlclassify", "launch", "-n", "2", script, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True) as run:
        # Lines come as they are printed; mpirun's own, such as of a network it misses, among them.
        assert b"begun\n" in iter(run.stdout.readline, b"")
        files = [tmp_path / "0", tmp_path / "1"]
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.05)
        run.send_signal(number)
        run.communicate(timeout=60)
    assert run.returncode != 0
    pids = [int(file.read_text()) for file in files]
    for _ in range(200):
        if not any(map(is_running, pids)):
            return
        time.sleep(0.05)
    raise AssertionError("the processes of the ranks go on")


@needs_mpi
def test_a_script_that_is_not_there():
    run = subprocess.run([sys.executable, "-m", "mlclassify", "launch", "-n", "2", "no.py"],
                         capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == "mlclassify: launch: no such file: 'no.py'\n"


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    from mlclassify.cli import launch as module

    monkeypatch.setattr(module, "find_mpirun", lambda: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mlclassify\[mpi\]' brings it"):
        module.mpi_command(2)


@needs_mpi
@pytest.mark.slow
def test_hosts_of_a_file(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=2\n")
    script = tmp_path / "script.py"
    script.write_text("from mlclassify.ranks import current\nprint('of', current().size)\n")
    run = subprocess.run([sys.executable, "-m", "mlclassify", "launch", "-n", "2", "--hostfile",
                          hosts, script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout == "of 2\n", run.stderr


@needs_mpi
@pytest.mark.slow
def test_mpi_sums_in_a_fixed_order_whoever_comes_first(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ORDER)
    run = subprocess.run([sys.executable, "-m", "mlclassify", "launch", "-n", "4", script],
                         capture_output=True, text=True, timeout=240)
    assert run.returncode == 0 and run.stdout.split() == ["1", "1", "1"], run.stderr


ORDER = """
import time, numpy as np
from mlclassify.ranks import current
ranks = current()
r = np.random.RandomState(ranks.rank)
for n in (33, 5000, 700_000):
    mine = (r.standard_normal(n) * 10.0 ** r.randint(-6, 6, n)).astype(np.float32)
    results = set()
    for late in range(5):
        if ranks.rank == late:
            time.sleep(0.05)
        values = mine.copy()
        request = ranks.begin_sum(values)
        request.Wait()
        assert ranks.same(str(values.tobytes()))
        results.add(values.tobytes())
    print(len(results))
"""


# --- two machines, as far as one machine can show them


AGENT = """#!/bin/sh
# HOST COMMAND: what ssh does, for the host that is a namespace of this machine
shift
exec ip netns exec {name} unshare --uts sh -c "hostname {name}; $*"
"""


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def hosts(tmp_path):
    """Two network namespaces with a cable between them; yields their names."""
    names = [f"mlc{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            made = ip("netns", "add", name)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
        made = ip("link", "add", "mlc0", "netns", names[0], "type", "veth",
                  "peer", "name", "mlc0", "netns", names[1])
        if made.returncode:
            pytest.skip(f"no cable between network namespaces here: {made.stderr.strip()}")
        for last, name in enumerate(names, start=1):
            ip("-n", name, "addr", "add", f"10.77.0.{last}/24", "dev", "mlc0")
            ip("-n", name, "link", "set", "mlc0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        agent = tmp_path / "agent"
        agent.write_text(AGENT.format(name=names[1]))
        agent.chmod(0o755)
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ip") is None or shutil.which("unshare") is None,
                    reason="ip and unshare are not there")
def test_two_network_namespaces_train_as_one(alone, hosts, tmp_path):
    """Each has an address, a name and a daemon of its own; what is sent goes through the cable."""
    (tmp_path / "hosts").write_text("10.77.0.1 slots=1\n10.77.0.2 slots=1\n")
    out = tmp_path / "out"
    out.mkdir()
    inside = ["ip", "netns", "exec", hosts[0], "unshare", "--uts", "sh", "-c",
              f'hostname {hosts[0]}; exec "$@"', "sh"]
    command = [*inside, sys.executable, "-m", "mlclassify", "launch", "-n", "2", "--hostfile",
               str(tmp_path / "hosts"), str(SCRIPT), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env={
        **os.environ, "PRTE_MCA_plm_ssh_agent": str(tmp_path / "agent"),
        "OMPI_MCA_btl": "self,tcp", "PYTHONPATH": str(SCRIPT.parents[1])})
    assert run.returncode == 0, run.stderr
    seen = [dict(np.load(out / f"{rank}.npz")) for rank in range(2)]
    assert seen[0]["net"] != seen[1]["net"]
    assert [int(s["threads"]) for s in seen] == [int(alone["threads"])] * 2  # each has its own
    check_like_one(alone, seen)


# --- without other processes


def test_parts_cover_a_batch_in_order():
    for n in (0, 1, 5, 64):
        for size in (1, 2, 3, 7):
            parts = [part_of(range(10, 10 + n), rank, size) for rank in range(size)]
            assert [row for part in parts for row in part] == list(range(10, 10 + n))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_buckets_hold_every_gradient_once_the_last_layer_first():
    r = np.random.RandomState(0)
    gradients = {f"{layer}.{part}": r.standard_normal((n, 3)).astype(np.float32)
                 for layer, n in (("a", 5), ("b", 90), ("c", 1), ("d", 2))
                 for part in ("weight", "bias")}
    before = {name: value.copy() for name, value in gradients.items()}
    buckets = make_buckets(gradients, 100)
    assert [sorted(bucket.layers) for bucket in buckets] == [["c", "d"], ["b"], ["a"]] or \
        [sorted(bucket.layers) for bucket in buckets] == [["b", "c", "d"], ["a"]]
    for bucket in buckets:
        bucket.pack()
        bucket.flat *= 2
        bucket.unpack()
    for name, value in before.items():
        assert (gradients[name] == 2 * value).all(), name


class Recorded:
    """A group whose other ranks are heard later: notes what a rank adds, then gives the total."""

    def __init__(self):
        self.added, self.total = [], None

    def sum(self, values):
        self.added.append(values.copy())
        if self.total is not None:
            values[...] = self.total


@pytest.mark.parametrize("loss_func", [
    BCEWithLogitsLossFlat(), BCEWithLogitsLossFlat(reduction="sum"),
    BCEWithLogitsLossFlat(missing="mask"), BCEWithLogitsLossFlat(pos_weight=[1.0, 2.0, 3.0]),
], ids=["mean", "sum", "mask", "weights"])
def test_losses_of_parts_are_that_of_the_batch(loss_func):
    r = np.random.RandomState(0)
    logits = r.standard_normal((7, 3)).astype(np.float32)
    targets = (r.rand(7, 3) < 0.4).astype(np.float32)
    if loss_func.func.missing:
        targets[1, 2] = targets[5:] = np.nan  # the last part knows nothing
    want, gradient = loss_func.value_and_grad(logits, targets)
    ranks = Recorded()
    together = Together(ranks, sync_bn=True)
    parts = [slice(0, 3), slice(3, 5), slice(5, 7)]

    def shares():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [together.whole_loss(
                loss_func, *loss_func.value_and_grad(logits[part], targets[part]), targets[part])
                for part in parts]

    shares()
    ranks.total = np.sum(ranks.added, axis=0)
    losses, gradients = zip(*shares())
    np.testing.assert_allclose(losses, [want] * 3, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate(gradients), gradient, rtol=1e-5, atol=1e-8)


def test_an_empty_bucket_list():
    assert make_buckets({}, 100) == []
    assert Bucket([], []).flat.size == 0


def test_a_script_that_runs_by_itself_is_a_group_of_one():
    assert type(current()) is Ranks and (current().rank, current().size) == (0, 1)


@pytest.mark.parametrize("status, text", [(0, "status 0"), (3, "status 3"), (1000, "status 1000"),
                                          (139, "status 139, ended by SIGSEGV"),
                                          (-9, "status -9, ended by SIGKILL")])
def test_statuses_in_words(status, text):
    assert describe_status(status) == text


def test_parts_of_a_loader_are_the_whole():
    from tiny import tiny_loaders

    dl = tiny_loaders(43, 8).valid
    whole = [(b.x.copy(), b.y, b.position, b.n) for b in dl.stream(7, 0)]
    parts = [[(np.array(b.x), b.y, b.position, b.n) for b in dl.stream(7, 0, part=(rank, 3))]
             for rank in range(3)]
    for i, (x, y, position, n) in enumerate(whole):
        pieces = [part[i] for part in parts]
        assert n == len(x) and all(piece[3] == n for piece in pieces)
        assert (np.concatenate([p[0] for p in pieces if len(p[0])]) == x).all()
        assert (np.concatenate([p[1] for p in pieces]) == y).all()
        assert pieces[0][2] == position


