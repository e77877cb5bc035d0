"""The interpretation of a learner: numbers by slow definitions, pictures by what they hold."""

import numpy as np
import pytest
from matplotlib import pyplot
from tiny import LABELS, first, photos, second, tiny, tiny_learner, tiny_loaders

from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.split import EndSplitter
from mlclassify.functional import nn
from mlclassify.gradcam import grad_cam
from mlclassify.interpret import (
    ClassificationInterpretation,
    Interpretation,
    plot_grad_cam,
    roc_curve,
)
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.plot import RIGHT, WRONG
from mlclassify.vision.augment import Flip, Resize
from mlclassify.vision.learner import vision_learner

THRESH = [0.3, 0.5, 0.25]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def learn():
    learn = tiny_learner(80, 16, loss_func=BCEWithLogitsLossFlat(thresh=THRESH))
    with learn.no_logging(), learn.no_bar():
        learn.fit(2, 3e-3)
    return learn


@pytest.fixture(scope="module")
def interp(learn):
    with learn.no_bar():
        return Interpretation.from_learner(learn)


def arrays(interp):
    """Probabilities, targets and decisions as plain arrays."""
    return (np.asarray(a) for a in (interp.preds, interp.targs, interp.decoded))


# --- photos

def test_it_holds_what_the_learner_says(learn, interp):
    preds, targs, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    for own, want in zip((interp.preds, interp.targs, interp.decoded, interp.losses),
                         (preds, targs, decoded, losses)):
        np.testing.assert_array_equal(own, want)
    assert interp.vocab == list(LABELS) and len(interp.photos) == 16
    p, t, _ = arrays(interp)
    wrong = np.argwhere((t == 1) != (p > np.float32(THRESH)))
    assert f"on {len(set(wrong[:, 0]))} photos" in repr(interp)
    assert ClassificationInterpretation is Interpretation


def test_of_other_photos(learn):
    shuffled = tiny_loaders(40, 8).train
    shuffled.batch_tfms = [Flip(p=1.0), *shuffled.batch_tfms]
    for options in ({"ds_idx": 0}, {"dl": shuffled}):
        interp = Interpretation.from_learner(learn, **options)
        for i, item in enumerate(interp.dl.dataset.items):
            np.testing.assert_allclose(learn.predict(item[0]).probs, interp.preds[i], atol=1e-6)
    raw = Interpretation.from_learner(learn, act=lambda logits: logits)
    assert raw.preds.min() < 0


def test_photos_without_labels_are_refused(learn):
    with pytest.raises(ValueError) as caught:
        Interpretation.from_learner(learn, dl=learn.dls.test_dl([photos(1)[0][0]]))
    assert str(caught.value) == ("Interpretation: `dl` must have labels, got photos without; see "
                                 "with_labels of dls.test_dl")


def test_a_loss_that_decides_nothing_is_refused():
    learn = tiny_learner(loss_func=nn.BCEWithLogitsLoss())
    with pytest.raises(TypeError) as caught:
        Interpretation.from_learner(learn)
    assert str(caught.value) == (
        "Interpretation: `learn.loss_func` must say which labels are there (decodes), as "
        "BCEWithLogitsLossFlat does, got BCEWithLogitsLoss")
    titles = [ax.get_title() for ax in learn.show_results(shuffle=False).flat[:8]]
    assert all("✓ (none)" == t or "missed" in t for t in titles)


def test_a_loss_that_masks_what_is_not_known():
    learn = of_decisions([[1, np.nan, 0], [np.nan] * 3, [0, 0, 1], [1, 1, 1]], [[1] * 3] * 4).learn
    learn.loss_func = BCEWithLogitsLossFlat(missing="mask")
    interp = Interpretation.from_learner(learn, ds_idx=0)
    assert interp.confusion_matrix().sum() == 8 and len(interp.top_losses()[1]) == 4
    interp.plot_top_losses(4)


def test_top_losses(interp):
    p, t, _ = arrays(interp)
    by_hand = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=1)
    order = sorted(range(16), key=lambda i: -by_hand[i])
    losses, at = interp.top_losses()
    assert list(at) == order
    np.testing.assert_allclose(losses, by_hand[order], rtol=1e-4)
    losses, at, items = interp.top_losses(3, largest=False, items=True)
    assert list(at) == order[::-1][:3] and losses.shape == (3,)
    assert all(a is interp.dl.dataset.items[i] for a, i in zip(items, at))
    assert len(interp.top_losses(100)[1]) == 16


def test_the_offender_is_furthest_from_the_truth(interp):
    p, t, named = arrays(interp)
    for i in range(16):
        j = int(np.argmax(abs(p[i] - t[i])))
        got = interp.offender(i)
        assert got.label == LABELS[j] and got.there == bool(t[i, j])
        assert got.named == named[i, j] and got.thresh == np.float32(THRESH[j])


