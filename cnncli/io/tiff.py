"""What Pillow's TIFF reader leaves as the file stores it. Tags are those of TIFF 6.0."""

import struct
from typing import Any

import numpy as np
from PIL import Image

from cnncli.errors import InputError

WIDTH, HEIGHT = 256, 257
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262
STRIP_OFFSETS, ROWS_PER_STRIP = 273, 278
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS = 322, 323, 324
PLANAR = 284
COLOUR_MAP = 320
SAMPLE_FORMAT = 339

WHITE_IS_ZERO = 0
SEPARATE_PLANES = 2
UNSIGNED, SIGNED = 1, 2


def check_layout(image: Image.Image, max_pixels: int) -> None:
    """InputError for tiles over the limit, and for what Pillow would read as another picture than the file holds."""
    tile_width, tile_height = _first(image, TILE_WIDTH, 0), _first(image, TILE_HEIGHT, 0)
    if tile_width * tile_height > max_pixels:
        raise InputError(f"tiles of {tile_width} x {tile_height} are over the limit of {max_pixels:,} pixels")
    if image.info.get("compression") != "raw":
        return  # libtiff reads these, and looks by itself
    planes = len(image.getbands()) if _first(image, PLANAR) == SEPARATE_PLANES else 1
    if planes > 1 and _first(image, BITS_PER_SAMPLE) != 8:
        raise InputError("16-bit colours in separate planes are not read; convert it to 8 bits")
    if _pieces_held(image) < _pieces_needed(image) * planes:
        raise InputError("damaged (some of its strips or tiles are missing)")


def _pieces_held(image: Image.Image) -> int:
    return len(_tag(image, STRIP_OFFSETS) or _tag(image, TILE_OFFSETS) or ())


def _pieces_needed(image: Image.Image) -> int:
    width, height = _first(image, WIDTH), _first(image, HEIGHT)
    if _tag(image, STRIP_OFFSETS):
        return -(-height // _first(image, ROWS_PER_STRIP, height))
    return -(-width // _first(image, TILE_WIDTH)) * -(-height // _first(image, TILE_HEIGHT))


def leads_out(content: bytes) -> bool:
    """Whether the chain of pages leads out of the file."""
    order = "<" if content.startswith(b"II") else ">"
    is_big = 43 in content[2:4]  # BigTIFF: counts and offsets of 8 bytes
    count, entry_size, offset = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    seen: set[int] = set()
    try:
        (place,) = struct.unpack_from(order + offset, content, 8 if is_big else 4)
        while place and place not in seen:
            seen.add(place)
            (entries,) = struct.unpack_from(order + count, content, place)
            end = place + struct.calcsize(order + count) + entries * entry_size
            (place,) = struct.unpack_from(order + offset, content, end)
    except (struct.error, OverflowError):
        return True
    return False


def is_signed_8_bit(image: Image.Image) -> bool:
    return image.mode == "L" and _first(image, SAMPLE_FORMAT) == SIGNED


def is_white_zero(image: Image.Image) -> bool:
    """Whether grey counts from white to black; Pillow turns that round for 8 bits only."""
    return _first(image, PHOTOMETRIC) == WHITE_IS_ZERO


def samples(image: Image.Image) -> np.ndarray:
    """Grey values (H, W) in the number type of the file."""
    values = np.asarray(image)
    if is_signed_8_bit(image):
        return values.view(np.int8)
    if image.mode == "I" and _tag(image, BITS_PER_SAMPLE) == (32,) and _first(image, SAMPLE_FORMAT, 1) == UNSIGNED:
        return values.view(np.uint32)
    return values


def bits_per_sample(image: Image.Image) -> int | None:
    """Bits of each channel, which most often all have the same."""
    return _first(image, BITS_PER_SAMPLE)


def white_of_16_bits(image: Image.Image) -> int:
    """The value of white in a mode of 16 bits, which holds 12-bit files as they are."""
    return 4095 if _tag(image, BITS_PER_SAMPLE) == (12,) else 65535


def mend_palette(image: Image.Image) -> None:
    """Old programs wrote 8-bit colours where 16 bits belong; all would be black."""
    colours = _tag(image, COLOUR_MAP)
    if image.mode == "P" and colours and max(colours) < 256:
        image.putpalette(bytes(colours), "RGB;L")


def _tag(image: Image.Image, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)


def _first(image: Image.Image, tag: int, default: int | None = None) -> Any:
    value = _tag(image, tag)
    if value is None:
        return default
    return value[0] if isinstance(value, tuple) else value
