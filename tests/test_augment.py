"""Augmentation: the C pass against a float64 definition and fastai's pixels, and what is drawn."""

import colorsys
import ctypes
import json
import random

import numpy as np
import pytest
from PIL import Image

from mlclassify import _core
from mlclassify.data.batch import BatchPlan, run_plan
from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.rng import BATCH_CROP, KeyedRandom
from mlclassify.vision.augment import (
    AffineWarp,
    Brightness,
    Contrast,
    CropPad,
    Dihedral,
    Flip,
    Hue,
    Lighting,
    Normalize,
    PadMode,
    RandomErasing,
    RandomResizedCrop,
    RandomResizedCropGPU,
    Resize,
    ResizeMethod,
    Rotate,
    Saturation,
    Warp,
    Zoom,
    aug_transforms,
    imagenet_stats,
)
from mlclassify.vision.image import random_crop_box

ZEROS, ONES = np.zeros(3, np.float32), np.ones(3, np.float32)


def planned(tfms, n, h=20, w=20, train=True, seed=0):
    plan = BatchPlan(n, h, w, train, seed=seed)
    for tfm in sorted(tfms, key=lambda t: t.order):
        tfm.plan(plan)
    return plan


def run(images, homography=None, lighting=None, mean=ZEROS, std=ONES):
    out = np.full(images.shape, np.nan, np.float32)
    _core.augment(images, homography, 0, 0, 0, lighting, None, None, mean, std, out)
    return out


def augmented(images, tfms, **options):
    plan = planned(tfms, *images.shape[:3], **options)
    out = np.full((len(images), *plan.out_size, 3), np.nan, np.float32)
    return run_plan(plan, images, out).transpose(0, 2, 3, 1)


# --- the definition, in float64


def reflect(t, last):
    if last == 0:
        return np.zeros_like(t)
    t = np.abs(t) % (2 * last)
    return np.minimum(t, 2 * last - t)


def ends(n, corners=True):
    if not corners:
        return (2 * np.arange(n) + 1) / n - 1
    return np.linspace(-1, 1, n) if n > 1 else np.zeros(1)


def outside(t, last, border, corners):
    """Where a position on a line of pixels 0..last is read."""
    if border == "zeros":
        return t
    if border == "border":
        return np.clip(t, 0, last)
    if corners:
        return reflect(t, last)
    return np.clip(reflect(t + 0.5, last + 1) - 0.5, 0, last)


def warped(image, m, size=None, border="reflection", corners=True, nearest=False):
    """Bilinear; coordinates from -1 to 1 at the outer centers, or at the outer edges."""
    h, w, _ = image.shape
    lines = (ends(n, corners) for n in (size or (h, w)))
    y, x = np.meshgrid(*lines, indexing="ij")
    points = np.stack((x, y, np.ones_like(x)), -1) @ m.T
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    rim = 0 if corners else 1
    x = outside((x * (w - 1 + rim) + w - 1) / 2, w - 1, border, corners)
    y = outside((y * (h - 1 + rim) + h - 1) / 2, h - 1, border, corners)
    if nearest:
        x, y = np.rint(x), np.rint(y)
    pixels = np.pad(image / 255.0, ((1, 2), (1, 2), (0, 0)))  # black outside
    x, y = (np.clip(t, -1, n) + 1 for t, n in ((x, w), (y, h)))
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = pixels[y0, x0] * (1 - fx) + pixels[y0, x0 + 1] * fx
    return top * (1 - fy) + (pixels[y0 + 1, x0] * (1 - fx) + pixels[y0 + 1, x0 + 1] * fx) * fy


def lit(x, add, multiply):
    x = np.clip(np.asarray(x, dtype=np.float64), 1e-7, 1 - 1e-7)
    return 1 / (1 + np.exp(-(np.log(x / (1 - x)) + add) * multiply))


def photo(rng, n, h, w):
    return rng.integers(0, 256, (n, h, w, 3)).astype(np.uint8)


def near_identity(rng, n):
    return np.eye(3) + rng.uniform(-0.3, 0.3, (n, 3, 3)) * np.array([[1], [1], [0.5]])


# --- the C pass


@pytest.mark.parametrize("h, w", [(1, 1), (1, 7), (9, 1), (2, 2), (17, 33), (40, 130), (3, 300)])
def test_resampling_is_the_definition(rng, h, w):
    images, m = photo(rng, 3, h, w), near_identity(rng, 3)
    got = run(images, m)
    # Coordinates are float32: 1e-6 of the width is that much of a step between two pixels.
    for one, matrix, result in zip(images, m, got):
        np.testing.assert_allclose(result, warped(one, matrix), atol=3e-6 * max(h, w) + 1e-6)


def test_without_anything_a_value_is_a_255th_of_its_byte(rng):
    images = photo(rng, 2, 5, 7)
    np.testing.assert_array_equal(run(images), images.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("lighting", [None, (0.4, 1.2)])
def test_identity_resampling_changes_nothing(rng, lighting):
    images = photo(rng, 2, 31, 18)
    pair = None if lighting is None else np.float32([lighting] * 2)
    eye = np.tile(np.eye(3), (2, 1, 1))
    np.testing.assert_allclose(run(images, eye, pair), run(images, None, pair), atol=1e-5)


def test_lighting_and_normalization_are_the_definition(rng):
    images = photo(rng, 3, 6, 50)
    pairs = np.float32([[0.4, 1.25], [-0.4, 0.8], [0, 1]])
    mean, std = (np.float32(s) for s in imagenet_stats)
    want = np.stack([lit(im / 255.0, *p) for im, p in zip(images, pairs.astype(float))])
    np.testing.assert_allclose(run(images, None, pairs), want, atol=1e-6)
    np.testing.assert_allclose(run(images, None, pairs, mean, std), (want - mean) / std, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf, 1e300, -1e18, 1e-300])
