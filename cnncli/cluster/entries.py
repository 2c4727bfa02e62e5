"""What the inputs of a cluster's run are: files by name, pictures inside of tar shards, rows of a manifest.

Only names pass through here, one at a time; pictures are read where they are looked at.
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cnncli.cluster.tars import SUFFIX, pictures_in
from cnncli.errors import InputError
from cnncli.io.sources import Input

VIDEO = "is a video, which one process reads from start to end; give it to the task's own command"


class Entry(NamedTuple):
    """One input. `file` is its name in the record, as the user gave it.

    In a tar shard, the picture is `size` bytes of `shard` from `offset`. `failure`: what is known to be wrong already.
    """

    file: str
    shard: str | None = None
    offset: int = 0
    size: int = 0
    failure: str | None = None


def entries_of(inputs: Iterable[Input]) -> Iterator[Entry]:
    """An entry for each file, and for each picture in a tar shard as "shard.tar/name.jpg".

    A damaged shard gives what stands before the damage, then a failed entry.
    """
    for source in inputs:
        if source.is_video:
            yield Entry(source.file, failure=VIDEO)
        elif source.file.lower().endswith(SUFFIX):
            yield from _members(source.file)
        else:
            yield Entry(source.file)


def _members(shard: str) -> Iterator[Entry]:
    try:
        for name, offset, size in pictures_in(shard):
            yield Entry(f"{shard}/{name}", shard, offset, size)
    except InputError as error:
        yield Entry(shard, failure=str(error))


def image_of(entry: Entry, folder: str) -> str | bytes:
    """What a Predictor is given for an entry: the file's path, or the bytes of a picture in a shard.

    Relative names start from `folder`, that of whoever gave the command. A shard that can't be read is given by its
    path, a picture that is known to be lost as no bytes: both become failed records.
    """
    if entry.failure is not None:
        return b""
    if entry.shard is None:
        return os.path.join(folder, entry.file)
    shard = os.path.join(folder, entry.shard)
    try:
        with open(shard, "rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)
    except OSError:
        return shard
