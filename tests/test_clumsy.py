"""What happens around a run when the world does not keep still, or the data are odd."""

import shutil
import threading

import numpy as np
import pytest
from tiny import photos, register, tiny, tiny_learner

from mlclassify.vision.all import (
    APScoreMulti,
    Callback,
    DataBlock,
    EndSplitter,
    Image,
    RandomSplitter,
    Resize,
    accuracy_multi,
    get_image_files,
    load_learner,
    parent_label,
    vision_learner,
)

LABELS = ("$a_1$<b>", "black bear", "плюшевый мишка")
MODES = ("RGB", "L", "RGBA", "P", "CMYK", "1", "LA", "I;16")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)


@pytest.fixture
def folder(tmp_path, rng):
    """Photos of every mode, in folders and under names with spaces and letters of all kinds."""
    for label in LABELS:
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i, mode in enumerate(MODES):
            pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
            image = Image.fromarray(pixels)
            if mode == "I;16":
                image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            else:
                image = image.convert(mode)
            ending = "jpg" if mode == "CMYK" else "png"
            image.save(tmp_path / "photos" / label / f"{i} ü.{ending}")
    return tmp_path / "photos"


def loaders(folder, bs=4, splitter=None, **options):
    block = DataBlock(get_items=get_image_files, get_y=parent_label, item_tfms=Resize(16),
                      splitter=splitter or RandomSplitter(0.25, seed=1))
    return block.dataloaders(folder, bs=bs, **options)


def learner(dls, **options):
    metrics = [accuracy_multi, APScoreMulti(zero_division=np.nan)]
    return vision_learner(dls, tiny, pretrained=False, metrics=metrics, seed=1, **options)


def fit(learn, n=1, **options):
    with learn.no_logging():
        learn.fit(n, 1e-2, **options)
    return learn


def test_modes_names_and_letters(folder, tmp_path):
    learn = fit(learner(loaders(folder, path=tmp_path)))
    file = folder / LABELS[2] / "4 ü.jpg"
    path = learn.export("мишка 1.safetensors")
    again = load_learner(path)
    assert list(again.dls.vocab) == sorted(LABELS)
    assert again.predict(str(file))[2].tolist() == learn.predict(file)[2].tolist()
    assert "$a_1$<b>" in repr(learn.dls) and "&lt;b&gt;" in learn.dls._repr_html_()


def test_one_label(folder):
    learn = fit(learner(loaders(folder / LABELS[1])))
    probs, targets = learn.get_preds()
    assert probs.shape == targets.shape == (2, 1) and learn.recorder.values[0][2] is not None
    assert learn.predict(folder / LABELS[0] / "0 ü.png")[1].shape == (1,)


def test_nothing_to_validate_on(folder, capsys):
    learn = learner(loaders(folder, splitter=EndSplitter(0)))
    learn.fit(1)
    assert learn.recorder.values[0][1:] == [None, None, None]
    assert capsys.readouterr().out.split("\n")[1].split()[2:5] == ["None"] * 3
    with pytest.raises(ValueError, match="`dl` must hold at least one photo, got none"):
        learn.show_results()


def test_two_photos_are_enough(folder):
    dls = loaders(folder / LABELS[1], bs=2, splitter=lambda items: ([0, 1], [2]))
    assert np.isfinite(fit(learner(dls)).recorder.values[0][0])


class Delete(Callback):
    """Take photos away while an epoch runs."""

    def __init__(self, folder):
        self.folder = folder

    def after_batch(self):
        if self.learn.training and self.learn.iter == 1:
            shutil.rmtree(self.folder)


def test_photos_that_vanish_in_an_epoch_are_named(folder):
    learn, threads = learner(loaders(folder)), threading.active_count()
    with pytest.raises(FileNotFoundError, match="must name an existing file, got .* ü"):
        fit(learn, 3, cbs=Delete(folder / LABELS[1]))
    assert threading.active_count() == threads
    assert np.isfinite(learn.predict(folder / LABELS[0] / "0 ü.png")[2]).all()


def test_threads_ask_while_another_trains():
    learn, answers, errors = tiny_learner(20, 4), [], []
    photo, done = photos(1)[0][0], threading.Event()

    def ask():
        try:
            while not done.is_set():
                probs = learn.predict(photo)[2]
                preds = learn.get_preds(dl=learn.dls.test_dl([photo, photo]))[0]
                answers.append(np.isfinite(probs).all() and np.isfinite(preds).all())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    fit(learn, 15)
    done.set()
    for thread in threads:
        thread.join()
    quiet = fit(tiny_learner(20, 4), 15)
    assert errors == [] and answers and all(answers)
    state = learn.model.state_dict()
    assert all(np.array_equal(v, state[k]) for k, v in quiet.model.state_dict().items())


def test_saving_where_nothing_can_be_written(folder, tmp_path):
    learn = learner(loaders(folder, path=tmp_path))
    (tmp_path / "taken.safetensors").mkdir()
    before = sorted(tmp_path.iterdir())
    for name in ("taken.safetensors", "x" * 300 + ".safetensors"):
        with pytest.raises(OSError, match="^export: `fname` must be a place to write to, got"):
            learn.export(name)
    assert sorted(tmp_path.iterdir()) == before


def test_saving_over_a_model_replaces_it(folder, tmp_path):
    learn = learner(loaders(folder, path=tmp_path))
    learn.export("m.safetensors")
    fit(learn).export("m.safetensors")
    photo = folder / LABELS[0] / "0 ü.png"
    again = load_learner(tmp_path / "m.safetensors").predict(photo)
    assert again[2].tolist() == learn.predict(photo)[2].tolist()


def test_a_network_that_cannot_be_made_again_is_not_saved(folder, tmp_path, monkeypatch):
    learn = learner(loaders(folder, path=tmp_path))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="^export: `model` must be create_model's of resnet18"):
        learn.export()
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]
