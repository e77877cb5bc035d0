"""Fuzz every target, each in its own process, and write a page of what came of it.

``python tests/fuzz/campaign.py --seconds 60 --out PAGE.md``. Readers of files are led by coverage
where atheris is installed; calls of C, of which it sees nothing, are drawn by a seed, and so are
changes of what a JSON says. With ``--native`` clang builds the C code so that what of it is reached
leads, too: calls through the bindings where atheris is installed, and calls of the core below them.
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

import native  # noqa: E402
import numpy as np  # noqa: E402
import PIL  # noqa: E402
from run import JSON, READERS, TARGETS  # noqa: E402

import mlclassify  # noqa: E402

PAGE = """# Fuzzing

`python tests/fuzz/campaign.py --seconds {seconds:g} --seed {seed}`: bytes that no one meant,
through everything that reads files, and calls of the C extension with arguments that are almost
right. `tests/fuzz/readers.py` and `tests/fuzz/calls.py` say what must hold: what is refused is
refused as documented, what is taken is right, and nothing is written beside an array. The rows of C
are of code that clang built with its sanitizers of addresses and undefined behaviour; those that
begin with `c:` call it without Python, with arrays that end where they must
(`tests/native/fuzz_*.c`), on every instruction set of the machine, and compare the bits that one
thread and three give. A finding is any other exception, a report, a crash, an execution of more
than a minute, or more than 4 GB of memory. `reached` counts the branches of what leads; in C, of
all in the program, where every instruction set has kernels of its own and other targets call the
rest.

mlclassify {version}, NumPy {numpy}, Pillow {pillow}, Python {python}, {system}.

| target | led by | executions | taken | reached | minutes | findings |
|---|---|---|---|---|---|---|
{rows}

What earlier runs found has been mended, and has tests of its own:

{found}
"""
FOUND = HERE / "found.md"


SEED, PYTHON, C = "seed", "coverage of Python", "coverage of C"


def ways(target, built):
    """Return what leads, for each of the runs that a target gets."""
    atheris = importlib.util.find_spec("atheris") is not None
    if target not in READERS:
        return [SEED, C] if atheris and built else [SEED]
    if not atheris:
        return [SEED]
    return [PYTHON, SEED] if target in JSON else [PYTHON]


def fuzz(target, led_by, seconds, seed):
    """Return a line of the table, and what was said if something was found."""
    command = [HERE / "run.py", target, "--seconds", str(seconds), "--seed", str(seed)]
    if led_by != SEED:
        command.append("--coverage")
    if led_by == C:
        done = native.script("python", *command, capture_output=True)
    else:
        done = subprocess.run(
            [sys.executable, *command], text=True, capture_output=True, check=False
        )
    if done.returncode:
        return row(target, led_by, done, "?", "?", seconds)
    counts = json.loads(done.stdout.splitlines()[-1])
    return row(target, led_by, done, counts["executions"], counts["taken"], counts["seconds"])


def fuzz_native(target, seconds, seed):
    """Do the same with a target of C alone."""
    done = native.run(target, seconds, seed)
    executions, lasted = native.executions(done.stderr)
    return row(f"c: {target}", C, done, executions, "", lasted)


def row(target, led_by, done, executions, taken, seconds):
    """Return a line of the table, and what was said by a run that found something."""
    covered, places = native.reached(done.stderr)
    share = "" if led_by == SEED else f"{covered} of {places}" if led_by == C else covered
    cells = (target, led_by, executions, taken, share, f"{seconds / 60:.1f}",
             int(done.returncode != 0))  # fmt: skip
    said = f"{done.stdout}\n{done.stderr}"[-20000:] if done.returncode else None
    return f"| {' | '.join(map(str, cells))} |", said


def runs(options):
    """Yield what `row` gives, of each run."""
    if options.native and native.script("build").returncode:
        raise SystemExit("the C code cannot be built: see above")
    for target in options.targets:
        for led_by in ways(target, options.native):
            yield fuzz(target, led_by, options.seconds, options.seed)
    for target in native.TARGETS if options.native else ():
        yield fuzz_native(target, options.seconds, options.seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the page of results to write")
    parser.add_argument("--native", action="store_true", help="build the C code for libFuzzer")
    parser.add_argument("targets", nargs="*", default=TARGETS, help="of run.py; default all")
    options, rows, failed = parser.parse_args(), [], False
    for line, said in runs(options):
        print(line, flush=True)
        rows.append(line)
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