def test_plot_top_losses_names_the_offender(interp):
    axes = interp.plot_top_losses(4, nrows=1, figsize=(8, 3))
    assert axes.shape == (1, 4) and axes[0, 0].figure.get_size_inches().tolist() == [8, 3]
    losses, order = interp.top_losses(4)
    for ax, i, loss in zip(axes.flat, order, losses):
        lines = ax.get_title().split("\n")
        worst = interp.offender(i)
        assert lines[:2] == [f"item {i}", f"loss {float(loss):.3f}: {worst.label} {worst.prob:.2f}"]
        wrong = any(d.wrong for d in interp.decisions(i))
        assert any(line.startswith("✗") for line in lines) == wrong
        assert ax.title.get_color() == (WRONG if wrong else RIGHT)
        shown = np.asarray(ax.images[0].get_array()) / 255
        np.testing.assert_allclose(shown, interp.dl.dataset.items[i][0] / 255, atol=0.02)
    assert interp.plot_top_losses(20).size == 16
    best = interp.plot_top_losses(1, largest=False)[0, 0].get_title()
    assert best.startswith(f"item {interp.top_losses(1, largest=False)[1][0]}\n")


# --- labels

def test_confusion_matrix_is_scikit_learns(interp):
    sklearn = pytest.importorskip("sklearn.metrics")
    _, t, named = arrays(interp)
    want = sklearn.multilabel_confusion_matrix(t, named)
    np.testing.assert_array_equal(interp.confusion_matrix(), want)


def cells(ax):
    return [[text.get_text() for text in ax.texts[2 * i : 2 * i + 2]] for i in (0, 1)]


def test_plot_confusion_matrix(interp):
    tables = interp.confusion_matrix()
    axes = interp.plot_confusion_matrix()
    assert [ax.get_title() for ax in axes.flat[:3]] == list(LABELS)
    for ax, table in zip(axes.flat, tables):
        assert cells(ax) == [[str(n) for n in row] for row in table]
    one = interp.plot_confusion_matrix("red", normalize=True, figsize=(2, 2))
    shares = tables[2] / tables[2].sum(axis=1, keepdims=True)
    assert cells(one[0, 0]) == [[f"{share:.2f}" for share in row] for row in shares]
    assert one.shape == (1, 1) and one[0, 0].figure.get_size_inches().tolist() == [2, 2]


def test_curves_end_where_the_decisions_are(interp):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, t, named = arrays(interp)
    pr, roc = interp.plot_precision_recall(), interp.plot_roc(figsize=(4, 4))
    assert roc.figure.get_size_inches().tolist() == [4, 4]
    told = [text.get_text() for text in pr.get_legend().texts]
    assert told == [f"{label} (AP {sklearn.average_precision_score(t[:, i], p[:, i]):.3f})"
                    for i, label in enumerate(LABELS)]
    told = [text.get_text() for text in roc.get_legend().texts]
    assert told == [f"{label} (AUC {sklearn.roc_auc_score(t[:, i], p[:, i]):.3f})"
                    for i, label in enumerate(LABELS)]
    for i in range(3):
        curve, dot = pr.lines[2 * i : 2 * i + 2]
        precision, recall, _ = sklearn.precision_recall_curve(t[:, i], p[:, i])
        np.testing.assert_allclose(curve.get_xydata(), np.column_stack([recall, precision]))
        assert curve.get_drawstyle() == "steps-post" and dot.get_color() == curve.get_color()
        (recall, precision), = dot.get_xydata()
        assert recall == pytest.approx(sklearn.recall_score(t[:, i], named[:, i]))
        assert precision == pytest.approx(sklearn.precision_score(t[:, i], named[:, i]))
        curve, dot = roc.lines[2 * i : 2 * i + 2]
        fpr, tpr, _ = sklearn.roc_curve(t[:, i], p[:, i], drop_intermediate=False)
        np.testing.assert_allclose(curve.get_xydata(), np.column_stack([fpr, tpr]))
        (false, true), = dot.get_xydata()
        assert true == pytest.approx(recall)
        assert false == pytest.approx(1 - sklearn.recall_score(t[:, i] == 0, ~named[:, i]))
    ax = pyplot.figure().add_subplot()
    assert interp.plot_roc(["red", "blue"], ax=ax) is ax and len(ax.lines) == 5
    assert interp.plot_precision_recall("blue", ax=ax) is ax


def test_roc_of_ties():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    for _ in range(20):
        targets, scores = rng.integers(0, 2, 30), rng.integers(0, 6, 30) / 5
        targets[:2] = 0, 1
        want = sklearn.roc_curve(targets, scores, drop_intermediate=False)[:2]
        for own, theirs in zip(roc_curve(targets, scores), want):
            np.testing.assert_allclose(own, theirs)


