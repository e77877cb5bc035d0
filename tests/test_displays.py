"""What a notebook shows of objects: tables whose labels and paths stay text."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from tiny import LABELS, photos, tiny_learner

from mlclassify import markup
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.split import EndSplitter
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import accuracy_multi, make_report
from mlclassify.prediction import Prediction
from mlclassify.tensor import Tensor
from mlclassify.vision.augment import Resize

EVIL = "<script>alert('&')</script>"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


class Reader(HTMLParser):
    """The tags and the cells of a page; fails where a tag is not closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.rows, self.open, self.text = set(), [], [], ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


SAFE = {"table", "thead", "tbody", "tr", "th", "td", "p", "pre"}


def shown(thing):
    page = Reader(thing._repr_html_())
    assert page.tags <= SAFE and repr(thing) and "_repr_html_" not in repr(thing)
    return page


def evil_learner(**options):
    """A learner whose first label is a script."""
    images = [image for image, _ in photos(10)]
    items = [(image, [EVIL, "red"] if i % 2 else ["blue"]) for i, image in enumerate(images)]
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), get_x=lambda i: i[0],
                      get_y=lambda i: i[1], splitter=EndSplitter(0.2), item_tfms=Resize(16))
    return tiny_learner(dls=block.dataloaders(items, bs=4), metrics=accuracy_multi, **options)


def test_a_table_escapes_all_that_it_is_given():
    page = Reader(markup.table([EVIL], [[EVIL, 3], [None]]))
    assert page.rows == [[EVIL], [EVIL, "3"], ["None"]] and page.tags <= SAFE
    assert Reader(markup.paragraph(EVIL)).text == Reader(markup.preformatted(EVIL)).text == EVIL


def test_loaders():
    page = shown(evil_learner().dls)
    assert page.rows == [["label", "train", "valid"], [EVIL, "4", "1"], ["blue", "4", "1"],
                         ["red", "4", "1"]]


def test_a_learner():
    learn = evil_learner(loss_func=BCEWithLogitsLossFlat(thresh=[0.25, 0.5, 0.75]))
    rows = dict(shown(learn).rows[1:])
    assert rows["threshold"] == f"{EVIL} 0.2500, blue 0.5000, red 0.7500"
    assert rows["model"] == repr(learn.model) and rows["seed"] == "7"
    assert rows["photos"] == "8 to train on, 2 to validate on"
    assert "novelty" not in rows and "optimizer" not in rows
    with learn.no_logging():
        learn.fit(1)
    learn.fit_novelty(lost=0.2, k=2)
    learn.loss_func.thresh = 0.5
    rows = dict(shown(learn).rows[1:])
    assert rows["novelty"] == repr(learn.novelty) and rows["optimizer"] == repr(learn.opt)
    assert rows["threshold"] == "0.5" and rows["epochs begun"] == "1"
    assert rows["metrics"] == "AvgMetric(accuracy_multi)"


def test_a_record():
    learn = evil_learner()
    assert learn.recorder._repr_html_() is None
    with learn.no_logging():
        learn.fit(2)
    rows = shown(learn.recorder).rows
    assert rows[0] == ["epoch", "train_loss", "valid_loss", "accuracy_multi", "time"]
    assert [row[1] for row in rows[1:]] == [f"{v[0]:.6f}" for v in learn.recorder.values]


def test_a_prediction():
    learn = evil_learner(loss_func=BCEWithLogitsLossFlat(thresh=0.0))
    told = learn.predict(photos(1)[0][0])
    page = shown(told)
    order = np.argsort(-np.asarray(told.probs))
    vocab = list(learn.dls.vocab)
    assert page.rows[1:] == [[vocab[i], f"{told.probs[i]:.4f}", "0.0000", "✓"] for i in order]
    assert EVIL in page.text[:40]
    learn.fit_novelty(lost=0.2, k=2)
    novel = learn.predict(photos(1)[0][0])
    assert f"novelty {novel.novelty:.4f}, most like item" in shown(novel).text


def test_a_prediction_prints_what_it_printed():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    told = tiny_learner().predict(photos(1)[0][0])
    assert Reader(told._repr_html_()).text.startswith(pretty(tuple(told)))
    assert pretty(told) == pretty(tuple(told))


def test_a_prediction_of_many_labels_and_one_of_none():
    probs = Tensor(np.linspace(0.9, 0.1, 30))
    many = Prediction([], probs > 2, probs, 0.5, vocab=range(30))
    page = shown(many)
    assert len(page.rows) == 21 and page.rows[1] == ["0", "0.9000", "0.5000", ""]
    assert page.text.endswith("and 10 less probable labels")
    near = Prediction([], probs > 2, probs, 0.5, 0.25, [EVIL, "b", "c", "d"])
    assert shown(near).text.endswith(f"novelty 0.2500, most like {EVIL}, b, c")
    old = Prediction([], probs > 2, probs, None)
    assert shown(old).rows == [["label", "probability", "threshold", "named"]]


def test_a_prediction_can_be_copied_with_its_labels():
    import copy

    told = tiny_learner().predict(photos(1)[0][0])
    again = copy.deepcopy(told)
    assert list(again.vocab) == list(LABELS) == list(told.vocab)
    assert again._repr_html_() == told._repr_html_()


def test_a_report():
    report = make_report([[0.9, 0.2], [0.2, 0.1]], [[1, 0], [0, 0]], [[1, 0], [0, 0]], 0.5,
                         [EVIL, "b"], {EVIL: 0.3})
    page = shown(report)
    assert page.rows[0] == ["label", "support", "thresh", "precision", "recall", "f1", "AP"]
    assert page.rows[1] == [EVIL, "1", "0.500", "1.000", "1.000", "1.000", "1.000"]
    assert page.rows[2] == ["b", "0", "0.500", "0.000", "0.000", "0.000", "nan"]
    assert page.rows[3][:3] == ["mean", "1", ""]
    for line in repr(report).splitlines()[4:]:
        assert line in page.text
    words = [re.sub(r"\s+", " ", line).strip() for line in repr(report).splitlines()[:4]]
    assert words == [" ".join(filter(None, row)) for row in page.rows]


def test_titles_of_pictures_are_no_formulas():
    learn = evil_learner()
    axes = learn.show_results(max_n=2, shuffle=False)
    axes[0, 0].figure.canvas.draw()
    assert any("<script>" in ax.get_title() for ax in axes.flat)
