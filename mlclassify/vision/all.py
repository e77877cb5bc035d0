"""Everything a notebook needs: ``from mlclassify.vision.all import *``.

``torch`` is `mlclassify.tensor`, which has the few names of torch that such a notebook uses. pandas
and matplotlib are there under their usual names and imported when they are first used.
"""

from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlclassify import tensor as torch
from mlclassify._core import get_num_threads, set_num_threads
from mlclassify.callbacks import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
    ProgressCallback,
    Recorder,
)
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.duplicates import find_duplicates
from mlclassify.data.files import (
    RegexLabeller,
    get_files,
    get_image_files,
    parent_label,
)
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader
from mlclassify.data.loaders import DataLoaders
from mlclassify.data.samples import drawn_bears
from mlclassify.data.scrape import (
    download_images,
    duckduckgo_search,
    scrape_images,
    search_images,
    verify_images,
)
from mlclassify.data.sources import ImageDataLoaders
from mlclassify.data.split import (
    ColSplitter,
    EndSplitter,
    FileSplitter,
    FuncSplitter,
    GrandparentSplitter,
    IndexSplitter,
    MaskSplitter,
    RandomSplitter,
    RandomSubsetSplitter,
)
from mlclassify.data.stratify import StratifiedSplitter, TrainTestSplitter
from mlclassify.data.table import table_of_folders
from mlclassify.data.transforms import ColReader, Pipeline, Transform
from mlclassify.interpret import (
    ClassificationInterpretation,
    Interpretation,
    plot_grad_cam,
)
from mlclassify.learner import Learner, load_learner
from mlclassify.loggers import TensorBoardCallback, WandbCallback
from mlclassify.losses import (
    AsymmetricLossFlat,
    BaseLoss,
    BCEWithLogitsLossFlat,
    FocalLossFlat,
    use_kwargs_dict,
)
from mlclassify.metrics import (
    AccumMetric,
    APScoreMulti,
    AvgMetric,
    BrierScoreMulti,
    F1ScoreMulti,
    FBetaMulti,
    HammingLossMulti,
    JaccardMulti,
    MatthewsCorrCoefMulti,
    Metric,
    MLClassifyWarning,
    PrecisionMulti,
    RecallMulti,
    RocAucMulti,
    accuracy_multi,
    average_precision_score,
)
from mlclassify.optim import (
    SGD,
    Adam,
    Lion,
    RAdam,
)
from mlclassify.plot import plot_sweep, show_images
from mlclassify.prediction import Prediction
from mlclassify.rng import set_seed
from mlclassify.schedule import (
    ParamScheduler,
    SuggestionMethod,
    minimum,
    slide,
    steep,
    valley,
)
from mlclassify.selection import find_thresholds, stratified_folds
from mlclassify.steps import (
    CutMix,
    GradientAccumulation,
    GradientClip,
    MixUp,
    TerminateOnNaNCallback,
)
from mlclassify.tensor import (
    F,
    Tensor,
    TensorBase,
    TensorImage,
    TensorMultiCategory,
    flatten_check,
    nn,
    tensor,
)
from mlclassify.thresholds import best_threshold, sweep, threshold_curve
from mlclassify.tracker import (
    CSVLogger,
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    ShowGraphCallback,
    TrackerCallback,
)
from mlclassify.vision.augment import (
    AffineWarp,
    Brightness,
    Contrast,
    CropPad,
    Dihedral,
    Flip,
    Hue,
    Lighting,
    Normalize,
    PadMode,
    RandomErasing,
    RandomResizedCrop,
    RandomResizedCropGPU,
    Resize,
    ResizeMethod,
    Rotate,
    Saturation,
    Warp,
    Zoom,
    aug_transforms,
    imagenet_stats,
)
from mlclassify.vision.backbones import (
    convnext_tiny,
    efficientnet_b0,
    mobilenetv3_large_100,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from mlclassify.vision.image import Image, PILImage
from mlclassify.vision.learner import cnn_learner, vision_learner
from mlclassify.weights import ModelFileError

__all__ = [
    "APScoreMulti", "AccumMetric", "Adam", "AffineWarp", "AsymmetricLossFlat", "AvgMetric",
    "BCEWithLogitsLossFlat", "BaseLoss", "BrierScoreMulti", "Brightness", "CSVLogger", "Callback",
    "CancelBackwardException", "CancelBatchException", "CancelEpochException", "CancelFitException",
    "CancelStepException", "CancelTrainException", "CancelValidException",
    "ClassificationInterpretation", "ColReader", "ColSplitter", "Contrast", "CropPad", "CutMix",
    "DataBlock", "DataLoader", "DataLoaders", "Dihedral", "EarlyStoppingCallback", "EndSplitter",
    "F", "F1ScoreMulti", "FBetaMulti", "FileSplitter", "Flip", "FocalLossFlat", "FuncSplitter",
    "GradientAccumulation", "GradientClip", "GrandparentSplitter", "HammingLossMulti", "Hue",
    "Image", "ImageBlock", "ImageDataLoaders", "IndexSplitter", "Interpretation", "JaccardMulti",
    "L", "Learner", "Lighting", "Lion", "MLClassifyWarning", "MaskSplitter",
    "MatthewsCorrCoefMulti", "Metric", "MixUp", "ModelFileError", "MultiCategoryBlock", "Normalize",
    "PILImage", "PadMode", "ParamScheduler", "Path", "Pipeline", "PrecisionMulti", "Prediction",
    "ProgressCallback", "RAdam", "RandomErasing", "RandomResizedCrop", "RandomResizedCropGPU",
    "RandomSplitter", "RandomSubsetSplitter", "RecallMulti", "Recorder", "ReduceLROnPlateau",
    "RegexLabeller", "Resize", "ResizeMethod", "RocAucMulti", "Rotate", "SGD", "Saturation",
    "SaveModelCallback", "ShowGraphCallback", "StratifiedSplitter", "SuggestionMethod", "Tensor",
    "TensorBase", "TensorBoardCallback", "TensorImage", "TensorMultiCategory",
    "TerminateOnNaNCallback", "TrackerCallback", "TrainTestSplitter", "Transform", "WandbCallback",
    "Warp", "Zoom", "accuracy_multi", "aug_transforms", "average_precision_score", "best_threshold",
    "cnn_learner", "convnext_tiny", "download_images", "drawn_bears", "duckduckgo_search",
    "efficientnet_b0", "find_duplicates", "find_thresholds", "flatten_check", "get_files",
    "get_image_files", "get_num_threads", "imagenet_stats", "load_learner", "minimum",
    "mobilenetv3_large_100", "nn", "np", "parent_label", "partial", "pd", "plot_grad_cam",
    "plot_sweep", "plt", "resnet101", "resnet18", "resnet34", "resnet50", "scrape_images",
    "search_images", "set_num_threads", "set_seed", "show_images", "slide", "steep",
    "stratified_folds", "sweep", "table_of_folders", "tensor", "threshold_curve", "torch",
    "use_kwargs_dict", "valley", "verify_images", "vision_learner",
]


class LazyModule(ModuleType):
    """A module that is imported when one of its names is first used.

    pandas and pyplot take longer to import than all the rest together, and belong to an extra
    that may not be installed.
    """

    def __getattr__(self, name: str) -> Any:
        # doctest and inspect ask every module for names such as __wrapped__.
        if name.startswith("__") and name != "__version__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._module(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module(), name, value)

    def __dir__(self) -> list[str]:
        return dir(self._module())

    def _module(self) -> ModuleType:
        try:
            return import_module(self.__name__)
        except ModuleNotFoundError as error:
            error.add_note("pip install 'mlclassify[notebook]' brings it")
            raise

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, imported when first used>"


if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import pyplot as plt
else:
    pd, plt = LazyModule("pandas"), LazyModule("matplotlib.pyplot")
