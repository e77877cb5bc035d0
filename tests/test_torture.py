"""Photos as they come: every file of the torture set through all that reads photos.

Which of them are whole is told in test_image.py.
"""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from test_image import BROKEN, BROKEN_PILLOW
from tiny import first, second, tiny

from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.learner import Learner
from mlclassify.vision.all import verify_images
from mlclassify.vision.augment import Resize
from mlclassify.vision.image import FORMATS, UnreadableImageError, open_image
from mlclassify.vision.models import create_model

# Pillow warns of odd EXIF data and of bombs; neither is this library's to silence.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Image size")


@pytest.fixture(scope="module")
def torture(shared):
    """(whole files, broken files)."""
    files = [f for name in ("made", "pillow", "scraped_not_images")
             for f in sorted(shared(f"torture/{name}").iterdir())]
    broken = [f for f in files if f.parent.name == "scraped_not_images"
              or f.name in BROKEN | BROKEN_PILLOW]
    assert len(files) > 90 and len(broken) == 28
    return [f for f in files if f not in broken], broken


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def loaders(files, bs=4):
    block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(valid_pct=0.25),
                      item_tfms=Resize(16))
    return block.dataloaders([(f, ["a", "b"][i % 2]) for i, f in enumerate(files)], bs=bs)


@pytest.fixture(scope="module")
def learn(torture):
    dls = loaders(torture[0])
    return Learner(dls, create_model(tiny, 2, seed=1), seed=2)


def test_verify_images_finds_each_that_is_broken(torture):
    whole, broken = torture
    assert sorted(verify_images([*whole, *broken])) == sorted(broken)


def test_a_data_block_reads_each_that_is_whole(torture, learn):
    assert learn.dls.train.n + learn.dls.valid.n == len(torture[0])
    with learn.no_logging():
        learn.fit(1, 1e-3)
    assert np.isfinite(learn.recorder.losses).all()
    probs = np.asarray(learn.get_preds(dl=learn.dls.test_dl(torture[0]))[0])
    assert probs.shape == (len(torture[0]), 2) and np.isfinite(probs).all()


def test_a_data_block_names_each_that_is_broken(torture):
    whole, broken = torture
    for file in broken:
        with pytest.raises(UnreadableImageError, match="must") as caught:
            dls = loaders([file, *whole[:7]], bs=2)
            list(dls.train)
        assert str(file) in str(caught.value)


def test_predict_takes_each_that_is_whole_and_names_the_others(torture, learn):
    whole, broken = torture
    for file in whole:
        by_name, by_bytes = learn.predict(file), learn.predict(file.read_bytes())
        np.testing.assert_array_equal(by_name.probs, by_bytes.probs)
        assert np.isfinite(by_name.probs).all()
    for file in broken:
        with pytest.raises(UnreadableImageError) as caught:
            learn.predict(file)
        assert str(file) in str(caught.value)
        with pytest.raises(UnreadableImageError):
            learn.predict(file.read_bytes())


# --- formats that are no photo's

def saved(kind, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (32, 32), 1).save(buffer, kind)
    return buffer.getvalue()


WRITTEN = {"EPS": "RGB", "PDF": "RGB", "TIFF": "RGB", "PPM": "RGB", "TGA": "RGB", "ICO": "RGB",
           "PCX": "RGB", "SGI": "RGB", "DDS": "RGB", "MSP": "1", "XBM": "1"}
MADE = {  # what Pillow reads, but does not write
    "PSD": struct.pack(">4sH6xHIIHHIII", b"8BPS", 1, 3, 4, 4, 8, 3, 0, 0, 0) + bytes(50),
    "FITS": b"SIMPLE  =                    T".ljust(80)
    + b"BITPIX  =                    8".ljust(80)
    + b"NAXIS   =                    0".ljust(80) + b"END".ljust(2640),
    "WMF": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(60), "FLI": bytes(4) + b"\x12\xaf" + bytes(200),
    "XPM": b"/* XPM */\nstatic char *a[] = {\n\"1 1 1 1\",\n\"a c #000000\",\n\"a\"};\n",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100), "GRIB": b"GRIB" + bytes(3) + b"\x01" + bytes(50),
    "QOI": b"qoif" + struct.pack(">IIBB", 1, 1, 3, 0) + bytes(20), "CUR": b"\0\0\2\0" + bytes(60),
}


@pytest.mark.parametrize("kind", [*WRITTEN, *MADE])
def test_what_is_called_a_photo_but_is_none_reaches_no_other_plugin(kind, tmp_path, monkeypatch):
    """Every other plugin is loaded, and none is even asked whether the file is its own."""
    data = saved(kind, WRITTEN[kind]) if kind in WRITTEN else MADE[kind]
    asked = []
    Image.init()
    assert len(Image.OPEN) > 30
    for name in set(Image.OPEN) - set(FORMATS):
        def trap(*_, name=name):
            asked.append(name)
            return False

        monkeypatch.setitem(Image.OPEN, name, (trap, trap))
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for fn in (path, data):
        with pytest.raises(UnreadableImageError, match="not recognized as one"):
            open_image(fn)
    assert verify_images([path]) == [path] and not asked
