"""Ask a model that `learn.export_onnx` wrote, without mlclassify: onnxruntime, Pillow and NumPy.

    python examples/onnx_predict.py bears.onnx photo.jpg

The model does all but two things: a photo has to be decoded, upright and in RGB, and brought to
the size that the model was validated with. The file says how, and `RESIZE` is what that means. The
labels are those of `learn.predict`.
"""

import json
import math
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

BILINEAR = Image.Resampling.BILINEAR
NUMPY_MODE = {"reflection": "reflect", "border": "edge", "zeros": "constant"}


def read_photo(file):
    """Return a photo the way a person sees it: upright, in RGB, what is transparent white."""
    with Image.open(file) as opened:
        im = ImageOps.exif_transpose(opened)
    if im.mode.startswith("I;16"):  # 65535 = 257 * 255
        im = Image.fromarray(((np.asarray(im).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if im.has_transparency_data:
        im = im.convert("RGBA")
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    return im.convert("RGB")


# --- item transforms, as they are outside training


def random_resized_crop(im, size, val_xtra, **training):
    """Squish the photo to a little more than the size, and cut the center out."""
    h, w = size
    extra = math.ceil(max(h, w) * val_xtra / 8) * 8
    im = im.resize((w + extra, h + extra), BILINEAR)
    return im.crop((extra // 2, extra // 2, extra // 2 + w, extra // 2 + h))


def resize(im, size, method, pad_mode):
    """Cut off what is too much, distort, or fill up; then resize."""
    h, w = size
    if method == "crop":
        scale = min(im.width / w, im.height / h)
        im = cut(im, max(1, int(scale * h)), max(1, int(scale * w)))
    elif method == "pad":
        scale = max(im.width / w, im.height / h)
        im = pad(im, max(im.height, int(scale * h)), max(im.width, int(scale * w)), pad_mode)
    return im.resize((w, h), BILINEAR)


def crop_pad(im, size, pad_mode):
    """Cut where the photo is larger, fill up where it is smaller."""
    h, w = size
    return pad(cut(im, min(h, im.height), min(w, im.width)), h, w, pad_mode)


def cut(im, h, w):
    left, top = (im.width - w) // 2, (im.height - h) // 2
    return im.crop((left, top, left + w, top + h))


def pad(im, h, w, mode):
    y, x = h - im.height, w - im.width
    widths = ((y // 2, y - y // 2), (x // 2, x - x // 2), (0, 0))
    return Image.fromarray(np.pad(np.asarray(im), widths, mode=NUMPY_MODE[mode]))


RESIZE = {"RandomResizedCrop": random_resized_crop, "Resize": resize, "CropPad": crop_pad}


class Model:
    """A file of `learn.export_onnx`, ready to be asked."""

    def __init__(self, file):
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        told = self.session.get_modelmeta().custom_metadata_map
        self.vocab, self.item_tfms, self.novelty = (
            json.loads(told[f"mlclassify.{name}"]) for name in ("vocab", "item_tfms", "novelty")
        )

    def predict(self, file):
        """Return (labels, probabilities of all labels, novelty or None) of a photo."""
        im = read_photo(file)
        for name, arguments in self.item_tfms:
            im = RESIZE[name](im, **arguments)
        names = [output.name for output in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(names, {"pixels": np.asarray(im)[None]})))
        labels = [label for label, there in zip(self.vocab, found["mask"][0]) if there]
        novelty = float(found["novelty"][0]) if "novelty" in found else None
        return labels, found["probs"][0], novelty


def main(model, *files):
    model = Model(model)
    for file in files:
        labels, probs, novelty = model.predict(file)
        print(f"{file}: {', '.join(labels) or 'no label'}")
        for i in np.argsort(-probs)[:5]:
            print(f"  {probs[i]:.4f} {model.vocab[i]}")
        if novelty is not None:
            print(f"  novelty {novelty:.4f}, novel above {float(model.novelty['cut']):.4f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python onnx_predict.py MODEL.onnx PHOTO...")
    main(*sys.argv[1:])
