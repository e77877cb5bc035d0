"""Bears as they are drawn: black bears, grizzlies and teddies in several poses.

What tells the kinds apart: black bears have a dark coat and a tan, straight muzzle; grizzlies a
shoulder hump, a dished face, light claws and silvered fur; teddies a round head with big round
ears, seams, button eyes, a bow and paw pads. Coats overlap in color on purpose.

A bear is drawn in its own unit: feet at y = 0, top of the head near y = -1, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from mlclassify.data.pen import (
    BRIGHT,
    INK,
    WHITE,
    Color,
    Pen,
    chance,
    hair,
    mix,
    pick,
    shade,
    smooth,
    vary,
)
from mlclassify.rng import KeyedRandom
from mlclassify.types import ArrayLike

KINDS = ("black", "grizzly", "teddy")

# How hard the set is. Heights are parts of the picture's height, by the number of bears in it.
HEIGHTS = {1: (0.50, 0.80), 2: (0.44, 0.60), 3: (0.38, 0.50)}
WALKER_HEIGHT = 0.72  # a bear on four legs is as long as this makes it low
INSIDE = 1.0  # how much of half a bear's width stays in the picture
TILT = 9  # degrees

BLACK_COATS = ((34, 32, 36), (44, 37, 35), (26, 28, 40), (56, 43, 38))
GRIZZLY_COATS = ((122, 82, 48), (94, 62, 40), (150, 108, 66), (74, 53, 40), (172, 134, 92))
TEDDY_COATS = (
    (214, 160, 104), (230, 190, 142), (198, 132, 84), (238, 178, 186),
    (244, 226, 200), (152, 100, 62), (178, 188, 210), (112, 76, 56),
)  # fmt: skip


def paint_bears(pen: Pen, kinds: Sequence[str], horizon: float) -> None:
    """Give every bear a place from left to right, and paint the far ones first."""
    rng, count = pen.rng, len(kinds)
    placed = []
    for i, kind in enumerate(kinds):
        x = (i + 0.5) / count + rng.uniform(-0.07, 0.07) * (1 if count > 1 else 2.2)
        placed.append((rng.uniform(max(horizon + 0.12, 0.72), 0.97), x, kind))
    for y, x, kind in sorted(placed):
        _place_bear(pen, x, y, kind, count)


def _place_bear(pen: Pen, x: float, y: float, kind: str, count: int) -> None:
    rng = pen.rng
    bear, pose, height = _Bear(kind, rng), pick(rng, _poses(kind)), rng.uniform(*HEIGHTS[count])
    half = 0.3
    if pose is _walking:
        height, half = height * WALKER_HEIGHT, 0.95
    y = max(y, height + 0.04)
    margin = min(half * height * INSIDE, 0.5)
    x = min(max(x, margin), 1 - margin)
    pen.shadow(x, y - 0.01, height * min(half * 1.25, 0.85), height * 0.07)
    tilt = rng.uniform(-TILT, TILT) * (0.4 if pose is _walking else 1)
    outwards = count > 1 and pose is _walking and chance(rng, 0.85)  # so that the face is seen
    mirror = x < 0.5 if outwards else chance(rng, 0.5)
    pose(pen.at(x, y, height, tilt, mirror), bear)


# --- what a bear is made of


class _Bear:
    """The look of one bear: kind, colors, and what varies from one to the next."""

    def __init__(self, kind: str, rng: KeyedRandom) -> None:
        self.kind = kind
        coats = {"black": BLACK_COATS, "grizzly": GRIZZLY_COATS, "teddy": TEDDY_COATS}[kind]
        self.coat = vary(rng, pick(rng, coats), 0.03 if kind == "black" else 0.06)
        self.fur = 0.0 if kind == "teddy" else rng.uniform(0.010, 0.018)
        self.line = shade(self.coat, -0.38) if kind != "black" else (12, 11, 14)
        self.dark = shade(self.coat, -0.2)
        self.light = shade(self.coat, 0.1 if kind == "black" else 0.3)
        self.muzzle = _muzzle_color(self, rng)
        self.cloth = pick(rng, BRIGHT)


_Pose: TypeAlias = Callable[[Pen, _Bear], None]


def _muzzle_color(bear: _Bear, rng: KeyedRandom) -> Color:
    if bear.kind == "black":
        return vary(rng, (190, 146, 100), 0.06)
    if bear.kind == "grizzly":
        return shade(bear.coat, pick(rng, (0.16, -0.14)))
    return shade(bear.coat, 0.55)


def _poses(kind: str) -> Sequence[_Pose]:
    """Return the poses of a kind, the usual ones twice."""
    if kind == "teddy":
        return (_standing, _sitting, _sitting)
    return (_walking, _walking, _standing, _sitting)


def _sitting(pen: Pen, bear: _Bear) -> None:
    _torso(pen, bear, -0.34, 0.27, 0.31)
    for side in (-1, 1):
        _arm(pen, bear, side * 0.22, -0.5, side, reach=0.26)
        _sole(pen, bear, side * pen.rng.uniform(0.22, 0.27), -0.12, side)
    _head(pen.at(pen.rng.uniform(-0.03, 0.03), -0.745, 0.225, pen.rng.uniform(-14, 14)), bear)
    _wear(pen, bear, -0.525, 0.24)


def _standing(pen: Pen, bear: _Bear) -> None:
    for side in (-1, 1):
        pen.limb(side * 0.12, -0.3, side * 0.13, -0.08, 0.12, 0.09, bear.dark, bear.line, bear.fur)
        _paw(pen, bear, side * 0.15, -0.045, side)
    _torso(pen, bear, -0.42, 0.22, 0.29)
    for side in (-1, 1):
        _arm(pen, bear, side * 0.18, -0.6, side, reach=0.27)
    _head(pen.at(pen.rng.uniform(-0.02, 0.02), -0.80, 0.185, pen.rng.uniform(-12, 12)), bear)
    _wear(pen, bear, -0.622, 0.2)


def _torso(pen: Pen, bear: _Bear, y: float, rx: float, ry: float) -> None:
    pen.oval(0, y, rx, ry, bear.coat, bear.line, fur=bear.fur)
    if bear.kind == "teddy":
        return _belly(pen, bear, y, rx, ry)
    if bear.kind == "grizzly":
        hair(pen, 0, y - 0.02, rx * 0.85, ry * 0.85, shade(bear.coat, 0.24), 46, 0.035)
        return None
    hair(pen, 0, y, rx * 0.8, ry * 0.8, bear.light, 22)
    if chance(pen.rng, 0.4):  # the pale blaze that many black bears have
        pen.blob([(-0.1, y - 0.19), (0, y - 0.12), (0.1, y - 0.19), (0, y - 0.05)], bear.muzzle)
    return None


def _belly(pen: Pen, bear: _Bear, y: float, rx: float, ry: float) -> None:
    pen.oval(0, y + 0.03, rx * 0.66, ry * 0.68, bear.muzzle)
    _stitches(pen, [(0, y - ry * 0.6), (0.015, y), (0, y + ry * 0.65)], bear.line)
    if chance(pen.rng, 0.35):
        x, dy = pen.rng.uniform(-0.1, 0.08), pen.rng.uniform(-0.05, 0.1)
        pen.at(x, y + dy, 0.055, pen.rng.uniform(-20, 20)).box(-1, -1, 1, 1, bear.cloth, INK)


def _stitches(pen: Pen, points: ArrayLike, color: Color) -> None:
    """Draw a seam: a line of short dashes across its way."""
    way = smooth(points, closed=False, steps=4)
    step = np.gradient(way, axis=0)
    across = np.stack((-step[:, 1], step[:, 0]), 1) / (np.hypot(*step.T)[:, None] + 1e-9)
    half = across * 0.012 * pen.canvas.width / pen.scale  # as long on a head as on a belly
    for p, d in zip(way, half):
        pen.draw.line(pen.pixels(np.stack((p - d, p + d))), color, pen.line_width)
    pen.draw.line(pen.pixels(way), color, pen.line_width)


def _arm(pen: Pen, bear: _Bear, x: float, y: float, side: int, reach: float) -> None:
    """Draw an arm from the shoulder, hanging, spread or waving."""
    angle = math.radians(pen.rng.uniform(25, 80) if chance(pen.rng, 0.75) else -40)
    hx, hy = x + side * reach * math.cos(angle), y + reach * math.sin(angle)
    pen.limb(x, y, hx, hy, 0.085, 0.075, bear.coat, bear.line, bear.fur)
    if bear.kind == "teddy":
        pen.oval(hx, hy, 0.045, 0.045, bear.muzzle)
    elif bear.kind == "grizzly":
        _claws(pen, hx, hy, math.degrees(angle) if side > 0 else 180 - math.degrees(angle), 0.07)


def _sole(pen: Pen, bear: _Bear, x: float, y: float, side: int) -> None:
    """Draw a foot of a sitting bear, seen from below."""
    r = 0.115
    if bear.kind == "grizzly":
        _claws(pen, x, y, -90, r * 0.95)
    pen.oval(x, y, r, r * 1.08, bear.coat, bear.line, turn=side * 12, fur=bear.fur)
    pad = bear.muzzle if bear.kind == "teddy" else shade(bear.coat, -0.4)
    pen.oval(x, y + 0.02, r * 0.55, r * 0.5, pad)
    for toe in (-1, 0, 1):
        pen.oval(x + toe * 0.05, y - 0.062 + abs(toe) * 0.012, 0.02, 0.02, pad)


def _paw(pen: Pen, bear: _Bear, x: float, y: float, side: int) -> None:
    """Draw a foot on the ground, toes to `side`."""
    pen.oval(x, y, 0.12, 0.055, bear.coat, bear.line, fur=bear.fur * 0.6)
    if bear.kind == "grizzly":
        _claws(pen, x + side * 0.06, y + 0.01, 20 if side > 0 else 160, 0.06)
    elif bear.kind == "teddy":
        pen.oval(x + side * 0.02, y, 0.06, 0.025, bear.muzzle)


def _claws(pen: Pen, x: float, y: float, turn: float, r: float) -> None:
    """Draw four light claws on a circle round (x, y), about the direction `turn`."""
    for spread in (-42, -14, 14, 42):
        a = math.radians(turn + spread)
        c, s = math.cos(a), math.sin(a)
        root, tip = np.array((x + r * c, y + r * s)), np.array((x + 1.8 * r * c, y + 1.8 * r * s))
        w = 0.02 * np.array((-s, c))
        pen.shape(np.stack((root - w, tip, root + w)), (240, 228, 200), (120, 100, 80))


def _wear(pen: Pen, bear: _Bear, y: float, width: float) -> None:
    """Draw what a teddy wears below its chin: a bow tie or a scarf."""
    if bear.kind != "teddy":
        return
    edge, rng = shade(bear.cloth, -0.4), pen.rng
    if chance(rng, 0.65):
        for side in (-1, 1):
            wing = [(0, y), (side * 0.14, y - 0.075), (side * 0.14, y + 0.075)]
            pen.shape(np.array(wing), bear.cloth, edge)
        pen.oval(0, y, 0.035, 0.035, shade(bear.cloth, 0.25), edge)
    else:
        side = pick(rng, (-1, 1))
        pen.limb(side * 0.09, y, side * 0.13, y + 0.2, 0.045, 0.05, bear.cloth, edge)
        pen.limb(-width * 0.7, y, width * 0.7, y, 0.045, 0.045, bear.cloth, edge)


# --- heads: radius 1 about the origin


def _head(pen: Pen, bear: _Bear) -> None:
    {"black": _black_head, "grizzly": _grizzly_head, "teddy": _teddy_head}[bear.kind](pen, bear)


def _ears(pen: Pen, bear: _Bear, x: float, y: float, r: float, inner: Color) -> None:
    for side in (-1, 1):
        pen.oval(side * x, y, r, r, bear.coat, bear.line, fur=bear.fur * 4)
        pen.oval(side * x, y + r * 0.12, r * 0.58, r * 0.58, inner)


def _eyes(pen: Pen, x: float, y: float, r: float, iris: Color) -> None:
    for side in (-1, 1):
        pen.oval(side * x, y, r, r * 1.1, iris)
        pen.oval(side * x, y, r * 0.72, r * 0.8, INK)
        pen.oval(side * x + 0.3 * r, y - 0.35 * r, r * 0.32, r * 0.32, WHITE)


def _mouth(pen: Pen, y: float, width: float, open_chance: float) -> None:
    if chance(pen.rng, open_chance):
        pen.oval(0, y + 0.1, width * 0.7, 0.12, (120, 40, 46), INK)
        pen.oval(0, y + 0.15, width * 0.4, 0.06, (226, 120, 126))
    pen.stroke([(-width, y - 0.03), (-width / 2, y + 0.05), (0, y)], 0.06, INK)
    pen.stroke([(width, y - 0.03), (width / 2, y + 0.05), (0, y)], 0.06, INK)


def _black_head(pen: Pen, bear: _Bear) -> None:
    _ears(pen, bear, 0.68, -0.74, 0.34, mix(bear.coat, bear.muzzle, 0.35))
    pen.oval(0, 0, 0.94, 0.96, bear.coat, bear.line, fur=0.06)
    pen.oval(0, 0.1, 0.25, 0.5, bear.muzzle)  # the straight bridge of the nose
    pen.oval(0, 0.42, 0.5, 0.42, bear.muzzle)
    for side in (-1, 1):
        pen.oval(side * 0.42, -0.4, 0.11, 0.07, mix(bear.coat, bear.muzzle, 0.6))
    _eyes(pen, 0.42, -0.13, 0.15, (150, 100, 60))
    pen.oval(0, 0.25, 0.21, 0.15, INK)
    pen.stroke([(0, 0.35), (0, 0.52)], 0.05, INK)
    _mouth(pen, 0.54, 0.26, 0.25)


def _grizzly_head(pen: Pen, bear: _Bear) -> None:
    _ears(pen, bear, 0.76, -0.66, 0.27, bear.dark)
    pen.oval(0, 0.06, 1.1, 0.9, bear.coat, bear.line, fur=0.1)
    hair(pen, 0, -0.3, 0.7, 0.38, shade(bear.coat, 0.3), 18, 0.16)
    pen.oval(0, 0.42, 0.46, 0.4, bear.muzzle, fur=0.03)
    brow = pick(pen.rng, (-0.27, -0.36, -0.42))  # stern, calm, worried
    for side in (-1, 1):  # the dish: a hollow at each side of the bridge
        pen.stroke([(side * 0.36, -0.42), (side * 0.15, -0.02), (side * 0.3, 0.22)], 0.1, bear.dark)
        pen.stroke([(side * 0.55, -0.36), (side * 0.26, brow)], 0.11, bear.line)
    _eyes(pen, 0.37, -0.12, 0.12, (90, 56, 30))
    pen.oval(0, 0.24, 0.25, 0.17, INK)
    pen.oval(0.06, 0.19, 0.08, 0.04, (110, 104, 108))
    pen.stroke([(0, 0.35), (0, 0.56)], 0.06, INK)
    _mouth(pen, 0.58, 0.28, 0.5)


def _teddy_head(pen: Pen, bear: _Bear) -> None:
    _ears(pen, bear, 0.8, -0.72, 0.45, bear.muzzle)
    pen.oval(0, 0, 1.06, 0.95, bear.coat, bear.line)
    _stitches(pen, [(0, -0.93), (0.03, -0.5), (0, 0)], bear.line)
    pen.oval(0, 0.36, 0.5, 0.4, bear.muzzle, bear.line)
    if chance(pen.rng, 0.5):
        for side in (-1, 1):
            pen.oval(side * 0.68, 0.28, 0.18, 0.13, mix(bear.coat, (236, 110, 120), 0.5))
    _eyes(pen, 0.4, -0.1, 0.17, pick(pen.rng, ((60, 50, 50), WHITE, (120, 80, 50))))
    pen.blob([(-0.2, 0.16), (0.2, 0.16), (0, 0.36)], pick(pen.rng, (INK, (110, 56, 50))))
    pen.stroke([(0, 0.32), (0, 0.5)], 0.06, INK)
    _mouth(pen, 0.5, 0.22, 0.0)


# --- on four legs, facing right

_BACKS = {
    "black": [(-0.70, -0.52), (-0.66, -0.78), (-0.42, -0.90), (0.0, -0.84), (0.34, -0.84),
              (0.52, -0.66), (0.42, -0.40), (0.1, -0.32), (-0.3, -0.32), (-0.62, -0.34)],
    "grizzly": [(-0.70, -0.46), (-0.66, -0.70), (-0.44, -0.80), (-0.1, -0.78), (0.16, -0.95),
                (0.34, -0.99), (0.56, -0.74), (0.44, -0.36), (0.1, -0.28), (-0.3, -0.28),
                (-0.62, -0.3)],
}  # fmt: skip
_STRAIGHT = [(0.42, -0.84), (0.58, -0.97), (0.74, -0.95), (0.96, -0.79), (1.1, -0.71), (1.1, -0.60),
             (0.88, -0.57), (0.66, -0.50), (0.44, -0.52)]  # fmt: skip
_DISHED = [(0.40, -0.80), (0.56, -0.93), (0.74, -0.90), (0.83, -0.76), (0.92, -0.69), (1.1, -0.72),
           (1.14, -0.60), (0.92, -0.50), (0.66, -0.42), (0.42, -0.46)]  # fmt: skip


def _walking(pen: Pen, bear: _Bear) -> None:
    pen = pen.at(-0.17, 0)
    step = pen.rng.uniform(-0.09, 0.09)
    for x in (-0.36, 0.24):
        _leg(pen, bear, x, -step, bear.dark)
    pen.oval(-0.71, -0.62, 0.07, 0.06, bear.coat, bear.line, fur=bear.fur)
    pen.blob(_BACKS[bear.kind], bear.coat, bear.line, bear.fur)
    if bear.kind == "grizzly":
        hair(pen, 0.26, -0.8, 0.24, 0.13, shade(bear.coat, 0.4), 40, 0.05)
    hair(pen, -0.1, -0.6, 0.46, 0.2, shade(bear.coat, 0.12), 30)
    for x in (-0.52, 0.36):
        _leg(pen, bear, x, step, bear.coat)
    _profile(pen.at(0.6, -0.7, 1, pen.rng.uniform(-12, 14)).at(-0.6, 0.7), bear)


def _leg(pen: Pen, bear: _Bear, x: float, step: float, color: Color) -> None:
    pen.limb(x, -0.42, x + step, -0.08, 0.15, 0.09, color, bear.line, bear.fur)
    paw = x + step + 0.05
    if bear.kind == "grizzly":
        _claws(pen, paw + 0.05, -0.05, 25, 0.06)
    pen.oval(paw, -0.05, 0.12, 0.058, color, bear.line)


def _profile(pen: Pen, bear: _Bear) -> None:
    """Draw the head from the side: a straight face, or a dished one."""
    grizzly = bear.kind == "grizzly"
    ear = 0.085 if grizzly else 0.105
    pen.oval(0.62, -0.95 if grizzly else -0.99, ear, ear, bear.dark, bear.line)
    pen.blob(_DISHED if grizzly else _STRAIGHT, bear.coat, bear.line, bear.fur)
    nose = (1.11, -0.68) if grizzly else (1.08, -0.69)
    if grizzly:
        pen.oval(0.99, -0.61, 0.13, 0.075, bear.muzzle, turn=-8)
    else:
        pen.limb(0.84, -0.72, 1.03, -0.655, 0.085, 0.07, bear.muzzle)
    pen.oval(0.52, -0.92, ear, ear * 1.05, bear.coat, bear.line, fur=bear.fur)
    pen.oval(0.53, -0.9, ear * 0.5, ear * 0.55, bear.line if grizzly else bear.muzzle)
    pen.oval(*nose, 0.05, 0.045, INK)
    pen.stroke([(1.09, -0.61), (0.98, -0.57), (0.88, -0.59)], 0.018, INK)
    eye = (0.79, -0.745) if grizzly else (0.8, -0.81)
    pen.oval(*eye, 0.036, 0.038, (150, 100, 60))
    pen.oval(*eye, 0.026, 0.028, INK)
    pen.oval(eye[0] + 0.01, eye[1] - 0.012, 0.01, 0.01, WHITE)
