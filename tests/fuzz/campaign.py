"""Fuzz every target, each in its own process, and write a page of what came of it.

``python tests/fuzz/campaign.py --seconds 60 --out PAGE.md``. Readers of files are led by coverage
where atheris is installed; calls of C, of which it sees nothing, are drawn by a seed, and so are
changes of what a JSON says.
"""

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import PIL  # noqa: E402
from run import JSON, READERS, TARGETS  # noqa: E402

import mlclassify  # noqa: E402

PAGE = """# Fuzzing

`python tests/fuzz/campaign.py --seconds {seconds:g} --seed {seed}`: bytes that no one meant,
through everything that reads files, and calls of the C extension with arguments that are almost
right. `tests/fuzz/readers.py` and `tests/fuzz/calls.py` say what must hold: what is refused is
refused as documented, what is taken is right, and nothing is written beside an array. A finding is
any other exception, a crash, an execution of more than a minute, or more than 4 GB of memory.

mlclassify {version}, NumPy {numpy}, Pillow {pillow}, Python {python}, {system}.

| target | led by | executions | taken | minutes | findings |
|---|---|---|---|---|---|
{rows}

What earlier runs found has been mended, and has tests of its own:

{found}
"""
FOUND = HERE / "found.md"


def ways(target):
    """Return whether coverage leads, for each of the runs that a target gets."""
    if target not in READERS or importlib.util.find_spec("atheris") is None:
        return [False]
    return [True, False] if target in JSON else [True]


def fuzz(target, covered, seconds, seed):
    """Return a line of the table, and what was said if something was found."""
    done = subprocess.run(
        [
            sys.executable,
            HERE / "run.py",
            target,
            "--seconds",
            str(seconds),
            "--seed",
            str(seed),
            *(["--coverage"] if covered else []),
        ],
        text=True,
        capture_output=True,
        check=False,
    )
    said = None if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"
    lines = done.stdout.splitlines()
    counts = (
        json.loads(lines[-1])
        if said is None
        else dict.fromkeys(("executions", "taken", "seconds"), float("nan"))
    )
    return (
        f"| {target} | {'coverage' if covered else 'seed'} | {counts['executions']} "
        f"| {counts['taken']} | {counts['seconds'] / 60:.1f} | {int(said is not None)} |"
    ), said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the page of results to write")
    parser.add_argument("targets", nargs="*", default=TARGETS, help="of run.py; default all")
    options, rows, failed = parser.parse_args(), [], False
    for target, covered in ((t, way) for t in options.targets for way in ways(t)):
        row, said = fuzz(target, covered, options.seconds, options.seed)
        print(row, flush=True)
        rows.append(row)
        if said is not None:
            failed = True
            print(said, file=sys.stderr, flush=True)
    if options.out:
        options.out.write_text(
            PAGE.format(
                seconds=options.seconds,
                seed=options.seed,
                rows="\n".join(rows),
                version=mlclassify.__version__,
                numpy=np.__version__,
                pillow=PIL.__version__,
                python=platform.python_version(),
                system=platform.system(),
                found=FOUND.read_text().strip(),
            )
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
