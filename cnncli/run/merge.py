"""Joins the records of shards, in order, and proves that they are complete."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnncli.errors import UsageError
from cnncli.run.checkpoint import read_records

SAME = ("schema", "model", "weights_sha256", "engine", "run", "inputs")


def merge(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The records of all shards in the order of the inputs, without their shard's name.

    UsageError at the first record that is missing, given twice, or of another run; the number of inputs that
    every sharded record states must be reached. Holds one record per file.
    """
    expected = 0
    first: dict[str, Any] | None = None
    streams = [((record["index"], number, record) for record in _sharded(path)) for number, path in enumerate(paths)]
    for index, number, record in heapq.merge(*streams, key=lambda entry: entry[:2]):
        first = first or record
        _check_same(first, record, paths[number])
        if index < expected:
            raise UsageError(f"{paths[number]}: input {index} ({record['file']}) is there twice; merge each shard once")
        if index > expected:
            raise UsageError(_missing(expected, record))
        expected += 1
        yield {key: value for key, value in record.items() if key not in ("shard", "inputs")}
    if first is None:
        raise UsageError("there are no records to merge")
    if expected != first["inputs"]:
        raise UsageError(_missing(expected, first))


def _sharded(path: Path) -> Iterator[dict[str, Any]]:
    for record in read_records(path):
        if "shard" not in record:
            raise UsageError(f"{path}: was not made with --shard, so its number of inputs is not known")
        yield record


def _check_same(first: dict[str, Any], record: dict[str, Any], path: Path) -> None:
    for key in SAME:
        if record[key] != first[key]:
            raise UsageError(f"{path}: its {key} is {record[key]}, another shard's {first[key]}: not of one run")


def _missing(index: int, record: dict[str, Any]) -> str:
    count = int(record["shard"].partition("/")[2])
    return (
        f"input {index} of {record['inputs']} has no record: shard {index % count}/{count} is missing or "
        "not finished; run it again with --resume"
    )
