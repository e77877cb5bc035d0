"""fastai's side of benchmarks/bears.py, for an environment with fastai and a CPU build of torch:

    python peer_fastai.py BEARS WEIGHTS SEED

Prints one line of JSON: the peer's versions, (valid_loss, accuracy, AP, seconds) of every epoch,
and the seconds of `fine_tune`.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import torch

# A torchvision wheel whose compiled half does not fit this torch asks for two operators at import;
# nothing here calls them.
_operators = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _operators.define(f"{_name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")

warnings.filterwarnings("ignore")

import fastai
from fastai.vision import all as fv
from fastai.vision.learner import model_meta
from safetensors.torch import load_file


def backbone(weights):
    """A ResNet-18 factory, as fastai wants one, that loads the given weights."""

    def arch(pretrained=True, weights=None):
        model = fv.resnet18(weights=None)
        model.load_state_dict(arch.state, strict=False)
        return model

    arch.state = load_file(weights)
    model_meta[arch] = model_meta[fv.resnet18]
    return arch


class Rows(fv.Callback):
    """Keep what the table of an epoch shows."""

    order = 80

    def __init__(self):
        self.kept, self.since = [], None

    def before_epoch(self):
        self.since = time.monotonic()

    def after_epoch(self):
        values = [float(v) for v in self.recorder.values[-1]]
        self.kept.append([*values[-3:], time.monotonic() - self.since])


def main(bears, weights, seed):
    files = [f for label in ("black", "grizzly", "teddy")
             for f in sorted((Path(bears) / label).iterdir())[:100]]
    block = fv.DataBlock(
        blocks=(fv.ImageBlock, fv.MultiCategoryBlock),
        get_items=lambda _: fv.L(files),
        splitter=fv.RandomSplitter(valid_pct=0.2, seed=0),
        get_y=fv.Pipeline([fv.parent_label, lambda label: [label]]),
        item_tfms=fv.RandomResizedCrop(228, min_scale=0.5),
        batch_tfms=fv.aug_transforms(),
    )
    dls = block.dataloaders(Path(bears), num_workers=0)
    fv.set_seed(seed)
    metrics = [fv.partial(fv.accuracy_multi, thresh=0.95), fv.APScoreMulti(sigmoid=True)]
    learn = fv.vision_learner(dls, backbone(weights), metrics=metrics,
                              loss_func=fv.BCEWithLogitsLossFlat())
    rows = Rows()
    with learn.no_bar(), learn.no_logging():
        since = time.monotonic()
        learn.fine_tune(4, cbs=rows)
        seconds = time.monotonic() - since
    peer = f"fastai {fastai.__version__} on torch {torch.__version__}"
    print(json.dumps({"peer": peer, "rows": rows.kept, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
