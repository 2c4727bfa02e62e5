"""From records to a page: pictures are made by several threads, a bounded number at once, and written in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from cnncli.errors import InputError, UsageError
from cnncli.viewer import thumbnails
from cnncli.viewer.entries import DESCRIBERS, Colours, Found, Mark, Shape, View
from cnncli.viewer.frames import FrameCursor
from cnncli.viewer.page import PageWriter
from cnncli.viewer.places import locate, relative_url
from cnncli.viewer.records import STDIN, Recorded

AHEAD = 4  # entries a thread that may wait for their turn: decoded photos are held only by those under way
LONGEST_LIST = 16  # numbers of a record that are shown; more (features) are counted
Json = dict[str, Any]


@dataclass(frozen=True)
class PageOptions:
    """`page` is the file to be; `size` the longest side of a thumbnail in pixels."""

    page: Path
    title: str
    size: int = 256
    photos: Path | None = None
    workers: int = 1


@dataclass(frozen=True)
class Tally:
    entries: int
    unseen: int  # entries with a picture that can't be shown


def write_page(file: BinaryIO, records: Iterable[Recorded], options: PageOptions, advance: Callable[[], None]) -> Tally:
    """Write the page of all records; `advance` is called after each. UsageError where a record is malformed."""
    writer = PageWriter(file, options.title)
    entries = unseen = 0
    for summary, details in _in_order(_jobs(records, options), options.workers):
        writer.add(summary, details)
        entries, unseen = entries + 1, unseen + summary["unseen"]
        advance()
    writer.finish()
    return Tally(entries, unseen)


def _in_order(jobs: Iterator[Callable[[], Any]], workers: int) -> Iterator[Any]:
    """What jobs answer, in their order; a bounded number is under way or waits for its turn."""
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _jobs(records: Iterable[Recorded], options: PageOptions) -> Iterator[Callable[[], tuple[Json, Json]]]:
    """One a record: colours and frames follow the order of the records, pictures are made in any."""
    colours, cursor = Colours(), FrameCursor()
    for recorded in records:
        try:
            found = DESCRIBERS[recorded.task].found(recorded.record, colours)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            way_out = f"'cnncli schema {recorded.task}' says how it should be"
            raise UsageError(f"{recorded.place} is no record of {recorded.task}; {way_out}") from error
        sources = [_source(view.file, recorded, options, cursor) for view in found.views]
        yield partial(_entry, recorded, found, sources, options.size)


@dataclass(frozen=True)
class _Source:
    """How a picture is made; `url` of the file itself, where a browser may show it."""

    make: Callable[[int], thumbnails.Thumbnail]
    url: str | None


def _source(name: str, recorded: Recorded, options: PageOptions, cursor: FrameCursor) -> _Source:
    if name == STDIN:
        return _Source(partial(_refuse, "came by standard input, and is not kept"), None)
    path = locate(name, recorded, options.photos)
    number = recorded.record.get("frame")
    if number is None or name != recorded.record["file"]:
        return _Source(partial(thumbnails.of_file, path), relative_url(path, options.page))
    try:
        return _Source(partial(thumbnails.of_pixels, cursor.pixels(path, number)), None)
    except InputError as error:
        return _Source(partial(_refuse, str(error)), None)


def _refuse(sentence: str, size: int) -> thumbnails.Thumbnail:
    raise InputError(sentence)


def _entry(recorded: Recorded, found: Found, sources: list[_Source], size: int) -> tuple[Json, Json]:
    """The summary and the details of a record, as the page's scripts read them."""
    pairs = zip(found.views, sources, strict=True)
    views = [_view(view, source, size) for view, source in pairs]
    record = recorded.record
    summary = {
        "name": _name(record),
        "task": recorded.task,
        "ok": record["ok"],
        "failure": record.get("failure"),
        "measure": found.measure,
        "marks": [_mark(mark) for mark in found.marks],
        "words": found.words,
        "note": found.note,
        "objects": found.objects,
        "unseen": any(view["picture"] is None for view in views),
    }
    return summary, {"views": views, "compare": found.compare, "record": _readable(record)}


def _name(record: Json) -> str:
    if "file2" in record:
        return f"{record['file']} and {record['file2']}"
    return record["file"] + (f", frame {record['frame']}" if "frame" in record else "")


def _view(view: View, source: _Source, size: int) -> Json:
    base = {"name": view.file, "short": os.path.basename(view.file), "result": view.result}
    try:
        made = source.make(size)
    except InputError as error:
        return {**base, "picture": None, "missing": str(error)}
    try:
        areas = thumbnails.of_areas(view.areas, size)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, MemoryError):
        areas = None
    sides = {"width": made.width, "height": made.height, "url": source.url}
    return {**base, **sides, "picture": made.uri, "areas": areas, "shapes": [_shape(shape) for shape in view.shapes]}


def _mark(mark: Mark) -> list[Any]:
    return [mark.label, mark.score, mark.colour]


def _shape(shape: Shape) -> Json:
    entries = {"label": shape.label, "score": shape.score, "colour": shape.colour}
    return {**entries, "box": shape.box, "points": shape.points}


def _readable(value: Any) -> Any:
    """A record without what nobody reads: run lengths, and long lists of numbers."""
    if isinstance(value, dict):
        if value.keys() == {"size", "counts"}:
            return f"run lengths, {len(str(value['counts']))} characters"
        return {name: _readable(part) for name, part in value.items()}
    if isinstance(value, list):
        if len(value) > LONGEST_LIST and not isinstance(value[0], (dict, list)):
            return f"{len(value)} values"
        return [_readable(part) for part in value]
    return value
