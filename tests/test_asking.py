"""What a learner answers in several ways: lists, threads, test time augmentation, the summary."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from tiny import photos, tiny, tiny_learner, tiny_loaders

from mlclassify.data.lists import L
from mlclassify.metrics import F1ScoreMulti, accuracy_multi
from mlclassify.prediction import Prediction
from mlclassify.vision.augment import Brightness, Flip, Resize, aug_transforms
from mlclassify.vision.learner import vision_learner


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


IMAGES = [image for image, _ in photos(40, seed=3)]


# --- predict

@pytest.mark.parametrize("kind", [list, L])
def test_predict_takes_a_list(kind):
    learn = tiny_learner()
    told = learn.predict(kind(IMAGES))
    assert isinstance(told, L) and len(told) == 40
    for image, answer in zip(IMAGES, told):
        one = learn.predict(image)
        assert isinstance(answer, Prediction) and list(answer.labels) == list(one.labels)
        np.testing.assert_allclose(answer.probs, one.probs, atol=1e-6)
        np.testing.assert_array_equal(answer.mask, one.mask)
        assert answer.thresh == one.thresh == 0.5 and answer.novelty is None
    assert list(learn.predict([])) == [] and len(learn.predict(IMAGES[:1])) == 1


def test_predict_of_a_list_judges_novelty():
    learn = tiny_learner()
    learn.fit_novelty(k=2)
    told = learn.predict(IMAGES[:3])
    for image, answer in zip(IMAGES, told):
        one = learn.predict(image)
        assert answer.novelty == pytest.approx(one.novelty, abs=1e-6)
        assert list(answer.neighbours) == list(one.neighbours)


@pytest.mark.parametrize("novel", [False, True])
def test_sixteen_threads_get_their_own_answers(novel):
    learn = tiny_learner()
    if novel:
        learn.fit_novelty(k=2)
    want = [learn.predict(image).probs.tobytes() for image in IMAGES]
    lists = [[p.probs.tobytes() for p in learn.predict(IMAGES[i : i + 5])] for i in range(36)]

    def ask(turn):
        i = turn % 36
        alone = learn.predict(IMAGES[i]).probs.tobytes()
        several = [p.probs.tobytes() for p in learn.predict(IMAGES[i : i + 5])]
        return alone == want[i] and several == lists[i]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(160)))


# --- test time augmentation

def augmented():
    dls = tiny_loaders(23, 4)
    for t in aug_transforms():
        dls.add_batch_tfm(t)
    return tiny_learner(dls=dls)


def test_tta_is_the_mean_of_augmented_and_plain():
    learn = augmented()
    (many, plain), targets = learn.tta(beta=None)
    np.testing.assert_array_equal(plain, learn.get_preds()[0])
    np.testing.assert_array_equal(targets, learn.get_preds()[1])
    assert not np.allclose(many, plain, atol=1e-4)
    np.testing.assert_allclose(learn.tta()[0], 0.75 * many + 0.25 * plain, atol=1e-6)
    np.testing.assert_array_equal(learn.tta()[0], learn.tta()[0])
    np.testing.assert_allclose(learn.tta(beta=1)[0], plain, atol=1e-6)
    assert (np.asarray(learn.tta(use_max=True)[0]) >= np.asarray(plain)).all()
    single = [np.asarray(learn.tta(n=n, beta=0)[0]) for n in (1, 2)]
    assert not np.allclose(*single, atol=1e-5)


def test_tta_of_other_photos_and_transforms():
    learn = augmented()
    assert learn.tta(ds_idx=0)[0].shape == (19, 3)
    preds, targets = learn.tta(dl=learn.dls.test_dl(IMAGES[:5]))
    assert preds.shape == (5, 3) and targets is None
    (many, plain), _ = learn.tta(batch_tfms=[], beta=None)
    np.testing.assert_allclose(many, plain, atol=1e-6)
    flipped = learn.tta(batch_tfms=[Flip(p=1.0)], beta=0)[0]
    assert not np.allclose(flipped, plain, atol=1e-4)
    bright = learn.tta(batch_tfms=Brightness(0.9, p=1.0), beta=0)[0]
    assert not np.allclose(bright, plain, atol=1e-4)
    smaller = learn.tta(item_tfms=Resize(8), batch_tfms=[], beta=0)[0]
    assert not np.allclose(smaller, plain, atol=1e-4)


@pytest.mark.parametrize("options, message", [
    ({"n": 0}, "tta: `n` must be an integer of at least 1, got 0"),
    ({"beta": -0.1}, "tta: `beta` must be finite and not negative, got -0.1"),
    ({"beta": 1.5}, "tta: `beta` must lie in [0, 1], or be None, got 1.5"),
    ({"ds_idx": 2}, "Learner: `ds_idx` must be 0 or 1, got 2"),
])
def test_messages_of_tta(options, message):
    with pytest.raises(ValueError) as caught:
        tiny_learner().tta(**options)
    assert str(caught.value).startswith(message)


# --- the summary and the record

def test_the_summary_names_layers_shapes_and_what_is_trained():
    learn = tiny_learner()
    learn.freeze()
    text = learn.summary()
    assert repr(text) == str(text) and text.startswith("tiny (input 8 x 3 x 16 x 16)\n")
    rows = {line.split()[0]: line.split() for line in text.splitlines()[2:] if line}
    assert rows["conv1"] == ["conv1", "conv", "8", "x", "8", "x", "8", "216", "no"]
    assert rows["head.fc2"][-2:] == ["1,536", "yes"] and rows["bn1"][-1] == "yes"
    sizes = {name: value.size for name, value in learn.model.parameters().items()}
    moving = sum(sizes[name] for name in learn.model.trainable)
    total = sum(sizes.values())
    assert (f"parameters: {total:,}, of them trained: {moving:,}, frozen: {total - moving:,}\n"
            "optimizer: Adam\nloss: FlattenedLoss of BCEWithLogitsLoss()\n"
            "callbacks: Recorder, ProgressCallback") in text
    learn.create_opt()
    assert "optimizer: Adam(lr=[0.001, 0.001, 0.001], wd=0.01)" in learn.summary()


def test_the_record_is_a_frame_and_pictures():
    pandas = pytest.importorskip("pandas")
    learn = tiny_learner(40, 8)
    assert learn.recorder.to_frame().empty
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
    frame = learn.recorder.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["epoch", "train_loss", "valid_loss", "time"]
    assert frame.values.tolist() == learn.recorder.rows
    axes = learn.recorder.plot_sched("wd", figsize=(2, 3))
    assert [ax.get_ylabel() for ax in axes] == ["wd"]
    assert axes[0].figure.get_size_inches().tolist() == [2, 3]
    assert learn.recorder.plot_sched(["lr"], axes=axes) is axes
    with pytest.raises(ValueError) as caught:
        learn.recorder.plot_sched("speed")
    assert str(caught.value) == ("plot_sched: `keys` must be hyper-parameters of the last fit, lr, "
                                 "mom, sqr_mom, eps, wd, got 'speed'")
    plain = learn.recorder.plot_loss(skip_start=0)
    marked = learn.recorder.plot_loss(skip_start=0, log=True, show_epochs=True)
    assert len(marked.lines) == len(plain.lines) + 2
    assert (marked.get_xscale(), plain.get_xscale()) == ("log", "linear")


def test_the_folder_of_saved_models_is_the_factorys(tmp_path):
    make = partial(vision_learner, tiny_loaders(), tiny, pretrained=False, path=tmp_path)
    assert make().save("a").parent == tmp_path / "models"
    assert make(model_dir="x/y").save("a").parent == tmp_path / "x" / "y"


def test_pictures_of_the_metrics():
    learn = tiny_learner(40, 8, metrics=[accuracy_multi, F1ScoreMulti(average=None)])
    with pytest.raises(ValueError) as caught:
        learn.recorder.plot_metrics()
    assert str(caught.value) == "plot_metrics: the last fit must have a whole epoch, got none"
    with learn.no_logging():
        learn.fit(2, 1e-2)
    axes = learn.recorder.plot_metrics(nrows=1, figsize=(6, 2))
    assert axes.shape == (1, 2) and axes[0, 0].figure.get_size_inches().tolist() == [6, 2]
    assert [ax.get_title() for ax in axes.flat] == ["loss", "accuracy_multi"]
    values = learn.recorder.values
    for line, column in zip([*axes[0, 0].lines, *axes[0, 1].lines], range(3)):
        assert line.get_xydata().tolist() == [[i, float(values[i][column])] for i in (0, 1)]
    learn.recorder.rows[0][2] = None  # an epoch whose validation was cancelled
    assert len(learn.recorder.plot_metrics()[0, 0].lines[1].get_xdata()) == 1
    small = learn.recorder.plot_loss(figsize=(3, 2))
    assert small.figure.get_size_inches().tolist() == [3, 2]
    assert learn.recorder.plot_lr_find(figsize=(3, 2)).figure.get_size_inches().tolist() == [3, 2]
    assert learn.plot_thresholds(figsize=(3, 1)).figure.get_size_inches().tolist() == [3, 1]
