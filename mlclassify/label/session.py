"""What has been decided about the photos of a folder, and the table that says so.

A photo is kept, with any number of labels; dropped; or nobody has decided yet. Kept photos are the
rows of the table, so who trains on it sees nothing that nobody looked at. Dropped ones stand in a
file beside it; the photos themselves are never touched. Both are written whole after each change.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mlclassify.checks import check_choice, check_path
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.lists import L
from mlclassify.data.table import LabelTable, check_delim, check_label, read_table
from mlclassify.types import StrPath
from mlclassify.wholefile import open_table, table_text, write_file

Decision: TypeAlias = Literal["keep", "drop"] | None
KEEP: Literal["keep"] = "keep"
DROP: Literal["drop"] = "drop"


class Session:
    """The photos below a folder and the decisions about them; threads may share it.

    Parameters
    ----------
    path : path or str
        The folder. A link in it that leads out of it is no photo of it.
    labels : str or collection of str, optional
        Labels to offer, before those of the table and the folders.
    csv_fname : path or str
        The table, relative to `path`; read if it is there.
    label_delim : str
        Between two labels in the table.
    from_folders : bool
        Offer the name of a photo's folder as its label, ticked.

    Raises
    ------
    FileNotFoundError
        `path` is no folder.
    ValueError
        There are no photos in it, the table is none, or a label cannot stand in it.
    """

    def __init__(self, path: StrPath, labels: str | Iterable[str] | None = None,
                 csv_fname: StrPath = "labels.csv", label_delim: str = " ",
                 from_folders: bool = False) -> None:
        fn = "label_images"
        self.root = check_path(fn, "path", path)
        self._delim = check_delim(fn, label_delim)
        self.csv = self.root / check_path(fn, "csv_fname", csv_fname)
        self.photos = [f for f in get_image_files(self.root) if self._is_inside(f)]
        if not self.photos:
            raise ValueError(f"{fn}: `path` must hold photos, got none in {str(path)!r}")
        self._names = [f.relative_to(self.root).as_posix() for f in self.photos]
        self._lock = threading.Lock()
        self._table = LabelTable(label_delim=self._delim)
        if self.csv.exists():
            self._table = read_table(self.csv, self._delim)
        self._dropped = self._read_dropped()
        self._offered = [[parent_label(f)] if from_folders else [] for f in self.photos]
        offered = {label for row in self._offered for label in row}
        found = [*L(labels), *self._table.labels(), *sorted(offered)]
        self.labels = [check_label(fn, label, self._delim) for label in dict.fromkeys(found)]

    def _is_inside(self, fn: Path) -> bool:
        return fn.resolve().is_relative_to(self.root.resolve())

    @property
    def dropped_csv(self) -> Path:
        """The file of dropped photos."""
        return self.csv.with_name(f"{self.csv.stem}.dropped.csv")

    def _read_dropped(self) -> set[str]:
        if not self.dropped_csv.exists():
            return set()
        with open_table(self.dropped_csv, "label_images") as file:
            try:
                return {row[0] for row in list(csv.reader(file))[1:] if row}
            except (UnicodeDecodeError, csv.Error) as error:
                raise ValueError(
                    f"label_images: {str(self.dropped_csv)!r} must be a table of the photos that "
                    f"were dropped, in UTF-8 ({error})"
                ) from None

    def photo(self, i: int) -> Path:
        """Return the file of photo `i`; FileNotFoundError where it has become a link elsewhere."""
        fn = self.photos[i]
        if not self._is_inside(fn):
            raise FileNotFoundError(f"label_images: photo {i} must lie in {self.root}")
        return fn

    def state(self) -> dict[str, Any]:
        """Return labels, and name, labels and decision of each photo, as JSON can say it."""
        with self._lock:
            return {"labels": self.labels, "photos": [self._one(i) for i in range(len(self))]}

    def _one(self, i: int) -> dict[str, Any]:
        name, rows = self._names[i], self._table.rows
        decision = DROP if name in self._dropped else KEEP if name in rows else None
        return {"name": name, "labels": rows.get(name, self._offered[i]), "decision": decision}

    def __len__(self) -> int:
        return len(self.photos)

    def counts(self) -> tuple[int, int]:
        """Return how many photos are kept and how many are dropped."""
        decisions = [photo["decision"] for photo in self.state()["photos"]]
        return decisions.count(KEEP), decisions.count(DROP)

    def decide(self, i: int, decision: Decision, labels: Iterable[str] = ()) -> None:
        """Decide about photo `i`, and write it down; on an error nothing has changed.

        Parameters
        ----------
        i : int
        decision : {'keep', 'drop', None}
            None takes a decision back.
        labels : list of str
            Of a photo that is kept.
        """
        check_choice("label_images", "decision", decision, (KEEP, DROP, None))
        labels = list(dict.fromkeys(labels))
        for label in labels:
            check_label("label_images", label, self._delim)
        with self._lock:
            name = self._names[i]
            rows = {key: row for key, row in self._table.rows.items() if key != name}
            dropped = self._dropped - {name}
            if decision == KEEP:
                rows = {**self._table.rows, name: labels}
            elif decision == DROP:
                dropped = self._dropped | {name}
            self._write(rows, dropped)
            self.labels += [label for label in labels if label not in self.labels]

    def _write(self, rows: dict[str, list[str]], dropped: set[str]) -> None:
        table = LabelTable(rows, self._delim, self._table.others)
        # What is in both files after a crash counts as dropped: no photo is lost from sight.
        writes: list[Callable[[], None]] = [
            lambda: self._write_dropped(dropped), lambda: table.write(self.csv)
        ]  # fmt: skip
        for write in writes if len(dropped) >= len(self._dropped) else reversed(writes):
            write()
        self._table, self._dropped = table, dropped

    def _write_dropped(self, dropped: set[str]) -> None:
        if not dropped and not self.dropped_csv.exists():
            return
        rows = [["fname"], *([name] for name in sorted(dropped))]
        write_file(Path(self.dropped_csv), table_text(rows).encode())
