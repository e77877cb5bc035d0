"""``mlclassify predict``, ``report`` and ``tune``: what a saved model says."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlclassify.cli.labelled import Labelled, columns, report_json
from mlclassify.cli.plain import plain
from mlclassify.data.files import get_image_files
from mlclassify.data.loader import DataLoader
from mlclassify.learner import Learner, load_learner
from mlclassify.plot import label_title
from mlclassify.prediction import Prediction
from mlclassify.scoring.score import predict_or_say_why
from mlclassify.types import StrPath

_AT_A_TIME = 256


def predict(options: Namespace) -> tuple[list[dict[str, Any]], int]:
    """Say which labels photos have; a photo that cannot be read is named, and the rest goes on."""
    learn = load_learner(options.model)
    if options.thresh is not None:
        learn.loss_func.thresh = options.thresh
    files = expand(options.photos)
    answer, failed = list[dict[str, Any]](), False
    for start in range(0, len(files), _AT_A_TIME):
        some = files[start : start + _AT_A_TIME]
        for fn, told in zip(some, predict_or_say_why(learn, some), strict=True):
            if isinstance(told, Exception):
                failed = True
                print(f"mlclassify: {plain(str(told))}", file=sys.stderr)
            else:
                answer.append(_one(fn, told, learn.dls.vocab))
                if not options.json:
                    print(_line(answer[-1]))
    return answer, int(failed)


def expand(paths: Iterable[StrPath]) -> list[Path]:
    """Return files as they are, and instead of folders the photos below them."""
    found: list[Path] = []
    for path in paths:
        found += get_image_files(path) if Path(path).is_dir() else [Path(path)]
    return found


def _one(fn: Path, told: Prediction, vocab: Iterable[object]) -> dict[str, Any]:
    probs = dict(zip(map(str, vocab), told.probs.tolist()))
    one = {"file": str(fn), "labels": list(map(str, told.labels)), "probs": probs}
    return one if told.novelty is None else {**one, "novelty": told.novelty}


def _line(one: dict[str, Any]) -> str:
    probs = " ".join(f"{label} {p:.3f}" for label, p in one["probs"].items())
    return f"{one['file']}\t{label_title(one['labels'])}\t{probs}"


def report(options: Namespace) -> tuple[dict[str, Any], int]:
    """Judge a model on labelled photos."""
    learn = load_learner(options.model)
    found = learn.report(dl=_loader(learn, options))
    if not options.json:
        print(found)
    return report_json(found), 0


def tune(options: Namespace) -> tuple[dict[str, Any], int]:
    """Choose a threshold for every label, and write a model that decides by them."""
    learn = load_learner(options.model)
    found = learn.tune_thresholds(options.method, dl=_loader(learn, options))
    if not options.json:
        print(found)
    if options.out:
        learn.export(Path(options.out).absolute())
    print(f"Saved {options.out}" if options.out else "Not saved: --out names a file to save it in",
          file=sys.stderr)
    names = ("thresholds", "support", "before", "after", "spread")
    return {"model": options.out, "labels": columns(found, *names)}, 0


def _loader(learn: Learner, options: Namespace) -> DataLoader:
    data = Labelled(options.source, options.csv_fname, options.label_delim, options.folder,
                    options.valid_pct, options.seed)
    return data.loader(learn, options.part)
