"""Fuzz one target: ``python tests/fuzz/run.py TARGET --seconds 60``.

With ``--coverage`` atheris (``pip install atheris``) leads by what Python code is reached, and for
calls of C by what C code is, if ``native.sh`` has built that; else bytes of the corpus are changed
at random, by a seed. What was tried last stays in a file whose name is printed when the process
ends by itself. The last line is JSON: executions, taken, seconds.
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
CORPUS = HERE / "corpus"
READERS = ("tensors", "learner", "training", "table", "manifest", "session", "image")
JSON = ("learner", "training")  # changed as what they say, too: a text is seldom JSON afterwards
TARGETS = (*READERS, "core", "net")
PATIENCE = 60  # seconds for one execution; SIGALRM ends the process, also in C
MEMORY = 4 << 30


def find_target(name):
    """Return the function of that name."""
    if name in READERS:
        import readers as module
    else:
        import calls as module
    return getattr(module, name)


def corpus_of(name):
    """Return the bytes of the target's files."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def limit_memory():
    """End what takes too much as a MemoryError; a sanitizer maps terabytes for itself."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Counted:
    """A target that counts, keeps what it is given, and is not waited for."""

    def __init__(self, name, last):
        self._target, self._last = find_target(name), last
        self.executions = self.taken = 0
        self.start = time.monotonic()

    def __call__(self, data):
        self._last.seek(0)
        self._last.truncate()
        self._last.write(data)
        self._last.flush()
        signal.alarm(PATIENCE)
        self.taken += bool(self._target(data))
        signal.alarm(0)
        self.executions += 1

    def report(self):
        """Return what is printed at the end."""
        return {
            "executions": self.executions,
            "taken": self.taken,
            "seconds": round(time.monotonic() - self.start, 1),
        }


def run_seeded(target, name, options):
    """Try the corpus, then changes of it, for so many executions or seconds."""
    from draw import changed, changed_json

    seeds, draw = corpus_of(name), random.Random(options.seed)
    tokens = (CORPUS / f"{name}.tokens").read_bytes().split(b"\n")
    for data in seeds:
        target(data)
    end = time.monotonic() + options.seconds
    while target.executions < options.executions and time.monotonic() < end:
        if name not in READERS:
            target(draw.randbytes(draw.randrange(200)))
        elif name in JSON and draw.randrange(4):
            target(changed_json(draw.choice(seeds), draw))
        else:
            target(changed(draw.choice(seeds), seeds, draw, tokens))
    print(json.dumps(target.report()))


def run_covered(target, name, options, last):
    """Have atheris lead; what it finds new stays in a folder of its own."""
    import atheris

    with tempfile.TemporaryDirectory() as found:

        def stop():
            print(json.dumps(target.report()), flush=True)
            os.unlink(last.name)
            os._exit(0)  # atheris has no other way to end

        end = time.monotonic() + options.seconds

        def one(data):
            target(bytes(data))
            if time.monotonic() > end:
                stop()

        atheris.Setup(
            [
                sys.argv[0],
                f"-seed={options.seed}",
                "-max_len=16384",
                "-rss_limit_mb=4096",
                f"-timeout={PATIENCE}",
                f"-artifact_prefix={found}/",
                found,
                str(CORPUS / name),
            ],
            one,
        )
        atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--executions", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    limit_memory()
    last = tempfile.NamedTemporaryFile(  # noqa: SIM115  what a crash leaves behind
        prefix=f"fuzz-{options.target}-", delete=False)
    print(f"what is tried stands in {last.name}", file=sys.stderr, flush=True)
    if options.coverage:
        import atheris

        watched = atheris.instrument_imports(include=["mlclassify", "readers", "draw", "csv"])
        with watched if options.target in READERS else nullcontext():  # C counts for itself
            target = Counted(options.target, last)
        run_covered(target, options.target, options, last)
    else:
        run_seeded(Counted(options.target, last), options.target, options)
    os.unlink(last.name)


if __name__ == "__main__":
    main()
