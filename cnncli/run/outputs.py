"""Where outputs go: one exact path, standard output, or a folder that mirrors the inputs'."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnncli.errors import OutputError, UsageError
from cnncli.io.atomic import write_atomically
from cnncli.io.images import Photo, can_write, encode
from cnncli.io.lines import write_all
from cnncli.io.sources import Input, Sources
from cnncli.run.items import Item
from cnncli.tasks.base import Result, Task

STDOUT = Path("-")
STDOUT_DESCRIPTOR = 1


@dataclass(frozen=True)
class Existing:
    """What to do with outputs that are there already. `resuming`: they are leftovers of the run that goes on."""

    overwrite: bool = False
    skip: bool = False
    resuming: bool = False

    def __post_init__(self) -> None:
        if self.overwrite and self.skip:
            raise UsageError("--overwrite and --skip-existing contradict each other; give one of them")

    @property
    def refused(self) -> bool:
        return not (self.overwrite or self.skip or self.resuming)


class SingleFile:
    """`--out FILE` for the one input of a run; "-" is standard output."""

    def __init__(self, path: Path, sources: Sources, existing: Existing):
        self.path = path
        self.existing = existing
        inputs = _first_two(sources)
        if len(inputs) > 1 or any(source.is_video for source in inputs):
            raise UsageError(f"--out {path}: writes the output of one input; use --out-dir for several, or a video")
        if path == STDOUT:
            return
        if path.is_dir():
            raise UsageError(f"--out {path}: is a folder; use --out-dir")
        check_folder(path.parent, "--out")
        for source in inputs:
            _refuse_input(path, source)
        if path.is_file() and existing.refused:
            raise UsageError(f"{path}: exists; use --overwrite or --skip-existing")

    @property
    def suffix(self) -> str:
        return ".png" if self.path == STDOUT else self.path.suffix

    def mark_skipped(self, items: Iterable[Item]) -> Iterator[Item]:
        skipped = self.existing.skip and self.path.is_file()
        return (replace(item, skipped=skipped) for item in items)

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
        self._root = _common_folder(sources)
        self._shared = self._collisions(sources)
        for source in sources:
            target = self._target(source)
            _refuse_input(target, source)
            if existing.refused and target.exists():
                raise UsageError(f"{target}: exists; use --overwrite or --skip-existing")

    def mark_skipped(self, items: Iterable[Item]) -> Iterator[Item]:
        if not self.existing.skip:
            return iter(items)
        return (replace(item, skipped=self.path(item).is_file()) for item in items)

    def write(self, item: Item, content: bytes) -> str:
        path = self.path(item)
        write_below(path, content)
        return str(path)

    def path(self, item: Item) -> Path:
        """Where the output of an item belongs; frames of a file are told apart by their number."""
        path = self._target(item.source)
        if "frame" in item.extra:
            path = path.with_name(f"{path.stem}-{item.extra['frame']:06d}{path.suffix}")
        return path

    def _target(self, source: Input) -> Path:
        relative = _relative(source, self._root)
        if hash(_stem(relative)) in self._shared:
            return self.folder / (relative + self.suffix)
        return self.folder / (_stem(relative) + self.suffix)

    def _collisions(self, sources: Sources) -> frozenset[int]:
        """Hashes of the stems that different files share; 64 bits each, so that a million inputs cost little."""
        seen: dict[int, int] = {}
        shared = set()
        for source in sources:
            relative = _relative(source, self._root)
            stem, whole = hash(_stem(relative)), hash(relative)
            if seen.setdefault(stem, whole) != whole:
                shared.add(stem)
        return frozenset(shared)


@dataclass(frozen=True)
class Picture:
    """The task's picture of each input, drawn over its photo, in the format of the place's ending."""

    place: SingleFile | MirroredFolder
    task: Task

    def __post_init__(self) -> None:
        if not can_write(Path("x" + self.place.suffix)):
            ending = (
                f"'{self.place.suffix}' names no image format" if self.place.suffix else "no ending names the format"
            )
            raise UsageError(f"--out: {ending}; use .png or .jpg")

    def write(self, item: Item, photo: Photo, result: Result) -> dict[str, Any]:
        picture = self.task.draw(photo.pixels, result)
        return {"output": self.place.write(item, encode(picture, self.place.suffix))}


def _first_two(sources: Sources) -> list[Input]:
    inputs = []
    for source in sources:
        inputs.append(source)
        if len(inputs) == 2:
            break
    return inputs


def _common_folder(sources: Sources) -> str:
    """The deepest folder above all inputs' anchors (a named folder, or the folder of a named file)."""
    common: str | None = None
    for source in sources:
        anchor = os.path.abspath(source.anchor or ".")
        common = anchor if common is None else os.path.commonpath([common, anchor])
    return common or os.path.abspath(".")


def _relative(source: Input, root: str) -> str:
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: can't be made ({error.strerror})") from error
    write_file(path, content)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        with write_atomically(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror}); the run can go on with --resume") from error