def test_plot_probabilities(interp):
    p, t, _ = arrays(interp)
    axes = interp.plot_probabilities(bins=4)
    for i, ax in enumerate(axes.flat[:3]):
        for patch, kind, sign in zip(ax.patches, (1, 0), (1, -1)):
            own = p[t[:, i] == kind, i]
            values = patch.get_data().values
            counts = [((own >= k / 4) & (own < (k + 1) / 4)).sum() for k in range(4)]
            np.testing.assert_allclose(values, sign * np.array(counts) / len(own))
        lines = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
        assert lines == [pytest.approx(THRESH[i])] and ax.get_title() == LABELS[i]
        assert [text.get_text() for text in ax.get_legend().texts] == [
            f"there ({(t[:, i] == 1).sum()})", f"absent ({(t[:, i] == 0).sum()})"]
    assert interp.plot_probabilities(["green"], ncols=1, figsize=(3, 2)).shape == (1, 1)


# --- errors that come together

def of_decisions(targets, named, vocab="abc"):
    """An interpretation of given decisions alone."""
    targets, named = np.asarray(targets, np.float32), np.asarray(named, bool)
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock(encoded=True, vocab=list(vocab),
                                                             missing=True)),
                      get_x=first, get_y=second, splitter=EndSplitter(), item_tfms=Resize(16))
    image = photos(1)[0][0]
    dls = block.dataloaders([(image, row) for row in targets], bs=1)
    learn = vision_learner(dls, tiny, pretrained=False)
    probs = np.where(named, 0.75, 0.25).astype(np.float32)
    return Interpretation(learn, learn.loader(0), probs, targets, named, np.ones(len(targets)))


TARGETS = [[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0], [1, 0, 0]]
NAMED = [[0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]


def test_errors_that_come_together():
    interp = of_decisions(TARGETS, NAMED)
    want = np.zeros((4, 4), int)
    for t, m in zip(np.array(TARGETS), np.array(NAMED)):
        missed = [j for j in range(3) if t[j] > m[j]]
        wrong = [j for j in range(3) if m[j] > t[j]]
        for i in missed or ([3] if wrong else []):
            for j in wrong or [3]:
                want[i, j] += 1
    np.testing.assert_array_equal(interp.error_counts(), want)
    assert interp.most_confused() == [("a", "b", 2), ("a", "c", 1)]
    assert interp.most_confused(min_val=2) == [("a", "b", 2)]
    ax = interp.plot_error_counts(figsize=(3, 3))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c", "(nothing)"]
    assert [t.get_text() for t in ax.texts] == [str(n) if n else "" for n in want.flat]
    assert ax.figure.get_size_inches().tolist() == [3, 3]
    few = interp.plot_error_counts(max_n=1)
    assert [t.get_text() for t in few.get_yticklabels()] == ["a", "(nothing)"]
    assert [t.get_text() for t in few.texts] == ["", "", "1", ""]


def test_the_labels_with_the_most_errors_are_shown():
    interp = of_decisions(TARGETS, NAMED)
    titles = [ax.get_title() for ax in interp.plot_confusion_matrix(max_n=2).flat]
    assert titles == ["a", "b"]
    assert [ax.get_title() for ax in interp.plot_confusion_matrix(["c", "a"]).flat] == ["c", "a"]


def test_targets_that_are_not_known_count_nowhere():
    interp = of_decisions([[1, np.nan, 0], [np.nan, 1, 0], [0, 0, 1]],
                          [[1, 1, 1], [0, 1, 0], [0, 1, 0]])
    assert interp.confusion_matrix().tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 1]],
                                                  [[1, 1], [1, 0]]]
    assert interp.offender(0).label == "c"
    assert [str(d)[0] for d in interp.decisions(0)] == ["✓", "?", "✗"]
    ax = interp.plot_roc("b")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0], [1, 1]])
    assert of_decisions([[np.nan] * 3, [1, 1, 1]], [[1] * 3] * 2).offender(0) is None


def test_labels_without_a_curve():
    interp = of_decisions([[1, 0, 1], [1, 0, 0]], [[1, 0, 0], [1, 0, 0]])
    told = [text.get_text() for text in interp.plot_precision_recall().get_legend().texts]
    assert [t.split()[0] for t in told] == ["a", "c"]
    assert len(interp.plot_precision_recall("c").lines) == 1  # nothing named: no dot
    for plot, label, rule in (
        (interp.plot_precision_recall, "b", "some photos have"),
        (interp.plot_roc, "a", "some photos have and others lack"),
    ):
        with pytest.raises(ValueError) as caught:
            plot(label)
        assert str(caught.value) == (f"{plot.__name__}: `labels` must hold one that {rule}, "
                                     f"got {label}")
    assert interp.plot_probabilities().size == 3  # b is nowhere there: bars of nothing


