"""Pictures: a grid of photos and the curve of a threshold sweep.

matplotlib is imported when something is drawn. Every function returns its Axes; none shows a
figure, chooses a backend or changes a setting.
"""

import math

import numpy as np

from mlclassify.checks import check_whole

_NAMED = 10  # labels in a legend


def new_axes(ax=None, figsize=None):
    """Return `ax`, or the Axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize)[1]


def grid_shape(n, nrows=None, ncols=None):
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


class Grid(np.ndarray):
    """The Axes of a grid, an ndarray of objects that a notebook shows as its picture alone."""

    def _ipython_display_(self):
        """Write nothing: matplotlib shows the figure, and its Axes are no news beside it."""


def show_images(images, titles=None, colors=None, nrows=None, ncols=None, figsize=None):
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
    from matplotlib import pyplot

    rows, columns = grid_shape(len(images), nrows, ncols)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=figsize or (columns * 3, rows * 3), squeeze=False
    )
    for ax, image, title, color in zip(axes.flat, images, titles, colors):
        ax.imshow(_pixels(image))
        ax.set_title(_plain(title), color=color)
    for ax in axes.flat:
        ax.axis("off")
    figure.tight_layout()
    return axes.view(Grid)


def _sequence(name, values, default=None):
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


def label_title(labels):
    """Return labels as the title of a picture; that there are none is said, too.

    Examples
    --------
    >>> label_title(["black", "teddy"]), label_title([])
    ('black;teddy', '(none)')
    """
    return ";".join(map(str, labels)) or "(none)"


def _pixels(image):
    """Return an array (H, W, 3) that matplotlib can draw."""
    array = np.array(image)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4):
        array = array.transpose(1, 2, 0)
    return np.clip(array, 0, 1) if array.dtype.kind == "f" else array


def _plain(title):
    """Keep matplotlib from reading a label such as ``$a_1$`` as a formula."""
    return str(title).replace("$", r"\$")


def plot_f1_curves(thresholds, curves, labels, chosen, ax=None):
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

    Returns
    -------
    Axes
    """
    xs, curves = np.asarray(thresholds, float), np.asarray(curves, float)
    ax = new_axes(ax, figsize=(7, 4))
    for i, (label, thresh) in enumerate(zip(labels, chosen)):
        line = ax.plot(xs, curves[:, i], label=_plain(label) if i < _NAMED else None)[0]
        if xs[0] <= thresh <= xs[-1]:
            f1 = np.interp(thresh, xs, curves[:, i])
            ax.plot([thresh], [f1], "o", color=line.get_color())
    ax.set_xlabel("threshold")
    ax.set_ylabel("F1")
    ax.legend()
    return ax


def plot_sweep(thresholds, accuracies, best=None, ax=None):
    """Draw how a score depends on the threshold.

    Parameters
    ----------
    thresholds, accuracies : array_like (n,)
    best : float, optional
        A threshold to mark.
    ax : matplotlib Axes, optional

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
    ax = new_axes(ax, figsize=(6, 4))
    ax.plot(xs, ys)
    if best is not None:
        ax.axvline(float(best), linestyle="--", color="0.5", label=f"best: {float(best):.3f}")
        ax.legend()
    ax.set_xlabel("threshold")
    ax.set_ylabel("accuracy_multi")
    return ax
