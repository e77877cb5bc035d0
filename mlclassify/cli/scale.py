"""``mlclassify score`` and ``merge``: more photos than one run or one machine takes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mlclassify.scoring.merge import Judged, merge_parts
from mlclassify.scoring.score import score_files


def score(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score one shard of a list; photos that cannot be read are counted, the file says why."""
    part = score_files(options.model, options.files, options.out, options.shard, options.resume,
                       options.bs, options.folder, options.label_delim)
    n = part.stop - part.start
    if not options.json:
        print(f"{n} photos, {part.bad} of them unreadable: {options.out}")
    return {"out": str(options.out), "photos": n, "unreadable": part.bad, "shard": part.shard,
            "shards": part.shards}, 0  # fmt: skip


def merge(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Check that all parts are there, and say what they say together."""
    found = merge_parts(options.parts, options.out, options.bits)
    if not options.json:
        print(f"{found.n} photos, {found.bad} of them unreadable")
        print(found.judged or "The list had no labels to judge by", file=sys.stdout)
    return {"photos": found.n, "unreadable": found.bad,
            "out": None if options.out is None else str(options.out),
            "labels": None if found.judged is None else _columns(found.judged)}, 0  # fmt: skip


def _columns(judged: Judged) -> list[dict[str, Any]]:
    columns = {
        "label": judged.labels, "support": judged.support, "thresh": judged.thresh,
        "f1": judged.f1, "average_precision": judged.average_precision.value,
        "average_precision_low": judged.average_precision.low,
        "average_precision_high": judged.average_precision.high,
        "best_thresh": judged.best_thresh, "best_f1": judged.best_f1.value,
        "best_f1_high": judged.best_f1.high,
    }  # fmt: skip
    return [dict(zip(columns, row)) for row in zip(*columns.values())]
