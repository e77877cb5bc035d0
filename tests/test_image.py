"""Reading photos, and the boxes and pixels of crops against fastai's own."""

import io
import mmap
import os
import random
import threading
import tracemalloc

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageOps

from mlclassify.tensor import TensorImage
from mlclassify.vision.image import (
    Image,
    PILImage,
    UnreadableImageError,
    crop_resize,
    least_crop,
    open_image,
    photo_extension,
    random_crop_box,
    resize_crop,
    resize_pad,
    resize_squish,
    squish_center_crop,
    verify_image,
)

# Of the files in torture/made; all others there are whole photos.
BROKEN = {
    "bad_crc.png", "bomb_12000x12000_1bit.png", "empty.jpg", "html.jpg", "no_eoi.jpg",
    "one_byte.jpg", "only_soi.jpg", "soi_eoi.jpg", "text.png", "trunc_02.jpg", "trunc_10.jpg",
    "trunc_50.jpg", "trunc_90.jpg", "trunc_99.jpg", "zeroed_header.jpg",
}  # fmt: skip
BROKEN_PILLOW = {
    "16bit.cropped.tif", "tiff_strip_cmyk_jpeg.tif", "bmp__b__reallybig.bmp",
    "broken_data_stream.png", "decompression_bomb.gif", "png_decompression_dos.png",
    "truncated_jpeg.jpg",
}  # fmt: skip


@pytest.fixture(scope="module")
def crops(shared):
    return np.load(shared("golden/crops.npz"))


def golden_photo(shared, crops, i):
    return open_image(shared(str(crops[f"file_{i}"]).removeprefix("data/")))


def assert_close(im, golden):
    assert np.abs(np.asarray(im).astype(int) - golden).max() <= 1


def encoded(im, format, **options):
    buffer = io.BytesIO()
    im.save(buffer, format, **options)
    return buffer.getvalue()


# --- crops ---


def test_crop_boxes_are_fastais(crops):
    for seed, w, h, *box in crops["train_boxes_seed_w_h_left_top_w_h"].tolist():
        draw = random.Random(seed)
        assert random_crop_box(w, h, draw, min_scale=0.5) == tuple(box)


@pytest.mark.parametrize("i", range(3))
def test_crop_pixels_are_fastais(shared, crops, i):
    im = golden_photo(shared, crops, i)
    assert im.size == tuple(crops[f"size_{i}"])
    box = random_crop_box(*im.size, random.Random(i), min_scale=0.5)
    assert box == tuple(crops[f"train_box_{i}"])
    assert_close(crop_resize(im, box, 228), crops[f"train_{i}"])
    assert_close(squish_center_crop(im, 228), crops[f"valid_{i}"])


@pytest.mark.parametrize("i", range(3))
def test_resize_pixels_are_fastais(shared, crops, i):
    im = golden_photo(shared, crops, i)
    assert_close(resize_squish(im, 64), crops[f"resize_squish_{i}"])
    assert_close(resize_crop(im, 64), crops[f"resize_crop_{i}"])
    assert_close(resize_pad(im, 64, pad_mode="zeros"), crops[f"resize_pad_{i}"])


def test_sizes_are_height_then_width():
    im = PillowImage.new("RGB", (50, 40))
    for f in (squish_center_crop, resize_squish, resize_crop, resize_pad):
        assert f(im, (10, 20)).size == (20, 10)
    assert crop_resize(im, (0, 0, 5, 5), (10, 20)).size == (20, 10)


@pytest.mark.parametrize("size", [0, -1, (3,), (1, 2, 3), (0, 4), 2.5, "a", None, (2.5, 3)])
def test_size_is_checked(size):
    with pytest.raises(ValueError, match="resize_crop: `size` must be a positive integer"):
        resize_crop(PillowImage.new("RGB", (5, 5)), size)


