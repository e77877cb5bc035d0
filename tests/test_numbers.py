"""Numbers that are none, too large, too many or all the same: refused by name, or defined."""

import numpy as np
import pytest
from tiny import LABELS, first, photos, second, tiny, tiny_learner, tiny_loaders

from mlclassify import _core
from mlclassify.checks import MLClassifyWarning
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.split import EndSplitter
from mlclassify.learner import Learner
from mlclassify.metrics import APScoreMulti, RocAucMulti, accuracy_multi
from mlclassify.optim import SGD, Adam, Lion, RAdam
from mlclassify.vision.augment import Normalize, Resize, imagenet_stats
from mlclassify.vision.models import create_model


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def fit(learn, *arguments, **options):
    with learn.no_logging():
        learn.fit(*arguments, **options)
    return learn


def learner_of(items, vocab=None, **options):
    block = DataBlock((ImageBlock, MultiCategoryBlock(vocab=vocab)), get_x=first, get_y=second,
                      splitter=EndSplitter(), item_tfms=Resize(16),
                      batch_tfms=Normalize.from_stats(*imagenet_stats))
    dls = block.dataloaders(items, bs=4)
    return Learner(dls, create_model(tiny, dls.c, seed=1), seed=7, **options)


# --- what is not finite

@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.01, 1.01, 3e38])
def test_a_photo_with_a_number_that_is_no_brightness(value):
    learn, photo = tiny_learner(), np.full((16, 16, 3), 0.5, np.float32)
    learn.predict(photo)
    photo[3, 4, 1] = value
    with pytest.raises(ValueError, match="^open_image: `fn` as floats must lie in \\[0, 1\\], got"):
        learn.predict(photo)


@pytest.mark.parametrize("opt_func", [Adam, SGD, RAdam, Lion])
@pytest.mark.parametrize("lr", [1e10, 1e30, 1e38, 1e300])
def test_a_rate_that_explodes_ends_the_fit_with_its_place(opt_func, lr):
    learn = tiny_learner(opt_func=opt_func)
    place = "at step \\d of epoch 0|after step 3, the last of epoch 0"
    with pytest.raises(FloatingPointError, match=f"^fit: the .* must be finite, got .*({place})"):
        fit(learn, 1, lr)
    buffers = learn.model.net.buffers().values()
    assert all(np.isfinite(value).all() for value in buffers)  # a variance overflows before a loss


def test_a_last_step_that_explodes_is_not_silent():
    """No loss is computed after it: the parameters are looked at."""
    for n_epoch, step in ((1, 0), (2, 0)):
        learn = tiny_learner(20, 16, metrics=accuracy_multi)
        with pytest.raises(FloatingPointError) as caught:
            fit(learn, n_epoch, 1e38)
        assert str(caught.value) == (
            f"fit: the parameters must be finite, got NaN or infinity in conv1.weight after step "
            f"{step}, the last of epoch 0; a smaller lr may help, and learn.load brings back what "
            "was saved")


@pytest.mark.parametrize("name, value, cause", [
    ("layer1.conv.weight", np.nan, "the parameter layer1.conv.weight holds NaN or infinity"),
    ("bn1.running_var", np.nan, "the statistics of bn1 hold NaN or infinity"),
    ("layer1.conv.weight", 3e38, "the activations grew beyond float32"),
])
def test_weights_that_are_no_numbers_do_not_predict_that_nothing_is_there(name, value, cause):
    """NaN exceeds no threshold: what cannot be computed would look like a photo without labels."""
    learn = tiny_learner()
    weights = learn.model.state_dict()
    weights[name][:] = value
    learn.model.load_state_dict(weights)
    photo = learn.dls.valid.dataset.items[0]
    for ask in (learn.get_preds, lambda: learn.predict(photo), lambda: learn.predict([photo])):
        with pytest.raises(FloatingPointError, match=f"logits must be finite, got .*: {cause}"):
            ask()


def test_a_search_of_rates_may_explode_and_is_undone():
    learn = tiny_learner()
    before = learn.model.state_dict()
    learn.lr_find(1e-3, 1e38, num_it=300, stop_div=False, show_plot=False)
    assert learn.recorder.lrs[-1] > 1 and len(learn.recorder.losses) < 300
    after = learn.model.state_dict()
    assert all((after[name] == value).all() for name, value in before.items())


# --- what does not vary

def test_photos_without_any_variance():
    """All photos are one grey: batch norms divide by the root of their epsilon, and no more."""
    grey = [(np.full((16, 16, 3), 90, np.uint8), list(LABELS)) for _ in range(20)]
    learn = fit(learner_of(grey), 4, 1e-2)
    assert learn.recorder.losses[-1] < learn.recorder.losses[0]
    probs = learn.get_preds()[0]
    assert np.isfinite(probs).all() and (probs == probs[0]).all()


