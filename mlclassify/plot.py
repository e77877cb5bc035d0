"""Pictures: grids of photos, what was decided about them, and curves, tables and bars of labels.

matplotlib is imported when something is drawn. Every function returns its Axes; none shows a
figure, chooses a backend or changes a setting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from mlclassify.checks import check_whole
from mlclassify.types import AnyArray, ArrayLike, FigSize, Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 10  # labels in a legend
# Okabe and Ito, "Color universal design", 2008: told apart with every kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG = "#007A5A", "#D55E00"
_HEAT = "#FF9000"
_SMALL = 8  # points below which a title of several words has more lines rather than smaller letters
_STYLES = ("-", "--", ":", "-.")


def new_axes(ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def new_grid(n: int, nrows: int | None = None, ncols: int | None = None,
             figsize: FigSize | None = None, each: FigSize = (3, 3)) -> Grid:
    """Return a `Grid` of Axes for `n` pictures of `each` inches; those left over are off."""
    from matplotlib import pyplot

    rows, columns = grid_shape(n, nrows, ncols)
    figsize = figsize or (columns * each[0], rows * each[1])
    axes = pyplot.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")[1]
    for ax in axes.flat[n:]:
        ax.axis("off")
    return axes.view(Grid)


def line_style(i: int) -> dict[str, Any]:
    """Return the colour and the dashes of line `i`: 28 that differ.

    Examples
    --------
    >>> line_style(0), line_style(7)
    ({'color': '#0072B2', 'linestyle': '-'}, {'color': '#0072B2', 'linestyle': '--'})
    """
    dashes = _STYLES[i // len(COLORS) % len(_STYLES)]
    return {"color": COLORS[i % len(COLORS)], "linestyle": dashes}


def grid_shape(n: int, nrows: int | None = None, ncols: int | None = None) -> tuple[int, int]:
    """Return the rows and columns for `n` pictures, as fastai divides them.

    Examples
    --------
    >>> grid_shape(9), grid_shape(8, nrows=2), grid_shape(5), grid_shape(7, ncols=2)
    ((3, 3), (2, 4), (2, 3), (4, 2))
    """
    for name, value in (("nrows", nrows), ("ncols", ncols)):
        if value is not None:
            check_whole("show_images", name, value, at_least=1)
    if nrows is None:
        nrows = math.ceil(n / ncols) if ncols else max(int(math.sqrt(n)), 1)
    return nrows, ncols or max(math.ceil(n / nrows), 1)


class Grid(np.ndarray[Any, np.dtype[Any]]):
    """The Axes of a grid, an ndarray of objects that a notebook shows as its picture alone."""

    def _ipython_display_(self) -> None:
        """Write nothing: matplotlib shows the figure, and its Axes are no news beside it."""


def show_images(images: Sequence[Any] | AnyArray, titles: Sequence[object] | None = None,
                colors: Sequence[str] | None = None, nrows: int | None = None,
                ncols: int | None = None, figsize: FigSize | None = None) -> Grid:
    """Draw pictures in a grid.

    Parameters
    ----------
    images : sequence of PIL images or arrays
        An array is (H, W, 3) or (3, H, W), uint8, or float in [0, 1].
    titles : sequence of str, optional
    colors : sequence of str, optional
        Of the titles.
    nrows, ncols : int, optional
        See `grid_shape`.
    figsize : tuple of 2 floats, optional
        Inches; default 3 a picture.

    Returns
    -------
    Grid of Axes (nrows, ncols)
        An ndarray. Those without a picture are switched off.
    """
    images = _sequence("images", images)
    titles = _sequence("titles", titles, [""] * len(images))
    colors = _sequence("colors", colors, ["black"] * len(images))
    axes = new_grid(len(images), nrows, ncols, figsize)
    titles = [_broken(title, _line_length(axes, _SMALL)) for title in titles]
    size = _title_size(axes, titles)
    for ax, image, title, color in zip(axes.flat, images, titles, colors):
        ax.imshow(_pixels(image))
        ax.set_title(_plain(title), color=color, fontsize=size)
        ax.axis("off")
    return axes


def _line_length(axes: Grid, size: float) -> float:
    """Return how many letters of `size` points are as wide as a cell of a grid."""
    width: float = axes[0, 0].figure.get_figwidth() / axes.shape[1]
    return 72 * width / (0.54 * size)


def _title_size(axes: Grid, titles: Iterable[object]) -> float:
    """Return the points, 6 to 12, at which the longest line of all titles is as wide as a cell."""
    longest = max((len(line) for title in titles for line in str(title).splitlines()), default=0)
    return min(max(_line_length(axes, 1) / max(longest, 1), 6), 12)


def _broken(title: object, most: float) -> str:
    """Break lines of more than `most` letters between labels and between words.

    Examples
    --------
    >>> print(_broken("black;grizzly;teddy", 15))
    black;grizzly;
    teddy
    """
    lines: list[str] = []
    for line in str(title).split("\n"):
        lines.append("")
        for part in re.split("(?<=[; ])", line):
            if lines[-1] and len(lines[-1] + part.rstrip()) > most:
                lines.append("")
            lines[-1] += part
    return "\n".join(line.rstrip(" ") for line in lines)


def _sequence(name: str, values: Any, default: list[Any] | None = None) -> list[Any]:
    """Return `values` as a list, as long as the `default` that stands for None."""
    if values is None and default is not None:
        return default
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"show_images: `{name}` must be a sequence, got {type(values).__name__}")
    if default is not None and len(values) != len(default):
        raise ValueError(
            f"show_images: `{name}` must be one for each of {len(default)} images, "
            f"got {len(values)}"
        )
    return list(values)


def label_title(labels: Iterable[object]) -> str:
    """Return labels as the title of a picture; that there are none is said, too.

    Examples
    --------
    >>> label_title(["black", "teddy"]), label_title([])
    ('black;teddy', '(none)')
    """
    return ";".join(map(str, labels)) or "(none)"


def _pixels(image: Any) -> AnyArray:
    """Return an array (H, W, 3) that matplotlib can draw."""
    array = np.array(image)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4):
        array = array.transpose(1, 2, 0)
    return np.clip(array, 0, 1) if array.dtype.kind == "f" else array


def _plain(title: object) -> str:
    """Keep matplotlib from reading a label such as ``$a_1$`` as a formula."""
    return str(title).replace("$", r"\$")


class Judged(Protocol):
    """What `verdict_color` looks at of a ``verdict.Decision``."""

    @property
    def wrong(self) -> bool: ...


def verdict_color(decided: Iterable[Judged], judged: bool = True) -> str:
    """Return the colour of a title about decisions: whether all that is known is right."""
    if not judged:
        return "black"
    return WRONG if any(d.wrong for d in decided) else RIGHT


def plot_f1_curves(thresholds: ArrayLike, curves: ArrayLike, labels: Sequence[object],
                   chosen: Iterable[float], ax: Axes | None = None,
                   figsize: FigSize | None = None) -> Axes:
    """Draw F1 of every label over the threshold, with a dot where the label's threshold is.

    Parameters
    ----------
    thresholds : array_like (T,)
    curves : array_like (T, L)
    labels : list of L str
        The first ten are named in the picture.
    chosen : array_like (L,)
        Thresholds that decide; those beyond the picture get no dot.
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes
    """
    xs, curves = np.asarray(thresholds, float), np.asarray(curves, float)
    dots = [(thresh, np.interp(thresh, xs, curve)) if xs[0] <= thresh <= xs[-1] else None
            for thresh, curve in zip(chosen, curves.T)]
    ax = plot_label_curves([(xs, curve) for curve in curves.T], labels, dots, ax, figsize)
    ax.set_xlabel("threshold")
    ax.set_ylabel("F1")
    return ax


def plot_label_curves(curves: Iterable[tuple[AnyArray, AnyArray]], labels: Iterable[object],
                      dots: Iterable[tuple[float, float] | None], ax: Axes | None = None,
                      figsize: FigSize | None = None,
                      drawstyle: Literal["default", "steps-post"] = "default",
                      loc: Literal["best", "lower left", "lower right"] = "best") -> Axes:
    """Draw a curve for every label, with a dot where its threshold stands.

    Parameters
    ----------
    curves : list of (x, y)
    labels : list of str
        The first ten are named in the picture.
    dots : list of (x, y) or None
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.
    drawstyle, loc : str
        matplotlib's, of the steps and of the legend.

    Returns
    -------
    Axes
    """
    ax = new_axes(ax, figsize or (7, 4))
    for i, ((x, y), label, dot) in enumerate(zip(curves, labels, dots)):
        ax.plot(x, y, label=_entry(label) if i < _NAMED else None, drawstyle=drawstyle,
                **line_style(i))
        if dot is not None:
            ax.plot(*dot, "o", color=line_style(i)["color"])
    ax.legend(loc=loc)
    return ax


def _entry(label: object) -> str:
    """Return a label for a legend, which leaves out what begins with an underscore."""
    return f" {_plain(label)}" if str(label).startswith("_") else _plain(label)


def plot_tables(tables: ArrayLike, labels: Sequence[object], normalize: bool = False,
                nrows: int | None = None, ncols: int | None = None,
                figsize: FigSize | None = None) -> Grid:
    """Draw a 2x2 table for every label: what is there, and what was named.

    Right cells are blue and wrong ones orange, the deeper the larger their share of a row.

    Parameters
    ----------
    tables : array_like (L, 2, 2)
        [[true negatives, false positives], [false negatives, true positives]].
    labels : list of L str
    normalize : bool
        Whether to write shares of the rows instead of counts.
    nrows, ncols, figsize
        As in `show_images`.

    Returns
    -------
    Grid of Axes
    """
    axes = new_grid(len(labels), nrows, ncols, figsize, each=(2.2, 2.2))
    size = _title_size(axes, labels)
    for i, (ax, table, label) in enumerate(zip(axes.flat, np.asarray(tables), labels)):
        _draw_table(ax, table, normalize)
        _row, column = divmod(i, axes.shape[1])
        ax.set_title(_plain(label), fontsize=size)
        ax.set_xticks([0, 1], ["not named", "named"] if i + axes.shape[1] >= len(labels) else [])
        ax.set_yticks([0, 1], ["absent", "there"] if column == 0 else [], rotation=90, va="center")
        ax.tick_params(length=0)
    return axes


def _draw_table(ax: Axes, table: AnyArray, normalize: bool) -> None:
    total = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, total, out=np.zeros((2, 2)), where=total > 0)
    full = _rgb([[COLORS[0], COLORS[1]], [COLORS[1], COLORS[0]]])
    ax.imshow(1 - shares[:, :, None] * (1 - full))
    for (i, j), share in np.ndenumerate(shares):
        shown = f"{share:.2f}" if normalize else f"{table[i, j]}"
        ax.text(j, i, shown, ha="center", va="center", color="white" if share > 0.7 else "black")


def _rgb(colors: Iterable[Iterable[str]]) -> Float64:
    """Return colours such as "#0072B2" as floats (..., 3)."""
    from matplotlib.colors import to_rgb

    return np.array([[to_rgb(c) for c in row] for row in colors])


def plot_histograms(present: Iterable[AnyArray], absent: Iterable[AnyArray],
                    thresh: Iterable[float], labels: Sequence[object], bins: int = 20,
                    nrows: int | None = None, ncols: int | None = None,
                    figsize: FigSize | None = None) -> Grid:
    """Draw for every label how probable it was called where it is there, and where it is not.

    Bars are shares of the photos of their kind, so that a rare label shows beside all the rest;
    those of absent labels hang down.

    Parameters
    ----------
    present, absent : lists of L arrays
        Probabilities of the photos that have the label, and of those that have it not.
    thresh : array_like (L,)
        A line; none beyond the picture.
    labels : list of L str
    bins : int
    nrows, ncols, figsize
        As in `show_images`.

    Returns
    -------
    Grid of Axes
    """
    check_whole("plot_histograms", "bins", bins, at_least=1)
    axes, edges = new_grid(len(labels), nrows, ncols, figsize), np.linspace(0, 1, bins + 1)
    size = _title_size(axes, labels)
    for ax, there, not_there, cut, label in zip(axes.flat, present, absent, thresh, labels):
        for probs, sign, color, what in ((there, 1, COLORS[0], "there"),
                                         (not_there, -1, COLORS[4], "absent")):
            shares = np.histogram(probs, edges)[0] / max(len(probs), 1)
            ax.stairs(sign * shares, edges, fill=True, color=color,
                      label=f"{what} ({len(probs)})")
        if 0 <= cut <= 1:
            ax.axvline(cut, color="black", linestyle="--")
        _finish_histogram(ax)
        ax.set_title(_plain(label), fontsize=size)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of their kind")
    return axes


def _finish_histogram(ax: Axes) -> None:
    ax.axhline(0, color="black", linewidth=0.8)
    tallest = max(map(abs, ax.get_ylim()))
    ax.set(xlim=(0, 1), ylim=(-tallest, tallest), xlabel="probability")
    ax.yaxis.set_major_formatter(lambda share, _: f"{abs(share):g}")
    ax.legend(fontsize="small")


def plot_counts(counts: ArrayLike, rows: Collection[object], columns: Collection[object],
                ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
    """Draw a table of counts, the larger the darker.

    Parameters
    ----------
    counts : array_like (R, C)
    rows, columns : lists of str
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes
    """
    counts = np.asarray(counts)
    ax = new_axes(ax, figsize or (2 + 0.5 * len(columns), 1.5 + 0.5 * len(rows)))
    ax.imshow(counts, cmap="Blues", vmin=0, vmax=max(counts.max(initial=0), 1))
    for (i, j), count in np.ndenumerate(counts):
        color = "white" if 2 * count > counts.max() else "black"
        ax.text(j, i, count or "", ha="center", va="center", color=color)
    ax.set_xticks(range(len(columns)), [_plain(c) for c in columns], rotation=45, ha="right",
                  rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), [_plain(r) for r in rows])
    ax.tick_params(length=0)
    return ax


def plot_heat(image: Any, heat: ArrayLike, title: str = "", ax: Axes | None = None,
              figsize: FigSize | None = None) -> Axes:
    """Draw a photo in grey, and in orange how high a coarse map of it is.

    Parameters
    ----------
    image : PIL image or array, as in `show_images`
    heat : array_like (h, w)
        Not negative, of any size; smoothed to that of the photo.
    title : str
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes
    """
    grey, heat = _pixels(image).mean(axis=2), np.asarray(heat, float)
    ax = new_axes(ax, figsize or (4, 4))
    ax.imshow(grey, cmap="gray")
    veil = np.empty((*heat.shape, 4))
    veil[..., :3], veil[..., 3] = _rgb([[_HEAT]]), 0.7 * heat / max(heat.max(initial=0), 1e-30)
    h, w = grey.shape
    ax.imshow(veil, interpolation="bilinear", extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    ax.set_title(_plain(title))
    ax.axis("off")
    return ax

def plot_sweep(thresholds: ArrayLike, accuracies: ArrayLike, best: float | None = None,
               ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
    """Draw how a score depends on the threshold.

    Parameters
    ----------
    thresholds, accuracies : array_like (n,)
    best : float, optional
        A threshold to mark.
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes
    """
    xs, ys = np.asarray(thresholds, float), np.asarray(accuracies, float)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise ValueError(
            f"plot_sweep: `accuracies` must be as long as `thresholds`, got {ys.shape} "
            f"for {xs.shape}"
        )
    ax = new_axes(ax, figsize or (6, 4))
    ax.plot(xs, ys)
    if best is not None:
        ax.axvline(float(best), linestyle="--", color="0.5", label=f"best: {float(best):.3f}")
        ax.legend()
    ax.set_xlabel("threshold")
    ax.set_ylabel("accuracy_multi")
    return ax
