"""Arguments that are no arrays: what they must be, said in one grammar.

Each check returns the argument as its caller goes on with it, or raises in the name of `function`
with the argument, the rule and what was given.
"""

import operator
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mlclassify.types import Function


class MLClassifyWarning(UserWarning):
    """Something that this library thinks its user should know."""


def check_whole(function: str, name: str, value: Any, at_least: int) -> int:
    """Return `value` as an int that is not below `at_least`.

    Examples
    --------
    >>> check_whole("fit", "n_epoch", 3, at_least=1)
    3
    >>> check_whole("fit", "n_epoch", 0, at_least=1)
    Traceback (most recent call last):
    ...
    ValueError: fit: `n_epoch` must be an integer of at least 1, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if isinstance(value, bool) or number < at_least:
        raise ValueError(f"{function}: `{name}` must be an integer of at least {at_least}, "
                         f"got {value!r}")
    return number


def check_between(function: str, name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float of [low, high).

    Examples
    --------
    >>> check_between("AsymmetricLoss", "clip", 0.05, 0, 1)
    0.05
    >>> check_between("AsymmetricLoss", "clip", 1, 0, 1)
    Traceback (most recent call last):
    ...
    ValueError: AsymmetricLoss: `clip` must lie in [0, 1), got 1
    """
    try:
        given: Any = None if isinstance(value, (str, bool)) else value
        number = float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: `{name}` must be a number, got {value!r}") from None
    if not low <= number < high:
        raise ValueError(f"{function}: `{name}` must lie in [{low}, {high}), got {value!r}")
    return number


_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def check_bytes(function: str, name: str, value: Any) -> int:
    """Return an amount of memory, a number of bytes or a text such as '500MB', as an int.

    Examples
    --------
    >>> check_bytes("dataloaders", "cache", "1.5 GB")
    1500000000
    >>> check_bytes("dataloaders", "cache", "much")
    Traceback (most recent call last):
    ...
    ValueError: dataloaders: `cache` must be bytes as an integer of at least 1, or a text such as \
'500MB' (KB, MB or GB), got 'much'
    """
    number = 0
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(KB|MB|GB)\s*", value, re.IGNORECASE)
        number = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    elif not isinstance(value, bool) and hasattr(value, "__index__"):
        number = operator.index(value)
    if number < 1:
        raise ValueError(
            f"{function}: `{name}` must be bytes as an integer of at least 1, or a text such as "
            f"'500MB' (KB, MB or GB), got {value!r}"
        )
    return number


def check_function(function: str, name: str, value: object) -> Function:
    """Return `value`, which can be called.

    Examples
    --------
    >>> check_function("DataBlock", "get_y", "label")
    Traceback (most recent call last):
    ...
    TypeError: DataBlock: `get_y` must be a function, got 'label'
    """
    if not callable(value):
        raise TypeError(f"{function}: `{name}` must be a function, got {value!r}")
    return value


def check_choice(function: str, name: str, value: Any, choices: Collection[str | None]) -> Any:
    """Return `value`, which is one of `choices`: strings, or None.

    Examples
    --------
    >>> check_choice("AccumMetric", "activation", "relu", ("no", "sigmoid"))
    Traceback (most recent call last):
    ...
    ValueError: AccumMetric: `activation` must be 'no' or 'sigmoid', got 'relu'
    """
    if not isinstance(value, (str, type(None))) or value not in choices:
        options = " or ".join(repr(c) for c in choices)
        raise ValueError(f"{function}: `{name}` must be {options}, got {value!r}")
    return value


def check_path(function: str, name: str, value: Any) -> Path:
    """Return `value` as a Path.

    Examples
    --------
    >>> check_path("get_files", "path", None)
    Traceback (most recent call last):
    ...
    TypeError: get_files: `path` must be a path or str, got None
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{function}: `{name}` must be a path or str, got {value!r}")
    return Path(value)


def check_has(function: str, name: str, value: Any, rule: str, *attributes: str) -> Any:
    """Return `value`, which has `attributes`; `rule` says what that is, and how to come by it.

    Examples
    --------
    >>> check_has("get_preds", "dl", ["1.jpg"], "be a DataLoader", "stream")
    Traceback (most recent call last):
    ...
    TypeError: get_preds: `dl` must be a DataLoader, got list
    """
    if isinstance(value, type) or not all(hasattr(value, a) for a in attributes):
        got = value.__name__ if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{function}: `{name}` must {rule}, got {got}")
    return value
