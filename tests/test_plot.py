"""Grids of photos, what stands above them, and pictures of labels."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mlclassify.plot import (
    COLORS,
    RIGHT,
    WRONG,
    grid_shape,
    line_style,
    plot_counts,
    plot_heat,
    plot_label_curves,
    plot_sweep,
    plot_tables,
    show_images,
    verdict_color,
)
from mlclassify.verdict import decisions, verdict


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
    small = plot_sweep([0, 1], [0, 1], figsize=(2, 1))
    assert small.figure.get_size_inches().tolist() == [2, 1]


def test_drawing_changes_no_setting():
    before = dict(matplotlib.rcParams)
    show_images([np.zeros((2, 2, 3))])
    plot_sweep([0, 1], [0, 1])
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_not_imported_before_something_is_drawn():
    code = "import sys, mlclassify.plot; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# --- decisions in words

LINES = [
    # there, named, prob, thresh
    ((1, True, 0.98, 0.5), "✓ bear 0.98 > 0.50"),
    ((0, False, 0.02, 0.5), "✓ bear 0.02 ≤ 0.50"),
    ((0, True, 0.6, 0.5), "✗ bear 0.60 > 0.50, not there"),
    ((1, False, 0.31, 0.5), "✗ bear 0.31 ≤ 0.50, missed"),
    ((1, False, 0.9, 0.5), "✗ bear 0.90 > 0.50, missed as novel"),
    ((np.nan, True, 0.9, 0.5), "? bear 0.90 > 0.50"),
    ((0.7, True, 0.9, 0.5), "? bear 0.90 > 0.50"),
    ((1, True, 0.9512, 0.95), "✓ bear 0.951 > 0.950"),
    ((1, False, 0.5, 0.5), "✗ bear 0.50 ≤ 0.50, missed"),
    ((1, False, 0.9, np.inf), "✗ bear 0.90 ≤ inf, missed"),
    ((1, True, 0.9, None), "✓ bear 0.90"),
]


@pytest.mark.parametrize("decision, line", LINES)
def test_a_decision_in_words(decision, line):
    there, named, prob, thresh = decision
    only, = decisions(["bear"], [there], [named], [prob], thresh)
    assert str(only) == line and only.plain() == line[2:]


def test_a_verdict_begins_with_what_is_most_wrong():
    decided = decisions("abcd", [1, 0, 1, 0], [1, 1, 0, 0], [0.9, 0.6, 0.1, 0.2], 0.5)
    assert verdict(decided) == ("✗ c 0.10 ≤ 0.50, missed\n✗ b 0.60 > 0.50, not there\n"
                                "✓ a 0.90 > 0.50")
    assert verdict_color(decided) == WRONG and verdict_color(decided[:1]) == RIGHT
    assert verdict_color(decided, judged=False) == "black"
    decided = decisions("abcdefg", [1] * 7, [1] * 7, np.arange(7) / 10, np.arange(7) / 20)
    assert verdict(decided).split("\n")[3:] == ["✓ d 0.30 > 0.15", "and 3 more"]
    long = decisions(["an unusually long name of a label"], None, [1], [0.5])
    assert verdict(long) == "an unusually long name … 0.50"


# --- labels

def test_lines_are_told_apart_by_colour_and_dashes():
    styles = [tuple(line_style(i).values()) for i in range(28)]
    assert len(set(styles)) == 28


def lab(linear):
    """CIE L*a*b* of linear RGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(to_xyz @ linear / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009: what people without one kind of cone see, of linear RGB.
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", DEFICIENCIES)
def test_right_and_wrong_differ_for_every_reader(kind):
    seen = []
    for color in (RIGHT, WRONG, COLORS[0], COLORS[4]):
        rgb = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen.append(lab(np.clip(DEFICIENCIES[kind] @ linear, 0, 1)))
    right, wrong, there, absent = seen
    assert np.linalg.norm(right - wrong) > 25 and np.linalg.norm(there - absent) > 25


def test_long_titles_take_more_lines_and_do_not_overlap():
    labels = ["rock", "sky", "water", "mountain", "tree", "snow", "cloud", "people"] * 3
    axes = show_images([np.zeros((4, 4, 3))] * 6, [";".join(labels)] * 6, nrows=2)
    renderer = axes[0, 0].figure.canvas.get_renderer()
    axes[0, 0].figure.canvas.draw()
    boxes = [[ax.title.get_window_extent(renderer) for ax in row] for row in axes]
    assert all(a.x1 <= b.x0 for row in boxes for a, b in itertools.pairwise(row))
    assert all(below.y1 <= ax.get_window_extent().y0 for below, ax in zip(boxes[1], axes[0]))
    assert axes[0, 0].get_title().replace("\n", "") == ";".join(labels)
    assert axes[0, 0].title.get_fontsize() >= 8
    assert show_images([np.zeros((4, 4, 3))], ["(none)\nsky"])[0, 0].get_title() == "(none)\nsky"


def test_titles_shrink_until_they_fit():
    picture = np.zeros((4, 4, 3))
    sizes = [show_images([picture] * 3, ["a" * n] * 3, nrows=1)[0, 0].title.get_fontsize()
             for n in (5, 40, 60, 500)]
    assert sizes[0] == 12 and 12 > sizes[1] > sizes[2] > 6 and sizes[3] == 6
    axes = show_images([picture] * 3, ["wide " * 8] * 3, nrows=1)
    axes[0, 0].figure.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in axes.flat]
    assert not boxes[0].overlaps(boxes[1]) and not boxes[1].overlaps(boxes[2])


def test_plot_counts():
    ax = plot_counts([[0, 3], [9, 1], [0, 0]], ["a", "$b$", "c"], ["x", "y"])
    assert [t.get_text() for t in ax.texts] == ["", "3", "9", "1", "", ""]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", r"\$b\$", "c"]
    assert ax.texts[2].get_color() == "white" and ax.texts[1].get_color() == "black"
    assert plot_counts(np.zeros((1, 1), int), "a", "b", ax=ax) is ax
    plot_counts(np.zeros((1, 1), int), "a", "b", figsize=(1, 1)).figure.canvas.draw()


def test_plot_label_curves():
    ax = plot_label_curves([([0, 1], [i, i]) for i in range(12)], [*"abcdefghijkl"],
                           [None] * 11 + [(0.5, 11)])
    assert len(ax.lines) == 13 and len(ax.get_legend().texts) == 10
    assert ax.lines[-1].get_xydata().tolist() == [[0.5, 11]]
    hidden = plot_label_curves([([0, 1], [0, 1])], ["_all"], [None])
    assert [text.get_text() for text in hidden.get_legend().texts] == [" _all"]


def test_plot_tables_of_nothing():
    ax = plot_tables(np.zeros((1, 2, 2), int), ["a"])[0, 0]
    assert [t.get_text() for t in ax.texts] == ["0"] * 4
    assert np.asarray(ax.images[0].get_array()).min() == 1  # white


def test_plot_heat():
    heat = np.array([[0.0, 2.0], [1.0, 4.0]])
    ax = plot_heat(np.full((6, 8, 3), 100, np.uint8), heat, "$x", figsize=(2, 2))
    assert np.asarray(ax.images[0].get_array()).tolist() == [[100.0] * 8] * 6
    np.testing.assert_allclose(np.asarray(ax.images[1].get_array())[..., 3], 0.7 * heat / 4)
    assert ax.images[1].get_extent() == [-0.5, 7.5, 5.5, -0.5] and ax.get_title() == r"\$x"
    assert plot_heat(np.zeros((2, 2, 3)), np.zeros((1, 1)), ax=ax) is ax
