"""The post from its first cell to its last, typed into IPython as it stands there.

The cells are cut from the page; what changes is where names come from (the two import lines), where
photos lie, and, to be quick, how large and how many they are. `test_post_cells.py` holds the
numbers of the worked examples; this is the way through.
"""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("IPython")
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from traitlets.config import Config

A_KIND, SIZE = 28, 32  # 84 photos: one batch of 64 to train on, 16 to validate
NUMBER = r"-?\d\.\d{4}"


class Post:
    """The lines of the post, and the shell that its cells are typed into."""

    def __init__(self, lines, shell):
        self.lines, self.shell = lines, shell

    def cell(self, first, last=None, **swaps):
        """Run the lines from the one that starts with `first` to the one that ends with `last`.

        Returns what IPython would print under it; `swaps` are replaced in the text, each there.
        """
        start = next(i for i, line in enumerate(self.lines) if line.startswith(first))
        rest = self.lines[start:]
        end = next(i for i, line in enumerate(rest) if last is None or line.endswith(last))
        code = "\n".join(rest[: end + 1])
        for old, new in swaps.items():
            assert old in code
            code = code.replace(old, new)
        return self.type(code)

    def type(self, code):
        """Run code and return the text that IPython shows for its value."""
        result = self.shell.run_cell(code)
        result.raise_error()
        return self.shell.display_formatter.format(result.result)[0].get("text/plain")

    def __getitem__(self, name):
        return self.shell.user_ns[name]


@pytest.fixture
def post(shared, tmp_path, monkeypatch):
    page = Path(shared(".")).parent / "reference" / "post.txt"
    if not page.exists():
        pytest.skip("no page of the post beside the shared data")
    (tmp_path / "notebook").mkdir()
    monkeypatch.chdir(tmp_path / "notebook")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    monkeypatch.setenv("MLCLASSIFY_WEIGHTS", str(shared("weights/resnet18-imagenet.safetensors")))
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    yield Post(page.read_text(encoding="utf-8").split("\n"), shell)
    shell.user_ns["plt"].close("all")
    shell.user_ns["set_seed"](None)


def search(shared, most):
    """What stands for the search engine: copies photos that are there, `most` of a kind."""

    def duckduckgo_search(path, label, keywords, max_results):
        assert keywords == f"{label} bear" and max_results == 100
        folder = path / label
        folder.mkdir()
        for file in sorted(Path(shared(f"bears/{label}")).iterdir())[:most]:
            shutil.copy(file, folder)
        # What the cell puts in order: a file that is no photo, and a PNG to be saved again.
        (folder / "zebra.jpg").write_text("<html>404</html>")
        with Image.open(folder / file.name) as im:
            im.save(folder / f"{file.stem}.png")
        (folder / file.name).unlink()

    return duckduckgo_search


def quoted(path):
    return repr(str(path))


def tell_the_story(post, shared, tmp_path, most, size):
    """Run the post's cells from the photos on, and return the last epoch's row."""
    post.cell("from fastai.vision.all", fastai="mlclassify")
    post.type("set_seed(1)")
    the_photos(post, shared, tmp_path, most)
    the_data(post, size)
    post.cell("def accuracy_multi", ".mean()")
    post.cell("class BCEWithLogitsLossFlat", "torch.sigmoid(x)")
    post.cell("learn = cnn_learner", "BCEWithLogitsLossFlat())")
    post.cell("learn.fine_tune(4)")
    assert post.cell("learn.show_results()") is None
    assert len(post["plt"].gcf().axes) == 9
    the_maine_coon(post, shared)
    the_sweep(post)
    return post["learn"].recorder.values[-1]


def the_photos(post, shared, tmp_path, most):
    post.shell.user_ns["duckduckgo_search"] = search(shared, most)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "old.txt").write_text("of an earlier run")
    post.cell("def scrape_images", "return path")
    post.cell("labels = 'grizzly'")
    post.cell("path = scrape_images", **{"'/data/kaushik/bears'": quoted(folder)})
    names = [f.name for f in folder.rglob("*") if f.is_file()]
    assert not {"old.txt", "zebra.jpg"} & set(names)
    assert sorted(name[-9:] for name in names if ".png" in name) == [".png2.png"] * 3


def the_data(post, size):
    post.cell("def get_label_list")
    post.cell("dblock = DataBlock", "aug_transforms())", **{"228": str(size)})
    post.cell("dls = dblock.dataloaders(path)")
    assert post.cell("dls.show_batch(max_n=8, nrows=2)") is None
    assert {ax.get_title() for ax in post["plt"].gcf().axes} <= {"black", "grizzly", "teddy"}
    assert len(post["plt"].gcf().axes) == 8


def the_maine_coon(post, shared):
    cat = min(Path(shared("ood/maine_coon")).iterdir())
    post.cell("test_mainecoon_image_location =", **{"'../test_images/mc.jpg'": quoted(cat)})
    post.cell("im = Image.open")
    thumb = post.cell("im.to_thumb(128,128)")
    assert thumb.startswith("<PIL.") and post.type("max(im.to_thumb(128,128).size)") == "128"
    shown = post.cell("learn.predict(test_mainecoon_image_location)")
    assert re.fullmatch(
        r"\(\(#\d\) \[('\w+'(,'\w+')*)?\],\n? tensor\(\[( ?(True|False),? ?){3}\]\),\n? "
        rf"tensor\(\[{NUMBER}, {NUMBER}, {NUMBER}\]\)\)", shown)  # fmt: skip
    probs = shown.rpartition("tensor(")[2]
    post.cell("learn.loss_func = BCEWithLogitsLossFlat(thresh=0.95)")
    post.type("learn.loss_func.thresh = 1.0")
    never = post.cell("learn.predict(test_mainecoon_image_location)")
    assert never == f"((#0) [], tensor([False, False, False]), tensor({probs}"


def the_sweep(post):
    post.cell("preds,targs = learn.get_preds()")
    post.cell("xs = torch.linspace")
    post.cell("accs = [accuracy_multi")
    post["plt"].figure()
    post.cell("plt.plot(xs,accs);")
    drawn = post["plt"].gca().lines[0].get_xydata()
    assert drawn.tolist() == [list(point) for point in zip(post["xs"].tolist(), post["accs"])]
    assert re.fullmatch(r"TensorBase\(0\.\d{4}\)|TensorBase\(1\.\)", post.type("accs[50]"))


def test_every_cell_of_the_post_runs(post, shared, tmp_path, capsys):
    row = tell_the_story(post, shared, tmp_path, A_KIND, SIZE)
    printed = capsys.readouterr().out.replace("Out[0]: ", "")
    assert f"After checking for issues, {3 * A_KIND} (total) images remain." in printed
    head = ["epoch", "train_loss", "valid_loss", "accuracy_multi", "average_precision_score",
            "time"]  # fmt: skip
    tables = [line.split() for line in printed.split("\n")]
    assert tables.count(head) == 2
    first, second = (i for i, line in enumerate(tables) if line == head)
    assert [line[0] for line in tables[first + 1 : second]] == ["0"]
    assert [line[0] for line in tables[second + 1 : second + 5]] == ["0", "1", "2", "3"]
    assert re.fullmatch(r"\d\d:\d\d", tables[second + 1][-1])
    assert post["dls"].vocab == ["black", "grizzly", "teddy"]
    assert 0 < row[1] < 3 and 0 <= row[2] <= 1 and 0 <= row[3] <= 1
