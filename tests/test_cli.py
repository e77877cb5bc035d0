"""The commands: what they print and write, and the status that they end with."""

import json
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from badweb import photo, serving

from mlclassify import selection
from mlclassify.__main__ import METHODS, main, one_line
from mlclassify.cli.labelled import Labelled, as_json
from mlclassify.data.samples import drawn_bears
from mlclassify.learner import load_learner

SIZE = ("--size", "32", "--bs", "8", "--epochs", "1", "--no-pretrained")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with drawn bears, b (a table) and f (folders), and a model m.safetensors of b."""
    folder = tmp_path_factory.mktemp("cli")
    drawn_bears(folder / "b", 60, seed=1, size=48)
    drawn_bears(folder / "f", 30, seed=1, size=48, layout="folders")
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["train", "b", "--folder", "images", *SIZE, "--out", "m.safetensors"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    monkeypatch.delenv("MLCLASSIFY_WEIGHTS", raising=False)
    return made


def run(capsys, *arguments, status=0):
    """Run a command in this process; return its stdout and stderr."""
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as for a command: printed, not raised
        assert main([str(a) for a in arguments]) == status
    return capsys.readouterr()


def result(capsys, *arguments, status=0):
    """Run a command with --json and return what it prints."""
    return json.loads(run(capsys, *arguments, "--json", status=status).out)


# --- train ---


def test_train_with_all_that_it_can(here, capsys):
    out = here / "all.safetensors"
    printed = run(capsys, "train", "f", *SIZE, "--epochs", 2, "--tune", "global", "--calibrate",
                  "temperature", "--novelty", "--pos-weight", "balanced", "--seed", 7,
                  "--valid-pct", 0.4, "--thresh", 0.4, "--draft", "--cache", "5MB",
                  "--out", out)  # fmt: skip
    assert "18 photos to train on" in printed.out and "12 to validate on" in printed.out
    assert printed.out.splitlines()[-1] == f"Saved {out}"
    learn = load_learner(out)
    assert learn.seed == 7 and learn.epochs_begun == 2 and learn.novelty is not None
    assert np.unique(learn.loss_func.thresh).size == 1 and learn.loss_func.calibration is not None


def test_train_says_what_it_did_as_json(here, capsys):
    printed = run(capsys, "train", "b", "--folder", "images", *SIZE, "--thresh", 0.4, "--json",
                  "--out", "t.safetensors")  # fmt: skip
    found = json.loads(printed.out)
    assert found["model"] == "t.safetensors" and (found["train"], found["valid"]) == (48, 12)
    assert found["columns"][:3] == ["epoch", "train_loss", "valid_loss"]
    assert len(found["epochs"]) == 1 and len(found["epochs"][0]) == len(found["columns"])
    assert [row["label"] for row in found["report"]["labels"]] == ["black", "grizzly", "teddy"]
    assert all(row["thresh"] == pytest.approx(0.4) for row in found["report"]["labels"])
    assert "train_loss" in printed.err  # the table, which is no result
    assert load_learner("t.safetensors").dls.valid.item_tfms[0].size == [32, 32]


@pytest.mark.parametrize("arguments, says", [
    (("--out", "m.pth"), "export: `fname` must end in .safetensors, got 'm.pth'"),
    (("--out", "no/m.safetensors"), "export: `fname` must lie in a folder that exists, got "
                                    "'{here}/no/m.safetensors'"),
    (("--arch", "resnet5"), "vision_learner: `arch` must be one of resnet18, resnet34, resnet50, "
                            "resnet101, mobilenetv3_large_100, efficientnet_b0, convnext_tiny, got "
                            "'resnet5'"),
    (("--epochs", "0"), "fit: `n_epoch` must be an integer of at least 1, got 0"),
    (("--csv-fname", "x.csv"), "read_table: there is no file 'b/x.csv'"),
    (("--bs", "90"), "dataloaders: `bs` must be at most the 48 training photos, got 90; pass bs=48 "
                     "or less, or drop_last=False"),
    (("--cache", "much"), "dataloaders: `cache` must be bytes as an integer of at least 1, or a "
                          "text such as '500MB' (KB, MB or GB), got 'much'"),
])  # fmt: skip
def test_train_that_cannot(here, capsys, arguments, says):
    printed = run(capsys, "train", "b", "--folder", "images", *SIZE, *arguments, status=1)
    assert printed.err == f"mlclassify: {says.replace('{here}', str(here))}\n"


def test_missing_photos_are_named_on_one_line(here, capsys):
    printed = run(capsys, "train", "b", *SIZE, status=1)  # without --folder images
    assert printed.err.startswith("mlclassify: open_image: `fn` must name an existing file, got b/")
    assert printed.err.count("\n") == 1


# --- predict ---


def test_predict(here, capsys):
    files = ["b/images/00001.jpg", "b/images/00002.jpg"]
    lines = run(capsys, "predict", "m.safetensors", *files).out.splitlines()
    learn = load_learner("m.safetensors")
    for line, fn in zip(lines, files, strict=True):
        told = learn.predict(fn)
        name, labels, probs = line.split("\t")
        assert name == fn and labels == (";".join(told.labels) or "(none)")
        pairs = zip(learn.dls.vocab, told.probs.tolist())
        assert probs == " ".join(f"{label} {p:.3f}" for label, p in pairs)


def test_predict_folders_as_json(here, capsys):
    found = result(capsys, "predict", "m.safetensors", "b/images", "--thresh", 0)
    assert len(found) == 60 and found[0]["file"] == "b/images/00000.jpg"
    assert found[0]["labels"] == ["black", "grizzly", "teddy"] == list(found[0]["probs"])
    assert result(capsys, "predict", "m.safetensors", "f/teddy", "--thresh", 1)[0]["labels"] == []


def test_predict_goes_on_after_a_photo_that_it_cannot_read(here, capsys):
    (here / "broken.jpg").write_bytes(b"no photo")
    files = ["broken.jpg", "b/images/00001.jpg", "gone.jpg"]
    printed = run(capsys, "predict", "m.safetensors", *files, status=1)
    assert printed.out.startswith("b/images/00001.jpg\t") and printed.out.count("\n") == 1
    first, second = printed.err.splitlines()
    assert first.startswith("mlclassify: open_image: `fn` must be a whole JPEG,")
    assert second == "mlclassify: open_image: `fn` must name an existing file, got gone.jpg"
    assert result(capsys, "predict", "m.safetensors", "gone.jpg", status=1) == []


def test_predict_without_a_model(here, capsys):
    for name, says in (("none.safetensors", "none.safetensors"), ("b/labels.csv", "b/labels.csv")):
        printed = run(capsys, "predict", name, "b/images/00001.jpg", status=1)
        assert printed.err.startswith("mlclassify: ") and says in printed.err
        assert printed.err.count("\n") == 1 and printed.out == ""


# --- report, tune ---


@pytest.mark.parametrize("part, marks", [("valid", 12), ("train", 48), ("all", 60)])
def test_report_judges_the_part_that_is_asked_for(here, capsys, part, marks):
    data = Labelled(here / "b", folder="images")
    learn = load_learner("m.safetensors")
    dl = data.loader(learn, part)
    assert dl.n == marks
    found = result(capsys, "report", "m.safetensors", "b", "--folder", "images", "--part", part)
    report = learn.report(dl=dl)
    for row, ap, support in zip(found["labels"], report.average_precision, report.support):
        assert row["average_precision"] == ap and row["support"] == support
    assert found["accuracy"] == report.accuracy


def test_report_prints_the_table(here, capsys):
    printed = run(capsys, "report", "m.safetensors", "b", "--folder", "images").out
    data = Labelled(here / "b", folder="images")
    learn = load_learner("m.safetensors")
    assert printed == f"{learn.report(dl=data.loader(learn, 'valid'))!r}\n"


def test_report_of_labels_that_the_model_does_not_know(here, capsys):
    (here / "other.csv").write_text("fname,labels\n00001.jpg,walrus\n00002.jpg,teddy\n")
    printed = run(capsys, "report", "m.safetensors", "b", "--csv-fname", "../other.csv", "--folder",
                  "images", "--part", "all", status=1)  # fmt: skip
    assert printed.err.startswith("mlclassify: DataBlock: `get_y` must give labels that training")
    assert "'walrus'" in printed.err and printed.err.count("\n") == 1


def test_the_split_is_that_of_train(here):
    one, same, other = (Labelled(here / "f", valid_pct=0.3, seed=s) for s in (3, 3, 4))
    assert one.split(one.items)[1] == same.split(same.items)[1] != other.split(other.items)[1]
    assert len(one.split(one.items)[1]) == 9 and one.labels(one.items[0]) == ["black"]


def test_tune_writes_only_where_it_is_told(here, capsys):
    before = (here / "m.safetensors").read_bytes()
    tune = ("tune", "m.safetensors", "b", "--folder", "images", "--part", "train")
    printed = run(capsys, *tune)
    assert "F1 before" in printed.out and "Not saved: --out" in printed.err
    assert (here / "m.safetensors").read_bytes() == before
    found = result(capsys, *tune, "--method", "pcut", "--out", "n.safetensors")
    thresh = load_learner("n.safetensors").loss_func.thresh
    written = [row["thresholds"] for row in found["labels"]]
    assert written == pytest.approx(thresh.tolist(), abs=1e-4)
    learn = load_learner("m.safetensors")
    chosen = learn.tune_thresholds("pcut", dl=Labelled(here / "b", folder="images").loader(
        learn, "train"))  # fmt: skip
    assert [row["after"] for row in found["labels"]] == chosen.after.tolist()


def test_methods_are_those_of_the_library():
    assert METHODS == selection.METHODS


# --- info ---


def test_info(here, capsys, monkeypatch):
    found = result(capsys, "info", "m.safetensors")
    assert found["isa"] in found["isas"] and found["packages"]["numpy"] == np.__version__
    assert found["packages"].keys() >= {"pillow", "ddgs"} and found["threads"] >= 1
    assert found["model"]["labels"] == ["black", "grizzly", "teddy"]
    assert found["model"]["arch"] == "resnet18" and found["model"]["thresh"] == 0.5
    lines = run(capsys, "info").out.splitlines()
    assert lines[0] == "mlclassify: 0.1.0" and f"isa: {found['isa']}" in lines
    assert any(line.startswith("threads_because: the affinity allows") for line in lines)


@pytest.mark.parametrize("quota, says", [("max 100000", "no limit"), ("150000 100000", "1.5")])
def test_why_there_are_so_many_threads(tmp_path, monkeypatch, quota, says):
    from mlclassify.cli import machine

    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_ROOT", str(tmp_path))
    monkeypatch.delenv("MLCLASSIFY_NUM_THREADS", raising=False)
    cpus = len(os.sched_getaffinity(0))
    assert machine.why_threads() == f"the affinity allows {cpus} CPUs, the quota {says}"
    monkeypatch.setenv("MLCLASSIFY_NUM_THREADS", "3")
    assert machine.why_threads() == "MLCLASSIFY_NUM_THREADS is 3"


# --- verify, scrape, label ---


def test_verify(capsys, tmp_path):
    (tmp_path / "good.jpg").write_bytes(photo())
    (tmp_path / "bad.jpg").write_bytes(photo()[:300])
    bad = str(tmp_path / "bad.jpg")
    printed = run(capsys, "verify", tmp_path, status=1).out
    assert printed == f"{bad}: no readable photo\n1 of 2 files are no readable photos\n"
    assert result(capsys, "verify", tmp_path, status=1)["unreadable"] == [bad]
    found = result(capsys, "verify", tmp_path, "--delete", "--duplicates")
    assert found == {"photos": 2, "unreadable": [bad], "deleted": True, "duplicates": []}
    assert [fn.name for fn in tmp_path.iterdir()] == ["good.jpg"]
    assert result(capsys, "verify", tmp_path)["unreadable"] == []


def test_verify_finds_what_looks_alike(here, capsys, tmp_path):
    data = (here / "b" / "images" / "00001.jpg").read_bytes()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(data)
    found = result(capsys, "verify", tmp_path, "--duplicates", "--max-distance", 0)
    assert found["duplicates"] == [[str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]]


@pytest.fixture
def web(monkeypatch):
    with serving() as server:
        monkeypatch.setattr("mlclassify.data.search._search_ddgs", lambda query, max_images: [
            f"{server.url}ok?{len(query) + i}" for i in range(max_images)])
        yield server


def test_scrape(web, capsys, tmp_path):
    out = tmp_path / "s"
    scrape = ("scrape", out, "bear", "fox", "--max-images", 3, "--allow-private")
    found = result(capsys, *scrape, "--search-suffix", "x")
    assert found["path"] == str(out) and found["photos"] == 6
    assert sorted(p.name for p in out.iterdir()) == ["bear", "fox", "labels.csv"]
    table = (out / "labels.csv").read_text()
    assert table.startswith("fname,labels\nbear/")
    assert found["labels_csv"] == str(out / "labels.csv")
    (out / "labels.csv").write_text("mine")
    printed = run(capsys, *scrape)
    assert (out / "labels.csv").read_text() == "mine" and "is kept as it is" in printed.out
    printed = run(capsys, *scrape, "--erase-dir", status=1)
    assert "must hold only earlier downloads to be erased" in printed.err
    (out / "labels.csv").unlink()
    assert run(capsys, *scrape, "--erase-dir").out.splitlines()[0].startswith("After checking")


def test_scrape_that_cannot(web, capsys, tmp_path):
    printed = run(capsys, "scrape", tmp_path / "s", "polar bear", status=1)
    assert printed.err == (
        "mlclassify: scrape: `label` must be a text on one line without the delimiter ' ', got "
        "'polar bear'; choose another label_delim\n"
    )
    assert not (tmp_path / "s").exists()
    printed = run(capsys, "scrape", tmp_path / "s", "fox", status=1)
    assert "no photo could be had for 'fox'" in printed.err and "a private address" in printed.err
    printed = run(capsys, "scrape", tmp_path / "t", "fox", "--max-total", "10KB",
                  "--max-bytes", "5", "--allow-private", status=1)  # fmt: skip
    assert "more than 5 bytes" in printed.err


def test_label_passes_its_options_on(monkeypatch, capsys, tmp_path):
    from mlclassify.cli import photos

    called = []
    monkeypatch.setattr(photos, "label_images", lambda *a: called.append(a) or tmp_path)
    run(capsys, "label", tmp_path, "--labels", "a", "b", "--csv-fname", "x.csv", "--label-delim",
        ";", "--from-folders", "--port", 8123, "--open-browser")  # fmt: skip
    run(capsys, "label", tmp_path)
    assert [tuple(map(str, call)) for call in called] == [
        (str(tmp_path), "['a', 'b']", "x.csv", ";", "True", "8123", "True"),
        (str(tmp_path), "None", "labels.csv", " ", "False", "0", "False"),
    ]


def test_label_says_where_the_table_is_as_json(monkeypatch, capsys, tmp_path):
    from mlclassify.cli import photos

    monkeypatch.setattr(photos, "label_images", lambda *a: print("Label 3 photos") or tmp_path)
    assert result(capsys, "label", tmp_path) == {"labels_csv": str(tmp_path)}
    assert run(capsys, "label", tmp_path, "--json").err == "Label 3 photos\n"


# --- as a program ---


def program(*arguments, **options):
    """Start the program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlclassify", *map(str, arguments)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_an_interrupt_ends_with_130_and_no_traceback(here):
    label = program("label", "f", "--from-folders")
    address = label.stdout.readline()
    assert address.startswith("Label 30 photos at http://127.0.0.1:")
    label.send_signal(signal.SIGINT)
    out, err = label.communicate(timeout=20)
    assert label.returncode == 130 and err == ""
    assert out == "0 photos kept, 0 dropped: f/labels.csv\n"


