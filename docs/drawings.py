"""Draws the pictures of the essays: ``python docs/drawings.py``."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

FOLDER = Path(__file__).parent / "essays"
BLUE, ORANGE, GREEN, GREY = "#3b6ea8", "#d9822b", "#3f8f5b", "#888888"
PALE = {BLUE: "#cfdff0", ORANGE: "#f8dfc4", GREEN: "#cfe6d6", GREY: "#e6e6e6"}


def box(ax, x, y, color, text="", w=1.0, h=1.0, size=8):
    """A filled square with its text in the middle."""
    ax.add_patch(Rectangle((x, y), w, h, facecolor=PALE[color], edgecolor=color, linewidth=0.8))
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size, color="black")


def arrow(ax, start, end, color):
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "->", "color": color, "lw": 0.9, "shrinkA": 0}
    )


def bare(ax, width, height, title):
    ax.set_xlim(-0.2, width + 0.2)
    ax.set_ylim(-0.2, height + 0.2)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(title, fontsize=10, loc="left")


def save(figure, name):
    figure.savefig(FOLDER / name, metadata={"Date": None}, facecolor="white", bbox_inches="tight")
    plt.close(figure)


# --- Winograd: how a map is cut, and what stride 2 does to an axis


def draw_cut(ax):
    """A side of 14 outputs: tiles of 4, 4, 3 and 3, and the inputs that two of them read."""
    bare(ax, 16, 4.2, "14 outputs of a side: 4 + 4 + 3 + 3, no waste")
    for i in range(16):
        box(ax, i, 3, GREY, f"d{i}", size=7)
    starts = (0, 4, 8, 11)
    for start, size, color in zip(starts, (4, 4, 3, 3), (BLUE, ORANGE, GREEN, BLUE)):
        for i in range(start, start + size):
            box(ax, i + 1, 0.6, color, f"y{i}", size=7)
        ax.text(
            start + 1 + size / 2,
            0.0,
            f"{size} from {size + 2}",
            ha="center",
            fontsize=8,
            color=color,
        )
        arrow(ax, (start + 1 + size / 2, 2.55), (start + 1 + size / 2, 1.65), color)
        y = 2.85 if color in (BLUE, GREEN) and start != 11 else 2.6
        ax.plot([start + 0.1, start + size + 1.9], [y, y], color=color, linewidth=2)


def draw_stride_2(ax):
    """Four outputs at stride 2: the even inputs meet two taps, the odd ones one."""
    bare(ax, 10, 5.2, "Stride 2: even inputs meet g0 and g2, odd ones only g1")
    for i in range(9):
        box(ax, i + 0.5, 3, BLUE if i % 2 == 0 else ORANGE, f"d{i}", size=8)
    for i in range(4):
        x = 2 * i + 1.5
        box(ax, x, 0.6, GREY, f"y{i}", size=8)
        for tap, dx in enumerate((-1, 0, 1)):
            arrow(
                ax, (x + dx + 0.5, 2.95), (x + 0.5 + 0.25 * dx, 1.65), ORANGE if tap == 1 else BLUE
            )
    ax.text(0.5, 4.3, "5 products, F(4, 2)", fontsize=8, color=BLUE)
    ax.text(5.2, 4.3, "+ 4 products = 9, not 12", fontsize=8, color=ORANGE)


def draw_points(ax):
    """The 36 points of a tile at stride 2, with the products of each: 81."""
    bare(ax, 6, 6, "A tile of 4 x 4 at stride 2: 81 products, not 144")
    for i in range(6):
        for j in range(6):
            split = (i == 5) + (j == 5)
            color = (BLUE, ORANGE, GREEN)[split]
            box(ax, j, 5 - i, color, str((1, 4, 16)[split]), size=9)


def draw_winograd():
    figure = plt.figure(figsize=(9, 5.4))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.8, 1), hspace=0.1, wspace=0.02)
    draw_cut(figure.add_subplot(grid[0, :]))
    draw_stride_2(figure.add_subplot(grid[1, 0]))
    draw_points(figure.add_subplot(grid[1, 1]))
    save(figure, "winograd.svg")


# --- Thresholds: rows are counted between a label's positives

SCORES = np.array(
    [0.97, 0.86, 0.81, 0.75, 0.69, 0.66, 0.62, 0.57, 0.51, 0.46, 0.42, 0.33, 0.28, 0.21, 0.12, 0.05]
)
THERE = np.array([1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0])


def draw_thresholds():
    """One label's scores, and what is true wherever the threshold is put."""
    figure, ax = plt.subplots(figsize=(9.2, 3.2))
    marks = SCORES[THERE == 1]
    reached = np.array([(SCORES >= mark).sum() for mark in marks])
    found = np.arange(1, len(marks) + 1)
    f1 = 2 * found / (reached + len(marks))
    ax.hlines(0, 0, 1.02, color="black", linewidth=0.8)
    ax.plot(SCORES[THERE == 0], np.zeros((THERE == 0).sum()), "o", color=GREY, markersize=5)
    for k, mark in enumerate(marks):
        best = k == f1.argmax()
        ax.vlines(mark, -0.25, 1.0, color=BLUE, linewidth=2 if best else 1)
        ax.plot(mark, 0, "o", color=BLUE, markersize=7)
        text = f"found {found[k]}\nreached {reached[k]}\nF1 {f1[k]:.2f}"
        ax.text(mark, 1.05, text, ha="center", va="bottom", fontsize=8,
                weight="bold" if best else "normal", color=BLUE)  # fmt: skip
        below = marks[k + 1] if k + 1 < len(marks) else 0
        between = ((SCORES < mark) & (SCORES > below)).sum()
        ax.text((mark + below) / 2, -0.5, str(between), ha="center", fontsize=8, color=GREY)
    k = f1.argmax()
    cut = (marks[k] + SCORES[SCORES < marks[k]].max()) / 2
    ax.vlines(cut, -0.9, 0.8, color=ORANGE, linestyle="--")
    ax.text(cut, -1.1, "threshold", ha="center", va="top", fontsize=8, color=ORANGE)
    ax.set_xlim(1.09, 0)
    ax.set_ylim(-1.4, 2.4)
    ax.axis("off")
    ax.text(1.02, -0.5, "between:", fontsize=8, ha="left", color=GREY)
    ax.text(1.02, -1.3, "high scores", fontsize=8, ha="left")
    ax.text(0.0, -1.3, "low scores", fontsize=8, ha="right")
    save(figure, "thresholds.svg")


