"""Saying nothing about what is like nothing that was taught."""

import math

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import photos, register, tiny, tiny_layers, tiny_learner, tiny_loaders

from mlclassify import _core
from mlclassify.checks import MLClassifyWarning
from mlclassify.learner import load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.novelty import (
    Novelty,
    _chance,
    choose_cut,
    conformal_cut,
    fit_novelty,
    photo_names,
)
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import create_model
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)


def score_of(row, known, k):
    """1 - mean cosine to the k nearest, by the definition."""
    cosines = [float(np.dot(row, other)) / np.sqrt(np.dot(row, row) * np.dot(other, other))
               for other in known]
    return 1 - sum(sorted(cosines, reverse=True)[:k]) / k


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("block", [4, 512])
def test_scores_are_mean_cosines_to_k_neighbours(k, block, monkeypatch):
    monkeypatch.setattr("mlclassify.novelty._BLOCK", block)
    rng = np.random.default_rng(k)
    known, asked = rng.normal(size=(30, 7)), rng.normal(size=(9, 7))
    novelty = Novelty(known, [f"{i}.jpg" for i in range(30)], 0.5, k)
    want = [score_of(row, known, k) for row in asked]
    np.testing.assert_allclose(novelty.scores(asked), want, atol=1e-6)
    assert novelty.is_novel(asked).tolist() == [s > 0.5 for s in want]
    names = novelty.neighbours(asked)
    for row, near in zip(asked, names, strict=True):
        cosines = known @ row / np.linalg.norm(known, axis=1)
        assert near == [f"{i}.jpg" for i in np.argsort(-cosines)[:k]]
    want = [score_of(row, np.delete(known, i, axis=0), k) for i, row in enumerate(known)]
    np.testing.assert_allclose(novelty.left_out_scores(), want, atol=1e-6)


def test_no_photos_have_no_scores():
    novelty = Novelty([[1, 0]], ["a"], 0.5, k=1)
    assert novelty.scores(np.empty((0, 2))).shape == (0,)
    assert novelty.neighbours(np.empty((0, 2))) == []


# --- the cut

@pytest.mark.parametrize("n, lost, above", [
    (60, 0.05, 3), (59, 0.05, 3), (58, 0.05, 2), (99, 0.1, 10), (9, 0.1, 1), (9, 0.99, 9),
    (299, 0.01, 3), (1, 0.5, 1),
])
def test_the_conformal_cut_is_a_rank(n, lost, above):
    scores = np.random.default_rng(n).permutation(n) / n
    cut = conformal_cut(scores, lost)
    assert np.sum(scores >= cut) == above
    assert above / (n + 1) <= lost < (above + 1) / (n + 1)


def draws(n_held_out, n_taught, shrink, times=4000):
    """Yield (held out, left out, new) scores of one heavy-tailed distribution; training shrinks."""
    rng = np.random.default_rng(0)
    for _ in range(times):
        yield (rng.standard_exponential(n_held_out),
               rng.standard_exponential(n_taught) * shrink,
               rng.standard_exponential(50))


@pytest.mark.parametrize("lost", [0.05, 0.1, 0.3])
def test_the_promise_is_kept_on_average_over_draws(lost):
    shares = {"all": [], "held out": []}
    for held_out, left_out, new in draws(60, 240, shrink=1):
        shares["all"].append(np.mean(new > choose_cut(held_out, left_out, lost)))
        shares["held out"].append(np.mean(new > conformal_cut(held_out, lost)))
    for kept in shares.values():
        assert lost - 1 / 61 - 0.003 < np.mean(kept) < lost + 0.003
    assert np.std(shares["all"]) < np.std(shares["held out"])  # what the training photos are for


@pytest.mark.parametrize("shrink, most", [(0, 0.105), (0.3, 0.105), (0.7, 0.14)])
def test_training_photos_learned_by_heart_do_not_decide(shrink, most):
    lost = [np.mean(new > choose_cut(held_out, left_out, 0.1))
            for held_out, left_out, new in draws(60, 240, shrink, times=1000)]
    assert np.mean(lost) < most


