"""Examples that score lists in the workers of other schedulers, each run as it says: the rows are
those of `learn.predict` in this process, to the bit."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mlclassify
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.files import get_image_files
from mlclassify.data.samples import drawn_bears
from mlclassify.data.split import EndSplitter
from mlclassify.export import ModelFileError
from mlclassify.learner import load_learner
from mlclassify.scoring.parts import read_rows
from mlclassify.scoring.score import score_files
from mlclassify.scoring.scorer import Scorer
from mlclassify.vision.augment import Resize
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.learner import vision_learner

ROOT = Path(mlclassify.__file__).parents[1]
EXAMPLES = Path(__file__).parents[1] / "examples"
N, BROKEN, MISSING = 48, 7, 20


def stem_labels(file):
    """Return labels that depend on the number of a photo."""
    return [label for i, label in enumerate(("claw", "ear", "paw")) if int(file.stem) >> i & 1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with models, photos of which two are none, and the list of them."""
    folder = tmp_path_factory.mktemp("recipes")
    drawn_bears(folder / "b", N, seed=1, size=40)
    photos = sorted(get_image_files(folder / "b"))
    for name, get_y in (("m", stem_labels), ("other", lambda file: [file.stem[-1]])):
        dls = DataBlock(
            blocks=(ImageBlock, MultiCategoryBlock), get_items=lambda _: photos, get_y=get_y,
            splitter=EndSplitter(), item_tfms=Resize(32),
        ).dataloaders(folder, bs=16)  # fmt: skip
        # Sums of exact=True do not depend on how photos are cut into batches.
        learn = vision_learner(dls, resnet18, pretrained=False, seed=1, exact=True)
        if name == "m":
            with learn.no_bar(), learn.no_logging():
                learn.fit(1, 1e-3)
                learn.fit_novelty(lost=0.2, k=2, pretrained=False)
        learn.export(folder / f"{name}.safetensors")
    photos[BROKEN].write_bytes(b"not a photo")
    photos[MISSING].unlink()
    (folder / "list.txt").write_text("".join(f"{photo}\n" for photo in photos))
    return folder


@pytest.fixture(scope="module")
def expected(made):
    """The row of each photo, from predictions in this process."""
    learn, rows = load_learner(made / "m.safetensors"), []
    names = (made / "list.txt").read_text().splitlines()
    good = [name for i, name in enumerate(names) if i not in (BROKEN, MISSING)]
    with learn.no_bar():
        told = dict(zip(good, learn.predict(good)))
    assert len({tuple(told[name].labels) for name in good}) > 1
    for name in names:
        one = told.get(name)
        probs = dict.fromkeys(("prob_claw", "prob_ear", "prob_paw"))
        if one is not None:
            probs = dict(zip(probs, np.asarray(one.probs).tolist()))
        rows.append({"fname": name, "labels": "" if one is None else " ".join(one.labels), **probs,
                     "novelty": None if one is None else np.float32(one.novelty)})
    return rows


def check(rows, expected):
    """Compare rows of scores with predictions, in any order, and the errors."""
    rows = sorted(rows, key=lambda row: row["fname"])
    assert len(rows) == N
    for row, wanted in zip(rows, expected, strict=True):
        assert list(row) == [*wanted, "error"]
        assert bool(row["error"]) == (wanted["prob_ear"] is None)
        for name, value in wanted.items():
            if isinstance(value, float | np.floating):
                assert np.float32(row[name]) == np.float32(value), (name, wanted["fname"])
            else:
                assert row[name] == value
    assert "photo" in rows[BROKEN]["error"] and "existing file" in rows[MISSING]["error"]


def run(*command, **env):
    """Run an example as a process of its own; return its status and what it said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        list(map(str, command)), check=False, text=True, stdout=subprocess.PIPE, timeout=300,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "MLCLASSIFY_PROGRESS": "0"} | env,
    )  # fmt: skip
    return done.returncode, done.stdout


def read_parquet(folder):
    """Return the rows of all Parquet files of a folder."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in read_rows(path)]


# --- the Scorer


def test_rows_of_a_scorer(made, expected):
    scorer = pickle.loads(pickle.dumps(Scorer(made / "m.safetensors")))
    rows = scorer(Path(row["fname"]) for row in expected)
    check(rows, expected)
    assert all(list(row) == list(scorer.columns) for row in rows) and scorer([]) == []