# --- Bits: who takes a chunk does not matter, in which order they are merged does

TAKEN = ((0, 1, 1, 0, 0, 1, 0, 1), (1, 0, 0, 1, 1, 1, 1, 0))


def draw_run(ax, y, owners, title):
    ax.text(-0.2, y + 0.5, title, ha="right", va="center", fontsize=9)
    for i, owner in enumerate(owners):
        box(ax, 1.25 * i, y, BLUE if owner == 0 else ORANGE, f"chunk {i}", w=1.15, size=7)


def draw_bits():
    figure, axes = plt.subplots(2, 1, figsize=(9.2, 4.4))
    for ax, title, fixed in zip(
        axes,
        ("A sum for each thread: bits of the schedule", "A sum for each chunk: bits of the shape"),
        (False, True),
    ):
        ax.set_xlim(-2.4, 15.2)
        ax.set_ylim(-0.4, 3.4)
        ax.axis("off")
        ax.set_title(title, fontsize=9, loc="left")
        for run, owners in enumerate(TAKEN):
            y = 1.7 - 1.7 * run
            draw_run(ax, y, owners, f"run {run + 1}")
            sums = ["+".join(str(i) for i in range(8) if owners[i] == t) for t in (0, 1)]
            text = "((0+1)+2)+ ... +7" if fixed else f"({sums[0]}) + ({sums[1]})"
            arrow(ax, (10.0, y + 0.5), (10.6, y + 0.5), GREY)
            ax.text(10.8, y + 0.5, text, va="center", fontsize=9, color=GREEN if fixed else "black")
    figure.text(
        0.28,
        0.03,
        "blue and orange: the thread that happened to take the chunk",
        fontsize=8,
        color=GREY,
    )
    save(figure, "bits.svg")


def main():
    plt.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "mlclassify", "font.family": "sans-serif"}
    )
    draw_winograd()
    draw_thresholds()
    draw_bits()


if __name__ == "__main__":
    main()
