"""From sources to the numbered items of a run."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cnncli.config import RunConfig
from cnncli.errors import InputError
from cnncli.io.frames import Frame, picture_frames, video_frames
from cnncli.io.images import Photo, decode, read_file, read_stream
from cnncli.io.sources import Input, Sources

Decode = Callable[[bytes, int], Photo]  # a file's bytes and the most pixels


@dataclass(frozen=True)
class Item:
    """One picture to analyse: `load` gives it or raises InputError; `extra` goes into its record.

    A run on several devices sends items to their processes, so `load` is one that can be pickled.
    `photo_bytes` is what it holds in memory before it is loaded (a video's frame).
    """

    index: int
    source: Input
    load: Callable[[], Photo]
    extra: dict[str, Any] = field(default_factory=dict)
    photo_bytes: int = 0
    skipped: bool = False

    @property
    def file(self) -> str:
        return self.source.file


def items_of(sources: Sources, config: RunConfig, decode: Decode = decode) -> Iterator[Item]:
    """The items of a run's shard, each with its index over all shards. Frames and pages come as a viewer shows them."""
    numbered = enumerate(_all_items(sources, config, decode))
    return (Item(index, *item) for index, item in numbered if config.shard.has(index))


def items_of_files(files: Iterable[str], config: RunConfig, decode: Decode = decode) -> Iterator[Item]:
    """One item for each file, whatever its name looks like."""
    sources = (Input(file, "") for file in files)
    return (Item(index, source, _loader(source, config.max_pixels, decode)) for index, source in enumerate(sources))


def count_items(sources: Sources, config: RunConfig) -> int:
    """How many items all shards together have; frames are decoded to be counted, files are not."""
    return sum(1 for _ in _all_items(sources, config, decode))


def peek_count(sources: Sources, limit: int) -> int:
    """The number of inputs up to `limit`; a stream or a video counts as many, for their end is not known."""
    if sources.is_stream:
        return limit
    count = 0
    for source in itertools.islice(sources, limit):
        count += limit if source.is_video else 1
    return min(count, limit)


Unnumbered = tuple[Input, Callable[[], Photo], dict[str, Any], int]  # an Item without its index


def _all_items(sources: Sources, config: RunConfig, decode: Decode) -> Iterator[Unnumbered]:
    for source in sources:
        if source.is_video:
            yield from _frames(source, video_frames(source.file, config.max_pixels))
        elif config.frames == "all" and not source.is_stdin:
            yield from _frames(source, _pages(source, config.max_pixels))
        else:
            yield source, _loader(source, config.max_pixels, decode), {}, 0


def load_file(file: str, decode: Decode, max_pixels: int) -> Photo:
    return decode(read_file(file, max_pixels), max_pixels)


def _load_stdin(decode: Decode, max_pixels: int) -> Photo:
    return decode(read_stream(sys.stdin.buffer, max_pixels), max_pixels)


def _loader(source: Input, max_pixels: int, decode: Decode) -> Callable[[], Photo]:
    """No closure, for it may be sent to another process."""
    if source.is_stdin:
        return partial(_load_stdin, decode, max_pixels)
    return partial(load_file, source.file, decode, max_pixels)


def _pages(source: Input, max_pixels: int) -> Iterator[Frame]:
    yield from picture_frames(source.file, read_file(source.file, max_pixels), max_pixels)


def _frames(source: Input, frames: Iterator[Frame]) -> Iterator[Unnumbered]:
    """Frames as items; damage becomes one failed item, after which the file is left."""
    try:
        for frame in frames:
            extra = {"frame": frame.number}
            if frame.seconds is not None:
                extra["seconds"] = round(frame.seconds, 3)
            yield source, partial(_given, frame.photo), extra, frame.photo.pixels.nbytes
    except InputError as error:
        yield source, partial(_fail, error), {}, 0


def _given(photo: Photo) -> Photo:
    return photo


def _fail(error: InputError) -> Photo:
    raise error
