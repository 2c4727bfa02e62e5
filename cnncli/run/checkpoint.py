"""Records files: the output of a run and its checkpoint in one."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cnncli.config import Shard
from cnncli.errors import OutputClosedError, OutputError, UsageError
from cnncli.results import Run
from cnncli.run.items import Item


def to_line(record: dict[str, Any]) -> bytes:
    """A record as one line of JSON in UTF-8; names that are not UTF-8 keep their surrogate escapes as \\udcXX."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, allow_nan=False).encode() + b"\n"


def write_all(descriptor: int, content: bytes, name: str) -> None:
    """Write everything to a file descriptor. OutputClosedError where its reader has gone, OutputError on the rest."""
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError as error:
        raise OutputClosedError(name) from error
    except OSError as error:
        hint = "; free some space and go on with --resume" if error.errno == errno.ENOSPC else ""
        raise OutputError(f"{name}: can't be written ({error.strerror}){hint}") from error


class RecordFile:
    """A file of records, one a line, each written as a whole."""

    def __init__(self, path: Path, resume: bool, overwrite: bool):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if path.exists() and path.is_file() and path.stat().st_size and not resume:
            if not overwrite:
                raise UsageError(f"{path}: exists; go on with --resume, or give --overwrite to start again")
            flags |= os.O_TRUNC
        self.path = path
        try:
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise UsageError(f"{path}: can't be written ({error.strerror})") from error

    def write(self, record: dict[str, Any]) -> None:
        write_all(self._descriptor, to_line(record), str(self.path))

    def close(self) -> None:
        os.close(self._descriptor)


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            start = max(0, keep - (1 << 16))
            file.seek(start)
            position = file.read(keep - start).rfind(b"\n")
            if position >= 0:
                keep = start + position + 1
                break
            keep = start
        if keep != end:
            file.truncate(keep)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, one at a time. UsageError where a line is none."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    record["file"], record["index"], record["run"]
                except (ValueError, KeyError, TypeError) as error:
                    raise UsageError(f"{path}: line {number} is not a record of cnncli") from error
                yield record
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})") from error


class Resumption:
    """Skips what a records file already holds, after proof that it was made by the same run over the same inputs."""

    def __init__(self, path: Path, run: Run, shard: Shard):
        self.path = path
        self.run = run
        self.shard = shard
        self.done = 0
        self.failed = 0

    def remaining(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items without a record yet; the first of them is asked for only when the file has been read."""
        recorded = read_records(self.path)
        for item in items:
            record = next(recorded, None)
            if record is None:
                yield item
                continue
            self._check(record, item)
            self.done += 1
            self.failed += not record["ok"]
        if next(recorded, None) is not None:
            raise UsageError(f"{self.path}: has more records than there are inputs; it is another run's")

    def _check(self, record: dict[str, Any], item: Item) -> None:
        same = {
            "model": self.run.model,
            "weights_sha256": self.run.weights_sha256,
            "engine": self.run.engine,
            "schema": f"cnncli.{self.run.task}/1",
        }
        for key, value in same.items():
            if record.get(key) != value:
                raise UsageError(
                    f"{self.path}: was made with {key} {record.get(key)}, this run has {value}; "
                    "use the same again, or start a new file"
                )
        if record["run"] != self.run.options_digest:
            raise UsageError(f"{self.path}: was made with other options; repeat them, or start a new file")
        if record["index"] != item.index or record["file"] != item.file:
            raise UsageError(
                f"{self.path}: record {record['index']} is of {record['file']}, but input {item.index} is now "
                f"{item.file}; the inputs have changed"
            )
