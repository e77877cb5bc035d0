"""One side of a benchmark: a process that lives on and answers in lines of JSON.

The side is the program's only argument, a JSON object. Setup and warm-up are done before the first
line; then each line read is one turn, answered with what it measured. Nothing here needs more than
Python itself, as both environments run it.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path


def serve(prepare):
    """Answer turns until the input ends.

    Parameters
    ----------
    prepare : function
        ``prepare(side)`` returns (about, turn): what to say of this side, and the function that
        does one turn and returns what it measured.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    try:
        about, turn = prepare(json.loads(sys.argv[1]))
    except Exception as error:  # whatever it is, the row says it
        answers.write(json.dumps({"error": f"{type(error).__name__}: {first_line(error)}"}) + "\n")
        return
    answers.write(json.dumps({**about, "jemalloc": "jemalloc" in own("maps")}) + "\n")
    for _ in sys.stdin:
        answers.write(json.dumps({**turn(), "peak": peak_memory()}) + "\n")


def timed(step, repeats, warm_up):
    """Warm a step up and return the turn that times it."""
    for _ in range(warm_up):
        step()
    return lambda: {"seconds": statistics.median(seconds(step) for _ in range(repeats))}


def seconds(step):
    """How long one call takes."""
    since = time.perf_counter()
    step()
    return time.perf_counter() - since


def peak_memory():
    """The most bytes of memory that this process ever had resident."""
    line = next(x for x in own("status").splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def own(name):
    """What the system says of this process."""
    return Path("/proc/self", name).read_text()


def first_line(error):
    return (str(error).splitlines() or [""])[0]
