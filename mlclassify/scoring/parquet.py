"""Files of scores as Parquet, a group of rows at a time; pyarrow is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

_GROUP = 1 << 14  # rows that are written at a time
_ROWS = 1 << 10  # rows that are objects of Python at a time: 20 times as large as their numbers


def check_installed(function: str) -> None:
    """Refuse to go on without pyarrow, in the name of `function`."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{function}: a .parquet file must have pyarrow to write it; pip install "
            "'mlclassify[parquet]', or write a .csv"
        ) from error


def schema_of(columns: dict[str, type]) -> pyarrow.Schema:
    """Return the schema of rows that have these columns, for pyarrow."""
    import pyarrow

    kinds = {str: pyarrow.string(), float: pyarrow.float32()}
    return pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])


def write(file: IO[bytes], columns: dict[str, type], rows: Iterator[dict[str, Any]]) -> None:
    """Write rows of texts and float32 into an open file."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = schema_of(columns)
    with ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def copy(file: IO[bytes], columns: dict[str, type], paths: list[Path]) -> None:
    """Write all rows of other files into an open one."""
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(file, schema_of(columns)) as writer:
        for path in paths:
            for group in _batches(path, _GROUP):
                writer.write_batch(group)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file."""
    for rows in _batches(path, _ROWS):
        yield from rows.to_pylist()


def _batches(path: Path, rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Yield some rows of a file at a time, and hold no more of it than a group of them."""
    from pyarrow.parquet import ParquetFile

    # With pre_buffer all groups are fetched before the first; each thread keeps memory of its own.
    with ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(rows, use_threads=False)
