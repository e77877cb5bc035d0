"""One seed is one run: the same bits whatever the threads, and others for another seed."""

import numpy as np
import pytest
from tiny import register, tiny

from mlclassify import _core
from mlclassify.vision.all import (
    APScoreMulti,
    DataBlock,
    ImageBlock,
    MultiCategoryBlock,
    RandomResizedCrop,
    RandomSplitter,
    accuracy_multi,
    aug_transforms,
    drawn_bears,
    get_image_files,
    load_learner,
    parent_label,
    set_seed,
    vision_learner,
)


@pytest.fixture(scope="module")
def bears(tmp_path_factory):
    return drawn_bears(tmp_path_factory.mktemp("bears") / "bears", n=30, seed=4, layout="folders",
                       size=48)


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)
    before = _core.get_num_threads()
    yield
    _core.set_num_threads(before)
    set_seed(None)


def run(bears, seed=11, threads=1, num_workers=0, path="."):
    """Everything random there is, from the split to the dropout: weights, losses, predictions."""
    set_seed(seed)
    _core.set_num_threads(threads)
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock), get_items=get_image_files,
        splitter=RandomSplitter(0.3), get_y=parent_label,
        item_tfms=RandomResizedCrop(24, min_scale=0.4), batch_tfms=aug_transforms(),
    )  # fmt: skip
    dls = block.dataloaders(bears, bs=7, num_workers=num_workers, path=path)
    learn = vision_learner(dls, tiny, pretrained=False, metrics=[accuracy_multi, APScoreMulti()])
    with learn.no_logging():
        learn.fine_tune(2, 1e-2)
    return learn


def bits(learn):
    """All numbers that a run leaves behind, as bytes."""
    probs, targets = learn.get_preds()
    state = {**learn.model.state_dict(), "probs": probs, "targets": targets,
             "values": np.array(learn.recorder.values), "losses": np.array(learn.recorder.losses)}
    return {name: np.asarray(value).tobytes() for name, value in state.items()}


@pytest.fixture(scope="module")
def one(bears):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLCLASSIFY_PROGRESS", "0")
        return bits(run(bears))


@pytest.mark.parametrize("threads, num_workers", [(1, 0), (2, 0), (1, 3), (3, 2)])
def test_one_seed_is_one_run(bears, one, threads, num_workers):
    assert bits(run(bears, threads=threads, num_workers=num_workers)) == one


def test_another_seed_is_another_run(bears, one):
    other = bits(run(bears, seed=12))
    assert other.keys() == one.keys()
    assert [name for name in one if name.endswith("weight") and other[name] == one[name]] == []


def test_what_was_drawn_before_does_not_matter(bears, one):
    set_seed(3)
    run(bears, seed=5).dls.one_batch()
    assert bits(run(bears)) == one


def test_a_saved_run_predicts_the_same_bits(bears, tmp_path):
    learn = run(bears, path=tmp_path)
    again = load_learner(learn.export())
    for file in get_image_files(bears)[:3]:
        assert again.predict(file)[2].tobytes() == learn.predict(file)[2].tobytes()
