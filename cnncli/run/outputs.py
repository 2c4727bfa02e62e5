"""Where outputs go: one exact path, standard output, or a folder that mirrors the inputs'."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cnncli.config import Shard
from cnncli.errors import UsageError
from cnncli.io.atomic import make_folders, output_file
from cnncli.io.images import Photo
from cnncli.io.lines import write_all
from cnncli.io.pictures import WRITTEN_FORMATS, Picture, can_write, encode
from cnncli.io.sources import VIDEO_SUFFIXES, Input, Sources
from cnncli.run.items import Item
from cnncli.tasks.base import Result

STDOUT = Path("-")
STDOUT_DESCRIPTOR = 1


@dataclass(frozen=True)
class Existing:
    """What to do with outputs that are there already. `resuming`: they are leftovers of the run that goes on.

    Those of inputs outside the `shard` are another run's business. `pages`: each page of a file has its own output.
    """

    overwrite: bool = False
    skip: bool = False
    resuming: bool = False
    shard: Shard = field(default_factory=Shard)
    pages: bool = False

    def __post_init__(self) -> None:
        if self.overwrite and self.skip:
            raise UsageError("--overwrite and --skip-existing contradict each other; give one of them")

    @property
    def refused(self) -> bool:
        return not (self.overwrite or self.skip or self.resuming)


class SingleFile:
    """`--out FILE` for the one input of a run; "-" is standard output."""

    def __init__(self, path: Path, sources: Sources, existing: Existing, option: str = "--out"):
        self.path = path
        self.existing = existing
        inputs = _first_two(sources)
        several = "--out-dir" if option == "--out" else f"a folder, {option} {path.stem or 'pictures'}/,"
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise UsageError(f"{option} {path}: videos are written by 'detect' alone; use --out-dir for the frames")
        if existing.pages or not _is_single(inputs):
            raise UsageError(f"{option} {path}: writes the output of one input; use {several} for several, or a video")
        if path == STDOUT:
            return
        if path.is_dir():
            raise UsageError(f"{option} {path}: is a folder; use --out-dir")
        check_folder(path.parent, option)
        for source in inputs:
            _refuse_input(path, source)
        if path.is_file() and existing.refused:
            raise UsageError(f"{path}: exists; use --overwrite or --skip-existing")

    @property
    def suffix(self) -> str:
        return ".png" if self.path == STDOUT else self.path.suffix

    def path_of(self, item: Item) -> Path:
        return self.path

    def target_of(self, source: Input) -> Path:
        return self.path

    def write(self, item: Item, content: bytes) -> str:
        if self.path == STDOUT:
            write_all(STDOUT_DESCRIPTOR, content, "standard output")
        else:
            write_file(self.path, content)
        return str(self.path)


class MirroredFolder:
    """`--out-dir`: every input's output under its own path below the folder that all inputs share.

    Inputs that would meet in one file keep their own ending before the new one: `a.jpg.png`, `a.png.png`.
    """

    def __init__(self, folder: Path, suffix: str, sources: Sources, existing: Existing, option: str = "--out-dir"):
        self.folder = folder
        self.suffix = suffix
        self.existing = existing
        check_folder(folder if folder.exists() else folder.parent, option)
        self._root = common_folder(sources)
        self._shared = self._collisions(sources)
        is_exact = not existing.pages  # the position of a source is its index, as long as each gives one item
        for position, source in enumerate(sources):
            _refuse_input(self.target_of(source), source)
            is_exact = is_exact and not source.is_video
            if existing.refused and (existing.shard.has(position) or not is_exact):
                self._refuse_existing(source)

    def _refuse_existing(self, source: Input) -> None:
        target = self.target_of(source)
        if source.is_video or self.existing.pages:
            if self.existing.shard.count > 1:  # which of the frames are this run's is not known before it runs
                return
            target = _frame_path(target, 0)
        if target.exists():
            raise UsageError(f"{target}: exists; use --overwrite or --skip-existing")

    def write(self, item: Item, content: bytes) -> str:
        path = self.path_of(item)
        write_below(path, content)
        return str(path)

    def path_of(self, item: Item) -> Path:
        """Where the output of an item belongs; frames of a file are told apart by their number."""
        path = self.target_of(item.source)
        return _frame_path(path, item.extra["frame"]) if "frame" in item.extra else path

    def target_of(self, source: Input) -> Path:
        """Where the output of a source belongs, its frames set aside."""
        relative = relative_path(source, self._root)
        if hash(_stem(relative)) in self._shared:
            return self.folder / (relative + self.suffix)
        return self.folder / (_stem(relative) + self.suffix)

    def _collisions(self, sources: Sources) -> frozenset[int]:
        """Hashes of the stems that different files share; 64 bits each, so that a million inputs cost little."""
        seen: dict[int, int] = {}
        shared = set()
        for source in sources:
            relative = relative_path(source, self._root)
            stem, whole = hash(_stem(relative)), hash(relative)
            if seen.setdefault(stem, whole) != whole:
                shared.add(stem)
        return frozenset(shared)


def _frame_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number:06d}{path.suffix}")


Place = SingleFile | MirroredFolder
Draw = Callable[[Photo, Result, str], Picture]  # the third is the ending of the file to be


def further_place(option: str, path: Path, suffix: str, sources: Sources, existing: Existing) -> Place:
    """Where a further picture goes: a file for the one input, a folder for several or for a name without an ending."""
    if path == STDOUT or (not path.is_dir() and can_write(path)):
        return SingleFile(path, sources, existing, option)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise UsageError(f"{option} {path}: videos are written by 'detect' alone; name a folder for the frames")
    make_folder(path, option)
    return MirroredFolder(path, suffix, sources, existing, option)


@dataclass(frozen=True)
class Drawing:
    """A picture of each input, in the format of the place's ending; its path is the record's `key`."""

    place: Place
    draw: Draw
    option: str = "--out"
    key: str = "output"
    endings: Sequence[str] = tuple(WRITTEN_FORMATS)  # that can hold it

    def __post_init__(self) -> None:
        suffix = self.place.suffix.lower()
        if suffix in self.endings:
            return
        use = f"use {self.endings[0]}" + (f" or {self.endings[1]}" if len(self.endings) > 1 else "")
        if not suffix:
            raise UsageError(f"{self.option}: no ending names the format; {use}")
        if suffix in WRITTEN_FORMATS:
            raise UsageError(f"{self.option}: {suffix} can't hold this picture without loss; {use}")
        raise UsageError(f"{self.option}: '{suffix}' names no image format; {use}")

    def write(self, item: Item, photo: Photo, result: Result) -> dict[str, Any]:
        picture = self.draw(photo, result, self.place.suffix)
        return {self.key: self.place.write(item, encode(picture, self.place.suffix))}


def mark_skipped(places: Sequence[Place], items: Iterable[Item]) -> Iterator[Item]:
    """With --skip-existing: items whose outputs all exist are marked to be skipped."""
    if not places or not places[0].existing.skip:
        return iter(items)
    return (replace(item, skipped=all(place.path_of(item).is_file() for place in places)) for item in items)


def refuse_shared(places: Sequence[Place], sources: Sources) -> None:
    """UsageError where two pictures of an input would be one file; if any input's would, the first one's would."""
    if len(places) < 2:  # and no list that still arrives is waited for
        return
    for source in _first_two(sources)[:1]:
        targets = [os.path.realpath(place.target_of(source)) for place in places]
        for place, target in zip(places, targets, strict=True):
            if targets.count(target) > 1:
                raise UsageError(f"{place.target_of(source)}: two pictures can't both go there; name another place")


def _is_single(inputs: list[Input]) -> bool:
    return len(inputs) < 2 and not any(source.is_video for source in inputs)


def _first_two(sources: Sources) -> list[Input]:
    inputs = []
    for source in sources:
        inputs.append(source)
        if len(inputs) == 2:
            break
    return inputs


def common_folder(sources: Sources) -> str:
    """The deepest folder above all inputs' anchors (a named folder, or the folder of a named file)."""
    common: str | None = None
    for source in sources:
        anchor = os.path.abspath(source.anchor or ".")
        common = anchor if common is None else os.path.commonpath([common, anchor])
    return common or os.path.abspath(".")