def test_a_scorer_and_score_files_write_the_same(made, tmp_path, monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    score_files(made / "m.safetensors", made / "list.txt", tmp_path / "x.csv")
    scorer = Scorer(made / "m.safetensors", label_delim=" ")
    rows = scorer((made / "list.txt").read_text().splitlines())
    for a, b in zip(read_rows(tmp_path / "x.csv"), rows, strict=True):
        assert list(a) == list(b)
        for name in a:
            same = isinstance(a[name], float) and np.float32(a[name]) == np.float32(b[name])
            assert same or a[name] == b[name]


def test_what_is_sent_is_small_and_holds_no_model(made):
    assert len(pickle.dumps(Scorer(made / "m.safetensors"))) < 1000


def test_a_worker_that_finds_another_model_refuses_it(made, tmp_path):
    shutil.copy(made / "m.safetensors", tmp_path / "m.safetensors")
    scorer = Scorer(tmp_path / "m.safetensors")
    sent = pickle.dumps(scorer)
    shutil.copy(made / "other.safetensors", tmp_path / "m.safetensors")
    Scorer(made / "other.safetensors")  # a worker that had to do with another model, meanwhile
    with pytest.raises(ValueError, match=(
            r"^Scorer: `model` must be one file for all workers, got another at '.*m.safetensors' "
            r"\(sha256 [0-9a-f]{12}, not [0-9a-f]{12}\)$")):
        pickle.loads(sent)([])


def test_models_that_are_none(made, tmp_path):
    with pytest.raises(FileNotFoundError, match="^Scorer: there is no file '.*none.safetensors'$"):
        Scorer(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError):
        Scorer(made / "list.txt")
    with pytest.raises(ValueError, match="`label` must be a text on one line without"):
        Scorer(made / "m.safetensors", label_delim="a")


def test_threads_share_a_scorer(made, expected):
    scorer, found = Scorer(made / "m.safetensors"), [None] * 4
    names = [row["fname"] for row in expected]

    def ask(i):
        found[i] = scorer(names)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in found:
        check(rows, expected)


# --- the recipes


def needs(*modules, commands=()):
    """Mark a test that runs an example: skipped without what that is an example for."""
    lacking = [name for name in modules if find_spec(name) is None]
    lacking += [name for name in commands if shutil.which(name) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")


RECIPES = [
    pytest.param("score_spark.py", id="spark",
                 marks=[pytest.mark.slow, needs("pyspark", commands=["java"])]),
    pytest.param("score_dask.py", id="dask",
                 marks=[pytest.mark.slow, needs("dask", "distributed")]),
    pytest.param("score_ray.py", id="ray", marks=[pytest.mark.slow, needs("ray")]),
]


@pytest.mark.parametrize("script", RECIPES)
def test_workers_of_a_scheduler_say_what_predict_says(made, expected, tmp_path, script):
    status, said = run(sys.executable, EXAMPLES / script, made / "m.safetensors",
                       made / "list.txt", tmp_path / "scores")
    assert status == 0, said
    check(read_parquet(tmp_path / "scores"), expected)


@pytest.mark.parametrize("script", RECIPES)
def test_a_photo_that_cannot_be_read_may_be_alone(made, expected, tmp_path, script):
    (tmp_path / "list.txt").write_text(expected[BROKEN]["fname"] + "\n")
    status, said = run(sys.executable, EXAMPLES / script, made / "m.safetensors",
                       tmp_path / "list.txt", tmp_path / "scores")
    assert status == 0, said
    (row,) = read_parquet(tmp_path / "scores")
    assert "photo" in row["error"] and row["prob_ear"] is None and row["labels"] == ""


# What Python runs first in every process of a job: the first one that scores is lost.
LOSING = """
import os, signal
from mlclassify.scoring.scorer import Scorer

score = Scorer.__call__

def lose_one(self, names):
    try:
        os.close(os.open(os.environ["LOST"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return score(self, names)
    os.kill(os.getpid(), signal.SIGKILL)

Scorer.__call__ = lose_one
"""


@pytest.mark.parametrize("script", RECIPES)
def test_the_part_of_a_lost_worker_is_scored_again(made, expected, tmp_path, script):
    (tmp_path / "sitecustomize.py").write_text(LOSING)
    # On one machine alone Spark gives a task one try, if it is not told otherwise.
    status, said = run(sys.executable, EXAMPLES / script, made / "m.safetensors",
                       made / "list.txt", tmp_path / "scores", LOST=str(tmp_path / "lost"),
                       PYTHONPATH=f"{tmp_path}:{ROOT}",
                       PYSPARK_SUBMIT_ARGS="--master local[2,4] pyspark-shell")
    assert status == 0, said
    assert (tmp_path / "lost").exists()
    check(read_parquet(tmp_path / "scores"), expected)


@pytest.mark.slow
@needs("pyspark", commands=["java"])
def test_local_spark_fails_where_it_was_not_told_to_try_again(made, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LOSING)
    status, said = run(sys.executable, EXAMPLES / "score_spark.py", made / "m.safetensors",
                       made / "list.txt", tmp_path / "scores", LOST=str(tmp_path / "lost"),
                       PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert status and "Python worker exited unexpectedly" in said
    assert not list((tmp_path / "scores").glob("*.parquet"))
    assert not (tmp_path / "scores" / "_SUCCESS").exists()


@pytest.mark.parametrize("script", RECIPES)
def test_a_missing_model_is_named_before_workers_start(made, tmp_path, script):
    status, said = run(sys.executable, EXAMPLES / script, "none.safetensors", made / "list.txt",
                       tmp_path / "scores")
    assert status and "Scorer: there is no file" in said.splitlines()[-1]
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("script", RECIPES)
def test_rows_of_another_job_are_not_added_to(made, tmp_path, script):
    (tmp_path / "scores").mkdir()
    status, said = run(sys.executable, EXAMPLES / script, made / "m.safetensors",
                       made / "list.txt", tmp_path / "scores")
    assert status and "exists" in said
    assert not list((tmp_path / "scores").iterdir())


@pytest.mark.slow
@needs(commands=["parallel"])
def test_gnu_parallel(made, expected, tmp_path):
    out = tmp_path / "all scores.csv"
    command = [EXAMPLES / "score_parallel.sh", made / "m.safetensors", made / "list.txt", out, 3]
    status, said = run(*command)
    assert status == 0 and f"{N} photos, 2 of them unreadable" in said, said
    check(read_rows(out), expected)
    parts = tmp_path / "all scores.csv.parts"
    untouched = (parts / "1.csv").stat().st_mtime_ns
    (parts / "2.csv").unlink()  # lost: made again, and nothing else
    assert run(*command)[0] == 0
    check(read_rows(out), expected)
    assert (parts / "1.csv").stat().st_mtime_ns == untouched
    command[1] = tmp_path / "none.safetensors"
    status, said = run(*command)
    assert status and "there is no file" in said


def array_task(made, model, folder, i, n):
    """Run the script of the job array with what Slurm tells a task; Slurm itself is not there."""
    return run("bash", EXAMPLES / "score_slurm.sh", model, made / "list.txt", folder,
               SLURM_ARRAY_TASK_ID=str(i), SLURM_ARRAY_TASK_COUNT=str(n), SLURM_CPUS_PER_TASK="1")


@pytest.mark.slow
def test_an_array_of_slurm(made, expected, tmp_path):
    for i in (1, 3):
        status, said = array_task(made, made / "m.safetensors", tmp_path, i, 3)
        assert status == 0, said
    merge = [sys.executable, "-m", "mlclassify", "merge", "--out", tmp_path / "all.csv"]
    status, said = run(*merge, *tmp_path.glob("*.csv"))
    assert status and "got shard 2 missing" in said and not (tmp_path / "all.csv").exists()
    # A task that had another model: its labels are others
    assert array_task(made, made / "other.safetensors", tmp_path, 2, 3)[0] == 0
    status, said = run(*merge, *tmp_path.glob("*.csv"))
    assert status and "must be parts with one model" in said
    assert json.loads((tmp_path / "2.csv.json").read_text())["labels"] != ["claw", "ear", "paw"]
    assert array_task(made, made / "m.safetensors", tmp_path, 2, 3)[0] == 0
    assert run(*merge, *tmp_path.glob("*.csv"))[0] == 0
    check(read_rows(tmp_path / "all.csv"), expected)
    status, said = array_task(made, tmp_path / "none.safetensors", tmp_path, 1, 3)
    assert status and "there is no file" in said
