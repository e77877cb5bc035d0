"""Arguments whose effect no other test shows: what they are for can be seen in the result."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tiny import tiny, tiny_learner, tiny_loaders

from mlclassify.arrays import images_to_c
from mlclassify.callbacks import Callback
from mlclassify.interpret import Interpretation
from mlclassify.losses import BaseLoss, BCEWithLogitsLossFlat
from mlclassify.metrics import AccumMetric, accuracy_multi
from mlclassify.optim import Adam
from mlclassify.tensor import Tensor, nn, tensor
from mlclassify.vision.augment import RandomResizedCrop, aug_transforms
from mlclassify.vision.backbones import Architecture, Layers
from mlclassify.vision.image import Image, random_crop_box, squish_center_crop
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import build_model, create_classifier, create_model

X = tensor([[1.25, -2.75], [0.5, float("nan")]])
RAMP = Image.fromarray(np.arange(64 * 64, dtype=np.uint32).astype(np.uint8).reshape(64, 64))


class Upper:
    """Draws the upper end of everything."""

    def uniform(self, a, b):
        return b

    def randint(self, a, b):
        return a


class Hypers(Callback):
    """Notes the hyper-parameters of the first and last group before every step."""

    order = 99

    def __init__(self):
        self.seen = []

    def before_batch(self):
        if self.learn.training:
            first, last = self.learn.opt.hypers[0], self.learn.opt.hypers[-1]
            self.seen.append((first["lr"], last["lr"], last["mom"], last["wd"]))


def hypers(method, *args, learner=None, **kwargs):
    learn = learner or tiny_learner(10, 4)
    notes = Hypers()
    with learn.no_bar(), learn.no_logging():
        getattr(learn, method)(*args, cbs=notes, **kwargs)
    return notes.seen


def factory(**options):
    return vision_learner(tiny_loaders(10, 4, normalize=False), tiny, pretrained=False, seed=1,
                          **options)


def own_adam(net, n_groups, lr=1e-3, **options):
    return Adam(net, n_groups, lr=lr, mom=0.5, **options)


def parts(**options):
    return repr(aug_transforms(**options))



DIFFERENT = {
    # training
    "fine_tune pct_start": (lambda: hypers("fine_tune", 2),
                            lambda: hypers("fine_tune", 2, pct_start=0.6)),
    "fine_tune div": (lambda: hypers("fine_tune", 2), lambda: hypers("fine_tune", 2, div=2)),
    "fine_tune lr_mult": (
        lambda: hypers("fine_tune", 1, learner=pretrained()),
        lambda: hypers("fine_tune", 1, lr_mult=5, learner=pretrained())),
    "fine_tune freeze_epochs": (lambda: len(hypers("fine_tune", 1)),
                                lambda: len(hypers("fine_tune", 1, freeze_epochs=2))),
    "fit_one_cycle div": (lambda: hypers("fit_one_cycle", 1, 1e-3),
                          lambda: hypers("fit_one_cycle", 1, 1e-3, div=2)),
    "fit_one_cycle div_final": (lambda: hypers("fit_one_cycle", 2, 1e-3),
                                lambda: hypers("fit_one_cycle", 2, 1e-3, div_final=2)),
    "fit_one_cycle moms": (lambda: hypers("fit_one_cycle", 2, 1e-3),
                           lambda: hypers("fit_one_cycle", 2, 1e-3, moms=(0.9, 0.8, 0.9))),
    "fit_one_cycle wd": (lambda: hypers("fit_one_cycle", 1, 1e-3),
                         lambda: hypers("fit_one_cycle", 1, 1e-3, wd=0.5)),
    "fit wd": (lambda: hypers("fit", 1), lambda: hypers("fit", 1, wd=0.5)),
    # the factory hands everything on
    "vision_learner opt_func": (lambda: hypers("fit", 1, learner=factory()),
                                lambda: hypers("fit", 1, learner=factory(opt_func=own_adam))),
    "vision_learner lr": (lambda: hypers("fit", 1, learner=factory()),
                          lambda: hypers("fit", 1, learner=factory(lr=0.5))),
    "vision_learner wd": (lambda: hypers("fit", 1, learner=factory()),
                          lambda: hypers("fit", 1, learner=factory(wd=0.5))),
    "vision_learner moms": (
        lambda: hypers("fit_one_cycle", 2, learner=factory()),
        lambda: hypers("fit_one_cycle", 2, learner=factory(moms=(0.9, 0.8, 0.9)))),
    "vision_learner path": (lambda: factory().path, lambda: factory(path="there").path),
    "vision_learner cbs": (lambda: len(factory().cbs), lambda: len(factory(cbs=Hypers()).cbs)),
    "vision_learner n_out": (lambda: factory().model.n_out, lambda: factory(n_out=7).model.n_out),
    "vision_learner normalize": (lambda: len(factory().dls.train.batch_tfms),
                                 lambda: len(factory(normalize=False).dls.train.batch_tfms)),
    "vision_learner ps": (lambda: factory().model.ps, lambda: factory(ps=0.1).model.ps),
    "vision_learner loss_func": (
        lambda: factory().loss_func.thresh,
        lambda: factory(loss_func=BCEWithLogitsLossFlat(thresh=0.9)).loss_func.thresh),
    # models
    "create_model ps": (lambda: dropped(0.0), lambda: dropped(0.9)),
    "build_model ps": (lambda: build_model(tiny, 2).ps, lambda: build_model(tiny, 2, 0.1).ps),
    "create_classifier n_out": (lambda: create_classifier(tiny).n_out,
                                lambda: create_classifier(tiny, 3).n_out),
    "create_classifier seed": (lambda: weights(create_classifier(tiny, 3)),
                               lambda: weights(create_classifier(tiny, 3, seed=1))),
    "build_model exact": (lambda: logits(build_model(wide, 2)),
                          lambda: logits(build_model(wide, 2, exact=True))),
    "create_model exact": (lambda: logits(create_model(wide, 2)),
                           lambda: logits(create_model(wide, 2, exact=True))),
    "create_classifier exact": (lambda: logits(create_classifier(wide, 2)),
                                lambda: logits(create_classifier(wide, 2, exact=True))),
    "vision_learner exact": (lambda: logits(wide_learner(False).model),
                             lambda: logits(wide_learner(True).model)),
    "freeze train_bn": (lambda: trained(True), lambda: trained(False)),
    "vision_learner train_bn": (lambda: frozen(factory()), lambda: frozen(factory(train_bn=False))),
    "vision_learner wd_bn_bias": (lambda: decayed(), lambda: decayed(wd_bn_bias=True)),
    "vision_learner metrics": (lambda: len(factory().metrics),
                               lambda: len(factory(metrics=accuracy_multi).metrics)),
    "fit_sgdr reset_opt": (lambda: keeps_optimizer("fit_sgdr", 1, 1),
                           lambda: keeps_optimizer("fit_sgdr", 1, 1, reset_opt=True)),
    "fit_flat_cos reset_opt": (lambda: keeps_optimizer("fit_flat_cos", 1),
                               lambda: keeps_optimizer("fit_flat_cos", 1, reset_opt=True)),
    "fit_one_cycle reset_opt": (lambda: keeps_optimizer("fit_one_cycle", 1),
                                lambda: keeps_optimizer("fit_one_cycle", 1, reset_opt=True)),
    # asking: of the training photos instead of those for validation
    **{f"{method} ds_idx": (lambda method=method: of(method), lambda method=method: of(method, 0))
       for method in ("report", "plot_thresholds", "plot_reliability", "calibrate",
                      "tune_thresholds", "get_preds", "get_preds_frame", "tta", "validate")},
    "show_results ds_idx": (lambda: shown(), lambda: shown(ds_idx=0)),
    "show_results max_n": (lambda: shown(), lambda: shown(max_n=2)),
    # pictures
    **{f"show_batch {name}": (lambda: grid(), lambda name=name, value=value: grid(**{name: value}))
       for name, value in {"nrows": 1, "ncols": 8, "figsize": (4, 4), "max_n": 2,
                           "unique": True}.items()},
    "Interpretation.plot_probabilities max_n": (
        lambda: interpretation().plot_probabilities().size,
        lambda: interpretation().plot_probabilities(max_n=1).size),
    "Interpretation.plot_probabilities nrows": (
        lambda: interpretation().plot_probabilities(nrows=1).shape,
        lambda: interpretation().plot_probabilities(nrows=3).shape),
    "Interpretation.plot_confusion_matrix ncols": (
        lambda: interpretation().plot_confusion_matrix(ncols=1).shape,
        lambda: interpretation().plot_confusion_matrix(ncols=3).shape),
    "Interpretation.plot_precision_recall max_n": (
        lambda: len(interpretation().plot_precision_recall().lines),
        lambda: len(interpretation().plot_precision_recall(max_n=1).lines)),
    "Interpretation.plot_top_losses ncols": (
        lambda: interpretation().plot_top_losses(4, ncols=1).shape,
        lambda: interpretation().plot_top_losses(4, ncols=4).shape),
    # losses and metrics
    "BaseLoss flatten": (
        lambda: per_cell(flatten=True).shape, lambda: per_cell(flatten=False).shape),
    "AccumMetric name": (lambda: AccumMetric(max).name, lambda: AccumMetric(max, name="top").name),
    # tensors
    "round decimals": (lambda: X.round().tolist()[0], lambda: X.round(decimals=1).tolist()[0]),
    "allclose equal_nan": (lambda: X.allclose(X), lambda: X.allclose(X, equal_nan=True)),
    "var unbiased": (lambda: X[0].var().item(), lambda: X[0].var(unbiased=False).item()),
    "std unbiased": (lambda: X[0].std().item(), lambda: X[0].std(unbiased=False).item()),
    "clamp min": (lambda: X[0].clamp(max=2).tolist(),
                  lambda: X[0].clamp(min=0, max=2).tolist()),
    "flatten start_dim": (lambda: Tensor.flatten(tensor(np.zeros((2, 2, 2)))).shape,
                          lambda: tensor(np.zeros((2, 2, 2))).flatten(start_dim=1).shape),
    "flatten end_dim": (lambda: Tensor.flatten(tensor(np.zeros((2, 2, 2)))).shape,
                        lambda: tensor(np.zeros((2, 2, 2))).flatten(end_dim=1).shape),
    # photos
    "random_crop_box max_scale": (
        lambda: random_crop_box(64, 64, Upper()),
        lambda: random_crop_box(64, 64, Upper(), 0.1, 0.5)),
    "squish_center_crop val_xtra": (
        lambda: squish_center_crop(RAMP, 16).tobytes(),
        lambda: squish_center_crop(RAMP, 16, val_xtra=0.9).tobytes()),
    "RandomResizedCrop val_xtra": (lambda: crop(False), lambda: crop(False, val_xtra=0.9)),
    "RandomResizedCrop max_scale": (lambda: crop(True), lambda: crop(True, max_scale=0.5)),
    "RandomResizedCrop ratio": (lambda: crop(True, max_scale=0.4),
                                lambda: crop(True, max_scale=0.4, ratio=(1, 1))),
    **{f"aug_transforms {name}": (parts, lambda name=name, value=value: parts(**{name: value}))
       for name, value in {
           "mult": 0.5, "do_flip": False, "flip_vert": True, "max_rotate": 5, "min_zoom": 0.9,
           "max_zoom": 1.3, "max_lighting": 0.1, "max_warp": 0.1, "p_affine": 0.5,
           "p_lighting": 0.5, "batch": True}.items()},
}  # fmt: skip


def frozen(learn):
    learn.freeze()
    return learn.model.trainable


def decayed(**options):
    """What a fit with much weight decay leaves of a batch norm's weight."""
    learn = factory(wd=5.0, **options)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-2)
    return learn.model.state_dict()["bn1.weight"].tolist()


