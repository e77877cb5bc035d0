"""Bars in a terminal, lines in a log, and nothing where nothing is wanted."""

import io
import os
import pty
import subprocess
import sys
import termios
from contextlib import nullcontext

import pytest
from badweb import serving
from tiny import tiny_learner

from mlclassify import progress
from mlclassify.data.duplicates import find_duplicates
from mlclassify.data.scrape import download_images, verify_images
from mlclassify.progress import LogLines, progress_bar

WORK = """
from mlclassify.progress import progress
with progress("verify", 3) as step:
    for _ in range(3):
        step()
"""


@pytest.fixture(autouse=True)
def wanted(monkeypatch):
    monkeypatch.delenv("MLCLASSIFY_PROGRESS", raising=False)


def test_a_log_gets_a_line_when_the_last_was_long_ago(monkeypatch, capsys):
    now = iter([0, 10, 31, 40, 62])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    bar = LogLines("train", 8)
    bar.update()
    bar.set_postfix_str("0.6931", refresh=False)
    bar.update(2)
    bar.update()
    bar.update(4)
    bar.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "train: 3/8 (38%) 00:31 0.6931\ntrain: 8/8 (100%) 01:02 0.6931\n"


def test_a_log_of_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    LogLines("train", 0).update()
    assert capsys.readouterr().err == "train: 1/0  00:00\n"


def test_a_pipe_gets_lines_without_control_characters(monkeypatch):
    run = subprocess.run([sys.executable, "-c", "import mlclassify.progress as p; p.LINE_EVERY = 0"
                          + WORK], capture_output=True, text=True, check=True)
    assert run.stderr == "".join(f"verify: {i}/3 ({s}) 00:00\n"
                                 for i, s in ((1, "33%"), (2, "67%"), (3, "100%")))
    assert run.stdout == ""


def on_terminal(code, **environment):
    """What a script writes to a terminal that is its stderr."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True,
                   env={**os.environ, **environment})
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    return written.decode()


def test_a_terminal_gets_a_bar_and_can_refuse_it():
    shown = on_terminal(WORK)
    assert "verify" in shown and "0/3" in shown and "\r" in shown
    assert on_terminal(WORK, MLCLASSIFY_PROGRESS="0") == ""


def test_a_notebook_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = progress_bar("train", 3)
    assert bar.total == 3 and not isinstance(bar, LogLines)
    bar.close()


def test_no_bar_is_left_when_the_work_fails(monkeypatch):
    closed = []
    monkeypatch.setattr(LogLines, "close", lambda self: closed.append(self.n))
    with pytest.raises(KeyboardInterrupt), progress.progress("verify", 3) as step:
        step()
        raise KeyboardInterrupt
    assert closed == [1]
    with progress.progress("verify", 3, wanted=False) as step:
        step()
    assert closed == [1]


def test_checks_comparisons_and_downloads_have_bars(monkeypatch, tmp_path):
    asked, steps = [], []

    def noted(what, total, wanted=True):
        asked.append((what, total))
        return nullcontext(lambda: steps.append(what))

    for module in ("scrape", "duplicates", "download"):
        monkeypatch.setattr(f"mlclassify.data.{module}.progress", noted)
    with serving() as server:
        urls = [f"{server.url}ok?{i}" for i in range(3)]
        saved, _ = download_images(urls, tmp_path, allow_private=True)
    verify_images(saved)
    find_duplicates(saved)
    assert asked == [("Images downloaded", 3), ("verify", len(saved)), ("compare", len(saved))]
    assert steps == [what for what, total in asked for _ in range(total)]


@pytest.mark.parametrize("method", ["scut", "cyclic", "micromacro"])
def test_tuning_has_a_bar_unless_unwanted(method, monkeypatch):
    asked, steps = [], []

    def noted(what, total, wanted=True):
        asked.append((what, total, wanted))
        return nullcontext(lambda: steps.append(what))

    monkeypatch.setattr("mlclassify.selection.progress", noted)
    learn = tiny_learner(80, 8)
    learn.tune_thresholds(method, ds_idx=0)
    with learn.no_bar():
        learn.tune_thresholds(method, ds_idx=0, pooled=True)
    pooled = 3 if method == "micromacro" else 1  # it goes label by label, the others fold by fold
    assert asked == [("tune", 3, True), ("tune", pooled, False)] and len(steps) == 3 + pooled


def test_predictions_and_features_have_bars_unless_unwanted(monkeypatch):
    asked, steps = [], []

    def noted(what, total, wanted=True):
        asked.append((what, total, wanted))
        return nullcontext(lambda: steps.append(what))

    monkeypatch.setattr("mlclassify.inference.progress", noted)
    learn = tiny_learner(40, 8)
    batches = len(learn.dls.valid)
    learn.get_preds()
    learn._features(learn.dls.valid, None)
    with learn.no_bar():
        learn.get_preds()
        learn.predict(learn.dls.valid.dataset.items[:1])
    assert asked == [("predict", batches, True), ("features", batches, True),
                     ("predict", batches, False), ("predict", 1, False)]
    assert steps == [what for what, total, _ in asked for _ in range(total)]
