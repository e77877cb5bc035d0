"""This checkout beside another revision of it: what a change gives, or costs.

    python benchmarks/change.py REVISION [--task infer] [--arch resnet18] [--batch 16] [--rounds N]

The revision is unpacked and built in build/; what is compared with it is the checkout as it stands,
built. Each side is a process that lives through all rounds and takes one turn in each, so that what
else happens on the machine hits both. Figures are medians over the rounds, the ratio is that of the
medians, its spread the smallest and the largest of a single round. Above 1 the change is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout


def built(revision):
    """Return the folder of a revision, unpacked and built if it is not there yet."""
    name = output("git", "rev-parse", "--short", revision, cwd=ROOT, text=True).strip()
    folder = ROOT / "build" / f"revision-{name}"
    if not list(folder.glob("mlclassify/_core*.so")):
        folder.mkdir(parents=True, exist_ok=True)
        output("tar", "-x", "-C", folder, input=output("git", "archive", name, cwd=ROOT))
        output(sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", "2",
               cwd=folder)
    return folder


class Side:
    """A process that does turns with the package of a folder."""

    def __init__(self, folder, what):
        env = os.environ | {"PYTHONPATH": str(folder)}
        used = output(sys.executable, "-c", "import mlclassify; print(mlclassify.__file__)",
                      env=env, cwd=folder, text=True)
        assert Path(used.strip()).parents[1] == folder, f"{used} was imported, not that of {folder}"
        self._process = subprocess.Popen(
            [sys.executable, HERE / "engine_ours.py", json.dumps(what)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.about = self._answer()

    def _answer(self):
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer

    def turn(self):
        """Return the seconds of a step."""
        print(file=self._process.stdin, flush=True)
        return self._answer()["seconds"]

    def end(self):
        self._process.stdin.close()
        self._process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision")
    parser.add_argument("--task", choices=("train", "infer"), default="train")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    what = {"task": a.task, "arch": a.arch, "batch": a.batch, "side": a.side}
    sides = [Side(folder, what) for folder in (built(a.revision), ROOT)]
    rounds = [[side.turn() for side in sides] for _ in range(a.rounds)]
    for side in sides:
        side.end()
    before, now = (statistics.median(times) for times in zip(*rounds))
    ratios = [base / change for base, change in rounds]
    print(f"{a.task} {a.arch}, batch {a.batch}, {a.side} px, {sides[1].about['isa']}, "
          f"{sides[1].about['threads']} threads: {before * 1e3:.1f} ms at {a.revision}, "
          f"{now * 1e3:.1f} ms here, ratio {before / now:.3f} "
          f"({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