@pytest.mark.parametrize("box", [(-1, 0, 2, 2), (0, 0, 6, 2), (0, 0, 0, 2), (0, 3, 2, 3)])
def test_box_must_lie_inside(box):
    with pytest.raises(ValueError, match="crop_resize: `box` must lie inside the photo of 5 x 5"):
        crop_resize(PillowImage.new("RGB", (5, 5)), box, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3000, 3), (2, 1)])
def test_slivers_can_be_cropped_and_resized(size):
    im = PillowImage.new("RGB", size)
    for seed in range(30):
        box = random_crop_box(*size, random.Random(seed), min_scale=0.01)
        assert crop_resize(im, box, 8).size == (8, 8)
    for f in (squish_center_crop, resize_squish, resize_crop, resize_pad):
        assert f(im, 8).size == (8, 8)


def test_crop_position_and_pad_mode_have_an_effect():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 20:] = 255
    im = open_image(pixels)
    left, right = (np.asarray(resize_crop(im, 10, (x, 0.5))) for x in (0, 1))
    assert left.max() == 0 and right.min() == 255
    white = open_image(np.full((10, 30, 3), 255, np.uint8))
    assert np.asarray(resize_pad(white, 30, "zeros")).min() == 0
    assert np.asarray(resize_pad(white, 30, "border")).min() == 255
    assert np.asarray(resize_pad(white, 30, "zeros", (0, 0)))[0].min() == 255
    with pytest.raises(ValueError, match="`pad_mode` must be one of zeros, border, reflection"):
        resize_pad(white, 30, "mirror")


# --- reading ---


# Pillow warns of odd EXIF data and of bombs; neither is this module's to silence.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Image size")
@pytest.mark.parametrize("folder", ["made", "pillow", "scraped_not_images"])
def test_torture(shared, folder):
    files = sorted(shared(f"torture/{folder}").iterdir())
    broken = {"made": BROKEN, "pillow": BROKEN_PILLOW}.get(folder, {f.name for f in files})
    for file in files:
        if file.name in broken:
            with pytest.raises(UnreadableImageError) as caught:
                open_image(file)
            assert str(caught.value).startswith("open_image: `fn` must")
            assert str(file) in str(caught.value)
            assert not verify_image(file)
        else:
            im = open_image(file)
            assert im.mode == "RGB" and type(im) is PillowImage.Image
            assert np.asarray(im).shape == (im.height, im.width, 3)
    assert len(files) > 5