@pytest.mark.parametrize("cells", ["all", "denominator", "one"])
def test_no_homography_reads_outside(rng, value, cells):
    images = photo(rng, 1, 13, 37)
    m = np.eye(3)[None].copy()
    m[{"all": ..., "denominator": (0, 2), "one": (0, 1, 2)}[cells]] = value
    with np.errstate(all="ignore"):
        got = run(images, m)
    assert ((got >= 0) & (got <= 1.000001)).all()


def test_where_the_denominator_is_zero_pixels_stay(rng):
    images = photo(rng, 1, 9, 9)
    m = np.eye(3)[None].copy()
    m[0, 2] = [1, 0, 0]  # zero in the middle column
    got = run(images, m)
    np.testing.assert_allclose(got[0, :, 4], images[0, :, 4] / 255, atol=1e-6)


def test_the_number_of_threads_changes_no_bit(rng):
    images, before = photo(rng, 5, 61, 47), _core.get_num_threads()
    m, pairs = near_identity(rng, 5), rng.uniform(0.5, 1.5, (5, 2)).astype(np.float32)
    results = []
    try:
        for threads in (1, 2, 3, 7):
            _core.set_num_threads(threads)
            results.append((run(images, m, pairs).tobytes(), run(images, None, pairs).tobytes()))
    finally:
        _core.set_num_threads(before)
    assert len(set(results)) == 1


def test_an_empty_batch_is_fine():
    assert run(np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, 4, 4, 3)


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"images": np.zeros((2, 4, 5, 3), np.float32)}, TypeError, "`images` must be uint8"),
        ({"images": np.zeros((2, 4, 5, 4), np.uint8)}, ValueError, "`images` must have shape"),
        ({"images": np.zeros((2, 5, 4, 3), np.uint8).swapaxes(1, 2)}, ValueError, "contiguous"),
        ({"homography": np.zeros((1, 3, 3))}, ValueError, r"`homography` must have shape \(2, 3"),
        ({"homography": np.zeros((2, 3, 3), np.uint8)}, TypeError, "`homography` must be float64"),
        ({"lighting": np.zeros((2, 3), np.float32)}, ValueError, "`lighting` must have shape"),
        ({"mean": np.zeros(4, np.float32)}, ValueError, "`mean` must have shape"),
        ({"std": None}, TypeError, "`std` must be a NumPy array"),
        ({"out": np.zeros((2, 4, 4, 3), np.float32)}, ValueError, "`out` must have shape"),
    ],
)
def test_wrong_arrays_are_refused(change, error, words):
    args = {
        "images": np.zeros((2, 4, 5, 3), np.uint8), "homography": None, "border": 0, "nearest": 0,
        "edges": 0, "lighting": None, "tint": None, "turn": None, "mean": ZEROS, "std": ONES,
        "out": np.zeros((2, 4, 5, 3), np.float32),
    }  # fmt: skip
    with pytest.raises(error, match=f"^augment: .*{words}"):
        _core.augment(*(args | change).values())


@pytest.mark.parametrize("border", ["reflection", "border", "zeros"])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("size", [(24, 37), (9, 50), (31, 1)])
def test_every_way_to_resample_is_the_definition(rng, border, corners, nearest, size):
    images = photo(rng, 2, 24, 37)
    turn = Rotate(p=1, draw=33, size=size, pad_mode=border, align_corners=corners,
                  mode="nearest" if nearest else "bilinear")
    got = augmented(images, [turn])
    m = planned([turn], 1, 24, 37).homography[0]
    for one, result in zip(images, got):
        want = warped(one, m, size, border, corners, nearest)
        # Float positions may round to another nearest pixel than float64 where both are as near.
        off = abs(result - want).max(axis=-1) > 2e-4
        assert off.mean() <= (0.005 if nearest else 0)


def test_a_size_is_that_of_validation_too(rng):
    images = photo(rng, 2, 12, 18)
    (warp,) = aug_transforms(size=(10, 8), max_lighting=0)
    got = augmented(images, [warp], train=False)
    for one, result in zip(images, got):
        np.testing.assert_allclose(result, warped(one, np.eye(3), (10, 8)), atol=1e-5)
    assert planned([warp], 2, 12, 18).out_size == (10, 8)


def test_photos_of_more_than_twice_the_size_are_averaged_first(rng):
    stripes = np.zeros((1, 60, 60, 3), np.uint8)
    stripes[:, :, ::2] = 255
    small = augmented(stripes, [AffineWarp([], size=15)], train=False)
    assert abs(small - 0.5).max() < 0.01
    images = photo(rng, 2, 50, 60)
    got = augmented(images, [AffineWarp([], size=(10, 15))], train=False)
    means = [Image.fromarray(im).resize((30, 25), Image.Resampling.BOX) for im in images]
    for mean, result in zip(means, got):
        want = warped(np.asarray(mean), np.eye(3), (10, 15))
        np.testing.assert_allclose(result, want, atol=1e-5)
    # What a zoom enlarges as far again is read from the photo itself.
    zoom = Zoom(p=1, draw=4, draw_x=0.5, draw_y=0.5, size=10)
    assert abs(augmented(stripes, [zoom]) - 0.5).max() > 0.2


