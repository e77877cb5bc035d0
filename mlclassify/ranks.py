"""The processes that run one script together, over MPI, and what they tell each other.

`mlclassify launch` starts them, numbered from 0; each has joined (`join`) before the script's first
line. A script that runs by itself is the only one of its group. What `Ranks` does is done by all of
them or by none: whoever calls alone waits for the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, NoReturn

import numpy as np

from mlclassify import _core
from mlclassify.types import AnyArray

_SHARED_SEED = 0xFFFFFFFF  # the key's epoch of seeds that all ranks draw alike


class Ranks:
    """A group of processes, this one among them; of one, as here, where nothing was launched.

    Attributes
    ----------
    rank : int
        Which of the group this is, from 0.
    size : int
        How many there are.
    local_size : int
        How many of them on this machine.
    """

    rank, size, local_size = 0, 1, 1

    def fresh_seed(self) -> int:
        """Return a seed that nobody has chosen, below 2**32, the same on all ranks."""
        return int.from_bytes(os.urandom(4), "little")

    def sum(self, values: AnyArray) -> None:
        """Add up an array over all ranks, in place."""

    def gather_rows(self, rows: AnyArray, n: int) -> AnyArray:
        """Return `n` rows, of which each rank gives those of its `part_of`, contiguous arrays."""
        return rows

    def same(self, text: str) -> bool:
        """Tell whether all ranks give the same text."""
        return True

    def wait(self) -> None:
        """Go on when all ranks have come here."""

    def end_all(self, status: int) -> NoReturn:
        """End the processes of all ranks, whatever they are doing."""
        os._exit(status)

    @contextmanager
    def one_writes(self) -> Iterator[bool]:
        """Have a block in which only rank 0 writes files, which is told so.

        The others leave the block when the files are there.

        Examples
        --------
        >>> with Ranks().one_writes() as mine:
        ...     mine
        True
        """
        yield self.rank == 0
        self.wait()


class MPIRanks(Ranks):
    """The processes of an MPI program.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``.
    """

    def __init__(self, mpi: Any) -> None:
        self.mpi, self.comm = mpi, mpi.COMM_WORLD.Dup()
        self._beside = self.comm.Dup()  # so that what goes on beside is not taken for anything else
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        machine = self.comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_size = machine.Get_size()
        machine.Free()
        root = np.array([super().fresh_seed()], np.int64)
        self.comm.Bcast(root)
        self._root, self._seeds = int(root[0]), 0

    def fresh_seed(self) -> int:
        # The n-th seed of a script is the same on all ranks, as they run the same script.
        draw = np.empty(1)
        _core.random_uniform(self._root, _SHARED_SEED, self._seeds, 0, draw)
        self._seeds += 1
        return int(draw[0] * 2**32)

    def sum(self, values: AnyArray) -> None:
        self.comm.Allreduce(self.mpi.IN_PLACE, values)

    def begin_sum(self, values: AnyArray) -> Any:
        """Begin to add up an array over all ranks, in place; return the request to wait for."""
        return self._beside.Iallreduce(self.mpi.IN_PLACE, values)

    def gather_rows(self, rows: AnyArray, n: int) -> AnyArray:
        parts = [len(part_of(range(n), rank, self.size)) for rank in range(self.size)]
        whole = np.empty((n, *rows.shape[1:]), rows.dtype)
        each = int(np.prod(rows.shape[1:]))
        self.comm.Allgatherv(rows, [whole, [part * each for part in parts]])
        return whole

    def same(self, text: str) -> bool:
        mine = np.frombuffer(_digest(text), np.uint8)
        all_of_them = np.empty((self.size, len(mine)), np.uint8)
        self.comm.Allgather(mine, all_of_them)
        return bool((all_of_them == mine).all())

    def wait(self) -> None:
        self.comm.Barrier()

    def end_all(self, status: int) -> NoReturn:
        self.mpi.COMM_WORLD.Abort(status)
        os._exit(status)  # where MPI lets this one live


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def part_of(rows: range, rank: int, size: int) -> range:
    """Return the part of a batch that is a rank's: the rows in order, as even as can be.

    Parameters
    ----------
    rows : range
    rank, size : int

    Returns
    -------
    range

    Examples
    --------
    >>> [part_of(range(64, 74), rank, 4) for rank in range(4)]
    [range(64, 66), range(66, 69), range(69, 71), range(71, 74)]
    """
    n = len(rows)
    return rows[rank * n // size : (rank + 1) * n // size]


_current = Ranks()


def current() -> Ranks:
    """Return the group that this process belongs to."""
    return _current


def join() -> Ranks:
    """Join the group that MPI has started this process in, for good.

    Returns
    -------
    Ranks
        Also `current`, from now on.

    Raises
    ------
    ModuleNotFoundError
        mpi4py is not there; a note says what brings it.
    """
    global _current
    try:
        from mpi4py import MPI
    except ModuleNotFoundError as error:
        error.add_note("pip install 'mlclassify[mpi]' brings it")
        raise
    if MPI.COMM_WORLD.Get_size() > 1:
        _current = MPIRanks(MPI)
    return _current
