"""Bars over work that takes a while: in a notebook, in a terminal, and as plain lines in a log.

All go to stderr, so that what is printed on stdout can be piped on.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

LINE_EVERY = 30  # seconds between two lines of a log


class Bar(Protocol):
    """What `progress_bar` returns, tqdm's or `LogLines`."""

    def update(self, n: int = 1) -> Any:
        """Count `n` steps."""

    def set_postfix_str(self, text: str, /, refresh: bool = ...) -> None:
        """Put `text` behind the bar."""

    def close(self) -> None:
        """Take the bar away."""


def progress_bar(what: str, total: int | None, wanted: bool = True) -> Bar | None:
    """Return a bar, or None where none is wanted.

    A notebook and a terminal get tqdm's. Where stderr is neither, as in a log, there is a line
    every 30 seconds, without control characters.

    Parameters
    ----------
    what : str
        Put before the bar.
    total : int
        How many steps there are.
    wanted : bool
        ``MLCLASSIFY_PROGRESS=0`` in the environment means that none is.

    Returns
    -------
    Bar or None
    """
    if not wanted or os.environ.get("MLCLASSIFY_PROGRESS") == "0":
        return None
    if not in_notebook() and not sys.stderr.isatty():
        return LogLines(what, total)
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns, and then falls back to text as it should.
        warnings.filterwarnings("ignore", message=".*IProgress not found.*")
        from tqdm.auto import tqdm
    return tqdm(total=total, desc=what, leave=False)


@contextmanager
def progress(what: str, total: int | None, wanted: bool = True) -> Iterator[Callable[[], Any]]:
    """Have a bar inside a with block.

    Parameters
    ----------
    what, total, wanted
        As in `progress_bar`.

    Yields
    ------
    function
        ``step()``: one more is done.

    Examples
    --------
    >>> with progress("verify", 2, wanted=False) as step:
    ...     step()
    """
    bar = progress_bar(what, total, wanted)
    try:
        yield (lambda: None) if bar is None else bar.update
    finally:
        if bar is not None:
            bar.close()


class LogLines:
    """A bar for where nothing can be drawn over: now and then a line on stderr.

    Parameters
    ----------
    what : str
    total : int
    """

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.n, self._text = what, total, 0, ""
        self._start = self._last = time.monotonic()

    def update(self, n: int = 1) -> None:
        """Count `n` steps; say so if the last line was long ago."""
        self.n += n
        now = time.monotonic()
        if now - self._last >= LINE_EVERY:
            self._last = now
            share = f"({self.n / self.total:.0%})" if self.total else ""
            print(f"{self.what}: {self.n}/{self.total} {share} {format_time(now - self._start)} "
                  f"{self._text}".rstrip(), file=sys.stderr, flush=True)

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Put `text` at the end of lines."""
        self._text = text

    def close(self) -> None:
        """Do nothing: there is nothing to take away."""


def format_time(seconds: float) -> str:
    """Return whole seconds as MM:SS, or H:MM:SS from an hour on.

    Examples
    --------
    >>> format_time(7.9), format_time(3661)
    ('00:07', '1:01:01')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def in_notebook() -> bool:
    """Return whether a notebook's kernel runs this, so that HTML is shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")
