"""Pairs of photos: is it the same person? Each photo is looked at once, however many pairs it is in."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from cnncli.config import RunConfig, Shard
from cnncli.errors import InputError, UsageError
from cnncli.imaging.draw_faces import draw_comparison
from cnncli.io.images import Photo, read_file, read_stream
from cnncli.io.pictures import Picture
from cnncli.io.sources import STDIN, Input, SourceOptions
from cnncli.results.record import Record
from cnncli.results.verify_face import PhotoFaces, Verification
from cnncli.run.items import Item
from cnncli.run.pipeline import Outcome
from cnncli.run.runner import record_of, run_items
from cnncli.run.session import Session
from cnncli.tasks.verify_face import Judge

LAYOUT = "a CSV with two names in each line, or with a first line that names its columns, such as img1,img2,same"
HEADINGS = (("img1", "img2"), ("file1", "file2"), ("image1", "image2"), ("file", "file2"), ("a", "b"))
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
NO_FACE = "no face found in it; see --conf"


@dataclass(frozen=True)
class PairOutcome(Outcome):
    """`is_faceless`: the photo that the failure names was read, and shows no face."""

    is_faceless: bool = False


@dataclass(frozen=True)
class Pair:
    first: str
    second: str
    same: bool | None = None  # what a labelled file says


class PairSources:
    """The photos of pairs, as far as a run asks its sources."""

    is_stream = False
    options = SourceOptions()

    def __init__(self, pairs: Sequence[Pair]):
        self.pairs = pairs

    def __iter__(self) -> Iterator[Input]:
        files = dict.fromkeys(file for pair in self.pairs for file in (pair.first, pair.second))
        return (Input(file, os.path.dirname(file)) for file in files if file != STDIN)


def read_pairs(path: Path, folder: Path | None) -> list[Pair]:
    """The pairs of a CSV; names are looked for in `folder`, or beside the CSV. UsageError where it has none."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [(reader.line_num, [cell.rstrip() for cell in row]) for row in reader if any(row)]
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read ({getattr(error, 'strerror', error)}); expected {LAYOUT}") from error
    columns = _columns(rows[0][1]) if rows else None
    rows = rows[1:] if columns else rows
    if not rows:
        raise UsageError(f"{path}: has no pairs; expected {LAYOUT}")
    root = folder or path.parent
    return [_pair(path, line, row, columns or (0, 1, None), root) for line, row in rows]


def _columns(heading: list[str]) -> tuple[int, int, int | None] | None:
    """The numbers of the columns of both names and of the truth; None where the line names no columns."""
    names = [cell.lower() for cell in heading]
    for first, second in HEADINGS:
        if first in names and second in names:
            return names.index(first), names.index(second), names.index("same") if "same" in names else None
    return None


def _pair(path: Path, line: int, row: list[str], columns: tuple[int, int, int | None], root: Path) -> Pair:
    first, second, truth = (row[column] if column is not None and column < len(row) else "" for column in columns)
    if not first or not second:
        raise UsageError(f"{path}: line {line} has no two names; expected {LAYOUT}")
    if columns[2] is not None and truth.lower() not in TRUTHS:
        raise UsageError(f"{path}: line {line} says '{truth}' in the column 'same'; write 1 or 0")
    return Pair(os.path.join(root, first), os.path.join(root, second), TRUTHS.get(truth.lower()))


def pair_items(pairs: Sequence[Pair], shard: Shard = RunConfig.shard) -> Iterator[Item]:
    """An item for every pair of a shard; its photos are loaded by `verify`."""
    numbered = ((index, pair) for index, pair in enumerate(pairs) if shard.has(index))
    return (Item(index, Input(pair.first, ""), _nothing, {"file2": pair.second}) for index, pair in numbered)


def _nothing() -> Photo:
    raise InputError("a pair is no photo")


def verify(
    session: Session, items: Iterable[Item], config: RunConfig, total: int | None = None, timings: bool = False
) -> Iterator[tuple[Record, Outcome]]:
    """The records of pairs, in their order. A pair fails where one of its photos can't be read, or shows no face."""
    waiting = list(items)
    files = dict.fromkeys(file for item in waiting for file in (item.file, item.extra["file2"]))
    run = replace(session, run=replace(session.run, result_key="verified"))
    if session.devices and STDIN in files:  # read here, or the process that reads it would be the only one to have it
        with suppress(InputError):  # whoever reads it next is told the same
            content_of(STDIN, config.max_pixels)
    known: dict[str, Outcome] = {}
    position = 0
    for _, outcome in run_items(session, _photo_items(files, session.task.decode, config), config):
        known[outcome.item.file] = outcome
        while position < len(waiting) and _is_ready(waiting[position], known):
            judged = _judged(session.task.judge, waiting[position], known)
            yield record_of(run, judged, config.shard, total, timings), judged
            position += 1


def _is_ready(item: Item, known: dict[str, Outcome]) -> bool:
    return item.file in known and item.extra["file2"] in known


def _photo_items(files: Iterable[str], decode: Callable[[bytes, int], Photo], config: RunConfig) -> Iterator[Item]:
    for index, file in enumerate(files):
        yield Item(index, Input(file, ""), partial(_load, file, decode, config.max_pixels))


def _load(file: str, decode: Callable[[bytes, int], Photo], max_pixels: int) -> Photo:
    return decode(content_of(file, max_pixels), max_pixels)


def content_of(file: str, max_pixels: int) -> bytes:
    """A file's bytes; those of standard input are kept, for it can be read once."""
    return _stdin(max_pixels) if file == STDIN else read_file(file, max_pixels)


@cache
def _stdin(max_pixels: int) -> bytes:
    return read_stream(sys.stdin.buffer, max_pixels)


def _judged(judge: Judge, item: Item, known: dict[str, Outcome]) -> PairOutcome:
    names = item.file, item.extra["file2"]
    sides = [known[name] for name in names]
    first = sides[0]
    failure, is_faceless = next(filter(None, map(_failure, names, sides)), (None, False))
    result = None
    if failure is None:
        result = Verification(judge.nearest(*(side.result for side in sides)), judge.threshold, judge.metric)
    ms = {stage: sum(side.ms[stage] for side in sides) for stage in first.ms}
    bug = next((side.bug for side in sides if side.bug), None)
    size = {"width": first.width, "height": first.height, "orientation": first.orientation}
    return PairOutcome(item, failure, result, **size, ms=ms, bug=bug, is_faceless=is_faceless)


def _failure(name: str, outcome: Outcome) -> tuple[str, bool] | None:
    """Why a photo can't be compared, and whether that is for want of a face; None where it can."""
    if outcome.failure is not None:
        return f"{name}: {outcome.failure}", False
    return None if has_faces(outcome.result) else (f"{name}: {NO_FACE}", True)


def has_faces(result: PhotoFaces | None) -> bool:
    return result is not None and bool(result.chosen)


def comparison(record: Record, result: Verification, model: str, decode: Any, max_pixels: int) -> Picture:
    """Both faces beside each other, with the verdict; their photos are read again."""
    names = record.file, record.extra["file2"]
    photos = [decode(content_of(name, max_pixels), max_pixels) for name in names]
    faces = result.match.first, result.match.second
    sides = [(photo.pixels, face.bbox, face.points) for photo, face in zip(photos, faces, strict=True)]
    word = "same person" if result.match.verified else "different persons"
    sign = "<=" if result.match.verified else ">"
    verdict = f"{word}: {result.metric} distance {result.match.distance:.3f} {sign} {result.threshold:.3f} ({model})"
    return Picture(draw_comparison(sides, names, verdict, result.match.verified))
