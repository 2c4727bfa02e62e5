"""A whole run in a cluster: entries in, parts done by a crew, one file of records out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.cluster.connection import Share, Wish, connected
from cnncli.cluster.crew import Crew, Notify
from cnncli.cluster.entries import Entry
from cnncli.cluster.parquet import write_parquet
from cnncli.cluster.part_files import PartFolder
from cnncli.cluster.parts import PartQueue, sized, unfinished
from cnncli.errors import UsageError
from cnncli.io.atomic import output_file
from cnncli.io.lines import to_line
from cnncli.run.predictor import Predictor

FORMATS = ("jsonl", "parquet")
WAY_OUT = "; the finished parts stay, and --resume goes on"


@dataclass(frozen=True)
class Job:
    """What is asked: a task with a Predictor's `options`, done by workers in a cluster as the `wish` says.

    UsageError, as a Predictor raises it, where the options don't fit the task.
    """

    task: str
    options: dict[str, Any]
    wish: Wish
    address: str
    part_size: int | None = None

    def __post_init__(self) -> None:
        Predictor(self.task, **self.options)
        if self.part_size is not None and self.part_size < 1:
            raise UsageError(f"--part-size {self.part_size}: give at least 1")

    @property
    def identity(self) -> dict[str, Any]:
        """What the records depend on."""
        return {"task": self.task, "options": self.options}


@dataclass(frozen=True)
class Progress:
    """`inputs` more have their records, those that failed with a sentence each."""

    inputs: int
    failures: tuple[str, ...]


def run_parts(job: Job, entries: Iterator[Entry], folder: PartFolder, notify: Notify) -> Iterator[Progress]:
    """Do all parts that the folder does not hold yet. CnncliError where the run can't go on; what is done stays."""
    with connected(job.address, job.wish) as share:
        size, entries = (job.part_size, entries) if job.part_size else sized(entries, share.workers)
        crew = Crew(share, (job.task, _placed(job.options, share), os.getcwd()), notify)
        queue = PartQueue(unfinished(entries, size, folder.done(), folder.check))
        for part, answer in crew.answers(queue):
            folder.write(part, answer.lines)
            yield Progress(len(part.entries), answer.failures)


def _placed(options: dict[str, Any], share: Share) -> dict[str, Any]:
    """The options of a worker: it uses the share of its machine that it was given, and no more."""
    own = {"threads": share.cpus, "workers": share.cpus, "device": "cuda" if share.gpus else "cpu"}
    return {**own, **options}


def write_output(path: Path, format: str, task: str, folder: PartFolder) -> tuple[int, int]:
    """Join the parts in one file; the numbers of records and of failures among them."""
    total = failed = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal total, failed
        for record in folder.records():
            total += 1
            failed += not record["ok"]
            yield record

    with output_file(path, WAY_OUT) as file:
        if format == "parquet":
            write_parquet(file, task, counted())
        else:
            for record in counted():
                file.write(to_line(record))
    return total, failed
