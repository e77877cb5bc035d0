"""Multi-label image classification in a notebook, on a CPU, without a deep-learning framework.

``from mlclassify.vision.all import *`` gives a notebook everything. The package itself imports
nothing until one of its names is used, so that ``import mlclassify`` stays cheap.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME_OF = {
    "get_num_threads": "mlclassify._core",
    "isa": "mlclassify._core",
    "load_learner": "mlclassify.learner",
    "set_num_threads": "mlclassify._core",
    "set_seed": "mlclassify.rng",
}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mlclassify' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__():
    return sorted({*globals(), *_HOME_OF})
