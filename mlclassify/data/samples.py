"""Drawn bears: a multi-label data set that needs no download.

Black bears, grizzlies and teddies, none to three in a picture, on grass, in a forest, in snow or in
a room, among trees, rocks, toys and other animals. A picture depends on (seed, index) alone.

What tells the kinds apart: black bears have a dark coat and a tan, straight muzzle; grizzlies a
shoulder hump, a dished face, light claws and silvered fur; teddies a round head with big round
ears, seams, button eyes, a bow and paw pads. Coats overlap in color on purpose.

A bear is drawn in its own unit: feet at y = 0, top of the head near y = -1, y downwards.
"""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np

from mlclassify.rng import DRAWING, KeyedRandom, check_seed
from mlclassify.vision.image import Image, ImageDraw

KINDS = ("black", "grizzly", "teddy")

# How hard the set is. Heights are parts of the picture's height, by the number of bears in it.
BEARS_CHANCE = (0.14, 0.46, 0.28, 0.12)  # of 0, 1, 2 and 3 bears
HEIGHTS = {1: (0.50, 0.80), 2: (0.44, 0.60), 3: (0.38, 0.50)}
WALKER_HEIGHT = 0.72  # a bear on four legs is as long as this makes it low
THINGS_BEHIND = (1, 4)
THINGS_IN_FRONT = (0, 2)
FRONT_HEIGHT = (0.10, 0.17)  # so that what stands in front hides paws, not heads
INSIDE = 1.0  # how much of half a bear's width stays in the picture
TINT = 0.13  # how far a color channel may be from neutral
TILT = 9  # degrees
VALID_EVERY = 5  # every fifth picture is for validation
SUPERSAMPLE = 3

BLACK_COATS = ((34, 32, 36), (44, 37, 35), (26, 28, 40), (56, 43, 38))
GRIZZLY_COATS = ((122, 82, 48), (94, 62, 40), (150, 108, 66), (74, 53, 40), (172, 134, 92))
TEDDY_COATS = (
    (214, 160, 104), (230, 190, 142), (198, 132, 84), (238, 178, 186),
    (244, 226, 200), (152, 100, 62), (178, 188, 210), (112, 76, 56),
)  # fmt: skip
BRIGHT = (
    (214, 58, 60), (58, 110, 190), (240, 190, 60), (70, 150, 90), (150, 90, 170), (240, 130, 60)
)  # fmt: skip
WALLS = ((222, 206, 180), (180, 200, 206), (214, 178, 178), (150, 164, 130), (120, 110, 130))
ROCKS = ((130, 130, 134), (60, 58, 62), (116, 92, 72), (40, 40, 44))
INK = (26, 22, 24)
WHITE = (252, 250, 246)
_CIRCLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)


def drawn_bears(path, n, seed, layout="csv", size=128):
    """Draw a set of pictures of bears and write it to a new folder.

    Parameters
    ----------
    path : str or Path
        The folder to make. It must not exist, or be empty.
    n : int
        How many pictures. Picture `i` is the same for every `n`.
    seed : int
        0 to 2**64 - 1.
    layout : {'csv', 'folders'}
        'csv': ``images/00000.jpg`` ... and ``labels.csv`` with the columns fname, labels (separated
        by spaces; empty where there is no bear) and is_valid (every fifth picture).
        'folders': one bear a picture, in ``black/``, ``grizzly/`` and ``teddy/`` in turn.
    size : int
        Width and height in pixels, at least 16.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        `n`, `size` or `layout` is out of range.
    FileExistsError
        `path` is there and not empty.

    Examples
    --------
    >>> import tempfile
    >>> path = drawn_bears(Path(tempfile.mkdtemp()) / "bears", n=3, seed=0, size=32)
    >>> [f.name for f in sorted(path.glob("images/*"))]
    ['00000.jpg', '00001.jpg', '00002.jpg']
    >>> (path / "labels.csv").read_text().splitlines()[0]
    'fname,labels,is_valid'
    """
    path = Path(path)
    _check(path, n, layout, size)
    check_seed("drawn_bears", seed)
    write = {"csv": _write_csv, "folders": _write_folders}[layout]
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=place.parent) as unfinished:
        folder = Path(unfinished) / place.name
        folder.mkdir()
        write(folder, n, seed, size)
        if place.exists():
            place.rmdir()
        folder.rename(place)
    return path


def draw_picture(seed, index, size=128, kinds=None):
    """Draw one picture of the set.

    Parameters
    ----------
    seed, index : int
    size : int
        Width and height in pixels.
    kinds : sequence of str, optional
        The bears to draw, of 'black', 'grizzly' and 'teddy'. Default: drawn.

    Returns
    -------
    picture : PIL image, RGB
    kinds : list of str
        The labels, sorted, each once.

    Examples
    --------
    >>> picture, kinds = draw_picture(seed=1, index=0, size=32, kinds=["teddy", "teddy"])
    >>> picture.size, kinds
    ((32, 32), ['teddy'])
    """
    rng = KeyedRandom(seed, 0, index, DRAWING)
    bears = _draw_kinds(rng)
    if kinds is not None:
        bears = list(kinds)
    canvas = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    _paint_scene(_Pen(canvas, rng, canvas.width), bears)
    return _tint(canvas.reduce(SUPERSAMPLE), rng), sorted(set(bears))


def _check(path, n, layout, size):
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"drawn_bears: `n` must be an integer of at least 1, got {n!r}")
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 16:
        raise ValueError(f"drawn_bears: `size` must be an integer of at least 16, got {size!r}")
    if layout not in ("csv", "folders"):
        raise ValueError(f"drawn_bears: `layout` must be 'csv' or 'folders', got {layout!r}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"drawn_bears: `path` must be a new or empty folder, got {str(path)!r}: "
            "remove it or name another"
        )


def _write_csv(folder, n, seed, size):
    (folder / "images").mkdir()
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("fname", "labels", "is_valid"))
        for i in range(n):
            picture, kinds = draw_picture(seed, i, size)
            _save(picture, folder / "images" / f"{i:05}.jpg")
            table.writerow((f"{i:05}.jpg", " ".join(kinds), i % VALID_EVERY == VALID_EVERY - 1))