# --- presizing: parts of photos that are there


def test_a_part_of_a_batch_is_a_crop_that_is_resized(rng):
    images = photo(rng, 4, 20, 30)
    crop = RandomResizedCropGPU((12, 16), min_scale=0.3, ratio=(0.5, 2))
    got = augmented(images, [crop], seed=3)
    boxes = [random_crop_box(30, 20, KeyedRandom(3, 0, i, BATCH_CROP), 0.3, 1.0, (0.5, 2))
             for i in range(4)]
    assert len(set(boxes)) == 4
    for one, (left, top, w, h), result in zip(images, boxes, got):
        part = one[top : top + h, left : left + w]
        np.testing.assert_allclose(result, warped(part, np.eye(3), (12, 16)), atol=2e-5)


def test_a_part_and_a_turn_are_one_resampling(rng):
    images = photo(rng, 2, 20, 20)
    turn, crop = Rotate(p=1, draw=20), RandomResizedCropGPU(10, 0.5, ratio=(1, 1))
    got = planned([turn, crop], 2).homography
    alone = planned([turn], 2).homography @ planned([crop], 2).homography
    np.testing.assert_allclose(got, alone)
    assert augmented(images, [turn, crop]).shape == (2, 10, 10, 3)


def test_scales_of_a_part():
    crop = RandomResizedCropGPU(8, min_scale=0.25, max_scale=0.5, ratio=(1, 1))
    m = planned([crop], MANY, 200, 200).homography
    sides = (m[:, 0, 0] * 199 + 1) / 200
    np.testing.assert_allclose(sides, (m[:, 1, 1] * 199 + 1) / 200, atol=1e-9)
    assert 0.25 - 0.01 <= (sides**2).min() and (sides**2).max() <= 0.5 + 0.01
    assert np.mean(sides**2) == pytest.approx(0.375, abs=0.01)


def test_validation_takes_the_center(rng):
    images = photo(rng, 1, 20, 40)
    got = augmented(images, [RandomResizedCropGPU(10, ratio=(1, 1), valid_scale=0.5)], train=False)
    want = warped(images[0, 5:15, 15:25], np.eye(3))
    np.testing.assert_allclose(got[0], want, atol=1e-5)
    whole = augmented(images, [RandomResizedCropGPU((20, 40), ratio=(1, 2))], train=False)
    np.testing.assert_allclose(whole[0], images[0] / 255, atol=1e-5)


@pytest.mark.parametrize("corners", [True, False])
def test_a_part_follows_the_corners_of_the_batch(rng, corners):
    images = photo(rng, 1, 20, 20)
    grid = AffineWarp([], align_corners=corners)
    got = augmented(images, [grid, RandomResizedCropGPU(10, ratio=(1, 1), valid_scale=0.5)],
                    train=False)
    want = warped(images[0, 5:15, 5:15], np.eye(3), corners=corners)
    np.testing.assert_allclose(got[0], want, atol=1e-5)


def test_a_part_may_take_the_nearest_pixels(rng):
    images = photo(rng, 1, 20, 20)
    for mode, whole in (("nearest", True), ("bilinear", False)):
        got = 255 * augmented(images, [RandomResizedCropGPU(9, mode=mode)], train=False)
        assert (abs(got - np.rint(got)).max() < 1e-3) == whole


# --- colors


def logit(x):
    x = np.clip(np.asarray(x, float), np.float32(1e-7), np.float32(1 - 1e-7))
    return np.log(x / (1 - x))


def mixed(x, s):
    """Saturation by its definition, on logits."""
    z = logit(x)
    grey = (z * [0.2989, 0.587, 0.114]).sum(axis=-1, keepdims=True)
    return 1 / (1 + np.exp(-(s * z + (1 - s) * grey)))


@pytest.mark.parametrize("s", [0.0, 0.5, 1.0, 1.4])
@pytest.mark.parametrize("turned", [False, True])
def test_saturation_is_the_definition(rng, s, turned):
    images = photo(rng, 2, 6, 50)
    tfms = [Saturation(p=1, draw=s), *([Rotate(p=1, draw=0)] if turned else [])]
    np.testing.assert_allclose(augmented(images, tfms), mixed(images / 255, s), atol=3e-6)


def test_light_before_and_after_a_saturation(rng):
    images = photo(rng, 1, 6, 9)
    parts = [Brightness(p=1, draw=0.6), Saturation(p=1, draw=0.5), Contrast(p=1, draw=1.5),
             Brightness(p=1, draw=0.4)]
    x = lit(mixed(lit(images / 255, np.log(1.5), 1), 0.5), 0, 1.5)
    np.testing.assert_allclose(augmented(images, [Lighting(parts)]), lit(x, -np.log(1.5), 1),
                               atol=1e-5)


