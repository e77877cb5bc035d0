"""What is said of bad input: every message whole, in one grammar, naming the argument or file."""

import numpy as np
import pandas
import pytest
from tiny import (
    first,
    photos,
    register,
    second,
    tiny,
    tiny_layers,
    tiny_learner,
    tiny_loaders,
)

from mlclassify.callbacks import Callback
from mlclassify.data.block import DataBlock, MultiCategoryBlock
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.samples import drawn_bears
from mlclassify.data.scrape import scrape_images
from mlclassify.data.split import (
    ColSplitter,
    EndSplitter,
    FuncSplitter,
    MaskSplitter,
    RandomSplitter,
)
from mlclassify.data.transforms import ColReader
from mlclassify.functional import F, nn
from mlclassify.learner import Learner, load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import (
    AccumMetric,
    APScoreMulti,
    AvgMetric,
    accuracy_multi,
    average_precision_score,
)
from mlclassify.plot import plot_sweep, show_images
from mlclassify.rng import set_seed
from mlclassify.schedule import ParamScheduler, cosine
from mlclassify.thresholds import best_threshold
from mlclassify.vision.augment import (
    Normalize,
    RandomResizedCrop,
    Resize,
    aug_transforms,
)
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.learner import vision_learner
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
    (tmp_path / "empty.safetensors").mkdir()


def learner(**options):
    return tiny_learner(10, 4, **options)


def split_by(splitter):
    items = [(f"{i}.jpg", ["black"]) for i in range(10)]
    DataBlock(get_x=first, get_y=second, splitter=splitter).dataloaders(items, bs=4)


