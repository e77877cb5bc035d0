"""What all parts of a list say together: one file, metrics and thresholds, in bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mlclassify import _core
from mlclassify.checks import check_path
from mlclassify.data.table import LABELS
from mlclassify.metrics.streaming import Bounded, StreamingScores
from mlclassify.scoring import parquet
from mlclassify.scoring.parts import (
    ERROR,
    TARGETS,
    Part,
    prob_column,
    read_part,
    read_rows,
)
from mlclassify.wholefile import open_regular, replacing, table_text

if TYPE_CHECKING:
    from mlclassify.types import Float64, Int64, StrPath, UInt8

_AT_A_TIME = 4096  # rows


@dataclass
class Judged:
    """What decisions and probabilities are worth, label by label; its repr is a table.

    Attributes
    ----------
    labels : list of str
    support : int64 (L,)
        Photos that have the label.
    thresh : float64 (L,)
    f1 : float64 (L,)
        Of the decisions; 0 for 0 / 0.
    average_precision : Bounded of float64 (L,)
        NaN for a label that no photo has.
    best_thresh : float64 (L,)
        The threshold of the best F1 of these photos.
    best_f1 : Bounded of float64 (L,)
    """

    labels: list[str]
    support: Int64
    thresh: Float64
    f1: Float64
    average_precision: Bounded
    best_thresh: Float64
    best_f1: Bounded

    def __repr__(self) -> str:
        width = max(len(label) for label in [*self.labels, "label"])
        lines = [f"{'label':<{width}} support     AP thresh    F1   best thresh and F1"]
        rows = zip(self.labels, self.support, self.average_precision.value, self.thresh, self.f1,
                   self.best_thresh, self.best_f1.value)
        for label, *numbers in rows:
            cells = "{:>7} {:>6.3f} {:>6.3f} {:>5.3f} {:>13.4f} {:>6.3f}".format(*numbers)
            lines.append(f"{label:<{width}} {cells}")
        return "\n".join(lines)


@dataclass
class Merged:
    """What `merge_parts` found.

    Attributes
    ----------
    n : int
        Photos in the list.
    bad : int
        Of these could not be read.
    judged : Judged or None
        Where the list said what is true.
    """

    n: int
    bad: int
    judged: Judged | None = field(default=None)


def merge_parts(paths: Sequence[StrPath], out: StrPath | None = None, bits: int = 16) -> Merged:
    """Check that parts are all of one list, and say what they say together.

    Parameters
    ----------
    paths : sequence of str or Path
        The files that `score_files` wrote, in any order.
    out : str or Path, optional
        One file for all rows, in the order of the list: .csv, or .parquet.
    bits : int
        Of a probability by which it is counted, as in `StreamingScores`: that much memory is taken,
        however many photos there are.

    Returns
    -------
    Merged

    Raises
    ------
    ValueError
        A part is missing, twice there, not whole, or of another model or list; `out` has another
        ending.

    Examples
    --------
    ``merge_parts(Path("scores").glob("part-*.csv"), "all.csv").judged``
    """
    files = [check_path("merge_parts", "paths", path) for path in paths]
    parts = _complete([(path, read_part(path)) for path in files])
    if out is not None:
        _write(check_path("merge_parts", "out", out), parts)
    first = parts[0][1]
    judged = _judged(first, _rows(parts), bits) if first.labelled else None
    return Merged(first.n, sum(part.bad for _, part in parts), judged)


def _complete(parts: list[tuple[Path, Part]]) -> list[tuple[Path, Part]]:
    """Return parts in the order of the list, or say which one is wrong."""
    if not parts:
        raise ValueError("merge_parts: `paths` must name at least one part, got none")
    path, first = parts[0]
    for other, part in parts[1:]:
        for name in ("model", "files", "shards", "labels", "thresh", "label_delim"):
            if getattr(part, name) != getattr(first, name):
                raise ValueError(
                    f"merge_parts: `paths` must be parts with one {name}, got another in {other} "
                    f"than in {path}"
                )
    parts = sorted(parts, key=lambda pair: pair[1].shard)
    there = [part.shard for _, part in parts]
    missing = [i for i in range(1, first.shards + 1) if i not in there]
    if missing or len(there) > first.shards:
        twice = sorted({i for i in there if there.count(i) > 1})
        told = f"{_some(missing)} missing" if missing else f"{_some(twice)} more than once"
        raise ValueError(
            f"merge_parts: `paths` must be all {first.shards} parts, each once, got {told}"
        )
    return parts


def _some(numbers: list[int]) -> str:
    """Name the first of several shards."""
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return "shard " + ", ".join(map(str, numbers[:5])) + more


def _rows(parts: list[tuple[Path, Part]]) -> Iterator[dict[str, Any]]:
    for path, _ in parts:
        yield from read_rows(path)


def _write(out: Path, parts: list[tuple[Path, Part]]) -> None:
    """Write all rows into one file, whole or not at all."""
    if out.suffix not in (".csv", ".parquet"):
        raise ValueError(f"merge_parts: `out` must end in .csv or .parquet, got {out.name!r}")
    if out.suffix == ".parquet":
        parquet.check_installed("merge_parts")
    columns, paths = parts[0][1].columns, [path for path, _ in parts]
    alike = all(path.suffix == out.suffix for path in paths)
    with replacing(out) as file:
        match out.suffix, alike:
            case ".csv", True:
                _copy_lines(file, columns, paths)
            case ".csv", False:
                _write_lines(file, columns, _rows(parts))
            case ".parquet", True:
                parquet.copy(file, columns, paths)
            case ".parquet", False:
                parquet.write(file, columns, _rows(parts))


def _copy_lines(file: IO[bytes], columns: Iterable[str], paths: list[Path]) -> None:
    file.write(table_text([columns]).encode())
    for path in paths:
        with open_regular(path, "merge_parts") as part:
            part.readline()  # the columns
            shutil.copyfileobj(part, file)


def _write_lines(
    file: IO[bytes], columns: Iterable[str], rows: Iterator[dict[str, Any]]
) -> None:
    file.write(table_text([columns]).encode())
    while some := list(islice(rows, _AT_A_TIME)):
        file.write(table_text([map(_cell, row.values()) for row in some]).encode())


def _cell(value: float | str | None) -> str | None:
    """Return a cell of a table; float32 has at most nine digits."""
    return f"{value:.9g}" if isinstance(value, float) else value


def _judged(part: Part, rows: Iterator[dict[str, Any]], bits: int) -> Judged:
    """Count decisions and probabilities, some rows at a time."""
    place = {label: i for i, label in enumerate(part.labels)}
    columns = [prob_column(label) for label in part.labels]
    stream = StreamingScores(len(place), bits)
    counts = np.zeros((3, len(place)), np.int64)
    good = (row for row in rows if not row[ERROR])
    while some := list(islice(good, _AT_A_TIME)):
        probs = np.array([[row[column] for column in columns] for row in some], np.float32)
        decided, truth = (_indicators(part, place, [row[column] for row in some])
                          for column in (LABELS, TARGETS))
        stream.update(probs, truth)
        _core.label_counts(truth, decided, found := np.empty_like(counts))
        counts += found
    tp, support, said = counts
    f1 = np.divide(2 * tp, support + said, out=np.zeros(len(place)), where=support + said > 0)
    best_thresh, best_f1 = stream.best_f1()
    return Judged(part.labels, support, np.array(part.thresh, np.float64), f1,
                  stream.average_precision(average=None), best_thresh, best_f1)


def _indicators(part: Part, place: dict[str, int], texts: list[str]) -> UInt8:
    """Return labels as 0 and 1; what the model does not know is left out."""
    found = np.zeros((len(texts), len(place)), np.uint8)
    for row, text in zip(found, texts):
        row[[place[o] for o in text.split(part.label_delim) if o in place]] = 1
    return found