def test_saturation_is_drawn_as_contrast():
    tint = drawn(Saturation(max_lighting=0.2, p=0.75), "tint")
    s = (tint[:, 0, 0] - 0.2989) / (1 - 0.2989)
    assert share(abs(s - 1) < 1e-9) == 0.25
    spread = np.log(s[abs(s - 1) > 1e-9])
    assert np.abs(spread).max() <= -np.log(0.8) + 1e-6
    assert spread.std() == pytest.approx(-np.log(0.8) / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("turn", [0.0, 0.1, 1.05, -0.3])
@pytest.mark.parametrize("turned", [False, True])
def test_hues_are_the_definition(rng, turn, turned):
    images = photo(rng, 2, 5, 30)
    tfms = [Hue(p=1, draw=turn), *([Rotate(p=1, draw=0)] if turned else [])]
    got = augmented(images, tfms)
    for pixel, result in zip(images.reshape(-1, 3) / 255, got.reshape(-1, 3)):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        np.testing.assert_allclose(result, colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-5)


def test_hues_are_drawn_about_a_whole_turn():
    turn = drawn(Hue(max_hue=0.1, p=0.75), "turn")
    assert share(turn == 0) == 0.25
    spread = np.log(turn[turn != 0])
    assert np.abs(spread).max() <= -np.log(0.9) + 1e-6 and abs(spread.mean()) < 0.01
    assert spread.std() == pytest.approx(-np.log(0.9) / np.sqrt(3), rel=0.05)


# --- holes


def erased(n=1, h=40, w=50, seed=0, mean=ZEROS, **options):
    """The holes (mask) of n grey photos, and what came of them."""
    images = np.full((n, h, w, 3), 51, np.uint8)
    got = augmented(images, [RandomErasing(**options), Normalize(mean, [1, 1, 1])], seed=seed)
    return abs(got - (0.2 - mean)).max(axis=-1) > 1e-6, got


def test_holes_are_rectangles_of_the_area_that_is_asked_for():
    masks, _ = erased(200, p=1, sl=0.1, sh=0.3, min_aspect=0.5)
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == h * w
        assert 0.1 * 2000 - 30 <= h * w <= 0.3 * 2000 + 30 and 0.4 < h / w < 2.2
    assert masks.mean(axis=(1, 2)).mean() == pytest.approx(0.2, abs=0.02)


def test_holes_have_their_probability_and_number():
    assert not erased(50, p=0)[0].any()
    masks, _ = erased(400, p=0.5, sl=0.1)
    assert abs(masks.any(axis=(1, 2)).mean() - 0.5) < 0.1
    several, _ = erased(100, p=1, sl=0.3, sh=0.3, max_count=4)
    whole = [m.sum() == np.ptp(np.flatnonzero(m.any(1)) + 1) * np.ptp(np.flatnonzero(m.any(0)) + 1)
             for m in several]
    assert not all(whole) and several.mean() <= 0.31
    assert not erased(20, p=1, sl=0, sh=0)[0].any()


def test_holes_are_normal_noise_after_the_normalization():
    masks, got = erased(100, p=1, sl=0.3, mean=np.float32([0.5, 0.4, 0.3]))
    noise = got[masks]
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(1, abs=0.02)
    assert (abs(noise) < 1).mean() == pytest.approx(0.6827, abs=0.01)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03


def test_holes_belong_to_the_photo_and_the_seed():
    few, many = (erased(n, p=1)[1] for n in (2, 5))
    np.testing.assert_array_equal(few, many[:2])
    assert (erased(2, p=1, seed=1)[1] != few).any()


@pytest.mark.parametrize("h, w", [(1, 1), (1, 30), (3, 2)])
def test_holes_of_small_photos(h, w):
    assert erased(20, h, w, p=1, sh=1)[1].shape == (20, h, w, 3)


# --- kernels, on each instruction set


def kernel(isa, name, *types):
    return ctypes.CFUNCTYPE(None, *types)(_core.kernels(isa)[name])


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


P, N, F = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_float
SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 50, 1000]


@pytest.fixture(params=_core.isas())
def isa(request):
    return request.param


@pytest.mark.parametrize("n", SIZES)
def test_kernel_light(isa, rng, n):
    x = np.append(rng.uniform(0, 1, n), 7.0).astype(np.float32)
    x[: min(n, 4)] = [0, 1, 1e-9, 2][: min(n, 4)]
    got, plain = x.copy(), x.copy()
    kernel(isa, "light", P, N, F, F)(pointer(got), n, 0.3, 1.1)
    kernel("scalar", "light", P, N, F, F)(pointer(plain), n, 0.3, 1.1)
    np.testing.assert_allclose(got[:n], lit(x[:n], 0.3, 1.1), atol=3e-7)
    assert got[n] == 7.0 and got.tobytes() == plain.tobytes()


@pytest.mark.parametrize("n", SIZES)
def test_kernel_normalize(isa, rng, n):
    x = np.append(rng.normal(size=n), 7.0).astype(np.float32)
    mean, std = (np.tile(np.float32(v), 16) for v in ([0.1, 0.2, 0.3], [1, 2, 3]))
    got = x.copy()
    kernel(isa, "normalize", P, N, P, P)(pointer(got), n, pointer(mean), pointer(std))
    channel = np.arange(n) % 3
    np.testing.assert_array_equal(got[:n], (x[:n] - mean[channel]) / std[channel])
    assert got[n] == 7.0