def test_the_chance_that_refutes_is_that_of_a_binomial():
    def slow(n, least, p):
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(least, n + 1))

    for n, least, p in [(1, 0, 0.5), (60, 9, 0.05), (60, 60, 0.9), (7, 3, 0.2), (7, 8, 0.2)]:
        assert _chance(n, least, p) == pytest.approx(slow(n, least, p), rel=1e-9)
    assert 0 < _chance(100_000, 5_300, 0.05) < 1e-4


@pytest.mark.parametrize("lost, above", [(0.02, 1), (0.1, 9), (0.5, 45)])
def test_the_more_is_lost_the_lower_the_cut(lost, above):
    rng = np.random.default_rng(0)
    known, held_out = rng.normal(size=(50, 5)), rng.normal(size=(40, 5))
    novelty = fit_novelty(known, [""] * 50, held_out, lost, k=3)
    fresh = [score_of(row, known, 3) for row in held_out]
    taught = [score_of(row, np.delete(known, i, axis=0), 3) for i, row in enumerate(known)]
    cut = sorted(fresh + taught)[-above]
    assert novelty.cut == pytest.approx(cut, abs=2e-6)
    assert novelty.is_novel(held_out).tolist() == [score > cut + 5e-7 for score in fresh]


def test_neighbours_that_count_change_the_cut():
    rng = np.random.default_rng(0)
    known, held_out = rng.normal(size=(50, 5)), rng.normal(size=(40, 5))
    assert fit_novelty(known, [""] * 50, held_out, k=1).cut < fit_novelty(
        known, [""] * 50, held_out, k=20).cut


def test_features_without_direction_are_novel():
    assert Novelty([[1, 0]], ["a"], 0.5, k=1).scores([[0, 0]]).tolist() == [1.0]