def _write_folders(folder, n, seed, size):
    for kind in KINDS:
        (folder / kind).mkdir()
    for i in range(n):
        kind = KINDS[i % len(KINDS)]
        _save(draw_picture(seed, i, size, [kind])[0], folder / kind / f"{i:05}.jpg")


def _save(picture, path):
    picture.save(path, quality=92)


def _draw_kinds(rng):
    """Draw which bears a picture has. Two of a kind make one label."""
    count = int(np.searchsorted(np.cumsum(BEARS_CHANCE), rng.random(), side="right"))
    return [_pick(rng, KINDS) for _ in range(min(count, len(BEARS_CHANCE) - 1))]


def _pick(rng, choices):
    return choices[rng.randint(0, len(choices) - 1)]


def _chance(rng, p):
    return rng.random() < p


def _shade(color, by):
    """Return `color` darker (by < 0) or lighter (by > 0), -1 being black and 1 white."""
    end = 255 if by > 0 else 0
    return tuple(round(c + (end - c) * abs(by)) for c in color)


def _mix(a, b, part):
    return tuple(round(x + (y - x) * part) for x, y in zip(a, b))


def _vary(rng, color, by=0.12):
    """Return `color` a little lighter or darker and off its hue."""
    light = rng.uniform(-by, by) * 255
    return tuple(int(min(255, max(0, c + light + rng.uniform(-8, 8)))) for c in color)


def _tint(picture, rng):
    """Light the scene: a factor for each channel and a common one."""
    common = rng.uniform(1 - TINT, 1 + TINT / 2)
    table = []
    for _ in range(3):
        factor = common * rng.uniform(1 - TINT / 2, 1 + TINT / 2)
        table += [min(255, round(v * factor)) for v in range(256)]
    return picture.point(table)


# --- the pen


class _Pen:
    """Draws shapes given in units of its own, anywhere, at any size, turned and mirrored."""

    def __init__(self, canvas, rng, scale, matrix=np.eye(2), origin=np.zeros(2), draw=None):
        self.canvas, self.rng = canvas, rng
        self.scale, self.matrix, self.origin = scale, matrix, origin  # scale: pixels in a unit
        self.draw = draw or ImageDraw.Draw(canvas)
        self.line_width = max(1, round(canvas.width / 200))

    def at(self, x, y, scale=1.0, turn=0.0, mirror=False):
        """Return a pen with its origin at (x, y), turned clockwise by `turn` degrees."""
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        matrix = self.matrix @ (np.array([[c, -s], [s, c]]) * [-1 if mirror else 1, 1])
        origin = self.origin + self.scale * (self.matrix @ (x, y))
        return _Pen(self.canvas, self.rng, self.scale * scale, matrix, origin, self.draw)

    def pixels(self, points):
        """Return points of this pen as Pillow takes them: x, y, x, y, ... on the canvas."""
        return (self.scale * (points @ self.matrix.T) + self.origin).ravel().tolist()

    def shape(self, points, fill, line=None, fur=0.0):
        """Fill the outline through `points`; `fur` > 0 makes it shaggy by that much."""
        if fur:
            points = _shaggy(points, fur, self.rng.uniform(0, 6))
        xy = self.pixels(points)
        self.draw.polygon(xy, fill)
        if line is not None:
            self.draw.line(xy + xy[:4], line, self.line_width)

    def blob(self, points, fill, line=None, fur=0.0):
        """Fill the smooth closed curve through `points`."""
        self.shape(_smooth(points, closed=True), fill, line, fur)

    def oval(self, x, y, rx, ry, fill, line=None, turn=0.0, fur=0.0):
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        u, v = rx * np.cos(_CIRCLE), ry * np.sin(_CIRCLE)
        self.shape(np.stack((x + c * u - s * v, y + s * u + c * v), 1), fill, line, fur)

    def limb(self, x0, y0, x1, y1, r0, r1, fill, line=None, fur=0.0):
        """Fill the hull of two circles: an arm, a leg, a trunk."""
        angle = math.atan2(y1 - y0, x1 - x0)
        a = np.linspace(angle + np.pi / 2, angle + 1.5 * np.pi, 9)
        b = np.linspace(angle - np.pi / 2, angle + np.pi / 2, 9)
        start = np.stack((x0 + r0 * np.cos(a), y0 + r0 * np.sin(a)), 1)
        end = np.stack((x1 + r1 * np.cos(b), y1 + r1 * np.sin(b)), 1)
        self.shape(np.concatenate((start, end)), fill, line, fur)

    def stroke(self, points, width, fill):
        """Draw a smooth open line through `points`."""
        xy = self.pixels(_smooth(points, closed=False))
        self.draw.line(xy, fill, max(1, round(width * self.scale)))

    def box(self, x0, y0, x1, y1, fill, line=None):
        self.shape(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), fill, line)

    def shadow(self, x, y, rx, ry):
        """Darken the ground."""
        blending = ImageDraw.Draw(self.canvas, "RGBA")
        pen = _Pen(self.canvas, self.rng, self.scale, self.matrix, self.origin, blending)
        pen.oval(x, y, rx, ry, (10, 14, 30, 70))


def _smooth(points, closed, steps=7):
    """Sample the Catmull-Rom spline through `points`."""
    p = np.asarray(points, dtype=float)
    ends = (p[-1:], p, p[:2]) if closed else (p[:1], p, p[-1:])
    p = np.concatenate(ends)
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    square, cube = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
    curve = (b + ((c - a) * t + square * t**2 + cube * t**3) / 2).reshape(-1, 2)
    return curve if closed else np.concatenate((curve, p[-1:]))