def test_kernel_look_up(isa, rng):
    x, table = photo(rng, 1, 1, 21).ravel(), rng.normal(size=(256, 3)).astype(np.float32)
    out = np.full(64, 7, np.float32)
    kernel(isa, "look_up", P, N, P, P)(pointer(x), 21, pointer(table), pointer(out))
    np.testing.assert_array_equal(out[:63], table[x, np.arange(63) % 3])
    assert out[63] == 7


# --- fastai's pixels


def golden_tfms(z):
    d = {k[5:]: v for k, v in z.items() if k.startswith("draw_")}
    return {
        "flip": Flip(p=1, draw=d["flip"]),
        "rotate": Rotate(p=1, draw=d["rotate"]),
        "zoom": Zoom(p=1, draw=d["zoom"], draw_x=d["zoom_x"], draw_y=d["zoom_y"]),
        "warp": Warp(p=1, draw_x=d["warp_x"], draw_y=d["warp_y"]),
        "brightness": Brightness(p=1, draw=d["brightness"]),
        "contrast": Contrast(p=1, draw=d["contrast"]),
    }


@pytest.mark.parametrize(
    "name", ["flip", "rotate", "zoom", "warp", "brightness", "contrast", "all"]
)
def test_pixels_are_fastais(shared, name):
    z = np.load(shared("golden/augment.npz"))
    tfms = golden_tfms(z)
    parts = list(tfms.values())
    chosen = [tfms[name]] if name != "all" else [AffineWarp(parts[:4]), Lighting(parts[4:])]
    got = augmented(z["input"], chosen).transpose(0, 3, 1, 2)
    assert np.abs(got - z[name]).max() < 0.02 / 255  # seen: 0.002 / 255


def test_transforms_in_a_row_act_one_after_the_other(rng):
    images = photo(rng, 2, 8, 8)
    transpose, flip = Dihedral(p=1, draw=4), Flip(p=1)
    for first, second in ((transpose, flip), (flip, transpose)):
        between = np.rint(augmented(images, [first]) * 255).astype(np.uint8)
        want = augmented(between, [second])
        np.testing.assert_allclose(augmented(images, [first, second]), want, atol=1e-5)


@pytest.mark.parametrize("i", range(3))
def test_crops_are_fastais(shared, i):
    z = np.load(shared("golden/crops.npz"))
    image = Image.open(shared(str(z[f"file_{i}"]).removeprefix("data/"))).convert("RGB")
    crop = RandomResizedCrop(228, min_scale=0.5)
    made = {
        f"train_{i}": crop.apply(image, random.Random(i), train=True),
        f"valid_{i}": crop.apply(image, None, train=False),
        f"resize_squish_{i}": Resize(64, ResizeMethod.Squish).apply(image, None, train=False),
        f"resize_crop_{i}": Resize(64).apply(image, None, train=False),
        f"resize_pad_{i}": Resize(64, "pad", PadMode.Zeros).apply(image, None, train=False),
    }
    for name, got in made.items():
        assert np.abs(np.asarray(got).astype(int) - z[name]).max() <= 1, name


# --- what is drawn

MANY = 3000


def drawn(tfm, field="homography"):
    return getattr(planned([tfm], MANY), field)


def share(mask):
    return pytest.approx(np.mean(mask), abs=0.035)  # four standard deviations of 3000 draws


def test_flip_mirrors_half():
    m = drawn(Flip())
    assert set(m[:, 0, 0]) == {-1.0, 1.0}
    assert share(m[:, 0, 0] < 0) == 0.5


def test_dihedral_draws_all_eight_symmetries_evenly():
    seen, counts = np.unique(drawn(Dihedral(p=1))[:, :2, :2], axis=0, return_counts=True)
    assert len(seen) == 8
    assert np.abs(np.abs(np.linalg.det(seen)) - 1).max() < 1e-12
    assert np.abs(counts / MANY - 1 / 8).max() < 0.03
    kept = (drawn(Dihedral(p=0.5)) == np.eye(3)).all((1, 2))
    assert share(kept) == 0.5 + 0.5 / 8


@pytest.mark.parametrize("number, want", [(1, np.fliplr), (2, np.flipud), (4, np.transpose)])
def test_dihedral_turns_whole_pixels(rng, number, want):
    images = photo(rng, 1, 8, 8)
    got = augmented(images, [Dihedral(p=1, draw=number)])[0]
    for channel in range(3):
        np.testing.assert_allclose(
            got[..., channel], want(images[0, ..., channel]) / 255.0, atol=1e-5
        )


def test_rotate_draws_angles_evenly():
    m = drawn(Rotate(max_deg=10, p=0.75))
    angle = np.rad2deg(np.arctan2(m[:, 0, 1], m[:, 0, 0]))
    turned = angle[angle != 0]
    assert share(angle == 0) == 0.25
    assert np.abs(turned).max() <= 10 and np.abs(np.mean(turned)) < 0.6
    assert np.std(turned) == pytest.approx(10 / np.sqrt(3), rel=0.05)


