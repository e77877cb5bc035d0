"""Scores of lists: shards that add up, runs that are cut off, parts that do not belong together."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import mlclassify
from mlclassify.__main__ import main
from mlclassify.data.samples import drawn_bears
from mlclassify.learner import load_learner
from mlclassify.metrics import average_precision_score, f1_score
from mlclassify.scoring.journal import Journal
from mlclassify.scoring.merge import merge_parts
from mlclassify.scoring.parts import Part, read_part, read_rows
from mlclassify.scoring.score import score_files

N = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, N drawn photos of which two are none, and lists of them."""
    folder = tmp_path_factory.mktemp("scoring")
    drawn_bears(folder / "b", N, seed=1, size=48)
    before = os.getcwd()
    os.chdir(folder)
    try:
        train = ["train", "b", "--folder", "images", "--size", "32", "--bs", "8", "--epochs", "1",
                 "--no-pretrained", "--out"]  # fmt: skip
        assert main([*train, "m.safetensors"]) == 0
        assert main([*train, "n.safetensors", "--seed", "5", "--novelty"]) == 0
    finally:
        os.chdir(before)
    with open(folder / "b" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    (folder / "b/images" / rows[7]["fname"]).write_bytes(b"not a photo")
    (folder / "b/images" / rows[20]["fname"]).unlink()
    (folder / "names.txt").write_text("".join(f"{row['fname']}\n" for row in rows))
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """The folder, with a new one in it to write to as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    return made


def score(here, out, files="names.txt", model="m.safetensors", **options):
    options = {"bs": 8, "folder": here / "b/images", **options}
    return score_files(here / model, here / files, out, **options)


def test_rows_are_what_predict_says(here):
    part = score(here, "x.csv", "b/labels.csv", "n.safetensors")
    learn = load_learner(here / "n.safetensors")
    rows = list(read_rows(Path("x.csv")))
    assert (part.n, part.stop - part.start, part.bad, len(rows)) == (N, N, 2, N)
    with open(here / "b/labels.csv", newline="") as file:
        for row, listed in zip(rows, csv.DictReader(file), strict=True):
            assert row["fname"] == listed["fname"] and row["targets"] == listed["labels"]
            if row["error"]:
                assert row["labels"] == "" and row["prob_black"] is None
                assert row["fname"] in row["error"]
                continue
            told = learn.predict(here / "b/images" / row["fname"])
            probs = [row[f"prob_{label}"] for label in learn.dls.vocab]
            np.testing.assert_allclose(probs, told.probs, atol=1e-6)
            assert row["labels"].split() == list(told.labels)
            assert row["novelty"] == pytest.approx(told.novelty, abs=1e-5)
    assert [bool(row["error"]) for row in rows].count(True) == 2


def test_shards_add_up(here):
    score(here, "all.csv")
    parts = [Path(f"{i}.csv") for i in (1, 2, 3)]
    for i, path in enumerate(parts, start=1):
        told = score(here, path, shard=(i, 3))
        assert (told.start, told.stop) == (N * (i - 1) // 3, N * i // 3)
    found = merge_parts(reversed(parts), "merged.csv")
    assert (found.n, found.bad, found.judged) == (N, 2, None)
    merged, whole = (list(read_rows(Path(name))) for name in ("merged.csv", "all.csv"))
    assert [row["fname"] for row in merged] == [row["fname"] for row in whole]
    for a, b in zip(merged, whole):
        assert a["labels"] == b["labels"] and a["error"] == b["error"]
        if not a["error"]:
            assert a["prob_black"] == pytest.approx(b["prob_black"], abs=1e-6)


def test_parquet_holds_the_same(here):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("x.csv", "x.parquet"):
        score(here, name, "b/labels.csv", "n.safetensors")
    texts, columns = (list(read_rows(Path(name))) for name in ("x.csv", "x.parquet"))
    for a, b in zip(texts, columns, strict=True):
        assert list(a) == list(b)
        for name in a:
            same = isinstance(a[name], float) and np.float32(a[name]) == np.float32(b[name])
            assert same or a[name] == b[name]
    table = parquet.read_table("x.parquet")
    assert str(table.schema.field("prob_teddy").type) == "float"
    merge_parts([Path("x.parquet")], "y.parquet")
    assert parquet.read_table("y.parquet").equals(table)
    for i, ending in ((1, "csv"), (2, "parquet")):
        score(here, f"{i}.{ending}", "b/labels.csv", "n.safetensors", shard=(i, 2), bs=15)
    for out in ("all.csv", "all.parquet"):  # of both kinds
        merge_parts(["2.parquet", "1.csv"], out)
        for a, b in zip(read_rows(Path(out)), columns, strict=True):
            assert list(a) == list(b) and (a["fname"], a["labels"]) == (b["fname"], b["labels"])
            assert a["error"] == b["error"] and (a["prob_black"] is None) == bool(a["error"])
            if not a["error"]:
                assert a["prob_black"] == pytest.approx(b["prob_black"], abs=1e-6)


def test_a_part_is_judged_as_its_rows_are(here):
    for i in (1, 2):
        score(here, f"{i}.csv", "b/labels.csv", shard=(i, 2))
    judged = merge_parts(["1.csv", "2.csv"], bits=18).judged
    rows = [row for name in ("1.csv", "2.csv") for row in read_rows(Path(name))
            if not row["error"]]
    vocab = ["black", "grizzly", "teddy"]
    probs = np.array([[row[f"prob_{o}"] for o in vocab] for row in rows], np.float32)
    truth, decided = (np.array([[o in row[c].split() for o in vocab] for row in rows], np.uint8)
                      for c in ("targets", "labels"))
    assert judged.labels == vocab and judged.support.tolist() == truth.sum(axis=0).tolist()
    np.testing.assert_allclose(judged.f1, f1_score(truth, decided, average=None))
    ap = average_precision_score(truth, probs, average=None)
    assert np.all(judged.average_precision.low <= ap + 1e-12)
    assert np.all(ap <= judged.average_precision.high + 1e-12)
    best = f1_score(truth, (probs > judged.best_thresh).astype(np.uint8), average=None)
    np.testing.assert_allclose(judged.best_f1.value, best)
    assert "grizzly" in repr(judged)


def test_what_is_complete_is_left_alone_on_resume(here):
    first = score(here, "x.csv")
    before = os.stat("x.csv").st_mtime_ns, Path("x.csv").read_bytes()
    assert score(here, "x.csv", resume=True) == first
    assert (os.stat("x.csv").st_mtime_ns, Path("x.csv").read_bytes()) == before
    score(here, "x.csv")
    assert os.stat("x.csv").st_mtime_ns > before[0] and Path("x.csv").read_bytes() == before[1]
    assert sorted(os.listdir()) == ["x.csv", "x.csv.json"]


def killed(here, out, batches, delay):
    """Score in a process of its own; kill it so long after it wrote so many batches of four.

    Returns whether it was done before that.
    """
    command = [sys.executable, "-m", "mlclassify", "score", "--model", here / "m.safetensors",
               "--files", here / "b/labels.csv", "--out", out, "--bs", "4", "--folder",
               here / "b/images", "--resume", "--json"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(mlclassify.__file__).parents[1])}
    before = rows_of(out)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             env=env)
    while child.poll() is None and rows_of(out) < before + 4 * batches:
        time.sleep(0.001)
    time.sleep(delay)
    child.kill()
    _, errors = child.communicate()
    assert child.returncode in (0, -signal.SIGKILL), errors
    return child.returncode == 0


def rows_of(out):
    """Count the rows in the journal of a file of scores."""
    try:
        return max(Path(f"{out}.partial").read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_kills_lose_no_batch_and_change_no_bit(here, ending):
    whole, out = Path(f"whole.{ending}"), Path(f"x.{ending}")
    score(here, whole, "b/labels.csv", bs=4)
    rng, rows, kills = random.Random(ending), 0, 0
    while not killed(here, out, rng.randint(1, 4), rng.uniform(0, 0.02)):
        assert rows_of(out) >= rows - rows % 4 + 4 or out.exists()
        rows, kills = rows_of(out), kills + 1
    assert kills >= 3
    assert out.read_bytes() == whole.read_bytes()
    assert read_part(out).plan() == read_part(whole).plan()
    assert sorted(os.listdir()) == sorted(f"{p}{e}" for p in (whole, out) for e in ("", ".json"))


def test_half_a_line_is_cut_off(here):
    whole = Path("whole.csv")
    score(here, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    for kept in (0, 1, 8, 9, 17, 40, len(lines)):
        plan = json.loads(Path("whole.csv.json").read_text())
        Path("x.csv.partial.json").write_text(json.dumps({**plan, "bad": 0, "sha256": ""}))
        Path("x.csv.partial").write_bytes(b"".join(lines[:kept]) + lines[-1][:5])
        if kept == len(lines):  # all is there but the end of what finishing does
            Path("x.csv.partial").write_bytes(whole.read_bytes())
        score(here, "x.csv", resume=True)
        assert Path("x.csv").read_bytes() == whole.read_bytes()


def test_resuming_takes_no_memory_for_what_is_there(here, tmp_path):
    n = 100_000
    part = Part(model="", files="", n=n, shard=1, shards=1, start=0, stop=n, batch=8, labels=["a"],
                thresh=[0.5], label_delim=" ", labelled=False, novelty=False)
    with Journal(tmp_path / "x.csv", part, resume=False) as journal:
        journal.append([["p.jpg", "", "0.25", ""]] * (n - 5))
    tracemalloc.start()
    try:
        with Journal(tmp_path / "x.csv", part, resume=True) as journal:
            assert journal.rows == n - 8
        assert tracemalloc.get_traced_memory()[1] < 500_000  # of a file of 1.5 MB
    finally:
        tracemalloc.stop()


def test_without_resume_a_journal_is_begun_anew(here):
    Path("x.csv.partial").write_bytes(b"what another version left")
    score(here, "x.csv")
    assert read_part(Path("x.csv")).bad == 2


def test_a_journal_of_other_work_is_not_gone_on_with(here):
    score(here, "x.csv", shard=(1, 2))
    os.rename("x.csv", "x.csv.partial")
    os.rename("x.csv.json", "x.csv.partial.json")
    with pytest.raises(ValueError, match=(
            r"^score_files: `resume` must go on with what x.csv.partial was begun with, got "
            r"another shards, stop, bad, sha256; leave it out to begin anew$")):
        score(here, "x.csv", resume=True)


def test_two_processes_do_not_share_a_part(here):
    import fcntl

    with open("x.csv.partial", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="must be of one process at a time"):
            score(here, "x.csv")
    score(here, "x.csv")


@pytest.mark.parametrize("change, message", [
    (lambda: os.unlink("2.csv.json"), "No such file"),
    (lambda: Path("2.csv").write_text("fname\n"), "'2.csv' must be a whole file of `mlclassify "
     "score`, got other bytes than 2.csv.json says; score it again"),
    (lambda: Path("2.csv.json").write_text("{}"), "got a description that is none"),
    (lambda: Path("2.csv.json").write_text("["), "got a description that is none"),
    (lambda: Path("2.csv.json").write_text(
        Path("2.csv.json").read_text().replace('"format_version": 1', '"format_version": 7')),
     "of format 1, got 7"),
])
def test_parts_that_are_not_whole(here, change, message):
    for i in (1, 2):
        score(here, f"{i}.csv", shard=(i, 2))
    change()
    with pytest.raises((OSError, ValueError), match=message):
        merge_parts(["1.csv", "2.csv"])


def test_parts_that_do_not_belong_together(here):
    for i in (1, 2, 3):
        score(here, f"{i}.csv", shard=(i, 3))
    score(here, "other.csv", model="n.safetensors", shard=(2, 3))
    for paths, told in ((["1.csv", "3.csv"], "got shard 2 missing"),
                        (["3.csv"], "got shard 1, 2 missing"),
                        (["1.csv", "2.csv", "3.csv", "2.csv"], "got shard 2 more than once"),
                        ([], "must name at least one part, got none"),
                        (["1.csv", "other.csv", "3.csv"], "parts with one model, got another in "
                         "other.csv than in 1.csv")):
        with pytest.raises(ValueError, match=told):
            merge_parts(paths, "x.csv")
        assert not os.path.exists("x.csv")
    with pytest.raises(ValueError, match="must end in .csv or .parquet, got 'x.txt'"):
        merge_parts(["1.csv", "2.csv", "3.csv"], "x.txt")


@pytest.mark.parametrize("options, message", [
    ({"shard": (3, 2)}, "`shard` must be one of 1 to 2, got 3"),
    ({"shard": (0, 2)}, "`shard` must be an integer of at least 1, got 0"),
    ({"bs": 0}, "`bs` must be an integer of at least 1, got 0"),
    ({"out": "x.txt"}, "`out` must end in .csv or .parquet, got 'x.txt'"),
    ({"label_delim": "e"}, "`label` must be a text on one line without the delimiter 'e'"),
    ({"files": "m.safetensors"}, "`files` must be a table with a column fname, or a text with a "
                                 "name a line, in UTF-8"),
])
def test_messages(here, options, message):
    options = {"out": "x.csv", **options}
    wanted = f"^(score_files|label): .*{message}|^score_files: {message}"
    with pytest.raises(ValueError, match=wanted):
        score(here, **options)
    assert os.listdir() == []


def test_a_table_without_names(here, tmp_path):
    (tmp_path / "t.csv").write_text("file,labels\na.jpg,x\n")
    with pytest.raises(ValueError, match=r"must be a table with a column fname.*\('fname'\)"):
        score(here, "x.csv", tmp_path / "t.csv")


def test_a_carriage_return_in_a_name_stays(here, tmp_path):
    (tmp_path / "t.csv").write_text('fname,labels\n"a\rb.jpg",x\nc.jpg,\n', newline="")
    assert score(here, "x.csv", tmp_path / "t.csv").bad == 2
    merge_parts(["x.csv"], "y.csv")
    for path in (Path("x.csv"), Path("y.csv")):
        assert [row["fname"] for row in read_rows(path)] == ["a\rb.jpg", "c.jpg"]


@pytest.mark.parametrize("row", ['"a\nb.jpg",x', 'a.jpg,"x\ny"'])
def test_a_name_of_two_lines_is_refused(here, tmp_path, row):
    (tmp_path / "t.csv").write_text(f"fname,labels\n{row}\n", newline="")
    with pytest.raises(ValueError, match=r"^score_files: `files` must be a table .*line break"):
        score(here, "x.csv", tmp_path / "t.csv")
    assert os.listdir() == ["t.csv"]


def test_a_list_that_is_a_pipe_is_not_waited_for(here, tmp_path):
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(ValueError, match="must be a regular file, got a pipe"):
        score(here, "x.csv", tmp_path / "list.txt")


def test_an_empty_list_has_an_empty_part(here, tmp_path):
    (tmp_path / "none.txt").write_text("\n")
    assert score(here, "x.csv", tmp_path / "none.txt").n == 0
    assert merge_parts(["x.csv"]).n == 0


def test_a_missing_extra_is_named(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'mlclassify\[parquet\]', or write a .csv"):
        score(here, "x.parquet")


def test_the_commands(here, capsys):
    command = ["score", "--model", here / "m.safetensors", "--files", here / "b/labels.csv",
               "--folder", here / "b/images"]
    for i in (1, 2):
        assert main([*map(str, command), "--shard", f"{i}/2", "--out", f"{i}.csv"]) == 0
    assert "30 photos, 2 of them unreadable: 1.csv" in capsys.readouterr().out
    assert main(["merge", "1.csv", "2.csv", "--out", "all.csv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photos"] == N and told["unreadable"] == 2 and len(told["labels"]) == 3
    assert main(["merge", "1.csv", "2.csv"]) == 0
    assert "best thresh and F1" in capsys.readouterr().out
    assert main(["merge", "1.csv"]) == 1
    assert "got shard 2 missing" in capsys.readouterr().err
    for wrong in ("2", "a/b", "2/-1"):
        with pytest.raises(SystemExit, match="2"):
            main([*map(str, command), "--shard", wrong, "--out", "x.csv"])


def test_of_a_parquet_file_a_group_of_rows_is_held(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from mlclassify.scoring import parquet

    columns = {f"prob_{i}": float for i in range(8)}
    rng, path = np.random.default_rng(1), tmp_path / "x.parquet"
    rows = (dict(zip(columns, map(float, p))) for p in rng.random((10 * parquet._GROUP, 8)))
    with open(path, "wb") as file:
        parquet.write(file, columns, rows)
    before, reading = pyarrow.total_allocated_bytes(), parquet.read(path)
    next(reading)
    assert pyarrow.total_allocated_bytes() - before < path.stat().st_size / 2
    reading.close()
