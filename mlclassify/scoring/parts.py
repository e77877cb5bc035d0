"""Parts: files of scores, each with a description of what it is a part of beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlclassify.data.table import FNAME, LABELS
from mlclassify.scoring import parquet
from mlclassify.scoring.lists import sha256_of
from mlclassify.wholefile import open_table, write_file

FORMAT_VERSION = 1
TARGETS, NOVELTY, ERROR = "targets", "novelty", "error"


@dataclass(frozen=True)
class Part:
    """What a file of scores is a part of.

    Attributes
    ----------
    model, files : str
        The sha256 of the model file and of the list.
    n : int
        How many photos the list names.
    shard, shards : int
        This is number `shard` of so many, from 1.
    start, stop : int
        Its place in the list.
    batch : int
        Rows that become safe at a time.
    labels : list of str
    thresh : list of float
        Of each label; infinity is the text ``"inf"``.
    label_delim : str
    labelled, novelty : bool
        Whether the list said what is true; whether the model judges novelty.
    bad : int
        How many of its photos could not be read.
    sha256 : str
        Of the file of scores.
    """

    model: str
    files: str
    n: int
    shard: int
    shards: int
    start: int
    stop: int
    batch: int
    labels: list[str]
    thresh: list[float | str]
    label_delim: str
    labelled: bool
    novelty: bool
    bad: int = 0
    sha256: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def columns(self) -> dict[str, type]:
        """The columns of the file, in order: whether they hold texts or numbers."""
        return columns_of(self.labels, self.labelled, self.novelty)

    def plan(self) -> Part:
        """Return what it is a part of, without what came out."""
        return replace(self, bad=0, sha256="")

    def found_at(self, path: Path) -> Part | None:
        """Return this part as it lies at `path`, complete, or None."""
        try:
            there = read_part(path)
        except (OSError, ValueError):
            return None
        return there if there.plan() == self.plan() else None


def columns_of(labels: list[str], labelled: bool = False, novelty: bool = False) -> dict[str, type]:
    """Return the columns of scores, in order: whether they hold texts or numbers.

    Examples
    --------
    >>> list(columns_of(["sea", "sky"], novelty=True))
    ['fname', 'labels', 'prob_sea', 'prob_sky', 'novelty', 'error']
    """
    texts = [FNAME, LABELS, *[TARGETS] * labelled]
    numbers = [*map(prob_column, labels), *[NOVELTY] * novelty]
    return {**dict.fromkeys(texts, str), **dict.fromkeys(numbers, float), ERROR: str}


def prob_column(label: str) -> str:
    """Return the name of the column of a label's probabilities."""
    return f"prob_{label}"


def beside(path: Path) -> Path:
    """Return where the description of a file of scores lies."""
    return path.with_name(f"{path.name}.json")


def read_part(path: Path) -> Part:
    """Read what a file of scores is a part of, and check that the file is that part.

    Raises
    ------
    FileNotFoundError
    ValueError
        It is incomplete, was changed, or was written by another version.
    """
    rule = f"read_part: {str(path)!r} must be a whole file of `mlclassify score`"
    try:
        told = json.loads(beside(path).read_text())
        part = Part(**told)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{rule}, got a description that is none ({error})") from None
    if part.format_version != FORMAT_VERSION:
        raise ValueError(f"{rule} of format {FORMAT_VERSION}, got {part.format_version!r}")
    if sha256_of(path) != part.sha256:
        raise ValueError(f"{rule}, got other bytes than {beside(path).name} says; score it again")
    return part


def write_description(path: Path, part: Part) -> None:
    """Say beside a file of scores, or of what becomes one, what it is a part of."""
    write_file(beside(path), json.dumps(asdict(part), indent=1).encode() + b"\n")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of scores: texts, floats, and None for what is not there."""
    if path.suffix == ".parquet":
        yield from parquet.read(path)
        return
    with open_table(path, "read_rows") as file:
        for row in csv.DictReader(file):
            yield {name: _value(name, cell) for name, cell in row.items()}


def _value(name: str, cell: str) -> float | str | None:
    if name == NOVELTY or name.startswith(prob_column("")):
        return float(cell) if cell else None
    return cell