def relative_path(source: Input, root: str) -> str:
    if source.is_stdin:
        return "stdin"
    return os.path.relpath(os.path.abspath(source.file), root)


def _stem(relative: str) -> str:
    return os.path.splitext(relative)[0]


def make_folder(folder: Path, option: str) -> None:
    """Make the folder of an option where its parent exists. UsageError where that can't be."""
    check_folder(folder if folder.exists() else folder.parent, option)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"{option}: the folder {folder} can't be made ({error.strerror})") from error


def check_file(path: Path, sources: Sources, existing: Existing) -> None:
    """UsageError where a file that is made of several inputs can't be written."""
    check_folder(path.parent, "--out")
    refuse_inputs(path, sources)
    if path.exists() and existing.refused:
        raise UsageError(f"{path}: exists; use --overwrite")


def check_array(path: Path, sources: Sources, existing: Existing, resuming: bool) -> None:
    """UsageError where an array of all inputs can't be written to a path."""
    check_file(path, sources, existing)
    if resuming:
        raise UsageError(f"--out {path}: an array can't be resumed; use --records alone")


def refuse_inputs(target: Path, sources: Sources) -> None:
    """UsageError where a file that is to be written is an input."""
    if target.is_file() and not sources.is_stream:
        for source in sources:
            _refuse_input(target, source)


def check_folder(folder: Path, option: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{option}: {folder} is a file, not a folder")
    if not folder.is_dir():
        raise UsageError(f"{option}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option}: the folder {folder} can't be written")


def _refuse_input(target: Path, source: Input) -> None:
    if not source.is_stdin and target.exists() and os.path.exists(source.file) and target.samefile(source.file):
        raise UsageError(f"{target}: is an input, and inputs are never overwritten; choose another place")


def write_below(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    make_folders(path.parent)
    write_file(path, content)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with output_file(path, "; the run can go on with --resume") as file:
        file.write(content)
