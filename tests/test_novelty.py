"""Saying nothing about what is like nothing that was taught."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import photos, register, tiny_layers, tiny_learner

from mlclassify import _core
from mlclassify.checks import MLClassifyWarning
from mlclassify.learner import load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.novelty import Novelty, fit_novelty, photo_names
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)


def cosine_to_kth(row, known, k):
    """1 - cosine to the k-th nearest, by the definition."""
    cosines = [float(np.dot(row, other)) / np.sqrt(np.dot(row, row) * np.dot(other, other))
               for other in known]
    return 1 - sorted(cosines, reverse=True)[k - 1]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_scores_are_cosines_to_the_kth_neighbour(k):
    rng = np.random.default_rng(k)
    known, asked = rng.normal(size=(30, 7)), rng.normal(size=(9, 7))
    novelty = Novelty(known, [f"{i}.jpg" for i in range(30)], 0.5, k)
    want = [cosine_to_kth(row, known, k) for row in asked]
    np.testing.assert_allclose(novelty.scores(asked), want, atol=1e-6)
    assert novelty.is_novel(asked).tolist() == [s > 0.5 for s in want]
    for row, names in zip(asked, novelty.neighbours(asked)):
        cosines = known @ row / np.linalg.norm(known, axis=1)
        assert names == [f"{i}.jpg" for i in np.argsort(-cosines)[:k]]


@pytest.mark.parametrize("lost, n", [(0, 0), (0.05, 2), (0.1, 4), (0.99, 39)])
def test_the_cut_loses_no_more_known_photos_than_stated(lost, n):
    rng = np.random.default_rng(0)
    known, held_out = rng.normal(size=(50, 5)), rng.normal(size=(40, 5))
    novelty = fit_novelty(known, [""] * 50, held_out, lost)
    assert novelty.is_novel(held_out).sum() == n


def test_features_without_direction_are_novel():
    assert Novelty([[1, 0]], ["a"], 0.5, k=1).scores([[0, 0]]).tolist() == [1.0]


@pytest.mark.parametrize("call, message", [
    (lambda: Novelty([[1.0, np.nan]], ["a"], 1, 1),
     r"Novelty: `features` must be finite, got nan at index \(0, 1\)"),
    (lambda: Novelty([[1.0]], ["a", "b"], 1, 1),
     r"Novelty: `names` must be as many as `features` \(1\), got 2"),
    (lambda: Novelty([[1.0]], ["a"], 1, 2),
     "Novelty: `features` must be of at least k = 2 photos, got 1"),
    (lambda: Novelty([[1.0]], ["a"], 1, 0), "Novelty: `k` must be an integer of at least 1, got 0"),
    (lambda: Novelty([[1.0]], ["a"], 1, 1).scores([[1, 2]]),
     "Novelty: `features` must have 1 columns, got 2"),
    (lambda: fit_novelty([[1.0]], ["a"], [[1.0]], 1.0, 1),
     r"fit_novelty: `lost` must lie in \[0, 1\), got 1.0"),
    (lambda: fit_novelty([[1.0]], ["a"], [], 0.05, 1),
     "fit_novelty: `held_out` must hold at least one photo, got none; the cut is chosen on photos "
     "that were not trained on"),
])
def test_messages(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()


def test_names_of_photos(tmp_path):
    items = [tmp_path / "a" / "b.jpg", str(tmp_path / "c.jpg"), np.zeros(3), "/elsewhere/d.jpg"]
    assert photo_names(items, tmp_path) == ["a/b.jpg", "c.jpg", "item 2", "/elsewhere/d.jpg"]


# --- the features

def test_a_layer_of_a_prediction_is_what_a_net_that_ends_there_gives():
    layers = tiny_layers()
    x = layers.add("concatpool", "pool", len(layers))
    layers.add("linear", "fc", x, out=3, bias=True)
    whole = _core.Net(list(layers))
    rng = np.random.default_rng(0)
    state = {name: rng.normal(size=v.shape).astype(np.float32)
             for name, v in whole.parameters().items()}
    images = rng.normal(size=(5, 16, 16, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    whole.load_state_dict(state)
    alone = whole.forward(images)
    for i, (_, name, _, _) in enumerate(layers):
        part = _core.Net(list(layers)[: i + 1])
        part.load_state_dict({k: v for k, v in state.items() if k in part.parameters()})
        out, also = whole.forward(images, also=name)
        np.testing.assert_array_equal(out, alone)
        # A batch norm that is written apart rounds as one in the epilogue does not always.
        np.testing.assert_allclose(also, part.forward(images), rtol=1e-5, atol=1e-5)
    for wrong, train in (("nowhere", False), (5, False), ("pool", True)):
        with pytest.raises(ValueError, match="Net.forward: `also` must be the name of a layer, and "
                                             f"train False, got {wrong!r} and {train}"):
            whole.forward(images, train=train, also=wrong)


def test_features_are_the_means_of_the_last_map():
    model = tiny_learner().model
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    images = images.transpose(0, 3, 1, 2)
    logits, features = model.forward_with_features(images)
    np.testing.assert_array_equal(logits, model.forward(images))
    body = _core.Net(list(tiny_layers()))
    body.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head")})
    want = body.forward(images).astype(np.float64).mean(axis=(2, 3))
    np.testing.assert_allclose(features, want, rtol=1e-5, atol=1e-6)


# --- the learner

@pytest.fixture
def learn(tmp_path):
    learn = tiny_learner(80, 16, path=tmp_path, loss_func=BCEWithLogitsLossFlat(thresh=-np.inf))
    with learn.no_logging():
        learn.fit(2, 1e-2)
    return learn


def test_a_novel_photo_gets_no_label_and_says_why(learn):
    known, strange = photos(1, seed=9)[0][0], 255 - photos(1, seed=9)[0][0]
    before = learn.predict(strange)
    assert list(before.labels) == ["blue", "green", "red"]
    assert before.novelty is None and list(before.neighbours) == []
    novelty = learn.fit_novelty(lost=0.1, k=5)
    assert novelty is learn.novelty and len(novelty.names) == 64
    answer = learn.predict(strange)
    assert answer.novelty > novelty.cut
    assert list(answer.labels) == [] and not np.any(answer.mask)
    np.testing.assert_array_equal(answer.probs, before.probs)
    assert len(answer.neighbours) == 5 and set(answer.neighbours) <= set(novelty.names)
    assert len(learn.predict(known).labels) == 3 and learn.predict(known).novelty <= novelty.cut
    learn.novelty = None
    assert len(learn.predict(strange).labels) == 3


def test_decisions_of_many_photos_agree_with_predict(learn):
    learn.fit_novelty(lost=0.25, k=3)
    probs, _, masks = learn.get_preds(with_decoded=True)
    assert np.sum(~np.any(masks, axis=1)) == 4  # a quarter of 16 validation photos
    for (image, _), row, mask in zip(learn.dls.valid_ds.items, probs, masks):
        answer = learn.predict(image)
        np.testing.assert_array_equal(answer.probs, row)
        np.testing.assert_array_equal(answer.mask, mask)
    titles = [ax.get_title() for ax in learn.show_results(max_n=16, shuffle=False).flat]
    silent = [t for t in titles if all("as novel" in x or "(none)" in x for x in t.split("\n"))]
    assert len(silent) == 4


def test_validation_photos_are_judged_as_before(learn):
    before = learn.validate()
    learn.fit_novelty()
    assert list(learn.validate()) == list(before)


def test_training_forgets_what_it_makes_stale(learn):
    learn.fit_novelty()
    with learn.no_logging(), pytest.warns(MLClassifyWarning, match=(
            "^fit: training changes the features that `learn.novelty` was fitted to, so it is "
            r"forgotten; call learn.fit_novelty\(\) again$")):
        learn.fit_one_cycle(1)
    assert learn.novelty is None


def test_a_file_keeps_it(learn):
    learn.fit_novelty(lost=0.2, k=4)
    path = learn.export()
    assert load_file(path)["novelty.features"].shape == (64, 16)
    loaded = load_learner(path)
    assert repr(loaded.novelty) == repr(learn.novelty)
    for image, _ in photos(8, seed=5):
        ours, theirs = learn.predict(image), loaded.predict(image)
        assert ours.novelty == theirs.novelty
        assert list(ours.neighbours) == list(theirs.neighbours)
        assert list(ours.labels) == list(theirs.labels)


@pytest.mark.parametrize("change", [
    lambda t: t.pop("novelty.features"),
    lambda t: t.update({"novelty.features": np.ones((2, 16), np.float32)}),
    lambda t: t.update({"novelty.features": np.full((64, 16), np.nan, np.float32)}),
])
def test_forged_features_are_refused(learn, change):
    from mlclassify import export

    learn.fit_novelty()
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    change(tensors)
    metadata[export._HASH] = export.digest(tensors, metadata[export._LEARNER])
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match="must describe a learner"):
        load_learner(path)
