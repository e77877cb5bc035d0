"""Augmentation: the C pass against a float64 definition and fastai's pixels, and what is drawn."""

import ctypes
import json
import random

import numpy as np
import pytest
from PIL import Image

from mlclassify import _core
from mlclassify.data.batch import BatchPlan
from mlclassify.vision.augment import (
    AffineWarp,
    Brightness,
    Contrast,
    Dihedral,
    Flip,
    Lighting,
    Normalize,
    PadMode,
    RandomResizedCrop,
    Resize,
    ResizeMethod,
    Rotate,
    Warp,
    Zoom,
    aug_transforms,
    imagenet_stats,
)

ZEROS, ONES = np.zeros(3, np.float32), np.ones(3, np.float32)


def planned(tfms, n, h=20, w=20, train=True, seed=0):
    plan = BatchPlan(n, h, w, train, seed=seed)
    for tfm in sorted(tfms, key=lambda t: t.order):
        tfm.plan(plan)
    return plan


def run(images, homography=None, lighting=None, mean=ZEROS, std=ONES):
    out = np.full(images.shape, np.nan, np.float32)
    _core.augment(images, homography, lighting, mean, std, out)
    return out


def augmented(images, tfms, **options):
    plan = planned(tfms, *images.shape[:3], **options)
    return run(images, plan.homography, plan.lighting, plan.mean, plan.std)


# --- the definition, in float64


def reflect(t, last):
    if last == 0:
        return np.zeros_like(t)
    t = np.abs(t) % (2 * last)
    return np.minimum(t, 2 * last - t)


def ends(n):
    return np.linspace(-1, 1, n) if n > 1 else np.zeros(1)


def warped(image, m):
    """Bilinear, reflected at pixel centers, coordinates from -1 to 1 at the outer centers."""
    h, w, _ = image.shape
    y, x = np.meshgrid(ends(h), ends(w), indexing="ij")
    points = np.stack((x, y, np.ones_like(x)), -1) @ m.T
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    x, y = reflect((x + 1) * (w - 1) / 2, w - 1), reflect((y + 1) * (h - 1) / 2, h - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    pixels = image / 255.0
    top = pixels[y0, x0] * (1 - fx) + pixels[y0, x1] * fx
    return top * (1 - fy) + (pixels[y1, x0] * (1 - fx) + pixels[y1, x1] * fx) * fy


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
        "images": np.zeros((2, 4, 5, 3), np.uint8), "homography": None, "lighting": None,
        "mean": ZEROS, "std": ONES, "out": np.zeros((2, 4, 5, 3), np.float32),
    }  # fmt: skip
    with pytest.raises(error, match=f"^augment: .*{words}"):
        _core.augment(*(args | change).values())


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


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 127, 128, 129, 300])
def test_kernel_warp_row(isa, rng, width):
    image, m = photo(rng, 1, 5, width)[0], rng.normal(size=(3, 3)) + np.eye(3)
    results = []
    for name in (isa, "scalar"):
        out = np.full(3 * width + 1, 7, np.float32)
        args = (pointer(image), 5, width, pointer(m), 2, pointer(out))
        kernel(name, "warp_row", P, N, N, P, N, P)(*args)
        results.append(out)
    assert results[0][-1] == 7 and results[0].tobytes() == results[1].tobytes()
    assert ((results[0][:-1] >= 0) & (results[0][:-1] <= 1.000001)).all()


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


@pytest.mark.parametrize("tfm", [Flip, Dihedral, Rotate, Zoom, Warp, Brightness, Contrast])
def test_batch_true_draws_once(tfm):
    own, common = (planned([tfm(p=1, batch=b)], 16) for b in (False, True))
    field = "lighting" if tfm in (Brightness, Contrast) else "homography"
    assert np.ptp(getattr(common, field), axis=0).max() == 0
    if tfm is not Flip:  # whose draw is always 1
        assert np.ptp(getattr(own, field), axis=0).max() > 0
    np.testing.assert_array_equal(getattr(own, field)[0], getattr(common, field)[0])


def test_numbers_belong_to_the_image_not_to_the_batch():
    few, many = (planned(aug_transforms(), n).homography for n in (3, 9))
    np.testing.assert_array_equal(few, many[:3])


def test_validation_is_normalized_and_nothing_else():
    tfms = [*aug_transforms(), Dihedral(), Normalize.from_stats(*imagenet_stats)]
    plan = planned(tfms, 4, train=False)
    assert plan.homography is None and plan.lighting is None
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


def test_fastais_other_arguments_take_what_is_done_anyway():
    assert len(aug_transforms(mode="bilinear", pad_mode=PadMode.Reflection, size=None)) == 2
    for wrong in ({"size": 224}, {"pad_mode": "zeros"}, {"mode": "nearest"}, {"min_scale": 0.5}):
        with pytest.raises(TypeError, match="^aug_transforms: `.*` must be .* item_tfms"):
            aug_transforms(**wrong)
    with pytest.raises(TypeError, match="^aug_transforms: `max_rotation` must be left out, got 5"):
        aug_transforms(max_rotation=5)


ALL = [
    Flip(p=0.3), Dihedral(draw=5), Rotate(12, p=0.1, draw=[1, 2]), Zoom(0.9, 1.2, draw_x=0.5),
    Warp(0.3, draw_y=[0.1]), Brightness(0.4, batch=True), Contrast(0.1, draw=1.1),
    Normalize.from_stats(*imagenet_stats), RandomResizedCrop((10, 20), 0.3, (0.5, 2), 0.2, 0.9),
    Resize(9, "pad", "border"), *aug_transforms(flip_vert=True),
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
        (lambda: Normalize([0] * 4, [1] * 3), ValueError, "Normalize: `mean` must be 3 finite"),
        (lambda: Resize(0), ValueError, "Resize: `size` must be a positive integer or"),
        (lambda: Resize((3, 4, 5)), ValueError, "Resize: `size` must be a positive integer or"),
        (lambda: Resize(8, "fit"), ValueError, "Resize: `method` must be 'crop', 'squish'"),
        (lambda: Resize(8, pad_mode="x"), ValueError, "Resize: `pad_mode` must be 'reflection'"),
        (lambda: RandomResizedCrop(8, 0), ValueError, "RandomResizedCrop: `min_scale` must lie in"),
        (lambda: RandomResizedCrop(8, ratio=(2, 1)), ValueError, "RandomResizedCrop: `ratio` must"),
        (lambda: AffineWarp([Contrast()]), TypeError, "AffineWarp: `parts` must be of Flip, Dih"),
        (lambda: Lighting(["Flip"]), TypeError, "Lighting: `parts` must be of Brightness, "),
    ],
)
def test_wrong_arguments_say_the_rule(make, error, words):
    with pytest.raises(error, match=f"^{words}"):
        make()


def test_too_few_fixed_draws_are_refused():
    with pytest.raises(ValueError, match="^Rotate: `draw` must have a number for each of the 3"):
        planned([Rotate(draw=[1, 2])], 3)