def test_report(learn, interp, capsys):
    assert repr(interp.report()) == repr(learn.report())
    interp.print_classification_report()
    assert capsys.readouterr().out == f"{learn.report()}\n"


# --- Grad-CAM

def test_plot_grad_cam(learn, interp):
    image = photos(3, seed=9)[2][0]
    told = learn.predict(image)
    x = next(iter(learn.dls.test_dl([image])))[0]
    for label in LABELS:
        ax = plot_grad_cam(learn, image, label, figsize=(2, 2))
        column = LABELS.index(label)
        heat = grad_cam(learn.model, x, column)[0]
        veil = np.asarray(ax.images[1].get_array())
        np.testing.assert_allclose(veil[..., 3], 0.7 * heat / max(heat.max(), 1e-30), atol=1e-6)
        assert ax.get_title().startswith(f"{label} {float(told.probs[column]):.2f}")
        assert ("nothing speaks for it" in ax.get_title()) == (not heat.any())
        np.testing.assert_allclose(ax.images[0].get_array(), image.mean(axis=2), atol=1.5)
        assert ax.figure.get_size_inches().tolist() == [2, 2]
    best = LABELS[int(np.argmax(told.probs))]
    assert plot_grad_cam(learn, image).get_title().startswith(best)
    ax = pyplot.figure().add_subplot()
    assert interp.plot_grad_cam(2, "red", ax=ax) is ax
    want = plot_grad_cam(learn, interp.dl.dataset.items[2][0], "red")
    np.testing.assert_array_equal(ax.images[1].get_array(), want.images[1].get_array())


def test_nothing_speaks_for_a_label(learn):
    own = learn.model.state_dict()
    weights = {**own, "head.fc2.weight": np.zeros_like(own["head.fc2.weight"])}
    learn.model.load_state_dict(weights)
    try:
        title = plot_grad_cam(learn, photos(1)[0][0], "red").get_title()
    finally:
        learn.model.load_state_dict(own)
    assert title == "red 0.50: nothing speaks for it"


@pytest.mark.parametrize("call, message", [
    (lambda i: i.top_losses(0), "top_losses: `k` must be an integer of at least 1, got 0"),
    (lambda i: i.plot_top_losses(k=-1),
     "plot_top_losses: `k` must be an integer of at least 1, got -1"),
    (lambda i: i.plot_confusion_matrix("cat"),
     "plot_confusion_matrix: `labels` must be one of blue, green, red, got 'cat'"),
    (lambda i: i.plot_confusion_matrix([]),
     "plot_confusion_matrix: `labels` must name at least one label, got none"),
    (lambda i: i.plot_roc(max_n=0), "plot_roc: `max_n` must be an integer of at least 1, got 0"),
    (lambda i: i.plot_probabilities(bins=0),
     "plot_probabilities: `bins` must be an integer of at least 1, got 0"),
    (lambda i: i.most_confused(0),
     "most_confused: `min_val` must be an integer of at least 1, got 0"),
    (lambda i: i.plot_grad_cam(16), "plot_grad_cam: `i` must be below 16, got 16"),
    (lambda i: i.plot_grad_cam(-1), "plot_grad_cam: `i` must be an integer of at least 0, got -1"),
    (lambda i: i.plot_grad_cam(1, "cat"),
     "plot_grad_cam: `label` must be one of blue, green, red, got 'cat'"),
    (lambda i: Interpretation.from_learner(i.learn, ds_idx=2),
     "Learner: `ds_idx` must be 0 or 1, got 2"),
])
def test_messages(interp, call, message):
    with pytest.raises(ValueError) as caught:
        call(interp)
    assert str(caught.value) == message


def test_drawing_leaves_no_trace(interp):
    """Neither a setting nor a backend nor the learner changes."""
    import matplotlib

    before, seed = dict(matplotlib.rcParams), interp.learn.epochs_begun
    weights = {k: v.tobytes() for k, v in interp.learn.model.state_dict().items()}
    for draw in (interp.plot_top_losses, interp.plot_confusion_matrix, interp.plot_roc,
                 interp.plot_precision_recall, interp.plot_probabilities,
                 interp.plot_error_counts, lambda: interp.plot_grad_cam(0)):
        drawn = draw()
        (drawn.flat[0] if hasattr(drawn, "flat") else drawn).figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before and interp.learn.epochs_begun == seed
    assert {k: v.tobytes() for k, v in interp.learn.model.state_dict().items()} == weights