def keeps_optimizer(method, *args, **options):
    learn = tiny_learner(10, 4)
    learn.create_opt()
    before = learn.opt
    with learn.no_bar(), learn.no_logging():
        getattr(learn, method)(*args, **options)
    return learn.opt is before


def of(method, ds_idx=1):
    """What a method of the learner answers, as something that can be compared."""
    learn = tiny_learner(200, 20)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-2)
        answer = getattr(learn, method)(ds_idx=ds_idx)
    if hasattr(answer, "lines"):
        return [line.get_xydata().tolist() for line in answer.lines]
    return repr(answer)


def shown(**options):
    """The pixels of the photos that show_results draws."""
    axes = tiny_learner(60, 4).show_results(shuffle=False, **options)
    return [np.asarray(ax.images[0].get_array()).tobytes() for ax in axes.flat if ax.images]


def grid(**options):
    axes = tiny_loaders(20, 8).show_batch(**options)
    same = np.ptp([np.asarray(ax.images[0].get_array()) for ax in axes.flat if ax.images], axis=0)
    return axes.shape, axes[0, 0].figure.get_size_inches().tolist(), not same.any()


def interpretation():
    return Interpretation.from_learner(tiny_learner(40, 4))


def pretrained():
    learn = tiny_learner(10, 4)
    learn.model.pretrained = True
    return learn