@pytest.mark.parametrize("call, message", [
    (lambda: Novelty([[1.0, np.nan]], ["a"], 1, 1),
     r"Novelty: `features` must be finite, got nan at index \(0, 1\)"),
    (lambda: Novelty([[1.0]], ["a", "b"], 1, 1),
     r"Novelty: `names` must be as many as `features` \(1\), got 2"),
    (lambda: Novelty([[1.0]], ["a"], np.nan, 1), "Novelty: `cut` must be a number, got nan"),
    (lambda: Novelty([[1.0]], ["a"], 1, 2),
     "Novelty: `features` must be of at least k = 2 photos, got 1"),
    (lambda: Novelty([[1.0]], ["a"], 1, 0), "Novelty: `k` must be an integer of at least 1, got 0"),
    (lambda: Novelty([[1.0]], ["a"], 1, 1).scores([[1, 2]]),
     "Novelty: `features` must have 1 columns, got 2"),
    (lambda: fit_novelty([[1.0]], ["a"], [[1.0]], 1.0, 1),
     r"fit_novelty: `lost` must lie in \[0, 1\), got 1.0"),
    (lambda: fit_novelty([[1.0]], ["a"], [[1.0]], np.nan, 1),
     r"fit_novelty: `lost` must lie in \[0, 1\), got nan"),
    (lambda: fit_novelty([[1.0]] * 8, ["a"] * 8, [[1.0]], 0.09, 1),
     "fit_novelty: `lost` must be at least 1 / 10 with 9 known photos, got 0.09"),
    (lambda: fit_novelty([[1.0]], ["a"], [[1.0]], 0.5, 1),
     r"Novelty: `features` must be of at least k \+ 1 = 2 photos where one is left out, got 1"),
    (lambda: fit_novelty([[1.0]], ["a"], [[1.0]], 0.5, 2),
     "Novelty: `features` must be of at least k = 2 photos, got 1"),
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


def test_features_are_maxima_and_means_of_the_last_map():
    model = tiny_learner().model
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    images = images.transpose(0, 3, 1, 2)
    logits, features = model.forward_with_features(images)
    np.testing.assert_array_equal(logits, model.forward(images))
    body = _core.Net(list(tiny_layers()))
    body.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head")})
    last = body.forward(images).astype(np.float64)
    for part, want in zip(np.split(features, 2, axis=1), (last.max((2, 3)), last.mean((2, 3)))):
        want /= np.linalg.norm(want, axis=1, keepdims=True)
        np.testing.assert_allclose(part, want, rtol=1e-5, atol=1e-6)
    assert features.dtype == np.float32


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


def silent(learn):
    """Count validation photos without a label; each has three where it is not novel."""
    *_, masks = learn.get_preds(with_decoded=True)
    return int(np.sum(~np.any(masks, axis=1)))


def test_decisions_of_many_photos_agree_with_predict(learn, tmp_path):
    learn.fit_novelty(lost=0.25, k=3)
    probs, _, masks = learn.get_preds(with_decoded=True)
    loaded = load_learner(learn.export())
    images = [image for image, _ in learn.dls.valid_ds.items]
    told = learn.predict(images)
    for image, row, mask, listed in zip(images, probs, masks, told, strict=True):
        for answer in (learn.predict(image), listed, loaded.predict(image)):
            np.testing.assert_allclose(answer.probs, row, atol=1e-6)
            np.testing.assert_array_equal(answer.mask, mask)
            assert len(answer.labels) == (0 if answer.novelty > learn.novelty.cut else 3)
    *_, again = loaded.get_preds(dl=loaded.dls.test_dl(images), with_decoded=True)
    np.testing.assert_array_equal(again, masks)
    titles = [ax.get_title() for ax in learn.show_results(max_n=16, shuffle=False).flat]
    named = [t for t in titles if all("as novel" in x or "(none)" in x for x in t.split("\n"))]
    assert 0 < silent(learn) == len(named) < 16


def test_the_more_may_be_lost_the_more_photos_get_no_label(learn):
    counts = []
    for lost in (0.02, 0.2, 0.6):
        novelty = learn.fit_novelty(lost=lost, k=3)
        known = np.append(novelty.left_out_scores(), [p.novelty for p in learn.predict(
            [image for image, _ in learn.dls.valid_ds.items])])
        assert np.sum(known > novelty.cut - 2e-6) == int(lost * 81)
        counts.append(silent(learn))
    assert counts[0] < counts[1] < counts[2]


def test_the_neighbours_that_count_change_score_and_cut(learn):
    one, many = learn.fit_novelty(k=1), learn.fit_novelty(k=40)
    assert one.cut < many.cut
    assert len(learn.predict(photos(1, seed=9)[0][0]).neighbours) == 40


def test_a_loaded_learner_has_no_photos_to_fit_to(learn):
    loaded = load_learner(learn.export())
    with pytest.raises(ValueError, match=(
            r"^Novelty: `features` must be of at least k = 5 photos, got 0$")):
        loaded.fit_novelty()
    assert loaded.novelty is None


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
    assert load_file(path)["novelty.maxima_means"].shape == (64, 32)
    loaded = load_learner(path)
    assert repr(loaded.novelty) == repr(learn.novelty)
    for image, _ in photos(8, seed=5):
        ours, theirs = learn.predict(image), loaded.predict(image)
        assert ours.novelty == theirs.novelty
        assert list(ours.neighbours) == list(theirs.neighbours)
        assert list(ours.labels) == list(theirs.labels)


@pytest.mark.parametrize("change", [
    lambda t: t.pop("novelty.maxima_means"),
    lambda t: t.update({"novelty.maxima_means": np.ones((2, 32), np.float32)}),
    lambda t: t.update({"novelty.maxima_means": np.ones((64, 16), np.float32)}),
    lambda t: t.update({"novelty.maxima_means": np.full((64, 32), np.nan, np.float32)}),
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


def test_the_novelty_of_a_preview_is_refused(learn):
    from mlclassify import export

    learn.fit_novelty()
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    tensors["novelty.features"] = tensors.pop("novelty.maxima_means")[:, 16:].copy()
    metadata[export._HASH] = export.digest(tensors, metadata[export._LEARNER])
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match=(
            "its novelty is that of a preview of mlclassify 0.1.0, which went by other features; "
            r"install that preview to load it, or call learn.fit_novelty\(\) and export again$")):
        load_learner(path)


# --- the body before training

@pytest.fixture
def began(tmp_path):
    """A trained learner that began with the weights of a file, and these."""
    state = {k: v for k, v in create_model(tiny, 1, seed=5).state_dict().items()
             if not k.startswith("head")}
    weights = tmp_path / "tiny.safetensors"
    write_tensors(weights, state, {})
    learn = vision_learner(tiny_loaders(80, 16), tiny, weights=weights, path=tmp_path, seed=7,
                           loss_func=BCEWithLogitsLossFlat(thresh=-np.inf))
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 1e-2)
    return learn, state


def cosines_of_bodies(learn, state, image):
    """Mean cosine of a photo to each training photo, of the body now and with `state`, float64."""
    before = create_model(tiny, 3, seed=9)
    before.load_body(state, "test")
    cosines = []
    for model in (learn.model, before):
        parts = []
        for dl in (learn.loader(0, None), learn.dls.test_dl([image])):
            found = [model.forward_with_features(b.x)[1].copy() for b in dl.stream(learn.seed, 0)]
            parts.append(np.concatenate(found).astype(np.float64))
        taught, asked = (p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts)
        cosines.append((asked @ taught.T)[0])
    return np.mean(cosines, axis=0)


def test_the_body_before_training_has_half_a_say(began):
    learn, state = began
    novelty = learn.fit_novelty(lost=0.2, k=4)
    for image, _ in photos(4, seed=5):
        cosines = np.sort(cosines_of_bodies(learn, state, image))
        np.testing.assert_allclose(learn.predict(image).novelty, 1 - cosines[-4:].mean(), atol=1e-5)
    alone = learn.fit_novelty(lost=0.2, k=4, pretrained=False)
    assert alone.features.shape == (64, 32) and novelty.features.shape == (64, 64)
    assert alone.backbone is None and abs(alone.cut - novelty.cut) > 1e-4


def test_weights_of_a_body_that_never_began_with_any(began, learn):
    file = began[0].model.weights_file
    assert learn.fit_novelty(lost=0.2).backbone is None
    with_file = learn.fit_novelty(lost=0.2, weights=file)
    assert with_file.features.shape == (64, 64)
    with pytest.raises(ValueError, match=(
            r"^fit_novelty: `weights` must be None with pretrained=False, got 'x'$")):
        learn.fit_novelty(pretrained=False, weights="x")
    with pytest.raises(FileNotFoundError, match="^fit_novelty: `weights` must name a file"):
        learn.fit_novelty(weights="nowhere.safetensors")
    assert learn.novelty is with_file


def test_weights_that_are_gone_are_missed(began):
    learn = began[0]
    learn.model.weights_file.unlink()
    with pytest.raises(FileNotFoundError, match="^fit_novelty: `weights` must name a file"):
        learn.fit_novelty(lost=0.2)
    assert learn.fit_novelty(lost=0.2, pretrained=False) is learn.novelty


def test_a_file_keeps_both_bodies(began):
    learn = began[0]
    learn.fit_novelty(lost=0.2, k=4)
    loaded = load_learner(learn.export())
    for image, _ in photos(8, seed=5):
        ours, theirs = learn.predict(image), loaded.predict(image)
        assert ours.novelty == theirs.novelty and list(ours.labels) == list(theirs.labels)
        assert list(ours.neighbours) == list(theirs.neighbours)
    again = load_learner(loaded.export(learn.path / "again.safetensors"))
    assert again.predict(image).novelty == ours.novelty


@pytest.mark.parametrize("change", [
    lambda t: t.pop("novelty.backbone.conv1.weight"),
    lambda t: t.update({"novelty.backbone.fc.weight": np.ones((2, 2), np.float32)}),
    lambda t: t.update({"novelty.backbone.bn1.weight": np.ones(9, np.float32)}),
    lambda t: t.update({"novelty.backbone.bn1.weight": np.ones(8)}),
    lambda t: t.pop("novelty.maxima_means"),
    lambda t: t.update({"novelty.maxima_means": np.ones((64, 32), np.float32)}),
    lambda t: [t.pop(k) for k in list(t) if k.startswith("novelty.backbone")],
])
def test_a_forged_body_is_refused(began, change):
    from mlclassify import export

    learn = began[0]
    learn.fit_novelty(lost=0.2)
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    change(tensors)
    metadata[export._HASH] = export.digest(tensors, metadata[export._LEARNER])
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match="must describe a learner"):
        load_learner(path)
