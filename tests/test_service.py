"""A learner behind a web service: many ask it at once, and each gets the answer to their photo."""

import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest

from mlclassify import __version__
from mlclassify.vision.all import (
    DataBlock,
    EndSplitter,
    Image,
    Resize,
    drawn_bears,
    get_image_files,
    load_learner,
    parent_label,
    resnet18,
    vision_learner,
)

SERVICE = Path(__file__).parents[1] / "examples" / "service.py"
MAX_BYTES = 100_000
THREADS, REQUESTS = 16, 192

Service = namedtuple("Service", "client learn bodies")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The service of a small model, that model in this process, and the bytes of photos."""
    if not os.environ.get("MLCLASSIFY_TEST_DATA"):
        for name in ("fastapi", "uvicorn"):
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"{name} is not installed: pip install '.[test]' brings it")
    folder = tmp_path_factory.mktemp("service")
    files = get_image_files(drawn_bears(folder / "bears", 48, seed=3, layout="folders", size=40))
    model = write_model(folder)
    process, address = start(model)
    try:
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            yield Service(client, load_learner(model), bodies(files))
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def write_model(folder):
    block = DataBlock(get_items=get_image_files, get_y=parent_label, splitter=EndSplitter(),
                      item_tfms=Resize(32))
    dls = block.dataloaders(folder / "bears", bs=8)
    learn = vision_learner(dls, resnet18, pretrained=False, seed=1)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
        learn.fit_novelty(lost=0.2, k=2)
    learn.loss_func.thresh = np.array([-np.inf, 0.5, np.inf], np.float32)
    learn.export(folder / "bears.safetensors")
    return folder / "bears.safetensors"


def start(model):
    """Start the service as its docstring says, on a free port; return the process and its URL."""
    process = subprocess.Popen(
        [sys.executable, SERVICE, model, "--port", "0", "--max-bytes", str(MAX_BYTES)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
            # Someone must go on reading what it logs, or it stops when the pipe is full.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found[1]
    raise AssertionError(f"the service ended with {process.wait()}: {said}")


def bodies(files):
    """Each photo as it is, and turned and in another format."""
    found = [fn.read_bytes() for fn in files]
    for i, fn in enumerate(files):
        out = BytesIO()
        with Image.open(fn) as photo:
            photo.rotate(90).resize((30 + i, 50)).save(out, ("PNG", "WEBP", "BMP")[i % 3])
        found.append(out.getvalue())
    return found


def ask(served, body):
    return served.client.post("/predict", content=body)


def right_answer(learn, body):
    """What the service must say of a photo, from a prediction of it alone in this process."""
    told = learn.predict(body)
    return {"labels": list(told.labels), "probs": dict(zip(learn.dls.vocab, told.probs.tolist())),
            "thresh": {"black": -1, "grizzly": 0.5, "teddy": 2}, "novelty": told.novelty}


def test_sixteen_clients_get_the_answers_to_their_own_photos(served):
    want = [right_answer(served.learn, body) for body in served.bodies]
    assert len({str(answer) for answer in want}) > 80  # so that an exchanged one would be seen
    assert {bool(answer["labels"]) for answer in want} == {False, True}

    def turn(i):
        i = i * 37 % len(want)
        answer = ask(served, served.bodies[i])
        return answer.status_code == 200 and answer.json() == want[i]

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(turn, range(REQUESTS)))


def test_bad_photos_among_good_ones_harm_nobody_else(served):
    good = served.bodies[0]
    want = right_answer(served.learn, good)
    sent = [good, b"", b"no photo", good[:300], bytes(MAX_BYTES + 1)] * 8
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda body: ask(served, body), sent))
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 413] * 8
    assert all(answer.json() == want for answer in answers[::5])


@pytest.mark.parametrize("body", [b"", b"no photo", b"GIF89a", b"\xff\xd8\xff\xe0 cut short"])
def test_a_bad_photo_is_answered_with_the_message_of_the_library(served, body):
    with pytest.raises(OSError) as caught:
        served.learn.predict(body)
    answer = ask(served, body)
    assert (answer.status_code, answer.json()) == (400, {"detail": str(caught.value)})


def test_a_photo_that_is_too_large_is_refused(served):
    answer = ask(served, served.bodies[0] + bytes(MAX_BYTES))
    assert answer.status_code == 413
    assert answer.json() == {"detail": f"predict: a photo must have at most {MAX_BYTES} bytes"}
    padded = served.bodies[0].ljust(MAX_BYTES, b"\0")
    assert ask(served, padded).json() == right_answer(served.learn, padded)


def test_a_body_that_says_no_length_is_counted_too(served):
    chunks = (bytes(1000) for _ in range(MAX_BYTES // 1000 + 1))
    assert ask(served, chunks).status_code == 413


def test_health(served):
    assert served.client.get("/health").json() == {
        "status": "ok", "version": __version__, "labels": ["black", "grizzly", "teddy"]}
    assert served.client.get("/predict").status_code == 405
