"""The C code under libFuzzer: what ``native.sh`` builds, and what its runs say."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT, BUILT = HERE / "native.sh", HERE.parents[1] / "build" / "fuzz"
TARGETS = ("scores", "image", "net")  # of tests/native/fuzz_*.c
CORPUS = HERE / "corpus_native"
LONGEST = 512  # bytes of an input


def script(*arguments, **options):
    """Run ``native.sh`` for this Python, as `subprocess.run` does."""
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run([SCRIPT, *arguments], env=environment, text=True, check=False, **options)


def missing():
    """Return what is missing to build it, "" if nothing is."""
    return script("check", capture_output=True).stderr.strip()


def run(target, seconds=0, seed=1):
    """Run a target over its corpus, and then for so many seconds.

    Parameters
    ----------
    target : str
        One of `TARGETS`, which has been built.
    seconds : float
        0: the corpus only.
    seed : int

    Returns
    -------
    subprocess.CompletedProcess
        Its return code is 0 if nothing was found; what was, lies beside the program.
    """
    with tempfile.TemporaryDirectory() as found:
        lasting = f"-max_total_time={max(1, round(seconds))}" if seconds else "-runs=0"
        return subprocess.run(
            [
                BUILT / target,
                lasting,
                f"-seed={seed}",
                f"-max_len={LONGEST}",
                "-len_control=0",
                "-rss_limit_mb=4096",
                "-timeout=60",
                "-print_final_stats=1",
                f"-artifact_prefix={BUILT}/{target}-",
                found,
                CORPUS / target,
            ],
            text=True,
            capture_output=True,
            check=False,
        )


def reached(said):
    """Return how many places of the code were reached, and of how many; 0 where nothing says."""
    covered = re.findall(r"cov: (\d+)", said)
    places = re.search(r"Loaded \d+ modules\s+\((\d+) inline", said)
    return int(covered[-1]) if covered else 0, int(places[1]) if places else 0


def executions(said):
    """Return how many there were, and in how many seconds."""
    done = re.findall(r"Done (\d+) runs in (\d+) second", said)
    return tuple(map(int, done[-1])) if done else (0, 0)
