"""``mlclassify launch``: start a script in several processes that train one model, over MPI."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def launch(options: Namespace) -> tuple[None, int]:
    """Run the script, wait for all of its processes and tell how they ended."""
    if options.n < 1:
        raise ValueError(f"launch: `-n` must be at least 1, got {options.n}")
    for file in filter(None, (options.script, options.hostfile)):
        if not file.is_file():
            raise FileNotFoundError(f"launch: no such file: {str(file)!r}")
    command = mpi_command(options.n, options.hostfile)
    script = [sys.executable, "-m", "mlclassify.cli.rank", str(options.script), *options.args]
    status = run(command + script, environment())
    if status:
        print(f"mlclassify: the script did not end well in all of {options.n} processes: "
              f"{describe_status(status)}; the first message above says where", file=sys.stderr)
    return None, status if status >= 0 else 128 - status


def run(command: list[str], env: dict[str, str]) -> int:
    """Run a command and return its status; a signal that would end this process goes to it.

    mpirun then ends the processes of all ranks, which would go on without it.
    """
    with subprocess.Popen(command, env=env) as process:
        def forward(number: int, frame: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, forward) for number in _ENDING}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def mpi_command(n: int, hostfile: Path | None = None) -> list[str]:
    """Return what starts `n` processes, up to their own command.

    No process is bound to a core: each has threads of its own, and they share what there is.

    Raises
    ------
    ModuleNotFoundError
        There is no MPI to do it.
    """
    mpirun = find_mpirun()
    if find_spec("mpi4py") is None or mpirun is None:
        missing = "mpirun" if mpirun is None else "mpi4py"
        raise ModuleNotFoundError(
            f"launch: {missing} must be installed; pip install 'mlclassify[mpi]' brings it"
        )
    answer = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)
    where = [] if hostfile is None else ["--hostfile", str(hostfile)]
    if "Open MPI" in answer.stdout or "open-mpi" in answer.stdout:
        more = [] if hostfile else ["--oversubscribe"]  # its slots are cores, these have threads
        return [mpirun, "-n", str(n), "--bind-to", "none", *more, *where]
    return [mpirun, "-n", str(n), "-bind-to", "none", *where]  # MPICH and its kin


def find_mpirun() -> str | None:
    """Return the path of mpirun, first of what is installed beside this Python."""
    beside = sysconfig.get_path("scripts")
    places = os.pathsep.join([beside, os.environ.get("PATH", "")])
    return shutil.which("mpirun", path=places) or shutil.which("mpiexec", path=places)


def environment() -> dict[str, str]:
    """Return the environment of the processes.

    Open MPI refuses to start anything as root unless it is told twice that this is wanted; a script
    that root runs without it has no fewer rights.
    """
    changed = dict(os.environ)
    if os.geteuid() == 0:
        changed |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return changed


def describe_status(status: int) -> str:
    """Say what an exit status means.

    Examples
    --------
    >>> describe_status(3), describe_status(137)
    ('status 3', 'status 137, ended by SIGKILL')
    """
    number = -status if status < 0 else status - 128
    try:
        return f"status {status}, ended by {signal.Signals(number).name}"
    except ValueError:
        return f"status {status}"
