"""Everything that ``tests/sanitize.sh`` can run, piece by piece, and a page of what came out.

    python benchmarks/sanitize.py                      all of it; takes an hour on two cores
    python benchmarks/sanitize.py build threads ...    these pieces only
    python benchmarks/sanitize.py --page results.md    the page of the last run of each piece

The pieces are ``build``, ``threads``, ``memcheck``, ``faults`` and, under the sanitizers of
addresses and undefined behaviour, each file of tests and ``mlclassify``, the examples in
docstrings.
Results are kept in build/sanitize/results. Ends with an error if a piece of this run failed.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "sanitize.sh"
KEPT = ROOT / "build" / "sanitize" / "results"

# What says something about the process that a sanitizer makes untrue.
LEFT_OUT = {
    "limits of the address space, of which a sanitizer takes 20 TB":
        "sizes_past_32_bits or bomb_is_refused_before or largest_batch",
    "memory that is measured": "memory_does_not_grow or give_their_memory_back",
    "children that start without the preloaded library": "hashes_of_a_process",
    "a browser, which brings allocators of its own": "a_browser_and_a_keyboard",
}
# What reports led to, since there have been any.
MENDED = (
    ("AddressSanitizer", "`gemm_outer` of no segments read the address of the first one, only to "
     "fetch what is there", "fetches nothing then; `test_gemm_outer_sums_outer_products`"),
    ("UndefinedBehaviorSanitizer", "`put_gradients` of `wino_weights.c` went through an array of "
     "arrays of 9 by one index", "one array; `test_gradients.py`"),
)
# Runs of other programs or of the sanitizers themselves; the last reads files that are not copied.
OTHERS = ("test_neon.py", "test_faults.py", "test_writes.py", "test_sanitize.py",
          "test_notebook.py", "test_wheel.py", "test_parts.py")


def isas():
    """The instruction sets of this machine; one more than valgrind knows."""
    code = "from mlclassify import _core; print(*_core.isas())"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, text=True,
                          capture_output=True).stdout.split()


def commands():
    """The pieces: what to call `tests/sanitize.sh` with, by name."""
    found = {"build": ["build"], "threads": ["threads", *isas()],
             "memcheck": ["memcheck", *(isa for isa in isas() if not isa.startswith("avx512"))],
             "faults": ["faults"]}
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if path.name not in OTHERS)
    chosen = "not (" + " or ".join(LEFT_OUT.values()) + ")"
    for name in [*(str(path.relative_to(ROOT)) for path in files), "mlclassify"]:
        found[name] = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=sys",
                       "-m", "not slow", "-k", chosen, name]
    return found


def run(name, command):
    """Run a piece, keep what came out of it, and say so; whether it passed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([SCRIPT, *command], cwd=ROOT, check=False, text=True,
                              env=os.environ | {"REPORTS": folder}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        reports = [path.read_text() for path in Path(folder).iterdir()]
    result = {"name": name, "day": time.strftime("%Y-%m-%d"), "code": done.returncode,
              "seconds": round(time.monotonic() - start), "reports": len(reports),
              "output": done.stdout}
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name.replace('/', '-')}.json").write_text(json.dumps(result))
    passed = done.returncode == 0 and not reports
    print(f"{name}: {'passed' if passed else 'FAILED'}, {result['seconds']} s", flush=True)
    if not passed:
        print(done.stdout[-3000:], *(report[:3000] for report in reports), sep="\n", flush=True)
    return passed


def version(*command):
    """The first line that a program says of itself."""
    said = subprocess.run(command, check=True, text=True, capture_output=True).stdout
    return said.splitlines()[0]


def counted(output, word):
    """How many tests pytest says have `word`."""
    return sum(map(int, re.findall(rf"(\d+) {word}", output.splitlines()[-1] if output else "")))


def minutes(results):
    return f"{sum(result['seconds'] for result in results) / 60:.0f}"


def page(names):
    """The page of the last run of each piece."""
    every = {name: json.loads(path.read_text()) for name in names
             if (path := KEPT / f"{name.replace('/', '-')}.json").exists()}
    assert all(result["code"] == 0 and not result["reports"] for result in every.values())
    tools = [name for name in names if name in ("build", "threads", "memcheck", "faults")]
    tests = [every[name] for name in every if name not in tools]
    lines = [
        "# What sanitizers and valgrind say", "",
        f"The last run of each piece of `make sanitize`, up to "
        f"{max(result['day'] for result in every.values())}, on "
        f"{platform.machine()} with {', '.join(isas())}; {version('gcc', '--version')}, "
        f"{version('valgrind', '--version')}, Python {platform.python_version()}. "
        "Minutes are those of a machine that did other things too.", "",
        "| what | watched by | run | reports | minutes |", "|---|---|---|---|---|",
        f"| the test suite | AddressSanitizer, UndefinedBehaviorSanitizer | "
        f"{sum(counted(result['output'], 'passed') for result in tests)} tests of {len(tests)} "
        f"files passed, {sum(counted(result['output'], 'skipped') for result in tests)} skipped "
        f"| 0 | {minutes(tests)} |"]
    for name, tool in (("threads", "ThreadSanitizer"), ("memcheck", "valgrind, leaks too")):
        if name in every:
            ran = re.findall(rf"^{name}, (\w+)\nall holds$", every[name]["output"], re.MULTILINE)
            lines.append(f"| `tests/native/core.c`: {', '.join(ran)} | {tool} | checks hold | 0 "
                         f"| {minutes([every[name]])} |")
    missing = [name for name in names if name not in every]
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    lines += ["", "Left out of the suite under the sanitizers, besides the tests marked slow:", ""]
    lines += [f"- {reason}: `{which}`" for reason, which in LEFT_OUT.items()]
    lines += ["", "## What was found and mended", "", "| by | what | now, and the test |",
              "|---|---|---|", *("| " + " | ".join(line) + " |" for line in MENDED)]
    if "faults" in every:
        counts = [line.split() for line in every["faults"]["output"].splitlines()]
        lines += ["", "## Allocations that fail", "",
                  "Each allocation of the core in turn, and then all from each one on "
                  "(`tests/fault_runs.py`). Every time it was MemoryError or the same result; the "
                  "model was that of a whole step, the next call worked, and no block, descriptor "
                  "or thread was left.", "", "| operation | allocations that failed |", "|---|---|",
                  *(f"| `{name}` | {count} |" for name, count in counts)]
    return "\n".join(lines) + "\n"


def main():
    pieces = commands()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=", ".join(pieces))
    parser.add_argument("--page", type=Path, help="write the page instead of running anything")
    options = parser.parse_args()
    if options.page:
        options.page.write_text(page(list(pieces)))
        return 0
    failed = [name for name in options.pieces or pieces if not run(name, pieces[name])]
    print("failed:", ", ".join(failed) if failed else "nothing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
