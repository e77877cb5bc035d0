"""How torch writes a tensor down.

One style (integers, ``1.``, four decimals, or powers of ten) and one column width hold for all
cells of a tensor; the rules and constants are those of torch 2's ``repr``.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from mlclassify.types import AnyArray, ArrayLike, Float64


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "short": {"precision": 2, "edgeitems": 2},
    "full": {"threshold": float("inf")},
}
_options = _Options()


def set_printoptions(profile: Literal["default", "short", "full"] | None = None,
                     sci_mode: bool | None = None, **options: int) -> None:
    """Change how tensors print in this process, as ``torch.set_printoptions``.

    Parameters
    ----------
    profile : {"default", "short", "full"}, optional
        Start from these instead of from the present options.
    sci_mode : bool, optional
        Always or never powers of ten; None lets each tensor decide.
    **options : int
        ``precision``, ``threshold``, ``edgeitems``, ``linewidth``.

    Raises
    ------
    ValueError
        Unknown profile.
    TypeError
        Unknown option.

    Examples
    --------
    >>> set_printoptions(precision=2)
    >>> tensor_repr(np.float32([0.12345]), "tensor")
    'tensor([0.12])'
    >>> set_printoptions(profile="default")
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        raise ValueError(
            f"set_printoptions: `profile` must be one of {list(_PROFILES)}, got {profile!r}"
        )
    known = {f.name for f in dataclasses.fields(_Options)}
    if unknown := sorted(set(options) - known):
        raise TypeError(f"set_printoptions: option must be one of {sorted(known)}, got {unknown}")
    start = _options if profile is None else _Options(**_PROFILES[profile])
    _options = dataclasses.replace(start, sci_mode=sci_mode, **options)


def tensor_repr(array: ArrayLike, name: str) -> str:
    """Return what torch prints for `array` in a class that prints as `name`.

    Parameters
    ----------
    array : ndarray of bool, int, uint or float
    name : str

    Examples
    --------
    >>> tensor_repr(np.float32([[0.7260, -3.3489]]), "tensor")
    'tensor([[ 0.7260, -3.3489]])'
    >>> tensor_repr(np.float64(1), "tensor")
    'tensor(1., dtype=torch.float64)'
    >>> tensor_repr(np.zeros((0, 3), np.float32), "tensor")
    'tensor([], size=(0, 3))'
    """
    array = np.asarray(array)
    indent = len(name) + 1
    implied: tuple[str, ...] = ("float32", "int64", "bool")
    suffixes = []
    if not array.size:
        implied = ("float32",)  # with no cell to see, int64 has to be said
        suffixes = [f"size={tuple(array.shape)}"] if array.ndim != 1 else []
    if array.dtype.name not in implied:
        suffixes.append(f"dtype=torch.{array.dtype.name}")
    return _append(f"{name}({_body(array, indent)}", suffixes, indent) + ")"


def _body(array: AnyArray, indent: int) -> str:
    if not array.size:
        return "[]"
    cut = array.size > _options.threshold
    return _block(array, indent, _Cells(_visible(array) if cut else array), cut)


class _Cells:
    """The one style and column width of all cells, chosen from those that are shown."""

    def __init__(self, shown: AnyArray) -> None:
        self.style: Callable[[Any], str]
        own_style: Callable[[Any], str]
        if shown.dtype.kind != "f":
            self.style = own_style = str
            counted = shown
        else:
            # Zeros, infinities and NaN have no say: torch lets them stick out of the column.
            counted = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
            own_style = _float_style(counted, None)
            self.style = _float_style(counted, _options.sci_mode)
        # In torch `sci_mode` changes the cells but not the width that they would have had.
        self.width = max((len(own_style(cell)) for cell in counted.ravel().tolist()), default=1)

    def write(self, cell: float) -> str:
        return self.style(cell).rjust(self.width)


def _float_style(values: Float64, powers: bool | None) -> Callable[[float], str]:
    """Return the function from a float to its text, for finite `values` other than 0.

    `powers` (of ten) is True, False, or None: as the values need.
    """
    whole = bool(np.all(values == np.ceil(values)))
    if powers is None:
        powers = values.size > 0 and _needs_powers(np.abs(values), whole)
    if powers:
        return lambda cell: f"{cell:.{_options.precision}e}"
    if whole:
        return lambda cell: f"{cell:.0f}." if np.isfinite(cell) else f"{cell:.0f}"
    return lambda cell: f"{cell:.{_options.precision}f}"


def _needs_powers(sizes: Float64, whole: bool) -> bool:
    least, most = sizes.min(), sizes.max()
    with np.errstate(over="ignore"):
        return bool(most > 1e8 or most / least > 1000 or (least < 1e-4 and not whole))


def _visible(array: AnyArray) -> AnyArray:
    """Return the cells that a summary shows."""
    return array[np.ix_(*(_shown_rows(n, True) for n in array.shape))]


def _shown_rows(n: int, cut: bool) -> list[int]:
    k = _options.edgeitems
    return [*range(k), *range(n - k, n)] if cut and n > 2 * k else list(range(n))


def _block(array: AnyArray, indent: int, cells: "_Cells", cut: bool) -> str:
    """Return the text of `array`; its opening bracket stands at column `indent`."""
    if array.ndim == 0:
        return cells.write(array.item())
    shown = _shown_rows(len(array), cut)
    if array.ndim == 1:
        rows, dots = [cells.write(cell) for cell in array[shown].tolist()], " ..."
    else:
        rows, dots = [_block(array[i], indent + 1, cells, cut) for i in shown], "..."
    if len(shown) < len(array):
        rows.insert(_options.edgeitems, dots)
    if array.ndim > 1:
        gap = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
        return "[" + gap.join(rows) + "]"
    return "[" + _wrapped(rows, cells.width + 2, indent) + "]"


def _wrapped(texts: Sequence[str], column: int, indent: int) -> str:
    """Join the cells of a vector, so many a line that none grows beyond the line width."""
    k = max(1, (_options.linewidth - indent) // column)
    lines = [", ".join(texts[i : i + k]) for i in range(0, len(texts), k)]
    return (",\n" + " " * (indent + 1)).join(lines)


def _append(text: str, suffixes: Sequence[str], indent: int) -> str:
    """Add `suffixes`, each on a new line where it would make the last one too long."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text, used = f"{text},\n{' ' * indent}{suffix}", indent + len(suffix)
        else:
            text, used = f"{text}, {suffix}", used + len(suffix) + 2
    return text
