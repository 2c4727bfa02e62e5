"""The folder of a run's finished parts: what a driver that was killed goes on from, and what the output is made of."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnncli.cluster.entries import Entry
from cnncli.cluster.parts import Part
from cnncli.errors import UsageError
from cnncli.io.atomic import make_folders, output_file
from cnncli.run.checkpoint import RecordFile, read_records
from cnncli.run.merge import SAME

JOB, LOCK = "job.json", "lock"
NAME = re.compile(r"(\d{12})-(\d{12})\.jsonl")  # first input and the one after the last
WAY_OUT = "; make room there and go on with --resume"
OF_ONE_RUN = tuple(key for key in SAME if key != "inputs")


class PartFolder:
    """Files of records, each of a range of inputs and written as a whole. One run at a time: it is locked."""

    def __init__(self, path: Path, job: dict[str, Any], resume: bool, overwrite: bool):
        if path.exists() and not (path / JOB).is_file() and any(path.iterdir()):
            raise UsageError(f"{path}: is not a folder of parts; choose another place with --parts")
        self.path = path
        make_folders(path)
        if self.done() and not (resume or overwrite):
            raise UsageError(f"{path}: holds parts of a run; go on with --resume, or give --overwrite to start again")
        self._lock = RecordFile(path / LOCK, resume=True, overwrite=False)
        if not resume:
            for stretch in self.done():
                self._file(stretch.start, stretch.stop).unlink()
        self._begin(json.loads(json.dumps(job, default=str)))

    def _begin(self, job: dict[str, Any]) -> None:
        """Note what the parts are made with. UsageError where some are there that were made with something else."""
        file = self.path / JOB
        if self.done():
            with contextlib.suppress(OSError, ValueError):
                if json.loads(file.read_text()) == job:
                    return
            raise UsageError(f"{self.path}: was made with another task or other options; repeat them, or start again")
        with output_file(file) as written:
            written.write(json.dumps(job).encode())

    def done(self) -> list[range]:
        """The ranges that have their records, in order."""
        if not self.path.is_dir():
            return []
        names = (NAME.fullmatch(path.name) for path in self.path.iterdir())
        return sorted((range(int(name[1]), int(name[2])) for name in names if name), key=lambda one: one.start)

    def write(self, part: Part, lines: bytes) -> None:
        with output_file(self._file(part.start, part.stop), WAY_OUT) as file:
            file.write(lines)

    def check(self, stretch: range, entries: list[Entry]) -> None:
        """UsageError where a range's records are not those of these entries."""
        then = [record["file"] for record in read_records(self._file(stretch.start, stretch.stop))]
        if then != [entry.file for entry in entries]:
            raise UsageError(
                f"{self.path}: inputs {stretch.start} to {stretch.stop - 1} are not those of its records; "
                "the inputs have changed"
            )

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all parts, in the order of the inputs. Holds one.

        UsageError where one is missing or there twice, or where workers had other models or options.
        """
        expected = 0
        first: dict[str, Any] | None = None
        for stretch in self.done():
            path = self._file(stretch.start, stretch.stop)
            for record in read_records(path):
                first = first or record
                if record["index"] != expected:
                    raise UsageError(
                        f"{path}: begins with input {record['index']} where {expected} is due; start again"
                    )
                _check_same(first, record, path)
                expected += 1
                yield record
            if expected != stretch.stop:
                raise UsageError(f"{path}: holds records up to input {expected - 1}, not to its end; delete it")

    def close(self) -> None:
        """Leave the folder to another run; without a finished part it goes."""
        if not self.done():
            self.remove()
        self._lock.close()

    def remove(self) -> None:
        """Delete the folder: what is made of its parts is there."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, start: int, stop: int) -> Path:
        return self.path / f"{start:012d}-{stop:012d}.jsonl"


def _check_same(first: dict[str, Any], record: dict[str, Any], path: Path) -> None:
    for key in OF_ONE_RUN:
        if record[key] != first[key]:
            raise UsageError(
                f"{path}: its {key} is {record[key]}, another part's {first[key]}: the machines do not hold the same"
            )