def test_zoom_draws_factor_and_point():
    m = drawn(Zoom(min_zoom=1, max_zoom=1.1, p=0.75))
    zoom = 1 / m[:, 0, 0]
    assert share(zoom == 1) == 0.25
    assert zoom.max() <= 1.1 and zoom[zoom != 1].mean() == pytest.approx(1.05, abs=0.003)
    point = m[zoom != 1, :2, 2] / (1 - m[zoom != 1, 0, 0])[:, None]
    assert np.abs(point).max() <= 1 and point.std() == pytest.approx(1 / np.sqrt(3), rel=0.05)


def test_warp_brings_the_corners_where_fastai_does():
    x, y = 0.15, -0.1
    m = planned([Warp(p=1, draw_x=x, draw_y=y)], 1).homography[0]
    corners = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    want = [(-1 - y, -1 - x), (-1 + y, 1 + x), (1 + y, -1 + x), (1 - y, 1 - x)]
    for corner, place in zip(corners, want):
        got = m @ [*place, 1]
        np.testing.assert_allclose(got[:2] / got[2], corner, atol=1e-12)


def test_warp_masks_each_direction_by_itself():
    m = drawn(Warp(p=0.75))
    assert share((m == np.eye(3)).all((1, 2))) == 0.25**2
    assert np.abs(m[:, 2, :2]).max() <= 0.2 / 0.6


def test_brightness_and_contrast():
    add, multiply = drawn(Brightness(max_lighting=0.2, p=0.75), "lighting").T
    level = 1 / (1 + np.exp(-add[add != 0].astype(float)))
    assert share(add == 0) == 0.25 and (multiply == 1).all()
    assert 0.4 <= level.min() and level.max() <= 0.6 + 1e-7
    assert level.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    add, multiply = drawn(Contrast(max_lighting=0.2, p=0.75), "lighting").T
    assert share(multiply == 1) == 0.25 and (add == 0).all()
    spread = np.log(multiply[multiply != 1].astype(float))
    assert np.abs(spread).max() <= -np.log(0.8) + 1e-6
    assert spread.std() == pytest.approx(-np.log(0.8) / np.sqrt(3), rel=0.05)


def test_brightness_comes_before_contrast_and_the_other_way_round_differs():
    a, c = Brightness(p=1, draw=0.6), Contrast(p=1, draw=1.5)
    logit = np.log(1.5)
    assert planned([Lighting([a, c])], 1).lighting[0] == pytest.approx([logit, 1.5])
    assert planned([Lighting([c, a])], 1).lighting[0] == pytest.approx([logit / 1.5, 1.5])


FIELD = {Brightness: "lighting", Contrast: "lighting", Saturation: "tint", Hue: "turn"}


@pytest.mark.parametrize("tfm", [Flip, Dihedral, Rotate, Zoom, Warp, *FIELD])
def test_batch_true_draws_once(tfm):
    own, common = (planned([tfm(p=1, batch=b)], 16) for b in (False, True))
    field = FIELD.get(tfm, "homography")
    assert np.ptp(getattr(common, field), axis=0).max() == 0
    if tfm is not Flip:  # whose draw is always 1
        assert np.ptp(getattr(own, field), axis=0).max() > 0
    np.testing.assert_array_equal(getattr(own, field)[0], getattr(common, field)[0])


def test_numbers_belong_to_the_image_not_to_the_batch():
    few, many = (planned(aug_transforms(), n).homography for n in (3, 9))
    np.testing.assert_array_equal(few, many[:3])


def test_validation_is_normalized_and_nothing_else():
    tfms = [*aug_transforms(), Dihedral(), Normalize.from_stats(*imagenet_stats), Saturation(),
            Hue(), RandomErasing()]  # fmt: skip
    plan = planned(tfms, 4, train=False)
    assert plan.homography is None and plan.lighting is None and plan.size is None
    assert plan.tint is None and plan.turn is None and not plan.finish
    np.testing.assert_array_equal(plan.mean, np.float32(imagenet_stats[0]))
    np.testing.assert_array_equal(plan.std, np.float32(imagenet_stats[1]))


def test_a_turn_does_not_stretch_a_wide_photo():
    m = planned([Rotate(p=1, draw=90)], 1, h=10, w=40).homography[0]
    x, y, _ = m @ [0.1, 0, 1]  # 2 pixels right of the middle, nearly; the input is 2 pixels off too
    assert abs(y) * 10 == pytest.approx(0.1 * 40) and x == pytest.approx(0)


# --- arguments


def test_aug_transforms_arguments():
    def parts(**arguments):
        return dict(p for t in aug_transforms(**arguments) for p in t.config()["parts"])

    assert list(parts()) == ["Flip", "Warp", "Rotate", "Zoom", "Brightness", "Contrast"]
    assert "Dihedral" in parts(flip_vert=True) and "Flip" not in parts(do_flip=False)
    assert parts(mult=2)["Rotate"]["max_deg"] == 20 and parts(mult=2)["Warp"]["magnitude"] == 0.4
    assert parts(mult=2)["Zoom"]["max_zoom"] == 1.1
    assert parts(mult=2)["Contrast"]["max_lighting"] == 0.4
    assert parts(p_affine=0.1)["Zoom"]["p"] == 0.1 and parts(p_affine=0.1)["Flip"]["p"] == 0.5
    assert parts(p_lighting=0.2)["Brightness"]["p"] == 0.2
    assert parts(min_zoom=0.8, max_zoom=1)["Zoom"]["min_zoom"] == 0.8
    assert all(c["batch"] for c in parts(batch=True).values())
    off = {"do_flip": False, "max_rotate": 0, "max_zoom": 1, "max_lighting": 0, "max_warp": 0}
    assert aug_transforms(**off) == []
    extra = Rotate(45)
    assert aug_transforms(**off, xtra_tfms=extra) == [extra] == aug_transforms(
        **off, xtra_tfms=[extra]
    )


