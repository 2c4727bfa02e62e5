"""What a benchmark measures with: a sample of the inputs, or photos made on the spot."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cnncli.errors import InputError
from cnncli.io.images import decode, read_file
from cnncli.io.pictures import Picture, encode
from cnncli.io.sources import Input


@dataclass(frozen=True)
class Sample:
    """Files that can be decoded, and their bytes; `listed` is the number of inputs that they are taken from."""

    files: list[str]
    photos: list[bytes]
    listed: int


def sample_of(sources: Iterable[Input], most: int, max_pixels: int) -> Sample:
    """At most `most` of the inputs, spread evenly over their list, less those that can't be decoded.

    They come in random (always the same) order: what is measured on some of them alone is not measured on those of
    one folder.
    """
    chosen, listed = spread(sources, most)
    random.Random(0).shuffle(chosen)
    files, photos = [], []
    for source in chosen:
        try:
            content = read_file(source.file, max_pixels)
            decode(content, max_pixels)
        except InputError:
            continue
        files.append(source.file)
        photos.append(content)
    return Sample(files, photos, listed)


def spread(sources: Iterable[Input], most: int) -> tuple[list[Input], int]:
    """At most `most` of the inputs at even distances, and the number of all. They are iterated over twice."""
    listed = sum(1 for _ in sources)
    taken = min(most, listed)
    return [
        source for index, source in enumerate(sources) if (index + 1) * taken // listed > index * taken // listed
    ], listed


def synthetic_photos(count: int, width: int = 640, height: int = 480) -> list[bytes]:
    """JPEGs of smooth coloured noise, about as hard to decode as photos, the same on every machine."""
    from PIL import Image

    photos = []
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        photos.append(encode(Picture(np.asarray(picture)), ".jpg"))
    return photos
