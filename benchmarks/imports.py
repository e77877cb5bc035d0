"""What importing costs: processes that do nothing else, in turn with fastai's.

    python benchmarks/imports.py [PEER_PYTHON] [--rounds N]

PEER_PYTHON is the Python of an environment that has fastai, such as `make benchmark` sets up. A
row's time is the wall time of a process that runs one statement, less that of one that runs `pass`
in the same round: medians over the rounds, and the smallest and largest. One round before the first
is not counted: it brings files into memory, and everybody's bytecode into a folder that all later
ones read. Below stands what takes longest itself, by `-X importtime`.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import PIL
from bears import cpu_name

from mlclassify import __version__

STAR = "from mlclassify.vision.all import *"
# Statement, and the milliseconds that it may take.
OURS = [("import mlclassify", 150), ("import numpy", None), (STAR, 900)]
PEER = [("from fastai.vision.all import *", None)]
# A torchvision wheel whose compiled half does not fit its torch asks for two operators at import.
# torch is imported here instead of by fastai: what the process takes is the same.
PEER_FIRST = """
import torch
torchvision = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        torchvision.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
"""
SLOWEST = 12


def run(python, *arguments):
    """Run a process that keeps bytecode in the folder of this run, and return it."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([python, "-W", "ignore", *arguments], check=True, capture_output=True,
                          text=True, env=variables)


def seconds(python, statement):
    """Return the wall time of a process that runs `statement`."""
    code = PEER_FIRST + statement if "fastai" in statement else statement
    start = time.perf_counter()
    run(python, "-c", code)
    return time.perf_counter() - start


def measure(runs, rounds):
    """Return, for each (python, statement), what it took beyond `pass` in every round."""
    found = {each: [] for each in runs}
    for _ in range(rounds + 1):
        idle = {python: seconds(python, "pass") for python, _ in runs}
        for python, statement in runs:
            found[python, statement].append(seconds(python, statement) - idle[python])
    return {each: times[1:] for each, times in found.items()}


def slowest(statement, rounds):
    """Return (median milliseconds of a module's own, its name), the longest first."""
    own = {}
    for _ in range(rounds):
        said = run(sys.executable, "-X", "importtime", "-c", statement).stderr
        for line in said.splitlines()[1:]:
            microseconds, _, name = line.removeprefix("import time:").split("|")
            own.setdefault(name.strip(), []).append(int(microseconds) / 1000)
    return sorted(((statistics.median(t), name) for name, t in own.items()), reverse=True)


def report(times, limits):
    print("| | median ms | spread | at most |\n|---|---|---|---|")
    for (_, statement), found in times.items():
        ms = sorted(1000 * t for t in found)
        print(f"| `{statement}` | {statistics.median(ms):.0f} | {ms[0]:.0f} to {ms[-1]:.0f} | "
              f"{limits[statement] or ''} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", nargs="?", help="a Python that has fastai")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    runs = [(sys.executable, statement) for statement, _ in OURS]
    runs += [(options.peer, statement) for statement, _ in PEER if options.peer]
    print(f"mlclassify {__version__}, NumPy {np.__version__}, Pillow {PIL.__version__}, Python "
          f"{platform.python_version()}; {cpu_name()}; {options.rounds} rounds.\n")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        times = measure(runs, options.rounds)
        own = slowest(STAR, options.rounds)
    report(times, dict(OURS + PEER))
    print(f"\n`{STAR}` imports {len(own)} modules; these take longest themselves:\n")
    print("| module | ms |\n|---|---|")
    for ms, name in own[:SLOWEST]:
        print(f"| {name} | {ms:.1f} |")


if __name__ == "__main__":
    main()
