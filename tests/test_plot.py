"""Grids of photos and the sweep curve."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mlclassify.plot import grid_shape, plot_sweep, show_images


@pytest.fixture(autouse=True)
def close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize("n, options, shape", [
    (9, {}, (3, 3)), (8, {"nrows": 2}, (2, 4)), (5, {}, (2, 3)), (1, {}, (1, 1)),
    (3, {"nrows": 1}, (1, 3)), (7, {"ncols": 2}, (4, 2)), (4, {"nrows": 3, "ncols": 5}, (3, 5)),
])
def test_grid_is_fastais(n, options, shape):
    assert grid_shape(n, **options) == shape


def test_show_images():
    picture = np.zeros((4, 6, 3), np.uint8)
    axes = show_images([picture] * 5, list("abcde"), ["green"] * 4 + ["red"])
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes.flat] == [*"abcde", ""]
    assert axes[1, 1].title.get_color() == "red"
    assert not any(ax.axison for ax in axes.flat)
    assert axes[0, 0].figure.get_size_inches().tolist() == [9, 6]
    assert len(axes[1, 2].images) == 0
    small = show_images([picture], figsize=(2, 1))
    assert small[0, 0].figure.get_size_inches().tolist() == [2, 1]


def test_show_images_takes_what_there_is(rng):
    pixels = rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    floats = pixels / np.float32(255)
    for image in (pixels, Image.fromarray(pixels), floats, floats.transpose(2, 0, 1)):
        shown = np.asarray(show_images([image])[0, 0].images[0].get_array(), float)
        scale = 255 if shown.max() > 1 else 1
        np.testing.assert_allclose(shown / scale, floats, atol=1e-6)


def test_a_label_is_no_formula():
    ax = show_images([np.zeros((2, 2, 3))], ["cost $a_1$ $"])[0, 0]
    ax.figure.canvas.draw()
    assert ax.get_title() == r"cost \$a_1\$ \$"


def test_plot_sweep():
    ax = plot_sweep([0.1, 0.5, 0.9], [0.5, 0.9, 0.7], best=0.5)
    assert ax.lines[0].get_xydata().tolist() == [[0.1, 0.5], [0.5, 0.9], [0.9, 0.7]]
    assert set(ax.lines[1].get_xdata()) == {0.5}
    assert plot_sweep([0, 1], [0, 1], ax=ax) is ax
    assert len(plot_sweep([0, 1], [0, 1]).lines) == 1


def test_drawing_changes_no_setting():
    before = dict(matplotlib.rcParams)
    show_images([np.zeros((2, 2, 3))])
    plot_sweep([0, 1], [0, 1])
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_not_imported_before_something_is_drawn():
    code = "import sys, mlclassify.plot; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