def _shaggy(points, amount, phase):
    """Push every second point of a closed outline outwards."""
    middle = (points + np.roll(points, -1, 0)) / 2
    along = np.roll(points, -1, 0) - points
    normal = np.stack((along[:, 1], -along[:, 0]), 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    outwards = np.sign(np.sum(normal * (middle - points.mean(0)))) * normal
    push = amount * (0.6 + 0.4 * np.sin(phase + 2.4 * np.arange(len(points))))
    out = np.empty((2 * len(points), 2))
    out[0::2], out[1::2] = points, middle + outwards * push[:, None] - along * 0.2
    return out


def _hair(pen, x, y, rx, ry, color, count, length=0.05):
    """Scatter short hairs over an oval, on a sunflower's spiral."""
    i = np.arange(count) + 0.5
    r, a = np.sqrt(i / count), i * 2.39996 + pen.rng.uniform(0, 6)
    roots = np.stack((x + rx * r * np.cos(a), y + ry * r * np.sin(a)), 1)
    tips = roots + length * np.stack((0.35 * np.cos(3 * a), 0.8 + 0.3 * np.sin(5 * a)), 1)
    width = max(1, round(0.008 * pen.scale))
    for xy in np.concatenate((roots, tips), 1).reshape(-1, 2, 2):
        pen.draw.line(pen.pixels(xy), color, width)


# --- bears


class _Bear:
    """The look of one bear: kind, colors, and what varies from one to the next."""

    def __init__(self, kind, rng):
        self.kind = kind
        coats = {"black": BLACK_COATS, "grizzly": GRIZZLY_COATS, "teddy": TEDDY_COATS}[kind]
        self.coat = _vary(rng, _pick(rng, coats), 0.03 if kind == "black" else 0.06)
        self.fur = 0.0 if kind == "teddy" else rng.uniform(0.010, 0.018)
        self.line = _shade(self.coat, -0.38) if kind != "black" else (12, 11, 14)
        self.dark = _shade(self.coat, -0.2)
        self.light = _shade(self.coat, 0.1 if kind == "black" else 0.3)
        self.muzzle = _muzzle_color(self, rng)
        self.cloth = _pick(rng, BRIGHT)


def _muzzle_color(bear, rng):
    if bear.kind == "black":
        return _vary(rng, (190, 146, 100), 0.06)
    if bear.kind == "grizzly":
        return _shade(bear.coat, _pick(rng, (0.16, -0.14)))
    return _shade(bear.coat, 0.55)


def _poses(kind):
    """Return the poses of a kind, the usual ones twice."""
    if kind == "teddy":
        return (_standing, _sitting, _sitting)
    return (_walking, _walking, _standing, _sitting)


def _sitting(pen, bear):
    _torso(pen, bear, -0.34, 0.27, 0.31)
    for side in (-1, 1):
        _arm(pen, bear, side * 0.22, -0.5, side, reach=0.26)
        _sole(pen, bear, side * pen.rng.uniform(0.22, 0.27), -0.12, side)
    _head(pen.at(pen.rng.uniform(-0.03, 0.03), -0.745, 0.225, pen.rng.uniform(-14, 14)), bear)
    _wear(pen, bear, -0.525, 0.24)


def _standing(pen, bear):
    for side in (-1, 1):
        pen.limb(side * 0.12, -0.3, side * 0.13, -0.08, 0.12, 0.09, bear.dark, bear.line, bear.fur)
        _paw(pen, bear, side * 0.15, -0.045, side)
    _torso(pen, bear, -0.42, 0.22, 0.29)
    for side in (-1, 1):
        _arm(pen, bear, side * 0.18, -0.6, side, reach=0.27)
    _head(pen.at(pen.rng.uniform(-0.02, 0.02), -0.80, 0.185, pen.rng.uniform(-12, 12)), bear)
    _wear(pen, bear, -0.622, 0.2)


def _torso(pen, bear, y, rx, ry):
    pen.oval(0, y, rx, ry, bear.coat, bear.line, fur=bear.fur)
    if bear.kind == "teddy":
        return _belly(pen, bear, y, rx, ry)
    if bear.kind == "grizzly":
        _hair(pen, 0, y - 0.02, rx * 0.85, ry * 0.85, _shade(bear.coat, 0.24), 46, 0.035)
        return None
    _hair(pen, 0, y, rx * 0.8, ry * 0.8, bear.light, 22)
    if _chance(pen.rng, 0.4):  # the pale blaze that many black bears have
        pen.blob([(-0.1, y - 0.19), (0, y - 0.12), (0.1, y - 0.19), (0, y - 0.05)], bear.muzzle)
    return None


def _belly(pen, bear, y, rx, ry):
    pen.oval(0, y + 0.03, rx * 0.66, ry * 0.68, bear.muzzle)
    _stitches(pen, [(0, y - ry * 0.6), (0.015, y), (0, y + ry * 0.65)], bear.line)
    if _chance(pen.rng, 0.35):
        x, dy = pen.rng.uniform(-0.1, 0.08), pen.rng.uniform(-0.05, 0.1)
        pen.at(x, y + dy, 0.055, pen.rng.uniform(-20, 20)).box(-1, -1, 1, 1, bear.cloth, INK)


def _stitches(pen, points, color):
    """Draw a seam: a line of short dashes across its way."""
    way = _smooth(points, closed=False, steps=4)
    step = np.gradient(way, axis=0)
    across = np.stack((-step[:, 1], step[:, 0]), 1) / (np.hypot(*step.T)[:, None] + 1e-9)
    half = across * 0.012 * pen.canvas.width / pen.scale  # as long on a head as on a belly
    for p, d in zip(way, half):
        pen.draw.line(pen.pixels(np.stack((p - d, p + d))), color, pen.line_width)
    pen.draw.line(pen.pixels(way), color, pen.line_width)


def _arm(pen, bear, x, y, side, reach):
    """Draw an arm from the shoulder, hanging, spread or waving."""
    angle = math.radians(pen.rng.uniform(25, 80) if _chance(pen.rng, 0.75) else -40)
    hx, hy = x + side * reach * math.cos(angle), y + reach * math.sin(angle)
    pen.limb(x, y, hx, hy, 0.085, 0.075, bear.coat, bear.line, bear.fur)
    if bear.kind == "teddy":
        pen.oval(hx, hy, 0.045, 0.045, bear.muzzle)
    elif bear.kind == "grizzly":
        _claws(pen, hx, hy, math.degrees(angle) if side > 0 else 180 - math.degrees(angle), 0.07)


def _sole(pen, bear, x, y, side):
    """Draw a foot of a sitting bear, seen from below."""
    r = 0.115
    if bear.kind == "grizzly":
        _claws(pen, x, y, -90, r * 0.95)
    pen.oval(x, y, r, r * 1.08, bear.coat, bear.line, turn=side * 12, fur=bear.fur)
    pad = bear.muzzle if bear.kind == "teddy" else _shade(bear.coat, -0.4)
    pen.oval(x, y + 0.02, r * 0.55, r * 0.5, pad)
    for toe in (-1, 0, 1):
        pen.oval(x + toe * 0.05, y - 0.062 + abs(toe) * 0.012, 0.02, 0.02, pad)


def _paw(pen, bear, x, y, side):
    """Draw a foot on the ground, toes to `side`."""
    pen.oval(x, y, 0.12, 0.055, bear.coat, bear.line, fur=bear.fur * 0.6)
    if bear.kind == "grizzly":
        _claws(pen, x + side * 0.06, y + 0.01, 20 if side > 0 else 160, 0.06)
    elif bear.kind == "teddy":
        pen.oval(x + side * 0.02, y, 0.06, 0.025, bear.muzzle)


def _claws(pen, x, y, turn, r):
    """Draw four light claws on a circle round (x, y), about the direction `turn`."""
    for spread in (-42, -14, 14, 42):
        a = math.radians(turn + spread)
        c, s = math.cos(a), math.sin(a)
        root, tip = np.array((x + r * c, y + r * s)), np.array((x + 1.8 * r * c, y + 1.8 * r * s))
        w = 0.02 * np.array((-s, c))
        pen.shape(np.stack((root - w, tip, root + w)), (240, 228, 200), (120, 100, 80))


def _wear(pen, bear, y, width):
    """Draw what a teddy wears below its chin: a bow tie or a scarf."""
    if bear.kind != "teddy":
        return
    edge, rng = _shade(bear.cloth, -0.4), pen.rng
    if _chance(rng, 0.65):
        for side in (-1, 1):
            wing = [(0, y), (side * 0.14, y - 0.075), (side * 0.14, y + 0.075)]
            pen.shape(np.array(wing), bear.cloth, edge)
        pen.oval(0, y, 0.035, 0.035, _shade(bear.cloth, 0.25), edge)
    else:
        side = _pick(rng, (-1, 1))
        pen.limb(side * 0.09, y, side * 0.13, y + 0.2, 0.045, 0.05, bear.cloth, edge)
        pen.limb(-width * 0.7, y, width * 0.7, y, 0.045, 0.045, bear.cloth, edge)


# --- heads: radius 1 about the origin


def _head(pen, bear):
    {"black": _black_head, "grizzly": _grizzly_head, "teddy": _teddy_head}[bear.kind](pen, bear)


def _ears(pen, bear, x, y, r, inner):
    for side in (-1, 1):
        pen.oval(side * x, y, r, r, bear.coat, bear.line, fur=bear.fur * 4)
        pen.oval(side * x, y + r * 0.12, r * 0.58, r * 0.58, inner)


def _eyes(pen, x, y, r, iris):
    for side in (-1, 1):
        pen.oval(side * x, y, r, r * 1.1, iris)
        pen.oval(side * x, y, r * 0.72, r * 0.8, INK)
        pen.oval(side * x + 0.3 * r, y - 0.35 * r, r * 0.32, r * 0.32, WHITE)


def _mouth(pen, y, width, open_chance):
    if _chance(pen.rng, open_chance):
        pen.oval(0, y + 0.1, width * 0.7, 0.12, (120, 40, 46), INK)
        pen.oval(0, y + 0.15, width * 0.4, 0.06, (226, 120, 126))
    pen.stroke([(-width, y - 0.03), (-width / 2, y + 0.05), (0, y)], 0.06, INK)
    pen.stroke([(width, y - 0.03), (width / 2, y + 0.05), (0, y)], 0.06, INK)


def _black_head(pen, bear):
    _ears(pen, bear, 0.68, -0.74, 0.34, _mix(bear.coat, bear.muzzle, 0.35))
    pen.oval(0, 0, 0.94, 0.96, bear.coat, bear.line, fur=0.06)
    pen.oval(0, 0.1, 0.25, 0.5, bear.muzzle)  # the straight bridge of the nose
    pen.oval(0, 0.42, 0.5, 0.42, bear.muzzle)
    for side in (-1, 1):
        pen.oval(side * 0.42, -0.4, 0.11, 0.07, _mix(bear.coat, bear.muzzle, 0.6))
    _eyes(pen, 0.42, -0.13, 0.15, (150, 100, 60))
    pen.oval(0, 0.25, 0.21, 0.15, INK)
    pen.stroke([(0, 0.35), (0, 0.52)], 0.05, INK)
    _mouth(pen, 0.54, 0.26, 0.25)


def _grizzly_head(pen, bear):
    _ears(pen, bear, 0.76, -0.66, 0.27, bear.dark)
    pen.oval(0, 0.06, 1.1, 0.9, bear.coat, bear.line, fur=0.1)
    _hair(pen, 0, -0.3, 0.7, 0.38, _shade(bear.coat, 0.3), 18, 0.16)
    pen.oval(0, 0.42, 0.46, 0.4, bear.muzzle, fur=0.03)
    brow = _pick(pen.rng, (-0.27, -0.36, -0.42))  # stern, calm, worried
    for side in (-1, 1):  # the dish: a hollow at each side of the bridge
        pen.stroke([(side * 0.36, -0.42), (side * 0.15, -0.02), (side * 0.3, 0.22)], 0.1, bear.dark)
        pen.stroke([(side * 0.55, -0.36), (side * 0.26, brow)], 0.11, bear.line)
    _eyes(pen, 0.37, -0.12, 0.12, (90, 56, 30))
    pen.oval(0, 0.24, 0.25, 0.17, INK)
    pen.oval(0.06, 0.19, 0.08, 0.04, (110, 104, 108))
    pen.stroke([(0, 0.35), (0, 0.56)], 0.06, INK)
    _mouth(pen, 0.58, 0.28, 0.5)


def _teddy_head(pen, bear):
    _ears(pen, bear, 0.8, -0.72, 0.45, bear.muzzle)
    pen.oval(0, 0, 1.06, 0.95, bear.coat, bear.line)
    _stitches(pen, [(0, -0.93), (0.03, -0.5), (0, 0)], bear.line)
    pen.oval(0, 0.36, 0.5, 0.4, bear.muzzle, bear.line)
    if _chance(pen.rng, 0.5):
        for side in (-1, 1):
            pen.oval(side * 0.68, 0.28, 0.18, 0.13, _mix(bear.coat, (236, 110, 120), 0.5))
    _eyes(pen, 0.4, -0.1, 0.17, _pick(pen.rng, ((60, 50, 50), WHITE, (120, 80, 50))))
    pen.blob([(-0.2, 0.16), (0.2, 0.16), (0, 0.36)], _pick(pen.rng, (INK, (110, 56, 50))))
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


def _walking(pen, bear):
    pen = pen.at(-0.17, 0)
    step = pen.rng.uniform(-0.09, 0.09)
    for x in (-0.36, 0.24):
        _leg(pen, bear, x, -step, bear.dark)
    pen.oval(-0.71, -0.62, 0.07, 0.06, bear.coat, bear.line, fur=bear.fur)
    pen.blob(_BACKS[bear.kind], bear.coat, bear.line, bear.fur)
    if bear.kind == "grizzly":
        _hair(pen, 0.26, -0.8, 0.24, 0.13, _shade(bear.coat, 0.4), 40, 0.05)
    _hair(pen, -0.1, -0.6, 0.46, 0.2, _shade(bear.coat, 0.12), 30)
    for x in (-0.52, 0.36):
        _leg(pen, bear, x, step, bear.coat)
    _profile(pen.at(0.6, -0.7, 1, pen.rng.uniform(-12, 14)).at(-0.6, 0.7), bear)


def _leg(pen, bear, x, step, color):
    pen.limb(x, -0.42, x + step, -0.08, 0.15, 0.09, color, bear.line, bear.fur)
    paw = x + step + 0.05
    if bear.kind == "grizzly":
        _claws(pen, paw + 0.05, -0.05, 25, 0.06)
    pen.oval(paw, -0.05, 0.12, 0.058, color, bear.line)


def _profile(pen, bear):
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


# --- scenes: the picture is the unit square


def _paint_scene(pen, kinds):
    rng = pen.rng
    scene = _pick(rng, (_grass, _forest, _snow, _room))
    horizon = rng.uniform(0.38, 0.6)
    things, front = scene(pen, horizon)
    for _ in range(rng.randint(*THINGS_BEHIND)):
        size, x = rng.uniform(0.2, 0.45), rng.uniform(0.0, 1.0)
        y = horizon + rng.uniform(0.03, 0.2)
        pen.shadow(x, y, size * 0.4, size * 0.07)
        _pick(rng, things)(pen.at(x, y, size, 0, _chance(rng, 0.5)))
    _paint_bears(pen, kinds, horizon)
    for _ in range(rng.randint(*THINGS_IN_FRONT)):
        size, x = rng.uniform(*FRONT_HEIGHT), rng.uniform(0.05, 0.95)
        _pick(rng, front)(pen.at(x, rng.uniform(0.97, 1.0), size, 0, _chance(rng, 0.5)))


def _paint_bears(pen, kinds, horizon):
    """Give every bear a place from left to right, and paint the far ones first."""
    rng, count = pen.rng, len(kinds)
    placed = []
    for i, kind in enumerate(kinds):
        x = (i + 0.5) / count + rng.uniform(-0.07, 0.07) * (1 if count > 1 else 2.2)
        placed.append((rng.uniform(max(horizon + 0.12, 0.72), 0.97), x, kind))
    for y, x, kind in sorted(placed):
        _place_bear(pen, x, y, kind, count)


def _place_bear(pen, x, y, kind, count):
    rng = pen.rng
    bear, pose, height = _Bear(kind, rng), _pick(rng, _poses(kind)), rng.uniform(*HEIGHTS[count])
    half = 0.3
    if pose is _walking:
        height, half = height * WALKER_HEIGHT, 0.95
    y = max(y, height + 0.04)
    margin = min(half * height * INSIDE, 0.5)
    x = min(max(x, margin), 1 - margin)
    pen.shadow(x, y - 0.01, height * min(half * 1.25, 0.85), height * 0.07)
    tilt = rng.uniform(-TILT, TILT) * (0.4 if pose is _walking else 1)
    outwards = count > 1 and pose is _walking and _chance(rng, 0.85)  # so that the face is seen
    mirror = x < 0.5 if outwards else _chance(rng, 0.5)
    pose(pen.at(x, y, height, tilt, mirror), bear)


def _gradient(pen, y0, y1, top, bottom, bands=32):
    edges = np.linspace(y0, y1, bands + 1)
    for i in range(bands):
        color = _mix(top, bottom, (i + 0.5) / bands)
        pen.box(-0.01, edges[i] - 0.002, 1.01, edges[i + 1] + 0.002, color)


def _hills(pen, y, color, height):
    rng, x = pen.rng, np.linspace(-0.05, 1.05, 24)
    a, b = rng.uniform(0, 6), rng.uniform(3, 7)
    top = y - height * (0.5 + 0.3 * np.sin(b * x + a) + 0.2 * np.sin(2.3 * b * x + 2 * a))
    outline = np.stack((x, top), 1)
    pen.shape(np.concatenate((outline, [[1.05, 1.05], [-0.05, 1.05]])), color)


def _blades(pen, y0, y1, color, count, length):
    """Scatter blades of grass, or flakes with a short `length`, between two heights."""
    rng = pen.rng
    i = np.arange(count)
    x = np.mod(i * 0.618034 + rng.random(), 1)
    y = y0 + (y1 - y0) * np.mod(i * 0.754878 + rng.random(), 1)
    lean = length * 0.4 * np.sin(i * 1.7)
    width = max(1, round(pen.canvas.width / 160))
    for line in np.stack((x, y, x + lean, y - length), 1).reshape(-1, 2, 2):
        pen.draw.line(pen.pixels(line), color, width)


def _dots(pen, y0, y1, colors, count, r):
    rng = pen.rng
    for _ in range(count):
        pen.oval(rng.random(), rng.uniform(y0, y1), r, r, _pick(rng, colors))


def _grass(pen, horizon):
    rng = pen.rng
    sky = _pick(rng, ((132, 190, 232), (188, 214, 236), (248, 206, 160), (170, 180, 196)))
    _gradient(pen, 0, horizon + 0.12, sky, _shade(sky, 0.5))
    if _chance(rng, 0.5):
        x = rng.random()
        pen.oval(x, rng.uniform(0.06, 0.2), 0.07, 0.07, (255, 240, 180))
    for _ in range(rng.randint(0, 3)):
        _cloud(pen.at(rng.random(), rng.uniform(0.05, 0.25), rng.uniform(0.08, 0.16)))
    field = _vary(rng, _pick(rng, ((116, 168, 74), (150, 170, 80), (92, 146, 84))), 0.08)
    _hills(pen, horizon + 0.02, _mix(field, sky, 0.4), 0.16)
    _hills(pen, horizon + 0.05, field, 0.06)
    _blades(pen, horizon + 0.1, 1.05, _shade(field, -0.22), 60, 0.05)
    _blades(pen, horizon + 0.1, 1.05, _shade(field, 0.2), 40, 0.045)
    _dots(pen, horizon + 0.12, 1, BRIGHT + (WHITE,), rng.randint(0, 14), 0.012)
    return (_tree, _bush, _rock, _ball, _rabbit, _sheep, _fox, _stump), (_bush, _tuft, _rock, _tuft)


def _cloud(pen):
    for x, y, r in ((-0.8, 0.1, 0.5), (0, -0.15, 0.7), (0.8, 0.1, 0.5)):
        pen.oval(x, y, r * 1.1, r * 0.7, (246, 248, 252))


def _forest(pen, horizon):
    rng = pen.rng
    deep = _vary(rng, _pick(rng, ((50, 84, 62), (70, 96, 60), (46, 70, 78), (122, 100, 58))), 0.06)
    _gradient(pen, 0, horizon + 0.12, _shade(deep, 0.25), deep)
    bark = _vary(rng, _pick(rng, ((78, 58, 44), (60, 52, 50), (120, 104, 90), (44, 40, 42))), 0.05)
    for i in range(rng.randint(5, 9)):
        x, w = rng.random(), rng.uniform(0.015, 0.05)
        pen.box(x - w, -0.02, x + w, horizon + 0.08, _mix(bark, deep, rng.uniform(0, 0.5)))
    for _ in range(rng.randint(3, 8)):
        leaf = _shade(deep, rng.uniform(-0.25, 0.2))
        pen.oval(rng.random(), rng.uniform(-0.05, 0.1), rng.uniform(0.1, 0.22), 0.1, leaf, fur=0.02)
    floor = _vary(rng, _pick(rng, ((104, 92, 58), (84, 106, 60), (120, 92, 64))), 0.06)
    _hills(pen, horizon + 0.08, floor, 0.05)
    _blades(pen, horizon + 0.12, 1.05, _shade(floor, -0.25), 50, 0.03)
    _dots(pen, horizon + 0.1, 1, ((170, 120, 60), (96, 110, 60), (140, 70, 50)), 24, 0.01)
    return (_pine, _bush, _rock, _stump, _fox, _rabbit, _mushroom), (_bush, _fern, _rock, _fern)


def _snow(pen, horizon):
    rng = pen.rng
    sky = _pick(rng, ((158, 184, 214), (206, 216, 228), (110, 130, 170), (226, 204, 206)))
    _gradient(pen, 0, horizon + 0.12, sky, _shade(sky, 0.45))
    _peaks(pen, horizon, _mix(sky, (90, 100, 130), 0.4))
    ground = _vary(rng, (236, 240, 246), 0.03)
    _hills(pen, horizon + 0.06, _shade(ground, -0.08), 0.08)
    _hills(pen, horizon + 0.14, ground, 0.07)
    _blades(pen, horizon + 0.2, 1.0, _shade(ground, -0.1), 26, 0.008)
    _dots(pen, 0, 1, (WHITE,), rng.randint(0, 40), 0.006)
    return (_pine, _pine, _rock, _penguin, _rabbit, _stump, _snowman), (_drift, _rock, _drift)


def _peaks(pen, y, color):
    for _ in range(pen.rng.randint(1, 3)):
        x, h = pen.rng.random(), pen.rng.uniform(0.18, 0.34)
        w = h * pen.rng.uniform(0.7, 1.1)
        pen.shape(np.array([(x - w, y + 0.08), (x, y - h), (x + w, y + 0.08)]), color)
        cap = [(x - w * 0.25, y - h * 0.72), (x, y - h), (x + w * 0.25, y - h * 0.72)]
        pen.shape(np.array(cap), (244, 246, 250))


def _room(pen, horizon):
    rng = pen.rng
    wall = _vary(rng, _pick(rng, WALLS), 0.06)
    pen.box(0, 0, 1, 1, wall)
    _wallpaper(pen, horizon, _shade(wall, -0.08))
    _pick(rng, (_window, _picture, _shelf))(pen.at(rng.uniform(0.2, 0.8), rng.uniform(0.12, 0.22)))
    floor = _vary(rng, _pick(rng, ((176, 126, 80), (130, 90, 62), (196, 170, 140))), 0.06)
    pen.box(0, horizon, 1, 1.01, floor)
    for y in horizon + (1 - horizon) * np.array((0.1, 0.28, 0.5, 0.78)):
        pen.box(0, y, 1, y + 0.006, _shade(floor, -0.18))
    pen.box(0, horizon - 0.02, 1, horizon + 0.008, _shade(wall, 0.5))
    if _chance(rng, 0.5):
        rug = _pick(rng, BRIGHT)
        x = rng.uniform(0.3, 0.7)
        pen.oval(x, 0.86, 0.42, 0.12, _mix(rug, floor, 0.3))
        pen.oval(x, 0.86, 0.34, 0.09, _mix(rug, floor, 0.55))
    return (_ball, _box, _box, _plant, _blocks, _duck, _lamp), (_ball, _box, _blocks)


def _wallpaper(pen, bottom, color):
    if _chance(pen.rng, 0.5):
        for x in np.arange(0.03, 1, 0.12):
            pen.box(x, 0, x + 0.05, bottom, color)
    else:
        for i in range(40):
            pen.oval(i % 8 / 8 + 0.06, i // 8 * bottom / 5 + 0.05, 0.015, 0.015, color)


def _window(pen):
    pen.box(-0.14, -0.12, 0.14, 0.14, (240, 236, 226), (120, 110, 100))
    for x, y in ((-0.12, -0.1), (0.01, -0.1), (-0.12, 0.02), (0.01, 0.02)):
        pen.box(x, y, x + 0.11, y + 0.1, (150, 196, 230))


def _picture(pen):
    pen.box(-0.12, -0.1, 0.12, 0.1, (110, 80, 50))
    pen.box(-0.1, -0.08, 0.1, 0.08, _pick(pen.rng, BRIGHT))
    pen.oval(0, 0.02, 0.05, 0.04, _pick(pen.rng, BRIGHT))


def _shelf(pen):
    pen.box(-0.22, 0.1, 0.22, 0.125, (120, 86, 56))
    for i in range(7):
        x, h = -0.2 + i * 0.055, pen.rng.uniform(0.09, 0.16)
        pen.box(x, 0.1 - h, x + 0.045, 0.1, _pick(pen.rng, BRIGHT), INK)


# --- things and other animals: 1 high, standing on y = 0


def _tree(pen):
    rng = pen.rng
    pen.limb(0, 0, 0, -0.6, 0.09, 0.06, _vary(rng, (104, 74, 50)))
    leaf = _vary(rng, _pick(rng, ((76, 130, 66), (196, 130, 50), (110, 150, 70))), 0.08)
    for x, y, r in ((-0.22, -0.68, 0.24), (0.2, -0.7, 0.25), (0, -0.88, 0.27)):
        pen.oval(x, y, r, r * 0.9, leaf, _shade(leaf, -0.2), fur=0.03)


def _pine(pen):
    color = _vary(pen.rng, (48, 92, 72), 0.07)
    pen.box(-0.05, -0.25, 0.05, 0, (86, 62, 46))
    for y, w in ((-0.15, 0.36), (-0.4, 0.28), (-0.65, 0.2)):
        tier = [(-w, y), (0, y - 0.42), (w, y)]
        pen.shape(np.array(tier), color, _shade(color, -0.3))
        color = _shade(color, 0.08)


def _bush(pen):
    leaf = _vary(pen.rng, (84, 128, 66), 0.09)
    for x, y, r in ((-0.45, -0.3, 0.34), (0.45, -0.3, 0.34), (0, -0.5, 0.46)):
        pen.oval(x, y, r, r * 0.9, leaf, _shade(leaf, -0.25), fur=0.05)
    for _ in range(pen.rng.randint(0, 6)):
        pen.oval(pen.rng.uniform(-0.5, 0.5), pen.rng.uniform(-0.7, -0.2), 0.05, 0.05, (196, 50, 60))


def _rock(pen):
    rng = pen.rng
    gray = _vary(rng, _pick(rng, ROCKS), 0.07)
    top = [(-0.6, 0), (-0.52, -0.35), (-0.2, -0.62), (0.25, -0.55), (0.55, -0.25), (0.6, 0)]
    pen.blob(top, gray, _shade(gray, -0.35))
    pen.stroke([(-0.3, -0.4), (0, -0.48), (0.2, -0.4)], 0.04, _shade(gray, 0.3))


def _stump(pen):
    bark = _vary(pen.rng, _pick(pen.rng, ((112, 80, 54), (62, 50, 44))), 0.06)
    edge = _shade(bark, -0.35)
    foot = [(-0.3, -0.7), (-0.32, -0.2), (-0.46, 0), (-0.1, 0.02), (0.12, 0.02), (0.44, 0)]
    pen.shape(np.array(foot + [(0.32, -0.2), (0.3, -0.7)]), bark, edge)
    for x in (-0.16, 0.02, 0.18):
        pen.stroke([(x, -0.55), (x + 0.02, -0.3), (x * 1.3, -0.06)], 0.03, edge)
    pen.oval(0, -0.7, 0.3, 0.12, _shade(bark, 0.45), edge)
    pen.oval(0, -0.7, 0.15, 0.06, _shade(bark, 0.25))


def _ball(pen):
    color = _pick(pen.rng, BRIGHT + ((120, 84, 56), (40, 38, 42)))
    pen.oval(0, -0.4, 0.4, 0.4, color, _shade(color, -0.35))
    pen.stroke([(-0.36, -0.42), (0, -0.3), (0.36, -0.42)], 0.07, WHITE)
    pen.oval(-0.14, -0.58, 0.08, 0.06, _shade(color, 0.6))


def _box(pen):
    color = _vary(pen.rng, _pick(pen.rng, ((190, 146, 96), (150, 108, 70)) + BRIGHT), 0.05)
    pen.box(-0.42, -0.7, 0.42, 0, color, _shade(color, -0.4))
    pen.box(-0.08, -0.7, 0.08, 0, _shade(color, 0.3))
    pen.box(-0.46, -0.82, 0.46, -0.66, _shade(color, 0.12), _shade(color, -0.4))


def _blocks(pen):
    for x, y in ((-0.3, 0), (0.16, 0), (-0.06, -0.42)):
        color = _pick(pen.rng, BRIGHT)
        pen.box(x - 0.2, y - 0.42, x + 0.2, y, color, INK)
        pen.oval(x, y - 0.21, 0.1, 0.1, _shade(color, 0.6))


def _plant(pen):
    for lean in (-0.3, -0.1, 0.12, 0.32):
        leaf = _vary(pen.rng, (70, 130, 80), 0.07)
        pen.oval(lean, -0.65, 0.09, 0.3, leaf, _shade(leaf, -0.3), turn=lean * 80)
    pen.limb(0, -0.3, 0, -0.08, 0.2, 0.14, (190, 100, 70), (120, 60, 40))


def _lamp(pen):
    shade = _pick(pen.rng, BRIGHT)
    pen.box(-0.02, -0.6, 0.02, 0, (90, 80, 70))
    pen.oval(0, 0, 0.16, 0.04, (90, 80, 70))
    pen.shape(np.array([(-0.28, -0.55), (-0.15, -0.95), (0.15, -0.95), (0.28, -0.55)]), shade, INK)


def _mushroom(pen):
    pen.limb(0, -0.05, 0, -0.4, 0.11, 0.09, (236, 226, 206), (150, 130, 110))
    pen.blob([(-0.4, -0.4), (-0.25, -0.72), (0.25, -0.72), (0.4, -0.4)], (200, 60, 50), INK)
    for x, y in ((-0.18, -0.55), (0.05, -0.65), (0.2, -0.5)):
        pen.oval(x, y, 0.06, 0.05, WHITE)


def _tuft(pen):
    color = _vary(pen.rng, (96, 150, 70), 0.1)
    for i in range(9):
        x = (i - 4) * 0.12
        blade = [(x - 0.07, 0.3), (x * 1.5, -0.55 - 0.4 * ((i * 5) % 7) / 7), (x + 0.07, 0.3)]
        pen.shape(np.array(blade), _shade(color, -0.04 * (i % 4)))


def _fern(pen):
    color = _vary(pen.rng, (70, 110, 60), 0.08)
    for lean in (-0.7, -0.35, 0, 0.35, 0.7):
        pen.stroke([(0, 0.2), (lean * 0.5, -0.5), (lean * 1.2, -0.75)], 0.1, color)
        pen.oval(lean * 0.9, -0.62, 0.22, 0.09, _shade(color, 0.15), turn=40 * lean)


def _drift(pen):
    pen.oval(0, 0.35, 1.6, 0.8, (246, 248, 252), (206, 216, 230))


def _snowman(pen):
    for y, r in ((-0.26, 0.27), (-0.62, 0.2), (-0.88, 0.14)):
        pen.oval(0, y, r, r, (248, 250, 252), (180, 190, 206))
    pen.shape(np.array([(0, -0.9), (0.22, -0.86), (0, -0.83)]), (236, 130, 50))
    for x in (-0.05, 0.06):
        pen.oval(x, -0.93, 0.02, 0.02, INK)


def _rabbit(pen):
    fur = _vary(pen.rng, _pick(pen.rng, ((200, 190, 176), (140, 116, 92), (240, 236, 230))), 0.05)
    edge = _shade(fur, -0.35)
    for x in (-0.04, 0.12):
        pen.oval(x + 0.12, -0.82, 0.06, 0.22, fur, edge, turn=8)
    pen.oval(-0.08, -0.24, 0.32, 0.25, fur, edge, fur=0.02)
    pen.oval(-0.38, -0.2, 0.09, 0.09, WHITE)
    pen.oval(0.18, -0.5, 0.2, 0.18, fur, edge)
    pen.oval(0.25, -0.53, 0.035, 0.04, INK)


def _sheep(pen):
    for x in (-0.25, -0.1, 0.15, 0.28):
        pen.box(x - 0.04, -0.3, x + 0.04, 0, (60, 56, 58))
    pen.oval(0, -0.5, 0.46, 0.32, (240, 236, 226), (190, 184, 174), fur=0.05)
    pen.oval(0.44, -0.62, 0.14, 0.18, (60, 56, 58), turn=-15)
    pen.oval(0.48, -0.66, 0.03, 0.03, WHITE)


def _fox(pen):
    coat = _vary(pen.rng, (216, 116, 50), 0.06)
    edge = _shade(coat, -0.4)
    pen.oval(-0.5, -0.4, 0.28, 0.12, coat, edge, turn=-35, fur=0.03)
    pen.oval(-0.66, -0.52, 0.1, 0.09, WHITE)
    pen.oval(-0.05, -0.32, 0.3, 0.2, coat, edge)
    for x in (-0.22, 0.12):
        pen.limb(x, -0.25, x, -0.03, 0.07, 0.04, edge)
    pen.shape(np.array([(0.1, -0.7), (0.16, -0.98), (0.3, -0.76)]), coat, edge)
    pen.shape(np.array([(0.3, -0.72), (0.42, -0.96), (0.46, -0.68)]), coat, edge)
    pen.blob([(0.06, -0.58), (0.24, -0.78), (0.44, -0.7), (0.62, -0.48), (0.24, -0.42)], coat, edge)
    pen.oval(0.6, -0.49, 0.04, 0.035, INK)
    pen.oval(0.36, -0.63, 0.03, 0.035, INK)


def _penguin(pen):
    pen.oval(0, -0.46, 0.3, 0.45, (36, 38, 46))
    pen.oval(0.05, -0.4, 0.2, 0.34, WHITE)
    pen.shape(np.array([(0.1, -0.78), (0.34, -0.72), (0.1, -0.68)]), (240, 160, 50))
    pen.oval(0.08, -0.8, 0.045, 0.05, WHITE)
    pen.oval(0.09, -0.8, 0.025, 0.03, INK)
    for x in (-0.1, 0.14):
        pen.oval(x, -0.03, 0.12, 0.05, (240, 160, 50))


def _duck(pen):
    yellow = _vary(pen.rng, (246, 206, 70), 0.04)
    edge = _shade(yellow, -0.35)
    pen.blob([(-0.5, -0.5), (-0.3, -0.1), (0.25, -0.08), (0.4, -0.4), (-0.1, -0.4)], yellow, edge)
    pen.oval(0.22, -0.62, 0.22, 0.22, yellow, edge)
    pen.shape(np.array([(0.4, -0.68), (0.64, -0.58), (0.4, -0.52)]), (236, 120, 50))
    pen.oval(0.28, -0.68, 0.04, 0.045, INK)