def test_a_reader_that_has_enough_is_no_error(here):
    predict = program("predict", "m.safetensors", *["b/images"] * 40)
    predict.stdout.readline()
    predict.stdout.close()
    assert predict.wait(timeout=60) == 1 and predict.stderr.read() == ""
    predict.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="names of files that Windows refuses")
def test_no_name_gives_a_terminal_orders(capsys, tmp_path):
    """Neither of a file that is read nor of one that is not: ESC, BEL, and text turned around."""
    evil, seen = "a\x1b[2J\x07\u202e", r"a\x1b[2J\x07\u202e"
    (tmp_path / f"{evil}.png").write_bytes(b"no photo")
    told = run(capsys, "verify", tmp_path, status=1)
    assert told.out.splitlines()[0] == f"{tmp_path}/{seen}.png: no readable photo"
    told = run(capsys, "report", f"{tmp_path}/{evil}.safetensors", tmp_path, status=1)
    assert not {"\x1b", "\x07", "\u202e"} & set(told.err) and "x1b[2J" in told.err


def test_a_pipe_gets_no_control_characters(here):
    environment = {k: v for k, v in os.environ.items() if k != "MLCLASSIFY_PROGRESS"}
    verify = program("verify", "b", env=environment)
    out, err = verify.communicate(timeout=60)
    assert (out, err, verify.returncode) == ("0 of 60 files are no readable photos\n", "", 0)


