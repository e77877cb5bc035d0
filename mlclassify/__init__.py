"""Multi-label image classification in a notebook, on a CPU, without a deep-learning framework.

``from mlclassify.vision.all import *`` gives a notebook everything. The package itself imports
nothing until one of its names is used, so that ``import mlclassify`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as typing has it; importing that costs more than all the rest here
if TYPE_CHECKING:
    from typing import Any

    from mlclassify._core import get_num_threads as get_num_threads
    from mlclassify._core import isa as isa
    from mlclassify._core import set_num_threads as set_num_threads
    from mlclassify.learner import load_learner as load_learner
    from mlclassify.rng import set_seed as set_seed

__version__ = "0.1.0"

_HOME_OF = {
    "get_num_threads": "mlclassify._core",
    "isa": "mlclassify._core",
    "load_learner": "mlclassify.learner",
    "set_num_threads": "mlclassify._core",
    "set_seed": "mlclassify.rng",
}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604  the keys are strings


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mlclassify' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
