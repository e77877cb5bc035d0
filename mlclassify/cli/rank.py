"""What each process of ``mlclassify launch`` runs: it joins the others, then runs the script.

Rank 0 alone prints. The process that fails first tells its traceback and ends all others.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from mlclassify import _core
from mlclassify.ranks import Ranks, join

_TURN = 1.0  # seconds in which rank 0 can tell an error that all ranks meet


def main() -> None:
    """Run the script that the command line names, with its arguments."""
    ranks = Ranks()
    try:
        ranks = join()
        share_cores(ranks)
        if ranks.rank:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  to the end
        elif isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # mpirun reads it through a pipe
        run(sys.argv[1:])
    except SystemExit as end:
        if end.code not in (None, 0):
            _end_all(ranks, end, end.code if isinstance(end.code, int) else 1)
    except BaseException as error:
        _end_all(ranks, error, 130 if isinstance(error, KeyboardInterrupt) else 1)
    sys.stdout.flush()


def run(command: list[str]) -> None:
    """Run a script with its arguments, as ``python`` would."""
    sys.argv, sys.path[0] = command, str(Path(command[0]).resolve().parent)
    runpy.run_path(command[0], run_name="__main__")


def share_cores(ranks: Ranks) -> None:
    """Give this process its part of the threads, unless MLCLASSIFY_NUM_THREADS says how many."""
    if not os.environ.get("MLCLASSIFY_NUM_THREADS"):
        _core.set_num_threads(max(1, _core.get_num_threads() // ranks.local_size))


def _end_all(ranks: Ranks, error: BaseException, status: int) -> NoReturn:
    """Tell an error and end the processes of all ranks; each would wait for this one for ever."""
    if ranks.rank:
        time.sleep(_TURN)
    sys.stdout.flush()
    told = sys.__stderr__ or sys.stderr
    if ranks.size > 1:
        print(f"rank {ranks.rank} of {ranks.size}:", file=told)
    if isinstance(error, SystemExit):
        print(f"the script ended with {error.code!r}", file=told)
    else:
        traceback.print_exception(error, file=told)
    told.flush()
    ranks.end_all(status)


if __name__ == "__main__":
    main()
