"""Lines of records files, each with the place that it was read from."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cnncli.catalog import EXPLANATIONS, TASKS
from cnncli.errors import UsageError

STDIN = "-"
RECORD_START = b'{"schema": "cnncli.'  # of every line that a run writes
TASK_OF_SCHEMA = {f"cnncli.{task}/1": task for task in (*TASKS, *(f"explain-{way}" for way in EXPLANATIONS))}
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """A record of `task`, and where it stands: the name of its file (None: standard input) and the line from 1."""

    record: dict[str, Any]
    task: str
    source: str | None
    line: int

    @property
    def folder(self) -> Path | None:
        return None if self.source is None else Path(self.source).parent

    @property
    def place(self) -> str:
        return f"{self.source or 'standard input'}: line {self.line}"


def read_all(names: Sequence[str], tell: Tell) -> Iterator[Recorded]:
    """The records of all files in their order. UsageError where a file holds none, or a line is none.

    A last line that an unfinished run did not write to its end is left out, and `tell` is told so.
    """
    for name in names:
        found = False
        for recorded in _read(None if name == STDIN else name, tell):
            found = True
            yield recorded
        if not found:
            raise UsageError(f"{'standard input' if name == STDIN else name}: holds no records; see --records of a run")


def count_lines(names: Sequence[str]) -> int | None:
    """About how many records there are; None where a pipe is among the files, which can be read only once."""
    if not all(os.path.isfile(name) for name in names):
        return None
    total = 0
    for name in names:
        with _open(name) as file:
            total += sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return total


def _read(source: str | None, tell: Tell) -> Iterator[Recorded]:
    with nullcontext(sys.stdin.buffer) if source is None else _open(source) as file:
        for number, line in enumerate(file, 1):
            recorded = _parse(line, source, number)
            if recorded is not None:
                yield recorded
            elif not line.endswith(b"\n") and line.startswith(RECORD_START[: len(line)]):
                tell(f"{source or 'standard input'}: its last line is cut short (an unfinished run?) and is left out")
            else:
                where = f"{source or 'standard input'}: line {number}"
                raise UsageError(f"{where} is not a record of cnncli; give files that --records wrote")


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    try:
        return open(name, "rb")
    except OSError as error:
        raise UsageError(f"{name}: can't be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{name!r}: no such file") from error


def _parse(line: bytes, source: str | None, number: int) -> Recorded | None:
    """None where a line is no record of a known task."""
    try:
        record = json.loads(line, parse_constant=_refuse)
        task = TASK_OF_SCHEMA[record["schema"]]
        known = isinstance(record["file"], str) and isinstance(record["ok"], bool)
        known = known and isinstance(record.get("frame", 0), int)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Recorded(record, task, source, number) if known else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