def test_aug_transforms_arguments_of_the_resampling():
    grid = {"size": [8, 9], "mode": "nearest", "pad_mode": "zeros", "align_corners": False}
    warp, _ = aug_transforms(**grid)
    assert {k: warp.config()[k] for k in grid} == grid
    plan = planned([warp], 2)
    assert (plan.size, plan.mode, plan.border) == ([8, 9], "nearest", PadMode.Zeros)
    assert not plan.align_corners
    warp, crop, _light = aug_transforms(size=8, min_scale=0.75)
    assert "size" not in warp.config() and crop.config() == {
        "size": [8, 8], "min_scale": 0.75, "ratio": [1, 1], "mode": "bilinear", "valid_scale": 1,
        "max_scale": 1}
    off = {"do_flip": False, "max_rotate": 0, "max_zoom": 1, "max_lighting": 0, "max_warp": 0}
    (only,) = aug_transforms(**off, size=8)
    assert planned([only], 2, train=False).out_size == (8, 8)


ALL = [
    Flip(p=0.3), Dihedral(draw=5), Rotate(12, p=0.1, draw=[1, 2]), Zoom(0.9, 1.2, draw_x=0.5),
    Warp(0.3, draw_y=[0.1]), Brightness(0.4, batch=True), Contrast(0.1, draw=1.1),
    Normalize.from_stats(*imagenet_stats), RandomResizedCrop((10, 20), 0.3, (0.5, 2), 0.2, 0.9),
    Resize(9, "pad", "border"), *aug_transforms(flip_vert=True), CropPad((4, 5), "border"),
    Rotate(size=8, mode="nearest", pad_mode="border", align_corners=False), Saturation(0.4, 0.5),
    Hue(0.2, draw=0.1), RandomErasing(0.2, 0.1, 0.4, 0.5, 3),
    *aug_transforms(size=9, min_scale=0.5), Lighting([Saturation()]),
    RandomResizedCropGPU((8, 9), 0.3, (0.5, 2), "nearest", 0.8, 0.9),
]  # fmt: skip


@pytest.mark.parametrize("tfm", ALL, ids=lambda t: type(t).__name__)
def test_config_rebuilds_the_transform(tfm):
    config = json.loads(json.dumps(tfm.config()))
    again = type(tfm)(**config)
    assert again.config() == tfm.config() and repr(again) == repr(tfm)


def test_crops_know_when_a_photo_is_large_enough():
    crop = RandomResizedCrop(228, min_scale=0.5)
    assert crop.covers(500, 375) and not crop.covers(250, 188)
    wide = RandomResizedCrop((64, 128), min_scale=0.5)
    assert wide.covers(300, 200) and not wide.covers(150, 200)
    for method, sizes in {"crop": [(99, 50), (100, 49)], "squish": [(99, 50), (100, 49)],
                          "pad": [(99, 49)]}.items():  # fmt: skip
        resize = Resize((50, 100), method)
        assert resize.covers(100, 50) and not any(resize.covers(*size) for size in sizes)
    assert Resize((50, 100), "pad").covers(30, 50)


@pytest.mark.parametrize("batch_order", [(RandomResizedCrop(8), Resize(8), AffineWarp([]))])
def test_orders_are_fastais(batch_order):
    orders = [t.order for t in batch_order] + [Lighting([]).order, Normalize(*imagenet_stats).order]
    assert orders == [1, 1, 30, 40, 99]


def test_crop_pad_cuts_and_pads_and_never_resizes():
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)

    def made(size, mode="zeros"):
        return np.asarray(CropPad(size, mode).apply(Image.fromarray(image), None, True))

    np.testing.assert_array_equal(made((4, 5)), image[1:5, 2:7])
    np.testing.assert_array_equal(made((6, 9)), image)
    for mode, numpy_mode in (("zeros", "constant"), ("border", "edge"), ("reflection", "reflect")):
        want = np.pad(image[:, 2:7], ((1, 2), (0, 0), (0, 0)), mode=numpy_mode)
        np.testing.assert_array_equal(made((9, 5), mode), want)
    assert made((40, 50), "reflection").shape == (40, 50, 3)
    assert CropPad(8).order == 0


def test_presizing_from_photos_to_batches(rng):
    items = [(photo(rng, 1, 30 + i, 50)[0], ["a"]) for i in range(8)]
    presized = aug_transforms(size=(16, 24), min_scale=0.75)
    block = DataBlock(get_x=lambda o: o[0], get_y=lambda o: o[1], splitter=EndSplitter(0.25),
                      item_tfms=Resize(48), batch_tfms=presized)  # fmt: skip
    dls = block.dataloaders(items, bs=3)
    for dl in dls:
        assert {batch[0].shape[1:] for batch in dl} == {(3, 16, 24)}
    assert dls.test_dl([items[0][0]]).one_batch()[0].shape == (1, 3, 16, 24)


