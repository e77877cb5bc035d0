"""``mlclassify info``: the version, what it runs on, and what is in a model file."""

from __future__ import annotations

import os
import platform
from argparse import Namespace
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import mlclassify
from mlclassify._core import get_num_threads, isa, isas
from mlclassify.weights import cache_folder

PACKAGES = ("numpy", "pillow", "safetensors", "tqdm", "matplotlib", "pandas", "ipywidgets", "httpx",
            "ddgs", "huggingface_hub")
_QUOTA = "/sys/fs/cgroup/cpu.max"


def info(options: Namespace) -> tuple[dict[str, Any], int]:
    """Tell versions, instruction set, threads and why, places; and of a model what it is."""
    answer: dict[str, Any] = {
        "mlclassify": mlclassify.__version__, "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}", "isa": isa(), "isas": isas(),
        "threads": get_num_threads(), "threads_because": why_threads(),
        "packages": {name: _version(name) for name in PACKAGES}, "cache": str(cache_folder()),
        "weights": os.environ.get("MLCLASSIFY_WEIGHTS"),
    }  # fmt: skip
    if options.model:
        answer["model"] = _model(options.model)
    if not options.json:
        _print(answer)
    return answer, 0


def why_threads() -> str:
    """Say what decides how many threads there are."""
    if named := os.environ.get("MLCLASSIFY_NUM_THREADS"):
        return f"MLCLASSIFY_NUM_THREADS is {named}"
    affinity, quota = len(os.sched_getaffinity(0)), _quota()
    allowed = "no limit" if quota is None else f"{quota:g}"
    return f"the affinity allows {affinity} CPUs, the quota {allowed}"


def _quota() -> float | None:
    """Return the CPUs of the cgroup's quota, or None."""
    try:
        with open(_QUOTA) as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _model(path: Path) -> Any:
    from mlclassify.cli.labelled import as_json
    from mlclassify.learner import load_learner

    learn = load_learner(path)
    return as_json({
        "file": str(path), "arch": learn.model.arch.name, "labels": list(learn.dls.vocab),
        "loss": repr(learn.loss_func), "thresh": getattr(learn.loss_func, "thresh", None),
        "calibration": repr(getattr(learn.loss_func, "calibration", None)),
        "novelty": learn.novelty is not None, "epochs": learn.epochs_begun, "seed": learn.seed,
        "item_tfms": list(map(repr, learn.dls.valid.item_tfms)),
    })  # fmt: skip


def _print(answer: Mapping[str, Any], indent: str = "") -> None:
    for key, value in answer.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print(value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{indent}{key}: {'-' if value is None else text}")
