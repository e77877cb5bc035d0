"""What is said of bad input: every message whole, in one grammar, naming the argument or file."""

import numpy as np
import pytest
from tiny import first, photos, second, tiny, tiny_layers, tiny_learner, tiny_loaders

from mlclassify.data.block import DataBlock
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.split import EndSplitter
from mlclassify.functional import F, nn
from mlclassify.learner import load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import APScoreMulti, accuracy_multi, average_precision_score
from mlclassify.plot import plot_sweep, show_images
from mlclassify.rng import set_seed
from mlclassify.thresholds import best_threshold
from mlclassify.vision.augment import Resize
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import resnet18
from mlclassify.weights import ModelFileError


X = np.zeros((2, 3), np.float32)
PHOTO = photos(1)[0][0]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a broken photo and an empty folder, no weights and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    monkeypatch.setenv("MLCLASSIFY_HOME", "home")
    monkeypatch.delenv("MLCLASSIFY_WEIGHTS", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 this is no photo")
    (tmp_path / "empty").mkdir()


def learner(**options):
    return tiny_learner(10, 4, **options)


def folder_block():
    return DataBlock(get_items=get_image_files, get_y=parent_label, item_tfms=Resize(16))


def only_in_validation():
    items = [(f"{i}.jpg", ["zebra"] if i == 9 else ["black"]) for i in range(10)]
    DataBlock(get_x=first, get_y=second, splitter=EndSplitter()).dataloaders(
        [Item(item) for item in items], bs=4)


class Item(tuple):
    def __repr__(self):
        return self[0]


def nan_logits():
    learn = learner()
    weights = learn.model.state_dict()
    weights["head.fc2.weight"][:] = np.nan
    learn.model.load_state_dict(weights)
    with learn.no_logging():
        learn.fit(1)


BCE = "binary_cross_entropy_with_logits"
RANGE = "must lie in [0, 1] or be -inf or inf"
WHOLE = ("must be a whole safetensors file; it is damaged, cut short or of another kind (Error "
         "while deserializing: header too large)")

# What is called, what it raises, what it says.
TABLE = [
    # photos and labels
    (lambda: learner().predict("broken.jpg"), OSError,
     "open_image: `fn` must be a whole JPEG, PNG, WEBP, GIF, BMP photo, got broken.jpg (not "
     "recognized as one)"),
    (lambda: learner().predict("missing.jpg"), FileNotFoundError,
     "open_image: `fn` must name an existing file, got missing.jpg"),
    (lambda: learner().predict(None), TypeError,
     "open_image: `fn` must be a path, bytes, a file, an array or a PIL image, got NoneType"),
    (lambda: folder_block().dataloaders("empty"), ValueError,
     "DataBlock: `source` must hold at least one item, got none in empty"),
    (lambda: folder_block().dataloaders("missing"), FileNotFoundError,
     "get_files: `path` must be an existing folder, got missing"),
    (only_in_validation, KeyError,
     "DataBlock: `get_y` must give labels that training items have or `vocab` names, got 'zebra' "
     "for 9.jpg (1 such in all); choose another splitter seed, or pass MultiCategoryBlock("
     "vocab=...) with all labels, or add_na=True. Labels 'zebra' were not included in the "
     "training dataset"),
    # losses
    (lambda: BCEWithLogitsLossFlat()(X, X + 2), ValueError,
     f"{BCE}: `target` must lie in [0, 1], got 2.0 at index 0"),
    (lambda: F.binary_cross_entropy_with_logits(X, X - 1), ValueError,
     f"{BCE}: `target` must lie in [0, 1], got -1.0 at index (0, 0)"),
    (lambda: BCEWithLogitsLossFlat()(X, X * np.nan), ValueError,
     f"{BCE}: `target` must lie in [0, 1], got nan at index 0"),
    (lambda: nn.BCEWithLogitsLoss()(X, X[:1]), ValueError,
     f"{BCE}: `target` must have the shape of `input` (BCEWithLogitsLossFlat flattens both), got "
     "(1, 3). Target size (torch.Size([1, 3])) must be the same as input size "
     "(torch.Size([2, 3]))"),
    (lambda: BCEWithLogitsLossFlat(thresh=95), ValueError,
     f"BCEWithLogitsLossFlat: `thresh` {RANGE}, got 95"),
    (lambda: BCEWithLogitsLossFlat(thresh=[0.5, 2]), ValueError,
     f"BCEWithLogitsLossFlat: `thresh` {RANGE}, got 2.0 at index 1"),
    (lambda: setattr(learner().loss_func, "thresh", -1), ValueError,
     f"BCEWithLogitsLossFlat: `thresh` {RANGE}, got -1"),
    (lambda: learner(loss_func=BCEWithLogitsLossFlat(thresh=[0.5, 0.5])).predict(PHOTO), ValueError,
     "decide: `thresh` must be one number or have shape (3,), got (2,)"),
    # metrics
    (lambda: accuracy_multi(X, X, thresh=95), ValueError,
     f"accuracy_multi: `thresh` {RANGE}, got 95"),
    (lambda: accuracy_multi(X * np.nan, X), ValueError,
     "accuracy_multi: `inp` must not be NaN, got nan at index (0, 0)"),
    (lambda: accuracy_multi(X, X, thresh=np.nan, sigmoid=False), ValueError,
     "accuracy_multi: `thresh` must not be NaN, got nan"),
    (lambda: accuracy_multi(X, X[:1]), ValueError,
     "accuracy_multi: `targ` must have as many numbers as `inp`, got (1, 3) for (2, 3)"),
    (lambda: accuracy_multi(X, X, thresh=[0.1, 0.2]), ValueError,
     "accuracy_multi: `thresh` must be a number or have one for each label, got shape (2,) for "
     "`inp` of (2, 3)"),
    (lambda: average_precision_score(X, X * np.nan), ValueError,
     "average_precision_score: `y_score` must not be NaN, got nan at index (0, 0)"),
    (lambda: average_precision_score(X + 0.5, X), ValueError,
     "average_precision_score: `y_true` must hold only 0 and 1, got 0.5 at index (0, 0)"),
    (lambda: average_precision_score(X, X[:1]), ValueError,
     "average_precision_score: `y_score` must have the shape of `y_true`, got (1, 3) for (2, 3)"),
    (lambda: average_precision_score(X, X, average="micro"), ValueError,
     "average_precision_score: `average` must be 'macro' or None, got 'micro'"),
    (lambda: APScoreMulti(absent="nan"), ValueError,
     "APScoreMulti: `absent` must be 'zero' or 'skip', got 'nan'"),
    (lambda: best_threshold(X, X, [2.0]), ValueError,
     f"best_threshold: `thresholds` {RANGE}, got 2.0 at index 0"),
    # training
    (nan_logits, FloatingPointError,
     "fit: the loss must be finite, got nan at step 0 of epoch 0: the parameter head.fc2.weight "
     "holds NaN or infinity. The model stands at the step before"),
    (lambda: learner().fit(0), ValueError,
     "fit: `n_epoch` must be an integer of at least 1, got 0"),
    (lambda: learner().fine_tune(1, freeze_epochs=1.5), ValueError,
     "fine_tune: `freeze_epochs` must be an integer of at least 1, got 1.5"),
    (lambda: learner().fit(1, lr=-1), ValueError,
     "fit: `lr` must be finite and not negative, got -1.0"),
    (lambda: learner().fit(1, lr=[1, 2]), ValueError,
     "fit: `lr` must have 3 values, one a group, got 2"),
    (lambda: learner().fit_one_cycle(1, slice(None)), ValueError,
     "fit_one_cycle: `lr_max` must be slice(last) or slice(first, last), got "
     "slice(None, None, None)"),
    (lambda: learner().fit_one_cycle(1, pct_start=0), ValueError,
     "fit_one_cycle: `pct_start` must lie in (0, 1), got 0"),
    (lambda: learner().fit_one_cycle(1, div=0), ValueError,
     "fit_one_cycle: `div` must be above 0, got 0"),
    (lambda: learner().fit_one_cycle(1, moms=(0.9, 1.0, 0.9)), ValueError,
     "fit_one_cycle: `moms` must lie in [0, 1), got 1.0"),
    (lambda: learner().fit_one_cycle(1, moms=(0.9, 0.8)), ValueError,
     "fit_one_cycle: `moms` must be 3 numbers, got (0.9, 0.8)"),
    (lambda: learner().fine_tune(1, lr_mult=0), ValueError,
     "fine_tune: `lr_mult` must be above 0, got 0"),
    (lambda: learner().fine_tune(1, base_lr=slice(1e-3)), TypeError,
     "fine_tune: `base_lr` must be a number, got slice(None, 0.001, None)"),
    (lambda: learner(wd=-1).fit(1), ValueError,
     "Adam: `wd` must be finite and not negative, got -1.0"),
    (lambda: learner().freeze_to(3), ValueError,
     "freeze_to: `n` must be one of the 3 groups, got 3"),
    (lambda: learner(loss_func=max).fit(1), TypeError,
     "fit: `loss_func` must have value_and_grad(logits, targets), as BCEWithLogitsLossFlat has, "
     "got <built-in function max>"),
    (lambda: learner(metrics=3), TypeError,
     "Learner: `metrics` must hold functions or Metric objects, got 3"),
    (lambda: learner(cbs=3), TypeError, "Learner: `cbs` must hold Callback objects, got 3"),
    (lambda: learner(seed=-1), ValueError, "Learner: `seed` must lie in [0, 2**64), got -1"),
    (lambda: set_seed("a"), TypeError, "set_seed: `seed` must be an integer, got 'a'"),
    # asking
    (lambda: learner().model(np.zeros((2, 4, 8, 8))), ValueError,
     "images_to_c: `x` must have shape (N, 3, H, W), got (2, 4, 8, 8)"),
    (lambda: learner().get_preds(ds_idx=2), ValueError,
     "Learner: `ds_idx` must be 0 or 1, got 2"),
    (lambda: (lambda learn: learn.get_preds(dl=learn.dls.test_dl([])))(learner()), ValueError,
     "get_preds: `dl` must hold at least one photo, got none"),
    (lambda: (lambda learn: learn.validate(dl=learn.dls.test_dl([PHOTO])))(learner()), ValueError,
     "Learner: `dl` must have labels, got photos without; see with_labels"),
    (lambda: (lambda learn: learn.get_preds(dl=learn.dls.test_dl([PHOTO]), with_loss=True))(
        learner()), ValueError, "get_preds: `dl` must have labels when with_loss=True, got none"),
    (lambda: learner(loss_func=nn.BCEWithLogitsLoss()).predict(PHOTO), TypeError,
     "predict: `learn.loss_func` must say what its logits mean (activation, decodes), as "
     "BCEWithLogitsLossFlat does, got BCEWithLogitsLoss()"),
    # files
    (lambda: learner().export("a.pkl"), ValueError,
     "export: `fname` must end in .safetensors, got 'a.pkl'"),
    (lambda: learner().export("nowhere/a.safetensors"), FileNotFoundError,
     "export: `fname` must lie in a folder that exists, got 'nowhere/a.safetensors'"),
    (lambda: learner(loss_func=nn.BCEWithLogitsLoss()).export(), ValueError,
     "export: `loss_func` must be a BCEWithLogitsLossFlat, for a file holds no functions, got "
     "BCEWithLogitsLoss(); assign learn.loss_func = BCEWithLogitsLossFlat(thresh=...) first"),
    (lambda: load_learner("broken.jpg"), ModelFileError, f"load_learner: 'broken.jpg' {WHOLE}"),
    (lambda: load_learner("empty"), ModelFileError,
     "load_learner: 'empty' must be a regular file"),
    (lambda: load_learner("missing.safetensors"), FileNotFoundError,
     "load_learner: there is no file 'missing.safetensors'"),
    # weights and the factory
    (lambda: vision_learner(tiny_loaders(), resnet18), FileNotFoundError,
     "vision_learner: no pretrained weights of resnet18 here, and no download "
     "(ModuleNotFoundError: import of huggingface_hub halted; None in sys.modules).\n"
     "Three ways out:\n"
     "  1. pass weights='FILE.safetensors' (torchvision's names), or a folder that holds "
     "resnet18.safetensors;\n"
     "  2. set MLCLASSIFY_WEIGHTS to such a file or folder;\n"
     "  3. be online with pip install 'mlclassify[hub]': the file is fetched once, to "
     "'home/weights/resnet18-694f673d.safetensors'.\n"
     "Or train from scratch: pretrained=False."),
    (lambda: vision_learner(tiny_loaders(), tiny), FileNotFoundError,
     "vision_learner: no weights of tiny are published; pass `weights`, set MLCLASSIFY_WEIGHTS, "
     "or train from scratch: pretrained=False"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="empty"), FileNotFoundError,
     "vision_learner: `weights` must name a file, or a folder that holds tiny.safetensors, got "
     "'empty'"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="broken.jpg"), ModelFileError,
     f"vision_learner: 'broken.jpg' {WHOLE}"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="x", pretrained=False), ValueError,
     "vision_learner: `weights` must be None with pretrained=False, got 'x'"),
    (lambda: vision_learner(tiny_loaders(), "resnet19"), ValueError,
     "vision_learner: `arch` must be one of resnet18, got 'resnet19'"),
    (lambda: vision_learner(tiny_loaders(), tiny, pretrained=False, ps=1.5), ValueError,
     "vision_learner: `ps` must lie in [0, 1), got 1.5"),
    (lambda: vision_learner(tiny_loaders(), tiny, pretrained=False, n_out=0), ValueError,
     "vision_learner: `n_out` must be an integer of at least 1, got 0"),
    (lambda: learner().model.load_state_dict({}), ValueError,
     "load_state_dict: `state` must have the names of the model, got 'conv1.weight' and "
     f"{len(tiny_layers()) + 15} more missing and none unknown"),
    # pictures
    (lambda: show_images([PHOTO], nrows=0), ValueError,
     "show_images: `nrows` must be an integer of at least 1, got 0"),
    (lambda: plot_sweep([1, 2], [1]), ValueError,
     "plot_sweep: `accuracies` must be as long as `thresholds`, got (1,) for (2,)"),
]


@pytest.mark.parametrize("call, kind, says", TABLE, ids=[row[2][:60] for row in TABLE])
def test_message(call, kind, says):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.args[0] == says


def test_a_bare_text_is_one_label():
    block = DataBlock(get_x=first, get_y=lambda item: "black", splitter=EndSplitter(),
                      item_tfms=Resize(16))
    assert list(block.dataloaders(photos(10), bs=4).vocab) == ["black"]


def test_nothing_is_half_written(tmp_path):
    before = sorted(p.name for p in tmp_path.iterdir())
    for call, kind, _ in TABLE:
        with pytest.raises(kind):
            call()
    assert sorted(p.name for p in tmp_path.iterdir()) == before
