"""Write the corpus: small files of each kind that the library reads, all drawn or written here.

``python tests/fuzz/make_corpus.py``; what a campaign found is put beside them by hand.
"""

import io
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.numpy import save  # noqa: E402

from mlclassify.data.download import COLUMNS  # noqa: E402

FIXTURES = HERE.parent / "fixtures"


def metadata(name):
    """Return the metadata of a kept file."""
    data = (FIXTURES / name).read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def header(text, tail=b""):
    return len(text).to_bytes(8, "little") + text + tail


def of_tensors():
    few = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.zeros(0, np.int64)}
    yield "plain", save(few)
    yield "export", save(few, metadata("export-1.safetensors"))
    yield "checkpoint", save(few, metadata("checkpoint-1.safetensors"))
    yield "half", save({"h": np.ones(3, np.float16), "t": np.array([True])}, {"x": "y"})
    yield "null", header(b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
                         bytes(4))
    yield "empty", header(b"{}")


def of_learner():
    text = metadata("export-1.safetensors")["mlclassify.learner"]
    yield "first", text.encode()
    about = json.loads(text) | {"written_by": "0.1.0", "novelty": None}
    about["loss"] |= {"calibration": {"method": "temperature", "scale": 1.5, "bias": 0.0}}
    about["item_tfms"] = [["RandomResizedCrop", {"size": [16, 16], "min_scale": 0.5}]]
    about["batch_tfms"] = [["Saturation", {}], ["Hue", {}], ["RandomErasing", {}],
                           ["RandomResizedCropGPU", {"size": [16, 16]}]]
    yield "other", json.dumps(about).encode()
    about["item_tfms"] = [["CropPad", {"size": [20, 24], "pad_mode": "border"}]]
    about["loss"] = {"name": "AsymmetricLossFlat", "thresh": ["inf", 0.5, "-inf"], "reduction": "sum",
                     "weight": None, "pos_weight": None, "flatten": True, "gamma_neg": 2.0}
    yield "asymmetric", json.dumps(about).encode()


def of_training():
    text = metadata("checkpoint-1.safetensors")["mlclassify.training"]
    yield "first", text.encode()
    yield "without", json.dumps({"vocab": ["blue", "green", "red"], "optimizer": None}).encode()
    about = json.loads(text)
    about["optimizer"]["state"] = {}
    yield "no_moments", json.dumps(about | {"written_by": "0.1.0"}).encode()


def of_table():
    yield "plain", b"fname,labels,is_valid\n1.jpg,sea sky,True\n2.jpg,,\n\xc3\xa9/3.jpg,bear,False\n"
    yield "quoted", b'\xef\xbb\xbflabels,fname\r\n"a b","x,""y"".jpg"\r\n"c","line\nbreak.jpg"\r\n'
    yield "empty", b"fname,labels\n"


def of_manifest():
    head = ",".join(COLUMNS).encode() + b"\n"
    row = b"%040d.jpg,http://h/1,00,12,'=1+1,http://h/,Ann,by 2.0,\n" % 7
    yield "plain", head + row + b',http://h/2,,,"a ""b"", c",,,,HTTP 404\n'
    yield "empty", head


def of_session():
    yield "plain", b"fname,labels\na.png,x y\nother.png,z\n\n--\nfname\nb.png\n"
    yield "kept", b"fname,labels,more\nb.png,,1\n\n--\n"


def of_image():
    random = np.random.RandomState(3)
    pixels = random.randint(0, 256, (12, 16, 3), np.uint8)
    photo, frames = Image.fromarray(pixels), [Image.fromarray(pixels // k) for k in (2, 3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(random.randint(0, 65536, (6, 5), np.uint16))
    variants = {
        "jpeg": (photo, "JPEG", {"exif": exif}), "progressive": (photo, "JPEG", {"progressive": True}),
        "grey": (photo.convert("L"), "JPEG", {}), "cmyk": (photo.convert("CMYK"), "JPEG", {}),
        "png": (photo, "PNG", {"exif": exif}), "grey16": (grey16, "PNG", {}),
        "palette": (photo.convert("P"), "PNG", {"transparency": 3}),
        "bilevel": (photo.convert("1"), "PNG", {}), "rgba": (photo.convert("RGBA"), "PNG", {}),
        "apng": (photo, "PNG", {"save_all": True, "append_images": frames}),
        "webp": (photo, "WEBP", {}), "lossless": (photo.convert("RGBA"), "WEBP", {"lossless": True}),
        "awebp": (photo, "WEBP", {"save_all": True, "append_images": frames}),
        "gif": (photo.convert("P"), "GIF", {"save_all": True, "append_images": frames}),
        "bmp": (photo, "BMP", {}), "rle": (photo.convert("P"), "BMP", {}),
    }  # fmt: skip
    for name, (image, kind, options) in variants.items():
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        yield name, buffer.getvalue()


def of_core():
    yield "zeros", bytes(8)
    for i in range(23):
        yield f"call_{i:02}", bytes([i]) + np.random.RandomState(i).bytes(60)


def of_net():
    for i in range(8):
        yield f"net_{i}", bytes([2 * (i % 2)]) + np.random.RandomState(i).bytes(200)


TOKENS = {
    "tensors": (b'{"__metadata__":', b'"dtype":"F32"', b'"BF16"', b'"F64"', b'"shape":[]', b"null",
                b'"data_offsets":[0,0]', b'"a":', b"{}", b"mlclassify.sha256"),
    "learner": (b"null", b"true", b"[]", b"{}", b"1e400", b"NaN", b'"inf"', b'"nan"', b"-1", b"[1,1]",
                b'"Resize"', b'"AffineWarp"', b'"Normalize"', b'"Flip"', b'"size":', b"\\u0000",
                b'"RandomErasing"', b'"calibration":', b'"missing":"mask"', b'"p":', b"1e308"),
    "training": (b"null", b"true", b"[]", b"{}", b"1e400", b"NaN", b"-1", b'"Adam"', b'"Lion"',
                 b'"RAdam"', b'"SGD"', b'"lr":', b'"mom":', b'"epochs_begun":', b'"trainable":'),
    "table": (b"fname", b"labels", b",", b'"', b'""', b"\r", b"\r\n", b"\x00", b"\xef\xbb\xbf", b" ",
              b"\xe2\x80\xa8", b"\xc2\x85", b"'", b"\xff", b"\t"),
    "image": (b"\xff\xd8", b"\xff\xd9", b"\xff\xdb", b"\xff\xc4", b"\xff\xda", b"\xff\xe1", b"IHDR",
              b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iTXt", b"zTXt", b"iCCP",
              b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"GIF89a", b"\x2c", b"\x21\xf9",
              b"BM", b"Exif\x00\x00II*\x00", b"MPF\x00", b"Adobe"),
    "core": (b"\x00", b"\xff"), "net": (b"\x00", b"\xff"),
}  # fmt: skip
TOKENS |= {"manifest": (*TOKENS["table"], b"http://h/", b"=", b"'="),
           "session": (*TOKENS["table"], b"--", b"a.png", b"b.png")}


def main():
    for name, tokens in TOKENS.items():
        folder = HERE / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        for stem, data in globals()[f"of_{name}"]():
            (folder / stem).write_bytes(data)
        folder.with_suffix(".tokens").write_bytes(b"\n".join(tokens))


if __name__ == "__main__":
    main()
