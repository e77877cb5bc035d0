"""The pen that draws bears and scenes, and what it does with colors.

A color is (red, green, blue), 0 to 255. Whatever is drawn at random asks the pen's `rng`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from mlclassify.rng import KeyedRandom
from mlclassify.types import ArrayLike, Float64
from mlclassify.vision.image import Image, ImageDraw

Color: TypeAlias = tuple[int, ...]
T = TypeVar("T")

BRIGHT = (
    (214, 58, 60), (58, 110, 190), (240, 190, 60), (70, 150, 90), (150, 90, 170), (240, 130, 60)
)  # fmt: skip
INK = (26, 22, 24)
WHITE = (252, 250, 246)
_SQUARE, _CORNER = np.eye(2), np.zeros(2)
_CIRCLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)


def pick(rng: KeyedRandom, choices: Sequence[T]) -> T:
    """Return one of `choices`, each as likely as the others."""
    return choices[rng.randint(0, len(choices) - 1)]


def chance(rng: KeyedRandom, p: float) -> bool:
    """Return True with probability `p`."""
    return rng.random() < p


def shade(color: Color, by: float) -> Color:
    """Return `color` darker (by < 0) or lighter (by > 0), -1 being black and 1 white."""
    end = 255 if by > 0 else 0
    return tuple(round(c + (end - c) * abs(by)) for c in color)


def mix(a: Color, b: Color, part: float) -> Color:
    """Return the color that is `part` of the way from `a` to `b`."""
    return tuple(round(x + (y - x) * part) for x, y in zip(a, b))


def vary(rng: KeyedRandom, color: Color, by: float = 0.12) -> Color:
    """Return `color` a little lighter or darker and off its hue."""
    light = rng.uniform(-by, by) * 255
    return tuple(int(min(255, max(0, c + light + rng.uniform(-8, 8)))) for c in color)


class Pen:
    """Draws shapes given in units of its own, anywhere, at any size, turned and mirrored."""

    def __init__(
        self,
        canvas: Image.Image,
        rng: KeyedRandom,
        scale: float,
        matrix: Float64 = _SQUARE,
        origin: Float64 = _CORNER,
        draw: ImageDraw.ImageDraw | None = None,
    ) -> None:
        self.canvas, self.rng = canvas, rng
        self.scale, self.matrix, self.origin = scale, matrix, origin  # scale: pixels in a unit
        self.draw = draw or ImageDraw.Draw(canvas)
        self.line_width = max(1, round(canvas.width / 200))

    def at(
        self, x: float, y: float, scale: float = 1.0, turn: float = 0.0, mirror: bool = False
    ) -> Pen:
        """Return a pen with its origin at (x, y), turned clockwise by `turn` degrees."""
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        matrix = self.matrix @ (np.array([[c, -s], [s, c]]) * [-1 if mirror else 1, 1])
        origin = self.origin + self.scale * (self.matrix @ (x, y))
        return Pen(self.canvas, self.rng, self.scale * scale, matrix, origin, self.draw)

    def pixels(self, points: Float64) -> list[float]:
        """Return points of this pen as Pillow takes them: x, y, x, y, ... on the canvas."""
        return (self.scale * (points @ self.matrix.T) + self.origin).ravel().tolist()

    def shape(
        self, points: Float64, fill: Color, line: Color | None = None, fur: float = 0.0
    ) -> None:
        """Fill the outline through `points`; `fur` > 0 makes it shaggy by that much."""
        if fur:
            points = _shaggy(points, fur, self.rng.uniform(0, 6))
        xy = self.pixels(points)
        self.draw.polygon(xy, fill)
        if line is not None:
            self.draw.line(xy + xy[:4], line, self.line_width)

    def blob(
        self, points: ArrayLike, fill: Color, line: Color | None = None, fur: float = 0.0
    ) -> None:
        """Fill the smooth closed curve through `points`."""
        self.shape(smooth(points, closed=True), fill, line, fur)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Color,
        line: Color | None = None,
        turn: float = 0.0,
        fur: float = 0.0,
    ) -> None:
        """Fill an ellipse about (x, y), turned clockwise by `turn` degrees."""
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        u, v = rx * np.cos(_CIRCLE), ry * np.sin(_CIRCLE)
        self.shape(np.stack((x + c * u - s * v, y + s * u + c * v), 1), fill, line, fur)

    def limb(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        r0: float,
        r1: float,
        fill: Color,
        line: Color | None = None,
        fur: float = 0.0,
    ) -> None:
        """Fill the hull of two circles: an arm, a leg, a trunk."""
        angle = math.atan2(y1 - y0, x1 - x0)
        a = np.linspace(angle + np.pi / 2, angle + 1.5 * np.pi, 9)
        b = np.linspace(angle - np.pi / 2, angle + np.pi / 2, 9)
        start = np.stack((x0 + r0 * np.cos(a), y0 + r0 * np.sin(a)), 1)
        end = np.stack((x1 + r1 * np.cos(b), y1 + r1 * np.sin(b)), 1)
        self.shape(np.concatenate((start, end)), fill, line, fur)

    def stroke(self, points: ArrayLike, width: float, fill: Color) -> None:
        """Draw a smooth open line through `points`."""
        xy = self.pixels(smooth(points, closed=False))
        self.draw.line(xy, fill, max(1, round(width * self.scale)))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Color, line: Color | None = None
    ) -> None:
        """Fill a rectangle."""
        self.shape(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), fill, line)

    def shadow(self, x: float, y: float, rx: float, ry: float) -> None:
        """Darken the ground."""
        blending = ImageDraw.Draw(self.canvas, "RGBA")
        pen = Pen(self.canvas, self.rng, self.scale, self.matrix, self.origin, blending)
        pen.oval(x, y, rx, ry, (10, 14, 30, 70))


def smooth(points: ArrayLike, closed: bool, steps: int = 7) -> Float64:
    """Sample the Catmull-Rom spline through `points`."""
    p = np.asarray(points, dtype=float)
    ends = (p[-1:], p, p[:2]) if closed else (p[:1], p, p[-1:])
    p = np.concatenate(ends)
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    square, cube = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
    curve = (b + ((c - a) * t + square * t**2 + cube * t**3) / 2).reshape(-1, 2)
    return curve if closed else np.concatenate((curve, p[-1:]))


def _shaggy(points: Float64, amount: float, phase: float) -> Float64:
    """Push every second point of a closed outline outwards."""
    middle = (points + np.roll(points, -1, 0)) / 2
    along = np.roll(points, -1, 0) - points
    normal = np.stack((along[:, 1], -along[:, 0]), 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    outwards = np.sign(np.sum(normal * (middle - points.mean(0)))) * normal
    push = amount * (0.6 + 0.4 * np.sin(phase + 2.4 * np.arange(len(points))))
    out = np.empty((2 * len(points), 2))
    out[0::2], out[1::2] = points, middle + outwards * push[:, None] - along * 0.2
    return out


def hair(
    pen: Pen,
    x: float,
    y: float,
    rx: float,
    ry: float,
    color: Color,
    count: int,
    length: float = 0.05,
) -> None:
    """Scatter short hairs over an oval, on a sunflower's spiral."""
    i = np.arange(count) + 0.5
    r, a = np.sqrt(i / count), i * 2.39996 + pen.rng.uniform(0, 6)
    roots = np.stack((x + rx * r * np.cos(a), y + ry * r * np.sin(a)), 1)
    tips = roots + length * np.stack((0.35 * np.cos(3 * a), 0.8 + 0.3 * np.sin(5 * a)), 1)
    width = max(1, round(0.008 * pen.scale))
    for xy in np.concatenate((roots, tips), 1).reshape(-1, 2, 2):
        pen.draw.line(pen.pixels(xy), color, width)