@pytest.mark.parametrize("value", [0, 4, -300])
def test_a_constant_channel_gives_its_bias_and_no_gradient(value):
    """But for the rounding of value * scale + shift, the scale being that of no variance."""
    net = _core.Net([("batchnorm", "n", (0,), {}), ("avgpool", "", (1,), {})])
    bias = np.array([0.5, -2, 3], np.float32)
    net.load_state_dict({"n.bias": bias})
    x = np.full((4, 8, 4, 3), value, np.float32).transpose(0, 3, 1, 2)
    rounding = abs(value) / np.sqrt(1e-5) * 2.0**-22 + 2.0**-22
    assert abs(net.forward(x, train=True) - bias).max() <= rounding
    net.backward(np.ones((4, 3), np.float32))
    assert abs(net.gradients()["n.weight"]).max() <= 4 * rounding
    np.testing.assert_allclose(net.gradients()["n.bias"], 4)


# --- one, and none

@pytest.mark.parametrize("n, bs", [(5, 1), (6, 4)])
def test_a_batch_of_one_photo_is_refused_in_training_before_it_starts(n, bs):
    learn = tiny_learner(dls=tiny_loaders(n, bs, drop_last=False))
    with pytest.raises(ValueError, match="^fit: the training loader must give no batch of one"):
        fit(learn, 1)
    assert np.isfinite(learn.predict(photos(1)[0][0]).probs).all()
    assert len(learn.get_preds(0)[0]) == learn.dls.train.n


def test_a_label_that_no_photo_has():
    """It trains, is judged where that is defined and named where not, and is never decided by."""
    learn = learner_of(photos(40), vocab=[*LABELS, "never"],
                       metrics=[APScoreMulti(), RocAucMulti(), accuracy_multi])
    column = list(learn.dls.vocab).index("never")
    with pytest.warns(MLClassifyWarning, match="never|label"):
        fit(learn, 8, 1e-2)
    ap, auc, accuracy = learn.recorder.values[-1][-3:]
    assert 0 < auc <= 1 and 0 <= ap <= 1 and 0 <= accuracy <= 1
    with pytest.warns(MLClassifyWarning):
        found = learn.tune_thresholds()
    assert np.isfinite(found.thresholds).all()
    probs, _, decided = learn.get_preds(with_decoded=True)
    assert np.isfinite(probs).all() and not decided[:, column].any()


def test_no_labels_at_all():
    with pytest.raises(ValueError, match="must give at least one label for some training item"):
        learner_of([(image, []) for image, _ in photos(20)])


# --- sizes

HUGE = (2**20 + 1, 2**31, 2**31 + 3, 2**32, 2**32 + 3, 2**62, 2**63, 2**64 - 1, 2**64, 2**80)


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("kind, options", [
    ("conv", ("out", "kernel", "stride", "padding")), ("maxpool", ("kernel", "stride", "padding"))])
def test_options_of_layers_past_any_size(kind, options, size):
    good = {"out": 4, "kernel": 3} if kind == "conv" else {"kernel": 3}
    for name in options:
        with pytest.raises(ValueError, match=f"^Net: `{name}` must lie in \\[0, 1048576\\], got "
                                             f"{size}$"):
            _core.Net([(kind, "c", (0,), good | {name: size})])


@pytest.mark.parametrize("size", HUGE)
def test_batches_past_any_size(size):
    net = _core.Net([("conv", "c", (0,), {"out": 4, "kernel": 3})])
    for at, name in enumerate("nhw"):
        shape = [2, 8, 8]
        shape[at] = size
        with pytest.raises(ValueError, match=f"^Net.shapes: `{name}` must lie in"):
            net.shapes(*shape)


def zeros(*shape, dtype=np.float32):
    """Pages of zeros that take memory only where they are written."""
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("rows", [2**31, 2**31 + 5, 2**32, 2**32 + 5])
@pytest.mark.parametrize("function, more", [
    ("column_ranking", lambda n: (None, zeros(1, 2, dtype=np.float64))),
    ("ranked_columns", lambda n: (zeros(1, n), zeros(1, n, dtype=np.int32),
                                  zeros(1, n, dtype=np.int32))),
    ("threshold_counts", lambda n: (zeros(1), zeros(1, 2, 2, dtype=np.int64),
                                    zeros(2, dtype=np.int64))),
    ("threshold_search", lambda n: (zeros(1), 0, zeros(1, 2), zeros(1, 5, dtype=np.int64))),
])
def test_rows_that_numbers_of_32_bits_cannot_count_are_refused(function, more, rows):
    try:
        arguments = zeros(rows, 1), zeros(rows, 1, dtype=np.uint8), *more(rows)
    except MemoryError:
        pytest.skip("the system does not promise memory that is never written")
    with pytest.raises(ValueError) as caught:
        getattr(_core, function)(*arguments)
    assert str(caught.value) == (
        f"{function}: `scores` must have fewer than 2^31 rows, got {rows}")


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2**31 + 5, 2**32 + 5])
def test_counts_past_32_bits_are_right(rows):
    try:
        targets, decided = (zeros(rows, 1, dtype=np.uint8) for _ in range(2))
        scores = zeros(rows, 1)
    except MemoryError:
        pytest.skip("the system does not promise memory that is never written")
    targets[[0, 2**31 - 1, 2**31, rows - 1]] = 1
    decided[[0, rows - 1, rows - 2]] = 1
    counts = np.empty((3, 1), np.int64)
    _core.label_counts(targets, decided, counts)
    assert counts[:, 0].tolist() == [2, 4, 3]
    right = _core.accuracy_count(scores, targets, np.array([0.5], np.float32))
    assert right == rows - 4
