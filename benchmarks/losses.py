"""The losses beside torch's, small and over 8 million cells, and the post's sweep of thresholds.

    python benchmarks/losses.py PYTHON [--rounds N] [--out FOLDER]

PYTHON is the interpreter of an environment with torch. Each side is a process that lives through
all rounds; in a round each takes one turn. A row's figures are medians over the rounds, its ratio
is theirs / ours of the medians, its spread the smallest and the largest ratio of a single round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import timeit
from pathlib import Path

from worker import serve

N, L = 100_000, 80
SMALL, CORE = "`F.binary_cross_entropy_with_logits`, 4 x 3", "the same through `_core`"
STEP, ASL = "BCE and its gradient, 8M cells", "asymmetric loss and its gradient, 8M cells"
SWEEP = "accuracy at 100 thresholds, 8M cells"
ROWS = {  # name: (threads, calls in a measurement, ratio to reach)
    SMALL: (1, 5000, 3), CORE: (1, 5000, 6), STEP: (1, 2, 3),
    f"{STEP}, 2 threads": (2, 2, 3), ASL: (1, 1, None), f"{SWEEP}, 2 threads": (2, 1, 85),
}  # fmt: skip


def per_call(step, calls):
    """Seconds of one call: the median of three measurements."""
    return statistics.median(timeit.repeat(step, number=calls, repeat=3)) / calls


def ours():
    """Return (version, set_num_threads, the step of each row)."""
    import numpy as np

    from mlclassify import __version__, _core
    from mlclassify.functional import AsymmetricLoss
    from mlclassify.tensor import F, tensor
    from mlclassify.thresholds import sweep

    rng = np.random.default_rng(0)

    def data(rows, labels):
        return rng.normal(size=(rows, labels)).astype(np.float32), (
            rng.random((rows, labels)) < 0.1).astype(np.float32)

    x, y = data(4, 3)
    tx, ty, (large, marks) = tensor(x), tensor(y), data(N, L)
    probs, thresholds = rng.random((N, L), np.float32), np.linspace(0.05, 0.995, 100)
    bce, asl = F.binary_cross_entropy_with_logits, AsymmetricLoss()
    steps = {
        SMALL: lambda: bce(tx, ty),
        CORE: lambda: _core.bce_with_logits(x, y, None, None, 0, False, True, None, None),
        STEP: lambda: bce.value_and_grad(large, marks),
        ASL: lambda: asl.value_and_grad(large, marks),
        SWEEP: lambda: sweep(probs, marks, thresholds),
    }
    return f"mlclassify {__version__}, {_core.isa()}", _core.set_num_threads, steps


def theirs():
    """The same with torch; the asymmetric loss as its authors' code has it, but for the mean."""
    import torch

    def asl(x, y, gamma_neg=4, gamma_pos=1, clip=0.05):
        s = torch.sigmoid(x)
        not_s = (1 - s + clip).clamp(max=1)
        loss = y * torch.log(s.clamp(min=1e-8)) + (1 - y) * torch.log(not_s.clamp(min=1e-8))
        truth = s * y + not_s * (1 - y)
        return -(loss * (1 - truth) ** (gamma_pos * y + gamma_neg * (1 - y))).mean()

    def data(rows, labels):
        return torch.randn(rows, labels), (torch.rand(rows, labels) < 0.1).float()

    (x, y), (large, marks) = data(4, 3), data(N, L)
    large.requires_grad_()
    bce = torch.nn.functional.binary_cross_entropy_with_logits

    def trained(loss):
        large.grad = None
        loss(large, marks).backward()

    steps = {
        SMALL: lambda: bce(x, y), CORE: lambda: bce(x, y),
        STEP: lambda: trained(bce), ASL: lambda: trained(asl),
    }  # fmt: skip
    probs, thresholds = torch.rand(N, L), torch.linspace(0.05, 0.995, 100)

    def swept():  # the post's loop over fastai's accuracy_multi
        return [((probs > t) == marks.bool()).float().mean() for t in thresholds]

    steps[SWEEP] = swept
    return f"torch {torch.__version__}", torch.set_num_threads, steps


def prepare(side):
    """Make the turn of a side: seconds a call of every row."""
    version, set_threads, steps = {"ours": ours, "theirs": theirs}[side]()

    def turn():
        found = {}
        for name, (threads, calls, _) in ROWS.items():
            set_threads(threads)
            found[name] = per_call(steps[name.removesuffix(", 2 threads")], calls)
        return {"rows": found}

    turn()
    return {"version": version}, turn


def measure(python, rounds):
    """Return both versions and, of each side, its turns."""
    sides = [(sys.executable, "ours"), (python, "theirs")]
    started = [
        subprocess.Popen([program, __file__, json.dumps(side), "serve"], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for program, side in sides
    ]  # fmt: skip
    versions = [json.loads(p.stdout.readline()) for p in started]
    turns = [[], []]
    for _ in range(rounds):
        for p, own in zip(started, turns):
            print(file=p.stdin, flush=True)
            own.append(json.loads(p.stdout.readline())["rows"])
    for p in started:
        p.stdin.close()
        p.wait()
    return [v.get("version", v) for v in versions], turns


def table(turns):
    """Lines of a Markdown table."""
    lines = ["| work | ours | torch | ratio | spread | to reach |", "|---|---|---|---|---|---|"]
    for name, (_, _, least) in ROWS.items():
        a, b = ([t[name] for t in own] for own in turns)
        ratios = [theirs / ours for ours, theirs in zip(a, b)]
        a, b = statistics.median(a), statistics.median(b)
        lines.append(f"| {name} | {shown(a)} | {shown(b)} | {b / a:.1f}x | {min(ratios):.1f} to "
                     f"{max(ratios):.1f} | {f'{least}x' if least else ''} |")
    return lines


def shown(seconds):
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def main():
    from bears import cpu_name

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    versions, turns = measure(args.python, args.rounds)
    about = (f"{' beside '.join(versions)}; {cpu_name()}. float32; medians of {args.rounds} rounds "
             "in turn, spread of the rounds. One thread each unless said otherwise.")
    lines = ["# Losses and thresholds beside torch", "", "`python benchmarks/losses.py PYTHON`:",
             about, "", *table(turns)]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        (args.out / "losses.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        serve(prepare)
    else:
        main()
