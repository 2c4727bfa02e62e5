"""Tables of file names: Parquet, JSON lines or CSV, read row by row."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnncli.cluster.entries import Entry, entries_of
from cnncli.cluster.packages import import_pyarrow
from cnncli.errors import UsageError
from cnncli.io.sources import Input

ROWS_AT_ONCE = 4096


def manifest_entries(path: Path, column: str) -> Iterator[Entry]:
    """The entries that a column of a table names; a row without a name is a failed one.

    UsageError where the table can't be read, has no such column or no rows.
    """
    number = 0
    for number, value in enumerate(_values(path, column), 1):
        if isinstance(value, str) and value:
            yield from entries_of([Input(value, "")])
        else:
            yield Entry("", failure=f"row {number} of {path} has no name in its column '{column}'")
    if not number:
        raise UsageError(f"{path}: has no rows")


def _values(path: Path, column: str) -> Iterator[Any]:
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"--manifest {path}: give a .parquet, .jsonl or .csv file")
    try:
        yield from reader(path, column)
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror or error})") from error
    except ValueError as error:  # of decoders of any kind; pyarrow's errors are such too
        raise UsageError(f"{path}: is not the table that its ending says ({error})") from error


def _parquet(path: Path, column: str) -> Iterator[Any]:
    parquet = import_pyarrow("pyarrow.parquet")
    with parquet.ParquetFile(path) as file:
        _check(path, column, file.schema_arrow.names)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[column]):
            yield from batch.column(0).to_pylist()


def _json_lines(path: Path, column: str) -> Iterator[Any]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if number == 0:
                _check(path, column, list(row))
            yield row.get(column)


def _csv(path: Path, column: str) -> Iterator[Any]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        _check(path, column, list(rows.fieldnames or []))
        for row in rows:
            yield row[column]


def _check(path: Path, column: str, names: list[str]) -> None:
    if column not in names:
        raise UsageError(f"{path}: has no column '{column}'; --column takes one of {', '.join(names) or 'none'}")
