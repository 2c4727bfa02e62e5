"""Records files: the output of a run and its checkpoint in one."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cnncli.config import Shard
from cnncli.errors import UsageError
from cnncli.io.lines import to_line, write_all
from cnncli.results.record import Run
from cnncli.run.items import Item

RECORD_START = b'{"schema": "cnncli.'  # of every line


class RecordFile:
    """A file of records, one a line, each written as a whole. One run at a time: it is locked."""

    def __init__(self, path: Path, resume: bool, overwrite: bool):
        if path.is_file() and path.stat().st_size and not (resume or overwrite):
            raise UsageError(f"{path}: exists; go on with --resume, or give --overwrite to start again")
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UsageError(f"{path}: can't be written ({error.strerror})") from error
        self._lock()
        if overwrite and not resume and path.is_file():
            os.ftruncate(self._descriptor, 0)

    def _lock(self) -> None:
        if not self.path.is_file():  # /dev/stdout, /dev/full, a pipe: of everybody
            return
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise UsageError(f"{self.path}: another run is writing it; wait for its end") from error
        except OSError:  # a file system without locks
            pass

    def repair(self) -> None:
        """Cut off a last line that was not written to its end. UsageError where the file is none of records."""
        size = _whole_lines(self.path)
        with open(self.path, "rb") as file:
            start = file.read(len(RECORD_START))
            file.seek(size)
            tail = file.read(len(RECORD_START))
        torn = bool(tail) and RECORD_START.startswith(tail[: len(RECORD_START)])
        if not RECORD_START.startswith(start) or (tail and not torn):
            raise UsageError(f"{self.path}: is not a file of records; nothing was changed")
        if size:
            next(read_records(self.path))
        if torn:
            os.ftruncate(self._descriptor, size)

    def write(self, record: dict[str, Any]) -> None:
        write_all(self._descriptor, to_line(record), str(self.path))

    def close(self) -> None:
        os.close(self._descriptor)


def _whole_lines(path: Path) -> int:
    """The number of bytes up to the last end of a line."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            position = file.read(end - start).rfind(b"\n")
            if position >= 0:
                return start + position + 1
            end = start
    return 0


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, one at a time. UsageError where a line is none."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    record["file"], record["index"], record["run"]
                except (ValueError, KeyError, TypeError) as error:
                    if not line.endswith(b"\n"):
                        raise UsageError(
                            f"{path}: line {number} was not written to its end; finish that run with --resume"
                        ) from error
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
        then, now = (record["file"], record.get("file2")), (item.file, item.extra.get("file2"))
        if record["index"] != item.index or then != now:
            names = (" and ".join(name for name in pair if name) for pair in (then, now))
            raise UsageError(
                "{}: record {} is of {}, but input {} is now {}; the inputs have changed".format(
                    self.path, record["index"], next(names), item.index, next(names)
                )
            )
