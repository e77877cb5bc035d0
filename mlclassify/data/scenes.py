"""Where bears are: grass, a forest, snow or a room, with trees, rocks, toys and other animals.

The pen of a scene takes the whole picture as the unit square.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from mlclassify.data.bears import paint_bears
from mlclassify.data.pen import (
    BRIGHT,
    INK,
    WHITE,
    Color,
    Pen,
    chance,
    mix,
    pick,
    shade,
    vary,
)

_Thing: TypeAlias = Callable[[Pen], None]
_Scene: TypeAlias = tuple[Sequence[_Thing], Sequence[_Thing]]  # what stands behind, in front

THINGS_BEHIND = (1, 4)
THINGS_IN_FRONT = (0, 2)
FRONT_HEIGHT = (0.10, 0.17)  # so that what stands in front hides paws, not heads

WALLS = ((222, 206, 180), (180, 200, 206), (214, 178, 178), (150, 164, 130), (120, 110, 130))
ROCKS = ((130, 130, 134), (60, 58, 62), (116, 92, 72), (40, 40, 44))


def paint_scene(pen: Pen, kinds: Sequence[str]) -> None:
    """Paint a scene with bears of these kinds in it, and things behind and in front of them."""
    rng = pen.rng
    scene = pick(rng, (_grass, _forest, _snow, _room))
    horizon = rng.uniform(0.38, 0.6)
    things, front = scene(pen, horizon)
    for _ in range(rng.randint(*THINGS_BEHIND)):
        size, x = rng.uniform(0.2, 0.45), rng.uniform(0.0, 1.0)
        y = horizon + rng.uniform(0.03, 0.2)
        pen.shadow(x, y, size * 0.4, size * 0.07)
        pick(rng, things)(pen.at(x, y, size, 0, chance(rng, 0.5)))
    paint_bears(pen, kinds, horizon)
    for _ in range(rng.randint(*THINGS_IN_FRONT)):
        size, x = rng.uniform(*FRONT_HEIGHT), rng.uniform(0.05, 0.95)
        pick(rng, front)(pen.at(x, rng.uniform(0.97, 1.0), size, 0, chance(rng, 0.5)))


def _gradient(pen: Pen, y0: float, y1: float, top: Color, bottom: Color, bands: int = 32) -> None:
    edges = np.linspace(y0, y1, bands + 1)
    for i in range(bands):
        color = mix(top, bottom, (i + 0.5) / bands)
        pen.box(-0.01, edges[i] - 0.002, 1.01, edges[i + 1] + 0.002, color)


def _hills(pen: Pen, y: float, color: Color, height: float) -> None:
    rng, x = pen.rng, np.linspace(-0.05, 1.05, 24)
    a, b = rng.uniform(0, 6), rng.uniform(3, 7)
    top = y - height * (0.5 + 0.3 * np.sin(b * x + a) + 0.2 * np.sin(2.3 * b * x + 2 * a))
    outline = np.stack((x, top), 1)
    pen.shape(np.concatenate((outline, [[1.05, 1.05], [-0.05, 1.05]])), color)


def _blades(pen: Pen, y0: float, y1: float, color: Color, count: int, length: float) -> None:
    """Scatter blades of grass, or flakes with a short `length`, between two heights."""
    rng = pen.rng
    i = np.arange(count)
    x = np.mod(i * 0.618034 + rng.random(), 1)
    y = y0 + (y1 - y0) * np.mod(i * 0.754878 + rng.random(), 1)
    lean = length * 0.4 * np.sin(i * 1.7)
    width = max(1, round(pen.canvas.width / 160))
    for line in np.stack((x, y, x + lean, y - length), 1).reshape(-1, 2, 2):
        pen.draw.line(pen.pixels(line), color, width)


def _dots(pen: Pen, y0: float, y1: float, colors: Sequence[Color], count: int, r: float) -> None:
    rng = pen.rng
    for _ in range(count):
        pen.oval(rng.random(), rng.uniform(y0, y1), r, r, pick(rng, colors))


def _grass(pen: Pen, horizon: float) -> _Scene:
    rng = pen.rng
    sky = pick(rng, ((132, 190, 232), (188, 214, 236), (248, 206, 160), (170, 180, 196)))
    _gradient(pen, 0, horizon + 0.12, sky, shade(sky, 0.5))
    if chance(rng, 0.5):
        x = rng.random()
        pen.oval(x, rng.uniform(0.06, 0.2), 0.07, 0.07, (255, 240, 180))
    for _ in range(rng.randint(0, 3)):
        _cloud(pen.at(rng.random(), rng.uniform(0.05, 0.25), rng.uniform(0.08, 0.16)))
    field = vary(rng, pick(rng, ((116, 168, 74), (150, 170, 80), (92, 146, 84))), 0.08)
    _hills(pen, horizon + 0.02, mix(field, sky, 0.4), 0.16)
    _hills(pen, horizon + 0.05, field, 0.06)
    _blades(pen, horizon + 0.1, 1.05, shade(field, -0.22), 60, 0.05)
    _blades(pen, horizon + 0.1, 1.05, shade(field, 0.2), 40, 0.045)
    _dots(pen, horizon + 0.12, 1, (*BRIGHT, WHITE), rng.randint(0, 14), 0.012)
    return (_tree, _bush, _rock, _ball, _rabbit, _sheep, _fox, _stump), (_bush, _tuft, _rock, _tuft)


def _cloud(pen: Pen) -> None:
    for x, y, r in ((-0.8, 0.1, 0.5), (0, -0.15, 0.7), (0.8, 0.1, 0.5)):
        pen.oval(x, y, r * 1.1, r * 0.7, (246, 248, 252))


def _forest(pen: Pen, horizon: float) -> _Scene:
    rng = pen.rng
    deep = vary(rng, pick(rng, ((50, 84, 62), (70, 96, 60), (46, 70, 78), (122, 100, 58))), 0.06)
    _gradient(pen, 0, horizon + 0.12, shade(deep, 0.25), deep)
    bark = vary(rng, pick(rng, ((78, 58, 44), (60, 52, 50), (120, 104, 90), (44, 40, 42))), 0.05)
    for _ in range(rng.randint(5, 9)):
        x, w = rng.random(), rng.uniform(0.015, 0.05)
        pen.box(x - w, -0.02, x + w, horizon + 0.08, mix(bark, deep, rng.uniform(0, 0.5)))
    for _ in range(rng.randint(3, 8)):
        leaf = shade(deep, rng.uniform(-0.25, 0.2))
        pen.oval(rng.random(), rng.uniform(-0.05, 0.1), rng.uniform(0.1, 0.22), 0.1, leaf, fur=0.02)
    floor = vary(rng, pick(rng, ((104, 92, 58), (84, 106, 60), (120, 92, 64))), 0.06)
    _hills(pen, horizon + 0.08, floor, 0.05)
    _blades(pen, horizon + 0.12, 1.05, shade(floor, -0.25), 50, 0.03)
    _dots(pen, horizon + 0.1, 1, ((170, 120, 60), (96, 110, 60), (140, 70, 50)), 24, 0.01)
    return (_pine, _bush, _rock, _stump, _fox, _rabbit, _mushroom), (_bush, _fern, _rock, _fern)


def _snow(pen: Pen, horizon: float) -> _Scene:
    rng = pen.rng
    sky = pick(rng, ((158, 184, 214), (206, 216, 228), (110, 130, 170), (226, 204, 206)))
    _gradient(pen, 0, horizon + 0.12, sky, shade(sky, 0.45))
    _peaks(pen, horizon, mix(sky, (90, 100, 130), 0.4))
    ground = vary(rng, (236, 240, 246), 0.03)
    _hills(pen, horizon + 0.06, shade(ground, -0.08), 0.08)
    _hills(pen, horizon + 0.14, ground, 0.07)
    _blades(pen, horizon + 0.2, 1.0, shade(ground, -0.1), 26, 0.008)
    _dots(pen, 0, 1, (WHITE,), rng.randint(0, 40), 0.006)
    return (_pine, _pine, _rock, _penguin, _rabbit, _stump, _snowman), (_drift, _rock, _drift)


def _peaks(pen: Pen, y: float, color: Color) -> None:
    for _ in range(pen.rng.randint(1, 3)):
        x, h = pen.rng.random(), pen.rng.uniform(0.18, 0.34)
        w = h * pen.rng.uniform(0.7, 1.1)
        pen.shape(np.array([(x - w, y + 0.08), (x, y - h), (x + w, y + 0.08)]), color)
        cap = [(x - w * 0.25, y - h * 0.72), (x, y - h), (x + w * 0.25, y - h * 0.72)]
        pen.shape(np.array(cap), (244, 246, 250))


def _room(pen: Pen, horizon: float) -> _Scene:
    rng = pen.rng
    wall = vary(rng, pick(rng, WALLS), 0.06)
    pen.box(0, 0, 1, 1, wall)
    _wallpaper(pen, horizon, shade(wall, -0.08))
    pick(rng, (_window, _picture, _shelf))(pen.at(rng.uniform(0.2, 0.8), rng.uniform(0.12, 0.22)))
    floor = vary(rng, pick(rng, ((176, 126, 80), (130, 90, 62), (196, 170, 140))), 0.06)
    pen.box(0, horizon, 1, 1.01, floor)
    for y in horizon + (1 - horizon) * np.array((0.1, 0.28, 0.5, 0.78)):
        pen.box(0, y, 1, y + 0.006, shade(floor, -0.18))
    pen.box(0, horizon - 0.02, 1, horizon + 0.008, shade(wall, 0.5))
    if chance(rng, 0.5):
        rug = pick(rng, BRIGHT)
        x = rng.uniform(0.3, 0.7)
        pen.oval(x, 0.86, 0.42, 0.12, mix(rug, floor, 0.3))
        pen.oval(x, 0.86, 0.34, 0.09, mix(rug, floor, 0.55))
    return (_ball, _box, _box, _plant, _blocks, _duck, _lamp), (_ball, _box, _blocks)


def _wallpaper(pen: Pen, bottom: float, color: Color) -> None:
    if chance(pen.rng, 0.5):
        for x in np.arange(0.03, 1, 0.12):
            pen.box(x, 0, x + 0.05, bottom, color)
    else:
        for i in range(40):
            pen.oval(i % 8 / 8 + 0.06, i // 8 * bottom / 5 + 0.05, 0.015, 0.015, color)


def _window(pen: Pen) -> None:
    pen.box(-0.14, -0.12, 0.14, 0.14, (240, 236, 226), (120, 110, 100))
    for x, y in ((-0.12, -0.1), (0.01, -0.1), (-0.12, 0.02), (0.01, 0.02)):
        pen.box(x, y, x + 0.11, y + 0.1, (150, 196, 230))


def _picture(pen: Pen) -> None:
    pen.box(-0.12, -0.1, 0.12, 0.1, (110, 80, 50))
    pen.box(-0.1, -0.08, 0.1, 0.08, pick(pen.rng, BRIGHT))
    pen.oval(0, 0.02, 0.05, 0.04, pick(pen.rng, BRIGHT))


def _shelf(pen: Pen) -> None:
    pen.box(-0.22, 0.1, 0.22, 0.125, (120, 86, 56))
    for i in range(7):
        x, h = -0.2 + i * 0.055, pen.rng.uniform(0.09, 0.16)
        pen.box(x, 0.1 - h, x + 0.045, 0.1, pick(pen.rng, BRIGHT), INK)


# --- things and other animals: 1 high, standing on y = 0


def _tree(pen: Pen) -> None:
    rng = pen.rng
    pen.limb(0, 0, 0, -0.6, 0.09, 0.06, vary(rng, (104, 74, 50)))
    leaf = vary(rng, pick(rng, ((76, 130, 66), (196, 130, 50), (110, 150, 70))), 0.08)
    for x, y, r in ((-0.22, -0.68, 0.24), (0.2, -0.7, 0.25), (0, -0.88, 0.27)):
        pen.oval(x, y, r, r * 0.9, leaf, shade(leaf, -0.2), fur=0.03)


def _pine(pen: Pen) -> None:
    color = vary(pen.rng, (48, 92, 72), 0.07)
    pen.box(-0.05, -0.25, 0.05, 0, (86, 62, 46))
    for y, w in ((-0.15, 0.36), (-0.4, 0.28), (-0.65, 0.2)):
        tier = [(-w, y), (0, y - 0.42), (w, y)]
        pen.shape(np.array(tier), color, shade(color, -0.3))
        color = shade(color, 0.08)


def _bush(pen: Pen) -> None:
    leaf = vary(pen.rng, (84, 128, 66), 0.09)
    for x, y, r in ((-0.45, -0.3, 0.34), (0.45, -0.3, 0.34), (0, -0.5, 0.46)):
        pen.oval(x, y, r, r * 0.9, leaf, shade(leaf, -0.25), fur=0.05)
    for _ in range(pen.rng.randint(0, 6)):
        pen.oval(pen.rng.uniform(-0.5, 0.5), pen.rng.uniform(-0.7, -0.2), 0.05, 0.05, (196, 50, 60))


def _rock(pen: Pen) -> None:
    rng = pen.rng
    gray = vary(rng, pick(rng, ROCKS), 0.07)
    top = [(-0.6, 0), (-0.52, -0.35), (-0.2, -0.62), (0.25, -0.55), (0.55, -0.25), (0.6, 0)]
    pen.blob(top, gray, shade(gray, -0.35))
    pen.stroke([(-0.3, -0.4), (0, -0.48), (0.2, -0.4)], 0.04, shade(gray, 0.3))


def _stump(pen: Pen) -> None:
    bark = vary(pen.rng, pick(pen.rng, ((112, 80, 54), (62, 50, 44))), 0.06)
    edge = shade(bark, -0.35)
    foot = [(-0.3, -0.7), (-0.32, -0.2), (-0.46, 0), (-0.1, 0.02), (0.12, 0.02), (0.44, 0)]
    pen.shape(np.array([*foot, (0.32, -0.2), (0.3, -0.7)]), bark, edge)
    for x in (-0.16, 0.02, 0.18):
        pen.stroke([(x, -0.55), (x + 0.02, -0.3), (x * 1.3, -0.06)], 0.03, edge)
    pen.oval(0, -0.7, 0.3, 0.12, shade(bark, 0.45), edge)
    pen.oval(0, -0.7, 0.15, 0.06, shade(bark, 0.25))


def _ball(pen: Pen) -> None:
    color = pick(pen.rng, (*BRIGHT, (120, 84, 56), (40, 38, 42)))
    pen.oval(0, -0.4, 0.4, 0.4, color, shade(color, -0.35))
    pen.stroke([(-0.36, -0.42), (0, -0.3), (0.36, -0.42)], 0.07, WHITE)
    pen.oval(-0.14, -0.58, 0.08, 0.06, shade(color, 0.6))


def _box(pen: Pen) -> None:
    color = vary(pen.rng, pick(pen.rng, ((190, 146, 96), (150, 108, 70), *BRIGHT)), 0.05)
    pen.box(-0.42, -0.7, 0.42, 0, color, shade(color, -0.4))
    pen.box(-0.08, -0.7, 0.08, 0, shade(color, 0.3))
    pen.box(-0.46, -0.82, 0.46, -0.66, shade(color, 0.12), shade(color, -0.4))


def _blocks(pen: Pen) -> None:
    for x, y in ((-0.3, 0), (0.16, 0), (-0.06, -0.42)):
        color = pick(pen.rng, BRIGHT)
        pen.box(x - 0.2, y - 0.42, x + 0.2, y, color, INK)
        pen.oval(x, y - 0.21, 0.1, 0.1, shade(color, 0.6))


def _plant(pen: Pen) -> None:
    for lean in (-0.3, -0.1, 0.12, 0.32):
        leaf = vary(pen.rng, (70, 130, 80), 0.07)
        pen.oval(lean, -0.65, 0.09, 0.3, leaf, shade(leaf, -0.3), turn=lean * 80)
    pen.limb(0, -0.3, 0, -0.08, 0.2, 0.14, (190, 100, 70), (120, 60, 40))


def _lamp(pen: Pen) -> None:
    shade = pick(pen.rng, BRIGHT)
    pen.box(-0.02, -0.6, 0.02, 0, (90, 80, 70))
    pen.oval(0, 0, 0.16, 0.04, (90, 80, 70))
    pen.shape(np.array([(-0.28, -0.55), (-0.15, -0.95), (0.15, -0.95), (0.28, -0.55)]), shade, INK)


def _mushroom(pen: Pen) -> None:
    pen.limb(0, -0.05, 0, -0.4, 0.11, 0.09, (236, 226, 206), (150, 130, 110))
    pen.blob([(-0.4, -0.4), (-0.25, -0.72), (0.25, -0.72), (0.4, -0.4)], (200, 60, 50), INK)
    for x, y in ((-0.18, -0.55), (0.05, -0.65), (0.2, -0.5)):
        pen.oval(x, y, 0.06, 0.05, WHITE)


def _tuft(pen: Pen) -> None:
    color = vary(pen.rng, (96, 150, 70), 0.1)
    for i in range(9):
        x = (i - 4) * 0.12
        blade = [(x - 0.07, 0.3), (x * 1.5, -0.55 - 0.4 * ((i * 5) % 7) / 7), (x + 0.07, 0.3)]
        pen.shape(np.array(blade), shade(color, -0.04 * (i % 4)))


def _fern(pen: Pen) -> None:
    color = vary(pen.rng, (70, 110, 60), 0.08)
    for lean in (-0.7, -0.35, 0, 0.35, 0.7):
        pen.stroke([(0, 0.2), (lean * 0.5, -0.5), (lean * 1.2, -0.75)], 0.1, color)
        pen.oval(lean * 0.9, -0.62, 0.22, 0.09, shade(color, 0.15), turn=40 * lean)


def _drift(pen: Pen) -> None:
    pen.oval(0, 0.35, 1.6, 0.8, (246, 248, 252), (206, 216, 230))


def _snowman(pen: Pen) -> None:
    for y, r in ((-0.26, 0.27), (-0.62, 0.2), (-0.88, 0.14)):
        pen.oval(0, y, r, r, (248, 250, 252), (180, 190, 206))
    pen.shape(np.array([(0, -0.9), (0.22, -0.86), (0, -0.83)]), (236, 130, 50))
    for x in (-0.05, 0.06):
        pen.oval(x, -0.93, 0.02, 0.02, INK)


def _rabbit(pen: Pen) -> None:
    fur = vary(pen.rng, pick(pen.rng, ((200, 190, 176), (140, 116, 92), (240, 236, 230))), 0.05)
    edge = shade(fur, -0.35)
    for x in (-0.04, 0.12):
        pen.oval(x + 0.12, -0.82, 0.06, 0.22, fur, edge, turn=8)
    pen.oval(-0.08, -0.24, 0.32, 0.25, fur, edge, fur=0.02)
    pen.oval(-0.38, -0.2, 0.09, 0.09, WHITE)
    pen.oval(0.18, -0.5, 0.2, 0.18, fur, edge)
    pen.oval(0.25, -0.53, 0.035, 0.04, INK)


def _sheep(pen: Pen) -> None:
    for x in (-0.25, -0.1, 0.15, 0.28):
        pen.box(x - 0.04, -0.3, x + 0.04, 0, (60, 56, 58))
    pen.oval(0, -0.5, 0.46, 0.32, (240, 236, 226), (190, 184, 174), fur=0.05)
    pen.oval(0.44, -0.62, 0.14, 0.18, (60, 56, 58), turn=-15)
    pen.oval(0.48, -0.66, 0.03, 0.03, WHITE)


def _fox(pen: Pen) -> None:
    coat = vary(pen.rng, (216, 116, 50), 0.06)
    edge = shade(coat, -0.4)
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


def _penguin(pen: Pen) -> None:
    pen.oval(0, -0.46, 0.3, 0.45, (36, 38, 46))
    pen.oval(0.05, -0.4, 0.2, 0.34, WHITE)
    pen.shape(np.array([(0.1, -0.78), (0.34, -0.72), (0.1, -0.68)]), (240, 160, 50))
    pen.oval(0.08, -0.8, 0.045, 0.05, WHITE)
    pen.oval(0.09, -0.8, 0.025, 0.03, INK)
    for x in (-0.1, 0.14):
        pen.oval(x, -0.03, 0.12, 0.05, (240, 160, 50))


def _duck(pen: Pen) -> None:
    yellow = vary(pen.rng, (246, 206, 70), 0.04)
    edge = shade(yellow, -0.35)
    pen.blob([(-0.5, -0.5), (-0.3, -0.1), (0.25, -0.08), (0.4, -0.4), (-0.1, -0.4)], yellow, edge)
    pen.oval(0.22, -0.62, 0.22, 0.22, yellow, edge)
    pen.shape(np.array([(0.4, -0.68), (0.64, -0.58), (0.4, -0.52)]), (236, 120, 50))
    pen.oval(0.28, -0.68, 0.04, 0.045, INK)
