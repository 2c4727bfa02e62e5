"""What runs on each machine: a part of the inputs in, its records out, whatever is wrong with one of them."""

from dataclasses import dataclass
from typing import Any

from cnncli import __version__
from cnncli.cluster.entries import image_of
from cnncli.cluster.parts import Part
from cnncli.errors import CnncliError
from cnncli.io.lines import to_line
from cnncli.run.predictor import Predictor


@dataclass(frozen=True)
class Answer:
    """The records of a part, one a line, and a sentence for each that failed."""

    lines: bytes
    failures: tuple[str, ...]


class Worker:
    """Holds a model and answers parts. Names of files that are relative start from `folder`."""

    def __init__(self, task: str, options: dict[str, Any], folder: str):
        self._predictor = Predictor(task, **options)
        self._folder = folder

    def version(self) -> str:
        """The version of this package here, once the worker stands."""
        return __version__

    def answer(self, part: Part) -> Answer | CnncliError:
        """The records of a part, with their index over all inputs; or the error that no other worker will escape."""
        images = (image_of(entry, self._folder) for entry in part.entries)
        try:
            records = self._predictor(images)
        except CnncliError as error:
            return error
        lines, failures = [], []
        for index, (entry, record) in enumerate(zip(part.entries, records, strict=True), part.start):
            record |= {"file": entry.file, "index": index}
            if entry.failure is not None:
                record["failure"] = entry.failure
            if not record["ok"]:
                failures.append(f"{entry.file}: {record['failure']}")
            lines.append(to_line(record))
        return Answer(b"".join(lines), tuple(failures))