def test_truncated_at_every_place_is_an_error_or_an_image(rng):
    photo = PillowImage.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        data = encoded(photo, format)
        for end in range(0, len(data), max(1, len(data) // 60)):
            try:
                open_image(data[:end])
            except UnreadableImageError as error:
                assert f"{end} bytes" in str(error)


def test_exif_makes_a_photo_upright(shared):
    for i in range(2, 9):
        file = shared(f"torture/made/exif_orient{i}.jpg")
        with PillowImage.open(file) as raw:
            expected = np.asarray(ImageOps.exif_transpose(raw).convert("RGB"))
        assert (np.asarray(open_image(file)) == expected).all()
        with PillowImage.open(file) as lazy:
            assert (np.asarray(open_image(lazy)) == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_show_the_same(orientation, rng):
    pixels = PillowImage.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose members that store it so
    stored = (
        pixels.transpose(PillowImage.Transpose(undo[orientation])) if orientation > 1 else pixels
    )
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    once = open_image(encoded(stored, "PNG", exif=exif))
    assert (np.asarray(once) == np.asarray(pixels)).all()
    # What is upright stays so when it is opened again.
    assert (np.asarray(open_image(once)) == np.asarray(pixels)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_is_white(mode):
    im = PillowImage.new("RGBA", (2, 1), (200, 0, 0, 0))
    im.putpixel((1, 0), (10, 10, 10, 255))
    pixels = np.asarray(open_image(im.convert(mode)))
    assert pixels[0, 0].tolist() == [255] * 3 and pixels[0, 1].tolist() == [10] * 3


def test_palette_with_transparency_warns_of_nothing():
    im = PillowImage.new("P", (2, 1), 1)
    im.putpalette([0, 0, 0, 9, 8, 7])
    im.putpixel((0, 0), 0)
    data = encoded(im, "PNG", transparency=b"\x00\xff")
    assert np.asarray(open_image(data)).tolist() == [[[255] * 3, [9, 8, 7]]]


def test_16_bit_greys_are_scaled():
    grey = np.array([[0, 257, 128 * 257, 65535, 385, 386]], np.uint16)
    for source in (PillowImage.fromarray(grey), encoded(PillowImage.fromarray(grey), "PNG")):
        assert np.asarray(open_image(source))[0, :, 0].tolist() == [0, 1, 128, 255, 1, 2]


def test_what_can_be_opened(rng, tmp_path):
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    im = PillowImage.fromarray(pixels)
    im.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    floats = pixels.astype(np.float32) / np.float32(255)
    first = TensorImage(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    with open(tmp_path / "a.png", "rb") as file:
        for source in (tmp_path / "a.png", str(tmp_path / "a.png"), np.str_(tmp_path / "a.png"),
                       data, np.bytes_(data), bytearray(data), file, im,
                       pixels, floats, pixels[::1], first, first.float() / 255):  # fmt: skip
            assert (np.asarray(open_image(source)) == pixels).all()
    assert (np.asarray(open_image(pixels[:, :, 0]))[:, :, 2] == pixels[:, :, 0]).all()
    assert (np.asarray(open_image(pixels[:, :, :1]))[:, :, 1] == pixels[:, :, 0]).all()
    assert np.asarray(open_image(pixels > 999)).max() == 0


def test_a_given_image_is_not_changed():
    im = PillowImage.new("RGB", (3, 2))
    opened = PILImage.create(im)
    opened.putpixel((0, 0), (1, 2, 3))
    assert type(im) is PillowImage.Image and im.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    "fn, error, words",
    [
        (np.zeros((2, 2, 5), np.uint8), ValueError, r"shape \(H, W\).*got \(2, 2, 5\)"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, "channels first is a TensorImage"),
        (np.zeros((0, 2), np.uint8), ValueError, "must have shape"),
        (np.zeros((2, 2), np.int64), TypeError, "must be uint8, bool or float, got int64"),
        (np.full((2, 2), 1.5), ValueError, r"must lie in \[0, 1\], got 1.5"),
        (np.full((2, 2), np.nan), ValueError, r"must lie in \[0, 1\]"),
        (7, TypeError, "must be a path, bytes.*got int"),
        ("no/such/file.jpg", FileNotFoundError, "existing file, got no/such/file.jpg"),
    ],
)
def test_what_cannot_be_opened(fn, error, words):
    with pytest.raises(error, match=f"open_image: `fn` .*{words}"):
        open_image(fn)


def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(UnreadableImageError, match="must name a regular file"):
            open_image(path)


def test_a_length_in_a_photo_asks_for_no_more_than_the_file_holds(tmp_path):
    """A PNG says that 4 GB of pixels follow; Pillow reads the rest of such a chunk at once."""
    data = bytearray(encoded(PillowImage.new("L", (2, 2)), "PNG"))
    at = data.index(b"IDAT")
    data[at - 4 : at] = b"\xff\xff\xff\xf0"
    path = tmp_path / "a.png"
    path.write_bytes(data)
    tracemalloc.start()
    verify_image(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000


def test_a_photo_is_not_mapped(tmp_path, monkeypatch):
    """A map of a file that another process cuts ends the process that reads it."""
    monkeypatch.setattr(mmap, "mmap", None)
    PillowImage.new("RGB", (64, 64)).save(tmp_path / "a.bmp")
    PillowImage.new("L", (64, 64)).save(tmp_path / "b.bmp")
    assert open_image(tmp_path / "a.bmp").size == open_image(tmp_path / "b.bmp").size == (64, 64)


def test_the_limit_of_pixels_is_pillows(monkeypatch):
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 11)
    im = PillowImage.new("RGB", (4, 3))
    with pytest.raises(UnreadableImageError, match="at most 11 pixels.*4 x 3"):
        open_image(im)
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", None)
    assert open_image(im).size == (4, 3)


def test_only_allowed_formats_reach_pillow():
    data = encoded(PillowImage.new("RGB", (4, 4)), "TIFF")
    with pytest.raises(UnreadableImageError, match="not recognized as one"):
        open_image(data)


def test_extension_is_that_of_the_content():
    im = PillowImage.new("RGB", (4, 4))
    for format, extension in {
        "JPEG": ".jpg",
        "PNG": ".png",
        "WEBP": ".webp",
        "GIF": ".gif",
    }.items():
        assert photo_extension(encoded(im, format)) == extension


def test_threads_may_read_at_once(shared):
    file = shared("torture/made/webp_named.jpg")
    expected, wrong = np.asarray(open_image(file)), []

    def read():
        for _ in range(5):
            if (np.asarray(open_image(file)) != expected).any():
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# --- draft ---


def smooth_photo(w, h):
    x, y = np.meshgrid(np.linspace(0, 255, w), np.linspace(0, 255, h))
    return PillowImage.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


@pytest.mark.parametrize("least, side", [(800, 800), (401, 800), (400, 400), (201, 400), (200, 200),
                                         (100, 100), (1, 100)])  # fmt: skip
def test_a_draft_is_the_smallest_that_is_enough(least, side):
    data = encoded(smooth_photo(800, 800), "JPEG")
    im = open_image(data, enough=lambda w, h: w >= least <= h)
    assert im.size == (side, side) and im.mode == "RGB"
    full = open_image(data)
    difference = np.asarray(im).astype(int) - np.asarray(full.resize(im.size, Image.BOX))
    assert np.abs(difference).mean() <= 1


def test_a_draft_asks_about_the_upright_photo():
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    data = encoded(smooth_photo(800, 400), "JPEG", exif=exif)
    assert open_image(data).size == (400, 800)
    assert open_image(data, lambda w, h: w >= 200 and h >= 400).size == (200, 400)
    assert open_image(data, lambda w, h: w >= 201 and h >= 400).size == (400, 800)


def test_drafts_of_other_formats_and_of_tiny_photos():
    im = smooth_photo(64, 64)
    for source in (im, np.asarray(im), encoded(im, "PNG")):
        assert open_image(source, lambda w, h: True).size == (64, 64)
    for size in ((1, 1), (3, 1), (7, 9)):
        assert min(open_image(encoded(smooth_photo(*size), "JPEG"), lambda w, h: True).size) >= 1


@pytest.mark.parametrize("w, h, ratio", [(300, 200, (3 / 4, 4 / 3)), (60, 400, (3 / 4, 4 / 3)),
                                         (90, 80, (1, 2))])  # fmt: skip
def test_no_crop_is_less_than_the_least(w, h, ratio):
    for min_scale in (0.2, 0.5, 1.0):
        least = least_crop(w, h, min_scale, ratio)
        boxes = [random_crop_box(w, h, random.Random(i), min_scale, 1.0, ratio)
                 for i in range(500)]  # fmt: skip
        assert least[0] <= min(b[2] for b in boxes) and least[1] <= min(b[3] for b in boxes)


# --- in a notebook ---


def test_pil_image_shows_mode_and_size(shared):
    im = PILImage.create(shared("torture/made/plain.png"))
    assert repr(im) == "PILImage mode=RGB size=225x225"
    assert im.shape == (225, 225) and isinstance(im, PillowImage.Image)


def test_to_thumb_is_a_method_of_every_pil_image():
    im = Image.new("RGB", (200, 100))
    assert im.to_thumb(128, 128).size == (128, 64)
    assert im.to_thumb(50).size == (50, 25)
    assert im.to_thumb(20, 400).size == (40, 20)
    assert im.to_thumb(500).size == (200, 100) and im.size == (200, 100)
