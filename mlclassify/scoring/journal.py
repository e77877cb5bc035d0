"""The rows of a part on their way to the disk.

They are appended to a journal, ``x.csv.partial``, and made safe batch by batch. When the last is
there the journal becomes the part. What the part is, with its hash, is written before: it is
complete exactly where the two agree, whatever ended the run between them.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from mlclassify.scoring import parquet
from mlclassify.scoring.lists import sha256_of
from mlclassify.scoring.parts import ERROR, Part, beside, read_rows, write_description
from mlclassify.wholefile import table_text


class Journal:
    """The rows of a part while it is made; what `append` has taken stays, whatever comes.

    Parameters
    ----------
    out : Path
        Where the part will be.
    part : Part
    resume : bool
        Whether to go on after the last whole batch of a journal that is there.

    Attributes
    ----------
    rows : int
        How many are in it.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    ValueError
        What is to be resumed is of another part.
    """

    def __init__(self, out: Path, part: Part, resume: bool) -> None:
        self._out, self._part = out, part
        self._path = _journal_of(out)
        self._file = _locked(self._path)
        try:
            self.rows = self._resumed() if resume and self._is_begun() else self._begun()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, rows: list[list[Any]]) -> None:
        """Write a batch of rows, and have them on the disk when this returns."""
        self._file.write(table_text(rows).encode())
        self._flush()
        self.rows += len(rows)

    def finish(self) -> Part:
        """Make the journal the part; return that."""
        self._flush()
        bad, made = sum(1 for row in read_rows(self._path) if row[ERROR]), self._path
        if self._out.suffix == ".parquet":
            made = self._path.with_suffix(".made")
            with open(made, "wb") as file:
                parquet.write(file, self._part.columns, read_rows(self._path))
                file.flush()
                os.fsync(file.fileno())
        done = replace(self._part, bad=bad, sha256=sha256_of(made))
        write_description(self._out, done)
        os.replace(made, self._out)
        remove_journal(self._out)
        return done

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _is_begun(self) -> bool:
        """Tell whether there is a journal to go on with; refuse one of another part."""
        try:
            told = json.loads(beside(self._path).read_text())
        except FileNotFoundError:
            return False
        except ValueError:
            told = {}
        if told != asdict(self._part):
            wrong = [f.name for f in fields(Part)
                     if told.get(f.name) != getattr(self._part, f.name)]
            raise ValueError(
                f"score_files: `resume` must go on with what {self._path.name} was begun with, got "
                f"another {', '.join(wrong)}; leave it out to begin anew"
            )
        return True

    def _begun(self) -> int:
        self._file.truncate(0)
        write_description(self._path, self._part)
        self._file.write(table_text([self._part.columns]).encode())
        return 0

    def _resumed(self) -> int:
        """Cut the journal after its last whole batch; return how many rows stay."""
        wanted, rows, end = self._part.stop - self._part.start, -1, 0
        kept, keep = 0, 0  # the line of the columns is no row
        for line in self._file:
            if line.endswith(b"\n"):
                rows, end = rows + 1, end + len(line)
                if rows % self._part.batch == 0 or rows == wanted:
                    kept, keep = rows, end
        self._file.truncate(keep)
        self._file.seek(0, os.SEEK_END)
        if not keep:
            self._file.write(table_text([self._part.columns]).encode())
        return kept


def remove_journal(out: Path) -> None:
    """Remove what is left of the journal of a part that is complete."""
    _journal_of(out).unlink(missing_ok=True)
    beside(_journal_of(out)).unlink(missing_ok=True)


def _journal_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def _locked(path: Path) -> BinaryIO:
    """Open a journal, new or old, that no other process has."""
    while True:
        file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise BlockingIOError(
                f"score_files: `out` must be of one process at a time, and another holds {path}"
            ) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()  # meanwhile that became a part
