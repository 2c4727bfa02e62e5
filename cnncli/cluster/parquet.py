"""Records as a Parquet table: one column a key, with the types that the schema of the task's record states."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from cnncli.cluster.packages import import_pyarrow
from cnncli.results.schema import schema

ROWS_AT_ONCE = 8192  # of a row group
NEVER_WRITTEN = ("crops", "skipped", "frame", "seconds", "shard", "inputs", "ms")  # by a run of this kind
Schema = dict[str, Any]


def write_parquet(file: BinaryIO, task: str, records: Iterable[dict[str, Any]]) -> None:
    """Write records to an open file, some thousand at a time. A key that a record does not have is null.

    What the schema leaves open is JSON text. Names that are not UTF-8 keep their odd bytes as \\udcXX.
    """
    pyarrow, parquet = import_pyarrow("pyarrow"), import_pyarrow("pyarrow.parquet")
    columns = {key: part for key, part in schema(task)["properties"].items() if key not in NEVER_WRITTEN}
    table_schema = pyarrow.schema([(key, arrow_type(part)) for key, part in columns.items()])
    with parquet.ParquetWriter(file, table_schema, compression="zstd") as writer:
        for group in _groups(records):
            rows = [{key: fitted(record.get(key), part) for key, part in columns.items()} for record in group]
            writer.write_table(pyarrow.Table.from_pylist(rows, table_schema))


def arrow_type(part: Schema) -> Any:
    """The Arrow type of what a part of a JSON Schema describes; text where that is left open."""
    pyarrow = import_pyarrow("pyarrow")
    plain = {"integer": pyarrow.int64(), "number": pyarrow.float64(), "boolean": pyarrow.bool_()}
    kind = _kind(part)
    if kind == "array" and "items" in part:
        return pyarrow.list_(arrow_type(part["items"]))
    if kind == "object" and "properties" in part:
        return pyarrow.struct([(key, arrow_type(inner)) for key, inner in part["properties"].items()])
    return plain.get(kind, pyarrow.string())


def fitted(value: Any, part: Schema) -> Any:
    """A value of a record as the column of its part takes it."""
    kind = _kind(part)
    if value is None or kind in ("integer", "number", "boolean"):
        return value
    if kind == "array" and "items" in part:
        return [fitted(inner, part["items"]) for inner in value]
    if kind == "object" and "properties" in part:
        return {key: fitted(inner, part["properties"][key]) for key, inner in value.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _kind(part: Schema) -> str:
    """The one type that a part allows beside null; "" where it allows several or states none."""
    stated = part.get("type", "")
    kinds = [stated] if isinstance(stated, str) else [kind for kind in stated if kind != "null"]
    return kinds[0] if len(kinds) == 1 else ""


def _groups(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for record in records:
        group.append(record)
        if len(group) == ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
