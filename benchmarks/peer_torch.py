"""torch's and fastai's side of benchmarks/engine.py; see worker.py for how it is talked to.

A side's `layout` is "NCHW" or "channels_last"; `compiled` says whether torch.compile is used,
`bf16` whether the forward pass runs under autocast to bfloat16.
"""

import warnings
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from worker import serve, timed

LABELS = 3
_operators = torch.library.Library("torchvision", "FRAGMENT")


def declare_operators():
    """Let a torchvision be imported whose compiled half does not fit this torch.

    It asks for two operators at import, which nothing here calls.
    """
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            _operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def network(arch):
    """Return a ResNet of torchvision's, or another network of timm's."""
    if arch.startswith("resnet"):
        from torchvision import models

        return getattr(models, arch)(weights=None, num_classes=LABELS)
    import timm

    return timm.create_model(arch, num_classes=LABELS)


class Training:
    """A network with everything that a training step needs."""

    def __init__(self, side):
        torch.manual_seed(0)
        model = network(side["arch"])
        x = torch.randn(side["batch"], 3, side["side"], side["side"])
        if side["layout"] == "channels_last":
            model = model.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        self.model, self.x = model, x
        self.y = (torch.rand(side["batch"], LABELS) > 0.5).float()
        self.opt = torch.optim.Adam(model.parameters(), 1e-4)
        self.cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=side["bf16"])
        compiled = torch.compile if side["compiled"] else lambda function: function
        self.loss, self.logits = compiled(self.loss_of), compiled(model)

    def loss_of(self, x, y):
        with self.cast:
            logits = self.model(x)
        return binary_cross_entropy_with_logits(logits.float(), y)

    def step(self):
        self.loss(self.x, self.y).backward()
        self.opt.step()
        self.opt.zero_grad()

    def infer(self):
        with torch.no_grad(), self.cast:
            self.logits(self.x)


def predictor(arch, folder):
    """Return fastai's prediction of a photo, without its progress bar."""
    from fastai.vision import all as fv

    block = fv.DataBlock(blocks=(fv.ImageBlock, fv.MultiCategoryBlock),
                         get_items=lambda path: fv.L(sorted(Path(path).glob("*/*.jpg"))),
                         get_y=fv.Pipeline([fv.parent_label, lambda label: [label]]),
                         item_tfms=fv.RandomResizedCrop(228, min_scale=0.5),
                         batch_tfms=fv.aug_transforms())
    dls = block.dataloaders(Path(folder), bs=2, num_workers=0)
    learn = fv.vision_learner(dls, getattr(fv, arch), pretrained=False,
                              loss_func=fv.BCEWithLogitsLossFlat())
    photo = min(Path(folder).glob("*/*.jpg"))

    def predict():
        with learn.no_bar(), learn.no_logging():
            learn.predict(photo)

    return predict


def prepare(side):
    warnings.filterwarnings("ignore")
    declare_operators()
    about = {"version": f"torch {torch.__version__}", "threads": torch.get_num_threads()}
    if side["task"] == "predict":
        import fastai

        about["version"] = f"fastai {fastai.__version__} on {about['version']}"
        return about, timed(predictor(side["arch"], side["photos"]), repeats=30, warm_up=5)
    training = Training(side)
    if side["task"] == "infer":
        training.model.eval()
        return about, timed(training.infer, repeats=3, warm_up=2)
    return about, timed(training.step, repeats=3, warm_up=2)


if __name__ == "__main__":
    serve(prepare)
