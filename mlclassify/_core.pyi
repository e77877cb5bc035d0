"""Types of the C extension; ``csrc/python/bindings.def`` is the surface they describe."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

_Float32: TypeAlias = NDArray[np.float32]
_Float64: TypeAlias = NDArray[np.float64]
_Int64: TypeAlias = NDArray[np.int64]
_Int32: TypeAlias = NDArray[np.int32]
_UInt8: TypeAlias = NDArray[np.uint8]
_Layer: TypeAlias = tuple[str, str, tuple[SupportsIndex, ...], dict[str, Any]]

def sigmoid(x: _Float32, out: _Float32, /) -> None: ...
def bce_with_logits(
    logits: _Float32,
    targets: _Float32,
    weight: _Float32 | None,
    pos_weight: _Float32 | None,
    smoothing: SupportsFloat,
    missing: SupportsIndex,
    mean: SupportsIndex,
    out: _Float32 | None,
    grad: _Float32 | None,
    /,
) -> float: ...
def asymmetric_with_logits(
    logits: _Float32,
    targets: _Float32,
    weight: _Float32 | None,
    pos_weight: _Float32 | None,
    smoothing: SupportsFloat,
    missing: SupportsIndex,
    mean: SupportsIndex,
    out: _Float32 | None,
    grad: _Float32 | None,
    gamma_neg: SupportsFloat,
    gamma_pos: SupportsFloat,
    clip: SupportsFloat,
    /,
) -> float: ...
def accuracy_count(scores: _Float32, targets: _UInt8, thresh: _Float32, /) -> int: ...
def ranked_columns(
    scores: _Float32, targets: _UInt8, out_scores: _Float32, out_rows: _Int32,
    out_positives: _Int32, /
) -> None: ...
def column_ranking(
    scores: _Float32, targets: _UInt8, weights: _Float64 | None, out: _Float64, /
) -> None: ...
def column_curve(
    scores: _Float32,
    targets: _UInt8,
    weights: _Float64 | None,
    length: _Int64,
    row: _Int64,
    positive: _Float64,
    all: _Float64,
    /,
) -> None: ...
def row_ranking(scores: _Float32, targets: _UInt8, out: _Float64, /) -> None: ...
def row_gains(scores: _Float32, targets: _UInt8, gains: _Float64, out: _Float64, /) -> None: ...
def label_counts(targets: _UInt8, decided: _UInt8, out: _Int64, /) -> None: ...
def row_counts(targets: _UInt8, decided: _UInt8, out: _Int64, /) -> None: ...
def label_weights(
    targets: _UInt8, decided: _UInt8, weights: _Float64, out: _Float64, /
) -> None: ...
def rank_histogram(scores: _Float32, targets: _UInt8, histogram: _Int64, /) -> None: ...
def histogram_ranking(histogram: _Int64, out: _Float64, /) -> None: ...
def threshold_counts(
    scores: _Float32, targets: _UInt8, thresholds: _Float32, counts: _Int64, exact: _Int64, /
) -> None: ...
def threshold_search(
    scores: _Float32, targets: _UInt8, start: _Float32, smooth: int, edges: _Float32,
    counts: _Int64, /
) -> None: ...
def augment(
    images: _UInt8,
    homography: _Float64 | None,
    border: SupportsIndex,
    nearest: SupportsIndex,
    edges: SupportsIndex,
    lighting: _Float32 | None,
    tint: _Float32 | None,
    turn: _Float32 | None,
    mean: _Float32,
    std: _Float32,
    out: _Float32,
    /,
) -> None: ...
def random_uniform(
    seed: SupportsIndex,
    epoch: SupportsIndex,
    position: SupportsIndex,
    operation: SupportsIndex,
    out: _Float64,
    /,
) -> None: ...
def isas() -> list[str]: ...
def isa() -> str: ...
def kernels(isa: str, /) -> dict[str, int]: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: SupportsIndex, /) -> None: ...
def cpus(root: str | PathLike[str], /) -> tuple[int, float]: ...
@final
class Net:
    def __new__(
        cls, spec: list[_Layer], channels: SupportsIndex = 3, exact: bool = False
    ) -> Net: ...
    def forward(
        self,
        x: _Float32,
        train: bool = False,
        seed: SupportsIndex = 0,
        epoch: SupportsIndex = 0,
        position: SupportsIndex = 0,
        also: str | None = None,
        sum: Callable[[_Float64], object] | None = None,
    ) -> _Float32 | tuple[_Float32, _Float32]: ...
    def backward(
        self,
        g: _Float32,
        accumulate: bool = False,
        sum: Callable[[_Float64], object] | None = None,
        ready: Callable[[str], object] | None = None,
    ) -> None: ...
    def rollback(self) -> None: ...
    def times(self) -> list[tuple[str, str, float, float]]: ...
    def adam_step(
        self,
        lr: Sequence[SupportsFloat],
        mom: Sequence[SupportsFloat],
        sqr_mom: Sequence[SupportsFloat],
        eps: Sequence[SupportsFloat],
        wd: Sequence[SupportsFloat],
    ) -> None: ...
    def sgd_step(
        self,
        lr: Sequence[SupportsFloat],
        mom: Sequence[SupportsFloat],
        wd: Sequence[SupportsFloat],
    ) -> None: ...
    def radam_step(
        self,
        lr: Sequence[SupportsFloat],
        mom: Sequence[SupportsFloat],
        sqr_mom: Sequence[SupportsFloat],
        eps: Sequence[SupportsFloat],
        wd: Sequence[SupportsFloat],
    ) -> None: ...
    def lion_step(
        self,
        lr: Sequence[SupportsFloat],
        mom: Sequence[SupportsFloat],
        sqr_mom: Sequence[SupportsFloat],
        wd: Sequence[SupportsFloat],
    ) -> None: ...
    def clear_state(self) -> None: ...
    def optimizer_state(self) -> dict[str, tuple[int, _Float32, _Float32]]: ...
    def load_optimizer_state(
        self, state: dict[str, tuple[int, _Float32, _Float32]], /
    ) -> None: ...
    def shapes(
        self, n: SupportsIndex, h: SupportsIndex, w: SupportsIndex, /
    ) -> list[tuple[str, str, tuple[int, int, int]]]: ...
    def memory(
        self, n: SupportsIndex, h: SupportsIndex, w: SupportsIndex, train: object = False
    ) -> int: ...
    def set_bf16(self, bf16: object, /) -> None: ...
    def parameters(self) -> dict[str, _Float32]: ...
    def buffers(self) -> dict[str, _Float32]: ...
    def gradients(self) -> dict[str, _Float32]: ...
    def load_state_dict(self, state: dict[str, _Float32], /) -> None: ...
    def set_trainable(self, names: Sequence[str], /) -> None: ...
    def set_decay(self, names: Sequence[str], /) -> None: ...
    def set_groups(self, groups: Sequence[Sequence[str]], /) -> None: ...
