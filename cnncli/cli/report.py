"""Records on standard output: lines of JSON, one JSON array, CSV, or a table for people; progress beside it."""

import contextlib
import csv
import io
import json
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from cnncli.cli.streams import STDOUT, out, printable, rendered, say
from cnncli.config import RunConfig
from cnncli.io.lines import to_line
from cnncli.results.record import Record

OPTIONAL_COLUMNS = ("frame", "seconds", "skipped")  # only some records have them, beside the task's written pictures
ROWS_AT_ONCE = 40  # of a table: enough for a screen, few enough that a long run shows them as they come


class Writer(Protocol):
    """A format: `add` each record as it comes (`result` is what its task found), `end` when all have."""

    def add(self, record: Record, result: Any) -> None: ...

    def end(self) -> None: ...


class Nothing:
    """The records go elsewhere (--records), or standard output carries a picture."""

    def add(self, record: Record, result: Any) -> None:
        pass

    def end(self) -> None:
        pass


class JsonLines(Nothing):
    def add(self, record: Record, result: Any) -> None:
        out(to_line(record.as_dict()))


class JsonArray:
    def __init__(self) -> None:
        self._before = b"[\n"

    def add(self, record: Record, result: Any) -> None:
        self._entry(record.as_dict())

    def _entry(self, entry: dict[str, Any]) -> None:
        out(self._before + to_line(entry).rstrip(b"\n"))
        self._before = b",\n"

    def end(self) -> None:
        out(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class Csv(Nothing):
    """One row per input. Lists become columns numbered from 1 (label_1, score_1, label_2 ...), as many as there can be.

    The columns never depend on what the inputs hold: `result_columns` stand in the place of the record's result key.
    """

    def __init__(self, result_key: str, result_columns: Sequence[str], written: Sequence[str]):
        self._key = result_key
        self._result_columns = result_columns
        self._optional = [name for name in (*OPTIONAL_COLUMNS, *written) if name not in result_columns]
        self._columns: list[str] | None = None

    def add(self, record: Record, result: Any) -> None:
        entries = record.as_dict()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self._columns is None:
            head = [key for key in entries if key not in (*self._optional, *self._result_columns[1:])]
            place = head.index(self._key)
            self._columns = [*head[:place], *self._result_columns, *head[place + 1 :], *self._optional]
            writer.writerow(self._columns)
        row = flatten(entries, whole=self._result_columns)
        writer.writerow([row.get(column, "") for column in self._columns])
        out(text.getvalue().encode("utf-8", "surrogateescape"))


class CocoResults(JsonArray):
    """COCO's results file: one entry a detection, the image named by its index (see --images)."""

    def add(self, record: Record, result: Any) -> None:
        for detection in (record.result or {}).get("detections", []):
            entry = {"image_id": record.index, **detection}
            del entry["label"]
            self._entry(entry)


class Counts:
    """The number of objects of each class over all inputs, most frequent first, once all have come."""

    def __init__(self, format: str):
        self._format = format if format != "auto" or _is_terminal(sys.stdout) else "jsonl"
        self._counts: Counter[str] = Counter()

    def add(self, record: Record, result: Any) -> None:
        self._counts.update(entry["label"] for entry in (record.result or {}).get("detections", []))

    def end(self) -> None:
        counts = dict(sorted(self._counts.items(), key=lambda entry: (-entry[1], entry[0])))
        if self._format in ("json", "jsonl"):
            out(to_line(counts))
        elif self._format == "csv":
            out(("label,count\n" + "".join(f"{label},{count}\n" for label, count in counts.items())).encode())
        else:
            out("".join(f"{count:7d}  {label}\n" for label, count in counts.items()).encode())


class Table:
    """A rich table of one row per input; for a single input, one row per label."""

    def __init__(self, progress: Any):
        from rich.console import Console

        self._progress = progress
        self._width = Console().width
        self._rows: list[tuple[Record, Any]] = []
        self._printed = False

    def add(self, record: Record, result: Any) -> None:
        self._rows.append((record, result))
        if len(self._rows) == ROWS_AT_ONCE:
            self._print()

    def end(self) -> None:
        if self._rows:
            self._print()

    def _print(self) -> None:
        from cnncli.cli.tables import many, single

        first_and_last = len(self._rows) == 1 and not self._printed
        table = single(*self._rows[0]) if first_and_last else many(self._rows, not self._printed, self._width)
        self._show(table)
        self._printed = True
        self._rows = []

    def _show(self, table: Any) -> None:
        if self._progress is not None:  # the same terminal: rows pass above the bar
            self._progress.console.print(table)
        else:
            out(rendered(table).encode("utf-8", "replace"))


class Report:
    """A writer and, on a terminal, a progress bar, which messages and rows pass above."""

    def __init__(self, writer: Writer, progress: Any = None, bar: Any = None):
        self._writer = writer
        self._progress = progress
        self._bar = bar

    def add(self, record: Record, result: Any) -> None:
        self._writer.add(record, result)
        if self._progress is not None:
            self._progress.advance(self._bar)

    def message(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(f"cnncli: {printable(text)}", markup=False, highlight=False)
        else:
            say(text)


@contextlib.contextmanager
def open_report(
    format: str, show_progress: bool, inputs: Any, config: RunConfig, task: Any, writer: Writer | None = None
) -> Iterator[Report]:
    """The report of a run: ended properly when the block ends well, its progress bar taken down in any case.

    `inputs` are the sources, or their number. A `writer` takes the place of the format's.
    """
    if format == "auto":
        format = "table" if _is_terminal(sys.stdout) else "jsonl"
    with contextlib.ExitStack() as stack:
        progress = bar = None
        # a bar and data on one terminal, or in a pipe that ends there, would write over each other
        data_apart = (format in ("table", "none") and writer is None) or not (_is_terminal(sys.stdout) or _is_pipe())
        if show_progress and data_apart and _is_terminal(sys.stderr):
            progress = stack.enter_context(_progress_bar())
            bar = progress.add_task("", total=inputs if isinstance(inputs, int) else None)
            if not isinstance(inputs, int):
                _count_meanwhile(progress, bar, inputs, config)
        writer = writer or _writer(format, progress, task)
        yield Report(writer, progress, bar)
        writer.end()


def _writer(format: str, progress: Any, task: Any) -> Writer:
    if format == "table":
        return Table(progress)
    if format == "csv":
        return Csv(task.result_key, task.columns, task.written)
    return {"none": Nothing, "jsonl": JsonLines, "json": JsonArray}[format]()


def _progress_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed or 0:.0f}/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr, highlight=False), transient=True)


def _count_meanwhile(progress: Any, task: Any, sources: Any, config: RunConfig) -> None:
    """Count files in the background for the time left; videos and lists that still arrive have no known end."""
    if sources.is_stream:
        return

    def count() -> None:
        with contextlib.suppress(Exception):
            total = 0
            for source in sources:
                if source.is_video or config.frames == "all":
                    return
                total += 1
            progress.update(task, total=-(-total // config.shard.count))

    threading.Thread(target=count, daemon=True).start()


def flatten(record: dict[str, Any], whole: Sequence[str] = ()) -> dict[str, Any]:
    """A record as one level of columns; a list of entries as numbered ones, unless it is to stay `whole`, as JSON."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        if key not in whole and isinstance(value, list) and value and isinstance(value[0], dict):
            for number, entry in enumerate(value, 1):
                row |= {f"{name}_{number}": _cell(part) for name, part in entry.items()}
        else:
            row[key] = _cell(value)
    return row


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _is_pipe() -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(STDOUT).st_mode)
    except OSError:
        return False


def _is_terminal(stream: Any) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
