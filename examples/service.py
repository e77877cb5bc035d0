"""A learner behind a web service.

    pip install mlclassify fastapi uvicorn
    python service.py bears.safetensors --port 8000
    curl --data-binary @cat.jpg http://127.0.0.1:8000/predict

The body of a request is the photo itself. Requests are read side by side, and each is answered on
a thread of its own: a learner may be asked by several at a time.
"""

import argparse

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from mlclassify import __version__, load_learner
from mlclassify.vision.image import UnreadableImageError

MAX_BYTES = 20_000_000  # of a photo; a larger one is refused before it is all in memory
MAX_REQUESTS = 64  # at a time; the next is told to come back later (503)


def make_service(learn, max_bytes=MAX_BYTES):
    """Return the application that answers for one learner."""
    app = FastAPI(title="mlclassify", version=__version__)

    @app.get("/health")
    def health():
        return {"status": "ok", "version": __version__, "labels": list(learn.dls.vocab)}

    @app.post("/predict")
    async def predict(request: Request):
        photo = await read_body(request, max_bytes)
        try:
            told = await run_in_threadpool(learn.predict, photo)
        except UnreadableImageError as error:
            raise HTTPException(400, str(error)) from None
        return as_json(told)

    return app


async def read_body(request, max_bytes):
    """Return the bytes of a request, of at most `max_bytes`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"predict: a photo must have at most {max_bytes} bytes")
    return bytes(body)


def as_json(told):
    """Return a prediction as what JSON has: probabilities and thresholds by label."""
    # JSON knows no infinity. A label is named above its threshold, and probabilities lie in
    # [0, 1]: -1 means always as well as -inf does, and 2 means never.
    thresh = np.broadcast_to(np.clip(told.thresh, -1, 2), told.probs.shape)
    answer = {"labels": list(told.labels), "probs": dict(zip(told.vocab, told.probs.tolist())),
              "thresh": dict(zip(told.vocab, thresh.tolist()))}
    return answer if told.novelty is None else {**answer, "novelty": told.novelty}


def main():
    parser = argparse.ArgumentParser(description="Answer over HTTP which labels a photo has.")
    parser.add_argument("model", help="a file that learn.export wrote")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 to be asked by others")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES)
    options = parser.parse_args()
    app = make_service(load_learner(options.model), options.max_bytes)
    uvicorn.run(app, host=options.host, port=options.port, limit_concurrency=MAX_REQUESTS)


if __name__ == "__main__":
    main()
