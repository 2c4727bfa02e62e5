"""Rich tables of results for a terminal."""

from collections import Counter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cnncli.cli.streams import printable
from cnncli.results import Classification, Detections, Embedding, Record


def single(record: Record, result: Any) -> Table:
    """All that was found in one input."""
    table = Table(title=_title(record), title_justify="left", box=SIMPLE_HEAD, title_style="bold")
    if isinstance(result, Classification):
        table.add_column("label")
        table.add_column("score", justify="right")
        table.add_column("", min_width=20)
        for entry in result.classes:
            bar = ProgressBar(total=1.0, completed=entry.score, width=20)
            table.add_row(Text(entry.label), f"{entry.score:.1%}", bar)
        return table
    if isinstance(result, Detections):
        for name in ("label", "score", "x", "y", "width", "height"):
            table.add_column(name, justify="left" if name == "label" else "right")
        for entry in result.detections:
            table.add_row(Text(entry.label), f"{entry.score:.1%}", *(f"{value:.0f}" for value in entry.bbox))
        if result.detections:
            return table
        table = Table(title=_title(record), title_justify="left", box=SIMPLE_HEAD, title_style="bold")
    table.add_column("result")
    table.add_row(_summary(record, result))
    return table


def many(rows: list[tuple[Record, Any]], header: bool, width: int) -> Table:
    """One line per input, in columns that keep their width from one part of a long table to the next."""
    table = Table(box=SIMPLE_HEAD, show_header=header, expand=True, pad_edge=False)
    file_width = width * 2 // 5
    table.add_column("file", width=file_width)
    table.add_column("result", overflow="fold")
    for record, result in rows:
        table.add_row(Text(_end(_name(record), file_width)), _summary(record, result))
    return table


def _end(text: str, width: int) -> str:
    """The end of a text that is too long: of a path, the name tells more than the folders."""
    while cell_len(text) > width:
        text = "…" + text[2:]
    return text


def _title(record: Record) -> Text:
    size = f"  {record.width} x {record.height}" if record.width else ""
    return Text(_name(record) + size)


def _name(record: Record) -> str:
    frame = record.extra.get("frame")
    return printable(record.file) + (f" [{frame}]" if frame is not None else "")


def _summary(record: Record, result: Any) -> Text:
    if record.extra.get("skipped"):
        return Text("skipped, its output exists", style="dim")
    if not record.ok:
        return Text(printable(record.failure or ""), style="red")
    if isinstance(result, Classification):
        return Text(", ".join(f"{entry.label} {entry.score:.1%}" for entry in result.classes[:3]))
    if isinstance(result, Detections):
        counts = Counter(entry.label for entry in result.detections)
        return Text(", ".join(f"{count} {label}" for label, count in counts.items()) or "nothing")
    if isinstance(result, Embedding):
        return Text(f"{len(result.features)} features")
    return Text(str(result))
