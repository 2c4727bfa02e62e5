"""Small pictures for a page, as data URIs: photos upright, areas as coloured pixels on nothing."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.imaging.masks import filled
from cnncli.io.images import (
    decode,
    open_image,
    orientation_of,
    read_file,
    reported_as_input_errors,
    upright,
)
from cnncli.io.modes import to_rgb
from cnncli.viewer.entries import Area

QUALITY, EFFORT = 80, 2  # of WebP: half the bytes of JPEG; a higher effort takes twice the time for 3 % less
FINER = 2  # areas are so many times as fine as thumbnails: their edges are seen enlarged, and cost little
REDUCING_GAP = 1.5  # large steps are halved by boxes before the filter: faster, and a difference of 1 in 255
DECODED_AT = 2  # times the size asked for, at least: resizing from there is as good as from the whole photo


@dataclass(frozen=True)
class Thumbnail:
    """`uri` shows a photo that is `width` by `height` pixels, upright."""

    uri: str
    width: int
    height: int


def of_file(path: str, size: int) -> Thumbnail:
    """A photo made so small that no side is longer than `size`. InputError where it can't be read."""
    content = read_file(path, DEFAULT_MAX_PIXELS)
    if not content:
        raise InputError("empty file")
    image = open_image(io.BytesIO(content), DEFAULT_MAX_PIXELS)
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return of_pixels(decode(content).pixels, size)
    width, height = image.size
    with reported_as_input_errors():
        image.draft(None, (size * DECODED_AT, size * DECODED_AT))  # libjpeg decodes at a half, a quarter or an eighth
        image.load()
        small = upright(to_rgb(_fitting(image, size)), orientation_of(image))
    turned = orientation_of(image) in (5, 6, 7, 8)
    return Thumbnail(_photo_uri(Image.fromarray(small)), *((height, width) if turned else (width, height)))


def of_pixels(pixels: np.ndarray, size: int) -> Thumbnail:
    """The same of a decoded photo (H, W, 3)."""
    return Thumbnail(_photo_uri(_fitting(Image.fromarray(pixels), size)), pixels.shape[1], pixels.shape[0])


def _fitting(image: Image.Image, size: int) -> Image.Image:
    image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    return image


def _photo_uri(image: Image.Image) -> str:
    return _uri(image, "WEBP", quality=QUALITY, method=EFFORT)


def of_areas(areas: Sequence[Area], size: int) -> str | None:
    """The pixels of areas in their colours, later ones on top; None of no areas.

    ValueError where run lengths are not those of their size.
    """
    painted: np.ndarray | None = None
    for number, area in enumerate(areas[:255], 1):
        mask = _sampled(filled(area.rle), size * FINER)
        if painted is None:
            painted = np.zeros(mask.shape, np.uint8)
        painted[mask] = number
    if painted is None:
        return None
    image = Image.fromarray(painted)
    image.putpalette([0, 0, 0] + [value for area in areas[:255] for value in bytes.fromhex(area.colour[1:])])
    return _uri(image, "PNG", transparency=0)


def _sampled(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask (H, W) at the centres of the cells of a grid whose sides are no longer than `size`."""
    shrink = max(1.0, max(mask.shape) / size)
    rows, columns = (
        ((np.arange(max(1, round(side / shrink))) + 0.5) * side / max(1, round(side / shrink))).astype(int)
        for side in mask.shape
    )
    return mask[np.ix_(rows, columns)]


def _uri(image: Image.Image, image_format: str, **options: int) -> str:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return f"data:image/{image_format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