def dropped(ps):
    model = create_model(tiny, 2, ps, seed=1)
    images = np.random.default_rng(0).random((4, 3, 8, 8))
    return model.forward(images_to_c(images), True, 1, 0, 0).tolist()


def wide_layers():
    """A convolution that Winograd's algorithm makes faster."""
    layers = Layers()
    layers.conv(layers.conv(0, "conv1", 32, 1, 1), "layer1", 32, 3, 1)
    return layers


wide = Architecture("wide", wide_layers, 32, groups=(("conv1",), ("layer1",)))


def wide_learner(exact):
    dls = tiny_loaders(10, 4, normalize=False)
    return vision_learner(dls, wide, pretrained=False, seed=1, exact=exact)


def logits(model):
    """Bits of the answer to noise, from weights drawn for the test."""
    rng = np.random.default_rng(0)
    model.load_state_dict({name: rng.normal(size=value.shape).astype(np.float32) ** 2
                           for name, value in model.state_dict().items()})
    return model(rng.normal(size=(2, 3, 16, 16))).tobytes()


def weights(model):
    return {name: value.tobytes() for name, value in model.state_dict().items()}


def trained(train_bn):
    model = create_model(tiny, 2)
    model.freeze(train_bn)
    return model.trainable


def per_cell(flatten):
    loss = BaseLoss(nn.BCEWithLogitsLoss, reduction="none", is_2d=False, flatten=flatten)
    return loss(np.zeros((2, 3)), np.zeros((2, 3)))


def crop(train, **options):
    return RandomResizedCrop(16, **options).apply(RAMP, Upper(), train).tobytes()


@pytest.fixture(autouse=True)
def no_bars_and_no_figures(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    yield
    plt.close("all")


@pytest.mark.parametrize("usual, other", DIFFERENT.values(), ids=DIFFERENT)
def test_an_argument_has_an_effect(usual, other):
    assert usual() == usual()
    assert usual() != other()


def test_reset_opt_forgets_the_moments():
    def after(reset_opt):
        learn = tiny_learner(10, 4)
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
            learn.fit(1, reset_opt=reset_opt)
        return weights(learn.model)

    assert after(False) != after(True)
