"""Rich tables of results for a terminal."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cnncli.cli.streams import printable
from cnncli.results.classify import Classification, Embedding
from cnncli.results.denoise import Denoised
from cnncli.results.detect import Detection, Detections
from cnncli.results.explain import Explanation
from cnncli.results.record import Record
from cnncli.results.segment import Instance, Segmentation
from cnncli.results.sobel import Gradient
from cnncli.results.verify_face import PhotoFaces, Recognition, Verification


def single(record: Record, result: Any) -> Table:
    """All that was found in one input."""
    table = Table(title=_title(record), title_justify="left", box=SIMPLE_HEAD, title_style="bold")
    if isinstance(result, Classification):
        _add_parts(table, "score", [(entry.label, entry.score) for entry in result.classes])
    elif isinstance(result, Segmentation) and result.instances:
        _add_boxes(table, result.instances)
    elif isinstance(result, Segmentation) and result.segments:
        _add_parts(table, "of the photo", [(entry.label, entry.fraction) for entry in result.segments])
    elif isinstance(result, Detections) and result.detections:
        _add_boxes(table, result.detections)
    elif isinstance(result, Recognition):
        _add_people(table, result)
    elif isinstance(result, PhotoFaces) and result.found:
        _add_faces(table, result)
    else:
        table.add_column("result")
        table.add_row(_summary(record, result))
    return table


def _add_parts(table: Table, heading: str, parts: Sequence[tuple[str, float]]) -> None:
    """Labels with parts of 1, in numbers and as bars."""
    table.add_column("label")
    table.add_column(heading, justify="right")
    table.add_column("", min_width=20)
    for label, part in parts:
        table.add_row(Text(label), f"{part:.1%}", ProgressBar(total=1.0, completed=part, width=20))


def _add_boxes(table: Table, entries: Sequence[Detection | Instance]) -> None:
    for name in ("label", "score", "x", "y", "width", "height"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for entry in entries:
        table.add_row(Text(entry.label), f"{entry.score:.1%}", *(f"{value:.0f}" for value in entry.bbox))


def _add_people(table: Table, result: Recognition) -> None:
    for name in ("person", "distance", "same"):
        table.add_column(name, justify="right" if name == "distance" else "left")
    for entry in result.matches:
        table.add_row(Text(printable(entry.identity)), f"{entry.distance:.3f}", "yes" if entry.verified else "no")


def _add_faces(table: Table, result: PhotoFaces) -> None:
    for name in ("score", "x", "y", "width", "height"):
        table.add_column(name, justify="right")
    for face in result.found:
        table.add_row(f"{face.score:.1%}", *(f"{value:.0f}" for value in face.bbox))


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
    if isinstance(result, Verification):
        return _verdict(record, result)
    if isinstance(result, Recognition):
        best = result.matches[0]
        known = printable(best.identity) if best.verified else f"nobody known (nearest: {printable(best.identity)})"
        return Text(f"{known}, distance {best.distance:.3f}")
    if isinstance(result, PhotoFaces):
        return Text(f"{len(result.found)} face{'' if len(result.found) == 1 else 's'}")
    if isinstance(result, Segmentation):
        return Text(", ".join(f"{entry.label} {entry.fraction:.0%}" for entry in result.segments) or "nothing")
    if isinstance(result, Denoised):
        return Text(f"noise level {result.sigma:.1f}{_quality(record)}{_written(record)}")
    if isinstance(result, Gradient):
        return Text(f"{result.least:g} to {result.most:g}, mean {result.mean:.4g}{_written(record)}")
    if isinstance(result, Explanation):
        return Text(f"{printable(result.summary)}{_written(record)}")
    return Text(str(result))


def _verdict(record: Record, result: Verification) -> Text:
    word, colour = ("same person as", "green") if result.match.verified else ("another person than", "yellow")
    sizes = f"{result.metric} distance {result.match.distance:.3f}, threshold {result.threshold:.3f}"
    return Text(word, style=colour) + Text(f" {printable(record.extra['file2'])}: {sizes}", style="default")


def _quality(record: Record) -> str:
    """PSNR against the clean photo, where there is one."""
    if "psnr" not in record.extra:
        return ""
    before, after = record.extra["psnr_before"], record.extra["psnr"]
    shown = [f"{value:.2f}" if value is not None else "equal" for value in (before, after)]
    return f", {shown[0]} -> {shown[1]} dB"


def _written(record: Record) -> str:
    path = record.extra.get("output")
    return f", {printable(path)}" if path else ", nothing written (see --out)"
