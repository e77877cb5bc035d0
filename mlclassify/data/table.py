"""Tables of photos and their labels, as ``from_csv`` reads them: columns ``fname`` and ``labels``.

Other columns, such as ``is_valid``, are kept as they are.
"""

import csv
from dataclasses import dataclass, field
from typing import Any

from mlclassify.checks import check_path
from mlclassify.data.duplicates import MAX_DISTANCE, find_duplicates, group_labels
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.types import StrPath
from mlclassify.wholefile import open_table, table_text, write_file

FNAME, LABELS = "fname", "labels"


@dataclass
class LabelTable:
    """Photos and their labels.

    Attributes
    ----------
    rows : dict of str to list of str
        From a file name, relative to the folder of the photos, to its labels.
    label_delim : str
        What stands between two labels in the file.
    others : dict of str to dict
        From a file name to its cells in other columns.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    label_delim: str = " "
    others: dict[str, dict[str, str]] = field(default_factory=dict)

    def columns(self) -> list[str]:
        """The columns of the file, in order."""
        others = (column for row in self.others.values() for column in row)
        return list(dict.fromkeys([FNAME, LABELS, *others]))

    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted({label for row in self.rows.values() for label in row})

    def write(self, path: StrPath) -> None:
        """Write the table so that at no moment a part of it stands there.

        Parameters
        ----------
        path : path or str

        Raises
        ------
        ValueError
            A label holds the delimiter.
        """
        columns = self.columns()
        rows = [columns]
        for fname, labels in self.rows.items():
            for label in labels:
                check_label("LabelTable.write", label, self.label_delim)
            cells = {**self.others.get(fname, {}), FNAME: fname,
                     LABELS: self.label_delim.join(labels)}  # fmt: skip
            rows.append([cells.get(column, "") for column in columns])
        write_file(check_path("LabelTable.write", "path", path), table_text(rows).encode())


def check_label(function: str, label: str, label_delim: str) -> str:
    """Return a label that can stand in a table.

    Examples
    --------
    >>> check_label("label", "polar bear", " ")
    Traceback (most recent call last):
    ...
    ValueError: label: `label` must be a text on one line without the delimiter ' ', got \
'polar bear'; choose another label_delim
    """
    good = isinstance(label, str) and label == label.strip() and label and label.isprintable()
    if not good or label_delim in label:
        raise ValueError(
            f"{function}: `label` must be a text on one line without the delimiter "
            f"{label_delim!r}, got {label!r}; choose another label_delim"
        )
    return label


def check_delim(function: str, label_delim: str) -> str:
    """Return a delimiter of labels.

    Examples
    --------
    >>> check_delim("label", "")
    Traceback (most recent call last):
    ...
    ValueError: label: `label_delim` must be a text that is not empty, got ''
    """
    if not isinstance(label_delim, str) or not label_delim or not label_delim.isprintable():
        raise ValueError(
            f"{function}: `label_delim` must be a text that is not empty, got {label_delim!r}"
        )
    return label_delim


def read_table(path: StrPath, label_delim: str = " ") -> LabelTable:
    """Read a table of labels.

    Parameters
    ----------
    path : path or str
    label_delim : str

    Returns
    -------
    LabelTable

    Raises
    ------
    FileNotFoundError
    ValueError
        It is no regular file, no table in UTF-8, has no columns ``fname`` and ``labels``, two rows
        of one file, or a row with more cells than there are columns.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "labels.csv"
    >>> LabelTable({"1.jpg": ["sea", "sky"], "2.jpg": []}).write(file)
    >>> read_table(file).rows
    {'1.jpg': ['sea', 'sky'], '2.jpg': []}
    """
    path = check_path("read_table", "path", path)
    table = LabelTable(label_delim=check_delim("read_table", label_delim))
    with open_table(path, "read_table", "utf-8-sig") as file:
        try:
            lines = csv.DictReader(file)
            columns = lines.fieldnames or []
            if FNAME not in columns or LABELS not in columns:
                raise ValueError(f"columns {', '.join(columns) or 'that are missing'}")
            for cells in lines:
                _add_row(table, cells)
        except (UnicodeDecodeError, csv.Error, ValueError) as error:
            raise ValueError(
                f"read_table: `path` must be a table with columns {FNAME} and {LABELS}, got "
                f"{str(path)!r} ({error})"
            ) from None
    return table


def _add_row(table: LabelTable, cells: dict[Any, Any]) -> None:
    """Add a row as `csv.DictReader` gives it; one that would be lost is an error."""
    fname, labels = cells.pop(FNAME) or "", cells.pop(LABELS) or ""
    if None in cells:
        raise ValueError(f"the row of {fname!r} has more cells than there are columns")
    if fname in table.rows:
        raise ValueError(f"there are two rows of {fname!r}")
    table.rows[fname] = [o for o in map(str.strip, labels.split(table.label_delim)) if o]
    table.others[fname] = {column: cell or "" for column, cell in cells.items()}


def table_of_folders(
    path: StrPath, label_delim: str = " ", max_distance: int = MAX_DISTANCE
) -> LabelTable:
    """Make the table of photos in folders named by their label.

    What looks alike is one row, with the labels of all folders that it is in: that is how a photo
    that a search found for two labels gets both.

    Parameters
    ----------
    path : path or str
    label_delim : str
    max_distance : int
        As in `find_duplicates`.

    Returns
    -------
    LabelTable

    Examples
    --------
    ``table_of_folders("bears").write("bears/labels.csv")``
    """
    path = check_path("table_of_folders", "path", path)
    table = LabelTable(label_delim=check_delim("table_of_folders", label_delim))
    files = get_image_files(path)
    found = find_duplicates(files, max_distance)
    labels, extras = {group[0]: group_labels(group) for group in found.groups}, set(found.extras())
    for fn in files:
        if fn not in extras:
            table.rows[fn.relative_to(path).as_posix()] = labels.get(fn, [parent_label(fn)])
    return table