def test_resize_draws_its_place_in_training_only():
    image = Image.fromarray(np.arange(200, dtype=np.uint8).repeat(60).reshape(10, -1, 3))
    ends = [np.asarray(Resize(10).apply(image, random.Random(s), True)) for s in range(2)]
    middle = [np.asarray(Resize(10).apply(image, random.Random(s), False)) for s in range(2)]
    assert (ends[0] != ends[1]).any() and (middle[0] == middle[1]).all()


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: Flip(p=1.5), ValueError, r"Flip: `p` must lie in \[0, 1\], got 1.5"),
        (lambda: Rotate("10"), TypeError, "Rotate: `max_deg` must be a number, got '10'"),
        (lambda: Rotate(draw=[[1]]), TypeError, "Rotate: `draw` must be a finite number"),
        (lambda: Rotate(draw=np.nan), TypeError, "Rotate: `draw` must be a finite number"),
        (lambda: Zoom(1.2, 1.1), ValueError, "Zoom: `max_zoom` must be at least min_zoom = 1.2"),
        (lambda: Warp(0.5), ValueError, r"Warp: `magnitude` must lie in \[0, 0.5\), got 0.5"),
        (lambda: Warp(draw_x=[0, -0.5]), ValueError, r"Warp: `draw_x` must lie in \(-0.5, 0.5\)"),
        (lambda: Contrast(1), ValueError, r"Contrast: `max_lighting` must lie in \[0, 1\), got 1"),
        (lambda: Normalize([0] * 3, [1, 0, 1]), ValueError, "Normalize: `std` must be above 0"),
        # Above 0, but not as the float32 that the core divides by.
        (lambda: Normalize([0] * 3, [1, 1e-300, 1]), ValueError, "Normalize: `std` must be above"),
        (lambda: Normalize([0, 1e39, 0], [1] * 3), ValueError, "Normalize: `mean` must be 3"),
        (lambda: Normalize([0] * 4, [1] * 3), ValueError, "Normalize: `mean` must be 3 finite"),
        (lambda: Resize(0), ValueError, "Resize: `size` must be a positive integer or"),
        (lambda: Resize((3, 4, 5)), ValueError, "Resize: `size` must be a positive integer or"),
        (lambda: Resize(8, "fit"), ValueError, "Resize: `method` must be 'crop', 'squish'"),
        (lambda: Resize(8, pad_mode="x"), ValueError, "Resize: `pad_mode` must be 'reflection'"),
        (lambda: RandomResizedCrop(8, 0), ValueError, "RandomResizedCrop: `min_scale` must lie in"),
        (lambda: RandomResizedCrop(8, ratio=(2, 1)), ValueError, "RandomResizedCrop: `ratio` must"),
        (lambda: AffineWarp([Contrast()]), TypeError, "AffineWarp: `parts` must be of Flip, Dih"),
        (lambda: Lighting(["Flip"]), TypeError, "Lighting: `parts` must be of Brightness, "),
        (lambda: Rotate(size=0), ValueError, "Rotate: `size` must be a positive integer or"),
        (lambda: Flip(mode="bicubic"), ValueError, "Flip: `mode` must be 'bilinear' or 'nearest', "
         "got 'bicubic'$"),
        (lambda: AffineWarp([], pad_mode="x"), ValueError,
         "AffineWarp: `pad_mode` must be 'reflect"),
        (lambda: Zoom(pad="x"), TypeError,
         "Zoom: further arguments must be of size, mode, pad_mode, "
         "align_corners, got pad$"),
        (lambda: aug_transforms(mode=3), ValueError,
         "aug_transforms: `mode` must be 'bilinear' or"),
        (lambda: aug_transforms(min_scale=0.5), ValueError,
         "aug_transforms: `size` must be the size "
         "of the batch with min_scale below 1, got None$"),
        (lambda: aug_transforms(xtra_tfms=Resize(8)), TypeError,
         "aug_transforms: `xtra_tfms` must "),
        (lambda: RandomResizedCropGPU(8, 0), ValueError,
         "RandomResizedCropGPU: `min_scale` must lie"),
        (lambda: RandomResizedCropGPU(8, valid_scale=2), ValueError,
         r"RandomResizedCropGPU: `valid_scale` must lie in \(0, 1\], got 2"),
        (lambda: RandomErasing(sl=0.5), ValueError,
         r"RandomErasing: `sl` must lie in \[0, sh = 0.3\], got 0.5"),
        (lambda: RandomErasing(min_aspect=0), ValueError,
         "RandomErasing: `min_aspect` must lie in"),
        (lambda: RandomErasing(max_count=0), ValueError,
         "RandomErasing: `max_count` must be an int"),
        (lambda: Hue(1), ValueError, r"Hue: `max_hue` must lie in \[0, 1\), got 1"),
        (lambda: CropPad(8, "x"), ValueError,
         "CropPad: `pad_mode` must be 'reflection', 'border' or"),
        (lambda: CropPad(-1), ValueError, "CropPad: `size` must be a positive integer or"),
    ],
)
def test_wrong_arguments_say_the_rule(make, error, words):
    with pytest.raises(error, match=f"^{words}"):
        make()


def test_too_few_fixed_draws_are_refused():
    with pytest.raises(ValueError, match="^Rotate: `draw` must have a number for each of the 3"):
        planned([Rotate(draw=[1, 2])], 3)