def test_help_imports_nothing_heavy():
    code = ("import sys; from mlclassify.__main__ import parser; parser().format_help();"
            "print(*sys.modules)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "mlclassify.learner", "httpx"} & set(done.stdout.split())


@pytest.mark.parametrize("command", ["train", "predict", "report", "tune", "info", "verify",
                                     "scrape", "label", "demo"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0 and capsys.readouterr().out.startswith(
        f"usage: mlclassify {command} ")  # fmt: skip


@pytest.mark.parametrize("arguments", [
    ["train"], ["predict", "m"], ["train", "b", "--epochs", "x"],
    ["tune", "m", "b", "--method", "y"], ["report", "m", "b", "--part", "test"],
    ["scrape", "s"], ["scrape", "s", "a", "--search", "x"],
    ["info", "a", "b"], ["label"], ["train", "b", "--pos-weight", "3"],
])  # fmt: skip
def test_command_lines_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.startswith("usage: mlclassify ")


def test_errors_are_one_line():
    error = ValueError("a\n  b")
    error.add_note("in get_y of 1.jpg")
    assert one_line(error) == "a b; in get_y of 1.jpg" and one_line(MemoryError()) == "MemoryError"


def test_warnings_are_one_line(here, capsys, monkeypatch):
    from mlclassify.cli import machine

    def info(options):
        warnings.warn("few\nphotos", stacklevel=1)
        return None, 0

    monkeypatch.setattr(machine, "info", info)
    assert run(capsys, "info").err == "mlclassify: warning: few photos\n"


def test_what_json_cannot_say(capsys):
    value = {1: np.array([[1.0, np.nan], [np.inf, 0.0]]), "a": (np.int64(3), np.float32(0.5), True)}
    assert as_json(value) == {"1": [[1.0, None], [None, 0.0]], "a": [3, 0.5, True]}
    assert as_json(np.array(0.5)) == 0.5 and as_json(None) is None
