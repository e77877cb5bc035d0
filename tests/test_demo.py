"""The story in a terminal: what it prints, what it leaves, and how it fails."""

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from mlclassify.__main__ import main, parser
from mlclassify.data.samples import draw_picture
from mlclassify.learner import load_learner

EPOCHS = 12
FILES = ["batch.png", "bears.safetensors", "results.png", "sweep.png"]


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    """Start in a temporary folder, and let no weights of this machine be found."""
    monkeypatch.delenv("MLCLASSIFY_WEIGHTS", raising=False)
    monkeypatch.setenv("MLCLASSIFY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def fails(capsys, *arguments):
    """Run a command that must fail with status 1, and return what it says on stderr."""
    assert main(["demo", "--out", "out", *arguments]) == 1
    return capsys.readouterr().err


def is_one_line(text):
    """Whether a text is one line that says who speaks."""
    return text.startswith("mlclassify: ") and text.count("\n") == 1 and text.endswith("\n")


def photos(folder, n=16):
    """Make a folder of small photos, two labels, with enough to train on."""
    for i in range(n):
        kind = ("black", "teddy")[i % 2]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        draw_picture(0, i, 32, [kind])[0].save(folder / kind / f"{i}.png")
    return folder


def test_defaults():
    options = parser().parse_args(["demo"])
    assert (str(options.out), options.bears, options.weights, options.seed) == (
        "demo", None, None, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["demo", "--weights", "w.safetensors"], "--weights is for photos: give --bears too"),
    ],
)
def test_a_command_line_that_makes_no_sense(arguments, says, capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("usage: mlclassify") and says in lines[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["missing", "a_file"])
def test_bears_that_are_no_folder(name, capsys, tmp_path):
    (tmp_path / "a_file").write_text("not a folder")
    error = fails(capsys, "--bears", name)
    assert is_one_line(error) and f"must be an existing folder, got {name}" in error
    assert not (tmp_path / "out").exists()


def test_a_folder_without_photos(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    error = fails(capsys, "--bears", "empty")
    assert is_one_line(error) and "must hold at least one item, got none in empty" in error
    assert not (tmp_path / "out").exists()


def test_weights_that_are_missing_or_no_model(capsys, tmp_path):
    bears = str(photos(tmp_path / "photos", n=160))
    error = fails(capsys, "--bears", bears, "--weights", "nowhere.safetensors")
    assert is_one_line(error) and "got 'nowhere.safetensors'" in error
    (tmp_path / "broken.safetensors").write_bytes(b"not a model")
    error = fails(capsys, "--bears", bears, "--weights", "broken.safetensors")
    assert is_one_line(error) and "broken.safetensors" in error
    assert not (tmp_path / "out").exists()


def test_too_few_photos_for_a_batch(capsys, tmp_path):
    error = fails(capsys, "--bears", str(photos(tmp_path / "photos")))
    assert is_one_line(error) and "`bs` must be at most the 13 training photos, got 64" in error
    assert not (tmp_path / "out").exists()


def test_a_seed_out_of_range(capsys, tmp_path):
    error = fails(capsys, "--seed", "-1")
    assert is_one_line(error) and "`seed` must lie in [0, 2**64), got -1" in error
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file(capsys, tmp_path):
    (tmp_path / "out").write_text("mine")
    assert is_one_line(fails(capsys))
    assert (tmp_path / "out").read_text() == "mine"


def test_what_the_demo_found_as_json(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("mlclassify.cli.demo.DRAWN_EPOCHS", 1)
    monkeypatch.setattr("mlclassify.cli.demo.N_DRAWN", 60)
    monkeypatch.setattr("mlclassify.cli.demo.DRAWN_SIZE", 32)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    assert main(["demo", "--out", "out", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert set(found) == {"photos", "average_precision", "thresh", "accuracy", "model"}
    assert found["photos"] == 12 and 0 <= found["average_precision"] <= 1
    assert f"macro average precision is {found['average_precision']:.4f}" in printed.err
    assert float(load_learner(found["model"]).loss_func.thresh) == pytest.approx(found["thresh"])


def test_status_of_an_interrupt(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlclassify.cli.demo.demo", interrupted)
    assert main(["demo"]) == 130


@pytest.mark.slow
def test_demo_on_drawn_bears(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mlclassify", "demo", "--out", "out"],
        cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    check_table(done.stdout)
    macro = re.search(r"On 120 pictures held out, macro average precision is ([\d.]+)", done.stdout)
    assert float(macro[1]) >= 0.93
    best = re.search(r"The best threshold is ([\d.]+): accuracy ([\d.]+)", done.stdout)
    assert 0 < float(best[1]) < 1 and float(best[2]) >= 0.9
    check_examples(done.stdout)
    check_files(tmp_path / "out", float(best[1]))


def check_table(printed):
    """Check the epoch table: its columns, and every epoch in turn."""
    lines = printed.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["epoch", "train_loss"])
    assert lines[head].split()[2:] == [
        "valid_loss", "accuracy_multi", "average_precision_score", "time",
    ]  # fmt: skip
    rows = [line.split() for line in lines[head + 1 : head + 1 + EPOCHS]]
    assert [row[0] for row in rows] == [str(i) for i in range(EPOCHS)]
    assert all(re.fullmatch(r"\d+\.\d{6}", cell) for row in rows for cell in row[1:5])
    assert all(re.fullmatch(r"\d\d:\d\d", row[5]) for row in rows)


def check_examples(printed):
    """Check the lines on pictures with two labels, with one and with none, two of each."""
    pattern = r"A picture with (two labels|one label|no label) +there: (.*?) +predicted: (.*?) +\("
    found = re.findall(pattern, printed)
    assert [name for name, _, _ in found] == [
        "two labels", "two labels", "one label", "one label", "no label", "no label",
    ]  # fmt: skip
    counts = [0 if truth == "nothing" else len(truth.split()) for _, truth, _ in found]
    assert counts == [2, 2, 1, 1, 0, 0]
    assert sum(truth == told for _, truth, told in found) >= 3


def check_files(out, best):
    """Check that everything is there and that the model answers as it was told to."""
    assert sorted(f.name for f in out.iterdir() if f.is_file()) == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(out / name) as image:
                image.load()
                assert min(image.size) > 300
    learn = load_learner(out / "bears.safetensors")
    assert list(learn.dls.vocab) == ["black", "grizzly", "teddy"]
    assert float(learn.loss_func.thresh) == pytest.approx(best, abs=1e-3)
    picture, _ = draw_picture(99, 0, 128, ["teddy"])
    assert len(learn.predict(picture).probs) == 3
