"""Logits and gradients of whole networks against torch: how far are both from float64?

    python benchmarks/gradients.py PYTHON [ARCH ...]

PYTHON is the interpreter of an environment with torch and timm, or torchvision for ResNets. Both
sides run ImageNet's networks with the same random weights on the same pictures: logits in
evaluation, and logits and the gradients of all parameters in training. Prints relative errors in
the L2 norm, against what torch computes in float64, of ours and of torch's float32: of the logits,
and of all gradients as one vector; and the largest of a parameter, of those whose gradient is more
than rounding.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mlclassify.arrays import images_to_c
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.models import create_classifier
from mlclassify.weights import read_tensors, write_tensors

HERE = Path(__file__).parent
CASES = [(96, 8), (224, 4)]  # sides and batches
LABELS = 20


def main(python, *archs):
    print("| backbone | side | what | ours | torch, float32 |\n|---|---|---|---|---|")
    for arch in archs or [name for name, a in ARCHS.items() if a.library == "timm"]:
        for side, batch in CASES:
            with tempfile.TemporaryDirectory() as folder:
                compare(Path(folder), python, arch, side, batch)


def compare(folder, python, arch, side, batch):
    r = np.random.default_rng(1)
    model = create_classifier(ARCHS[arch], LABELS, seed=2)
    model.load_state_dict(stirred(model, r))
    x = r.normal(size=(batch, 3, side, side)).astype(np.float32)
    g = r.normal(size=(batch, LABELS)).astype(np.float32)
    write_tensors(folder / "weights.safetensors", model.state_dict())
    write_tensors(folder / "batch.safetensors", {"x": x, "g": g})
    subprocess.run([python, str(HERE / "peer_gradients.py"), str(folder), arch,
                    ARCHS[arch].library, str(LABELS)], check=True)
    ours = {"logits": model(x), "trained": model.forward(images_to_c(x), train=True)}
    model.backward(g)
    ours |= {f"gradient {name}": value for name, value in model.net.gradients().items()}
    exact, single = (read_tensors(folder / f"{kind}.safetensors", "gradients")[0]
                     for kind in ("float64", "float32"))
    assert set(ours) == set(exact)
    report(f"{arch} | {side}", ours, exact, single)


def stirred(model, r):
    """Statistics, scales and shifts as of a training."""
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            state[name] = r.uniform(0.5, 1.5, value.shape)
        elif name.endswith("gamma"):
            state[name] = r.uniform(0.1, 0.5, value.shape)
        elif name.endswith(("running_mean", "bias")):
            state[name] = r.normal(0, 0.1, value.shape)
    return state


def report(case, ours, exact, single):
    names = [name for name in exact if name.startswith("gradient")]
    joined = [np.concatenate([np.ravel(side[name]).astype(np.float64) for name in names])
              for side in (ours, exact, single)]
    size = np.linalg.norm(joined[1])
    judged = [n for n in names if np.linalg.norm(exact[n]) > 1e-6 * size]
    rows = {
        "logits": [error(side["logits"], exact["logits"]) for side in (ours, single)],
        "logits in training": [error(side["trained"], exact["trained"]) for side in (ours, single)],
        f"all {len(names)} gradients": [error(side, joined[1]) for side in joined[::2]],
        "the worst gradient": [max(error(side[n], exact[n]) for n in judged)
                               for side in (ours, single)],
    }
    for what, (our, their) in rows.items():
        print(f"| {case} | {what} | {our:.1e} | {their:.1e} |", flush=True)


def error(got, want):
    return np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)


if __name__ == "__main__":
    main(*sys.argv[1:])
