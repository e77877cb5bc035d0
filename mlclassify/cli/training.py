"""``mlclassify train``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from mlclassify.cli.labelled import Labelled, report_json
from mlclassify.data.block import DataBlock
from mlclassify.data.loaders import DataLoaders
from mlclassify.learner import Learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import APScoreMulti, F1ScoreMulti, accuracy_multi
from mlclassify.vision.augment import RandomResizedCrop, aug_transforms
from mlclassify.vision.learner import vision_learner


def train(options: Namespace) -> tuple[dict[str, Any], int]:
    """Train a model on labelled photos, judge it, and export it."""
    out = Path(options.out).absolute()
    _check_out(out)
    data = Labelled(options.source, options.csv_fname, options.label_delim, options.folder,
                    options.valid_pct, options.seed)
    dls = _loaders(data, options)
    print(dls)
    learn = vision_learner(
        dls, options.arch, pretrained=options.pretrained, weights=options.weights,
        loss_func=BCEWithLogitsLossFlat(thresh=options.thresh, pos_weight=options.pos_weight),
        metrics=[accuracy_multi, F1ScoreMulti(), APScoreMulti()], seed=options.seed,
    )  # fmt: skip
    if options.pretrained:
        learn.fine_tune(options.epochs, options.base_lr, options.freeze_epochs)
    else:
        learn.fit_one_cycle(options.epochs, options.base_lr)
    answer = {"model": str(options.out), "seed": learn.seed, "train": dls.train.n,
              "valid": dls.valid.n, "columns": learn.recorder.metric_names,
              "epochs": [list(row) for row in learn.recorder.rows]}  # fmt: skip
    return answer | _finish(learn, options, out), 0


def _check_out(out: Path) -> None:
    """Refuse before an hour of training what `export` would refuse after it."""
    if out.suffix != ".safetensors":
        raise ValueError(f"export: `fname` must end in .safetensors, got {out.name!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"export: `fname` must lie in a folder that exists, got {str(out)!r}"
        )


def _loaders(data: Labelled, options: Namespace) -> DataLoaders:
    block = DataBlock(
        get_y=data.labels, splitter=data.split, batch_tfms=aug_transforms(),
        item_tfms=RandomResizedCrop(options.size, min_scale=0.5),
    )  # fmt: skip
    return block.dataloaders(data.items, bs=options.bs, draft=options.draft, cache=options.cache)


def _finish(learn: Learner, options: Namespace, out: Path) -> dict[str, Any]:
    """Calibrate, tune and fit the novelty as far as it is wanted, then judge and export."""
    if options.calibrate:
        learn.calibrate(options.calibrate)
    if options.tune:
        learn.tune_thresholds(options.tune)
    if options.novelty:
        learn.fit_novelty()
    answer: dict[str, Any] = {}
    if learn.dls.valid.n:
        report = learn.report()
        print(report)
        answer["report"] = report_json(report)
    learn.export(out)
    print(f"Saved {options.out}")
    return answer