def export(name):
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        learner().export(name)


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
     "for 9.jpg (1 such in all); choose StratifiedSplitter, or pass MultiCategoryBlock("
     "vocab=...) with all labels, or add_na=True. Labels 'zebra' were not included in the "
     "training dataset"),
    (lambda: folder_block().dataloaders(None), TypeError,
     "get_files: `path` must be a path or str, got None"),
    (lambda: parent_label(3), TypeError, "parent_label: `o` must be a path or str, got 3"),
    (lambda: DataBlock(get_y="label"), TypeError,
     "DataBlock: `get_y` must be a function, got 'label'"),
    (lambda: DataBlock(get_y=second, splitter=0.2), TypeError,
     "DataBlock: `splitter` must be a function, got 0.2"),
    (lambda: split_by(lambda items: 0.2), ValueError,
     "DataBlock: `splitter` must return (training positions, validation positions), two lists of "
     "integers, got 0.2"),
    (lambda: split_by(lambda items: ([0], [1], [2])), ValueError,
     "DataBlock: `splitter` must return (training positions, validation positions), two lists of "
     "integers, got 3 lists"),
    (lambda: split_by(RandomSplitter(1.0)), ValueError,
     "DataBlock: `splitter` must leave items to train on, got none of 10"),
    (lambda: RandomSplitter("20%"), TypeError,
     "RandomSplitter: `valid_pct` must be a number in [0, 1], got '20%'"),
    (lambda: FuncSplitter("valid"), TypeError,
     "FuncSplitter: `func` must be a function, got 'valid'"),
    (lambda: MaskSplitter(None), TypeError,
     "MaskSplitter: `mask` must be a sequence of bool, got None"),
    (lambda: ColReader("lables")({"fname": "1.jpg", "labels": "sun"}), KeyError,
     "ColReader: `cols` must name columns of fname, labels, got 'lables'"),
    (lambda: ColReader("labels", label_delim=3), ValueError,
     "ColReader: `label_delim` must be a text that is not empty, got 3"),
    (lambda: ColSplitter("valid")(pandas.DataFrame({"is_valid": [0, 1]})), KeyError,
     "ColSplitter: `col` must name a column of is_valid, or its position, got 'valid'"),
    (lambda: MultiCategoryBlock(encoded=True, vocab=["a", "b"]).categorize()(["a"]), TypeError,
     "MultiCategoryBlock: `get_y` must hold numbers, got ['a']"),
    (lambda: drawn_bears("new", 0, 1), ValueError,
     "drawn_bears: `n` must be an integer of at least 1, got 0"),
    (lambda: scrape_images("new", [3], "bear", search=print), ValueError,
     "scrape_images: `labels` must be names that a folder can have, got 3"),
    (lambda: tiny_loaders(10, 4, path=3), TypeError,
     "DataLoaders: `path` must be a path or str, got 3"),
    (lambda: tiny_loaders(10, 4).show_batch([PHOTO]), TypeError,
     "show_batch: `b` must be a batch (images, targets), as dls.one_batch() gives, got [" +
     repr(PHOTO)[:96] + "..."),
    # transforms
    (lambda: RandomResizedCrop(228, ratio=1), ValueError,
     "RandomResizedCrop: `ratio` must be (low, high), 0 < low <= high, got 1"),
    (lambda: RandomResizedCrop(None), ValueError,
     "RandomResizedCrop: `size` must be a positive integer or (height, width) of such, got None"),
    (lambda: aug_transforms(max_rotate="10"), TypeError,
     "aug_transforms: `max_rotate` must be a number, got '10'"),
    (lambda: aug_transforms(max_zoom=np.nan), ValueError,
     "aug_transforms: `max_zoom` must be at least 0, and finite, got nan"),
    (lambda: aug_transforms(xtra_tfms=3), TypeError,
     "aug_transforms: `xtra_tfms` must be a batch transform or a list of them, got 3"),
    (lambda: Normalize("a", "b"), TypeError, "Normalize: `mean` must hold numbers, got 'a'"),
    # losses
    (lambda: BCEWithLogitsLossFlat(thresh=[]), ValueError,
     "BCEWithLogitsLossFlat: `thresh` must be one number or have shape (L,), got (0,)"),
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
    (lambda: average_precision_score(X, X, average="binary"), ValueError,
     "average_precision_score: `average` must be 'macro' or 'micro' or 'weighted' or 'samples' or "
     "None, got 'binary'"),
    (lambda: APScoreMulti(zero_division="nan"), ValueError,
     "APScoreMulti: `zero_division` must be 'warn', 0, 1 or nan, got 'nan'"),
    (lambda: best_threshold(X, X, [2.0]), ValueError,
     f"best_threshold: `thresholds` {RANGE}, got 2.0 at index 0"),
    (lambda: accuracy_multi(X, X, thresh=[]), ValueError,
     "accuracy_multi: `thresh` must be one number or have shape (L,), got (0,)"),
    (lambda: AvgMetric("accuracy"), TypeError,
     "AvgMetric: `func` must be a function, got 'accuracy'"),
    (lambda: AccumMetric(max, thresh=np.nan), ValueError,
     "AccumMetric: `thresh` must not be NaN, got nan"),
    (lambda: learner(metrics=AccumMetric(max, thresh=[0, 0])).validate(), ValueError,
     "AccumMetric: `thresh` must be a number or have shape (3,), got (2,)"),
    # training
    (lambda: tiny_learner(6, 1).fit(1), ValueError,
     "fit: the training loader must give no batch of one photo, which batch norm cannot be trained "
     "with, got 5 photos with batch size 1; choose another bs, or drop_last=True"),
    (lambda: tiny_learner(dls=tiny_loaders(12, 3, drop_last=False)).fit(1), ValueError,
     "fit: the training loader must give no batch of one photo, which batch norm cannot be trained "
     "with, got 10 photos with batch size 3; choose another bs, or drop_last=True"),
    (lambda: Learner(tiny_loaders(10, 4), tiny), TypeError,
     "Learner: `model` must be a Model, as create_model(arch, n_out) gives; vision_learner(dls, "
     "arch) makes both, got Architecture"),
    (lambda: vision_learner(folder_block(), tiny), TypeError,
     "vision_learner: `dls` must be DataLoaders, as DataBlock(...).dataloaders(source) gives, got "
     "DataBlock"),
    (lambda: learner(opt_func="adam"), TypeError,
     "Learner: `opt_func` must be a function, got 'adam'"),
    (lambda: learner().remove_cbs(Callback()), ValueError,
     "remove_cbs: `cbs` must be of this learner, got Callback"),
    (lambda: learner().fit(1, lr="0.1"), TypeError, "fit: `lr` must be a number, got '0.1'"),
    (lambda: learner().fit_one_cycle(1, moms=0.9), ValueError,
     "fit_one_cycle: `moms` must be 3 numbers, got 0.9"),
    (lambda: learner().fit_one_cycle(1, div="a"), TypeError,
     "fit_one_cycle: `div` must be a number, got 'a'"),
    (lambda: learner().fit_one_cycle(1, pct_start=None), TypeError,
     "fit_one_cycle: `pct_start` must be a number, got None"),
    (lambda: ParamScheduler(cosine), TypeError,
     f"ParamScheduler: `schedules` must be a dict, got {cosine!r}"),
    (lambda: learner().freeze_to("head"), ValueError,
     "freeze_to: `n` must be one of the 3 groups, got 'head'"),
    (lambda: setattr(learner(), "dls", "photos"), TypeError,
     "Learner: `dls` must be DataLoaders, as DataBlock(...).dataloaders(source) gives, got str"),
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
    (lambda: learner().get_preds(dl=["1.jpg"]), TypeError,
     "Learner: `dl` must be a DataLoader, as dls.test_dl(files) gives, got list"),
    (lambda: learner().get_preds(act=0.5), TypeError,
     "get_preds: `act` must be a function, got 0.5"),
    (lambda: learner().show_results(max_n=0), ValueError,
     "show_results: `max_n` must be an integer of at least 1, got 0"),
    (lambda: learner().model(np.zeros((2, 4, 8, 8))), ValueError,
     "images_to_c: `x` must have shape (N, 3, H, W), got (2, 4, 8, 8)"),
    (lambda: learner().get_preds(ds_idx=2), ValueError,
     "Learner: `ds_idx` must be 0 or 1, got 2"),
    (lambda: (lambda learn: learn.get_preds(dl=learn.dls.test_dl([])))(learner()), ValueError,
     "get_preds: `dl` must hold at least one photo, got none; a learner that was loaded has none: "
     "assign `learn.dls`, or give `dl`"),
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
     "export: `loss_func` must be one of BCEWithLogitsLossFlat, AsymmetricLossFlat, for a file "
     "holds no functions, got BCEWithLogitsLoss(); assign learn.loss_func = "
     "BCEWithLogitsLossFlat(thresh=...) first"),
    (lambda: load_learner("broken.jpg"), ModelFileError, f"load_learner: 'broken.jpg' {WHOLE}"),
    (lambda: load_learner("empty"), ModelFileError,
     "load_learner: 'empty' must be a regular file, got a folder"),
    (lambda: load_learner("missing.safetensors"), FileNotFoundError,
     "load_learner: there is no file 'missing.safetensors'"),
    (lambda: load_learner(None), TypeError,
     "load_learner: `fname` must be a path or str, got None"),
    (lambda: export("empty.safetensors"), IsADirectoryError,
     "export: `fname` must be a place to write to, got 'empty.safetensors' (Is a directory)"),
    (lambda: learner().export(), ValueError,
     "export: `model` must be create_model's of resnet18, resnet34, resnet50, resnet101, "
     "mobilenetv3_large_100, efficientnet_b0, convnext_tiny, for a file holds no functions, got "
     "tiny; mlclassify.weights.write_tensors(path, model.state_dict()) saves the weights alone"),
    # weights and the factory
    (lambda: vision_learner(tiny_loaders(), tiny, weights=3), TypeError,
     "vision_learner: `weights` must be a path or str, got 3"),
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
     "vision_learner: `weights` must name a file for tiny, for there is no download that this "
     "version knows, got None; pass weights='tiny.safetensors' with torchvision's names (with "
     "torch: safetensors.torch.save_file(torchvision.models.tiny(weights='DEFAULT').state_dict(), "
     "'tiny.safetensors')), set MLCLASSIFY_WEIGHTS to it, or train from scratch: "
     "pretrained=False"),
    (lambda: vision_learner(tiny_loaders(), "efficientnet_b0"), FileNotFoundError,
     "vision_learner: `weights` must name a file for efficientnet_b0, for there is no download "
     "that this version knows, got None; pass weights='efficientnet_b0.safetensors' with timm's "
     "names (with torch: safetensors.torch.save_file(timm.create_model('efficientnet_b0', "
     "pretrained=True).state_dict(), 'efficientnet_b0.safetensors')), set MLCLASSIFY_WEIGHTS to "
     "it, or train from scratch: pretrained=False"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="empty"), FileNotFoundError,
     "vision_learner: `weights` must name a file, or a folder that holds tiny.safetensors, got "
     "'empty'"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="broken.jpg"), ModelFileError,
     f"vision_learner: 'broken.jpg' {WHOLE}"),
    (lambda: vision_learner(tiny_loaders(), tiny, weights="x", pretrained=False), ValueError,
     "vision_learner: `weights` must be None with pretrained=False, got 'x'"),
    (lambda: vision_learner(tiny_loaders(), "resnet19"), ValueError,
     "vision_learner: `arch` must be one of resnet18, resnet34, resnet50, resnet101, "
     "mobilenetv3_large_100, efficientnet_b0, convnext_tiny, got 'resnet19'"),
    (lambda: vision_learner(tiny_loaders(), tiny, pretrained=False, ps=1.5), ValueError,
     "vision_learner: `ps` must lie in [0, 1), got 1.5"),
    (lambda: vision_learner(tiny_loaders(), tiny, pretrained=False, n_out=0), ValueError,
     "vision_learner: `n_out` must be an integer of at least 1, got 0"),
    (lambda: learner().model.load_state_dict({}), ValueError,
     "load_state_dict: `state` must have the names of the model, got 'conv1.weight' and "
     f"{len(tiny_layers()) + 15} more missing and none unknown"),
    (lambda: learner().model.load_state_dict(3), TypeError,
     "load_state_dict: `state` must be a dict from names to arrays, got int"),
    # pictures
    (lambda: show_images(None), TypeError,
     "show_images: `images` must be a sequence, got NoneType"),
    (lambda: show_images([PHOTO], titles=["a", "b"]), ValueError,
     "show_images: `titles` must be one for each of 1 images, got 2"),
    (lambda: learner().recorder.plot_loss(skip_start=-1), ValueError,
     "plot_loss: `skip_start` must be an integer of at least 0, got -1"),
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
