"""What Pillow leaves out when it reads PNG: the checksums of the pixels, and the depth of the transparent colour."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from cnncli.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH_AT = 24  # offset of the bits per sample in the header chunk, which comes first


def check_pixels(content: bytes) -> None:
    """InputError where a checksum of the pixels is wrong: Pillow would show what the damaged bits happen to mean."""
    for kind, start, end in chunks(content):
        if kind == b"IDAT" and not _is_intact(content, start, end):
            raise InputError("damaged (the checksum of its pixels is wrong)")


def damaged_frame(content: bytes) -> int | None:
    """The first frame of an animation (APNG) whose checksum is wrong. The picture in front is frame 0 in any case."""
    frame = -1
    for kind, start, end in chunks(content):
        if kind == b"fcTL":
            frame += 1
        elif kind == b"IDAT":
            frame = max(frame, 0)
        elif kind == b"fdAT" and not _is_intact(content, start, end):
            return frame
    return None


def _is_intact(content: bytes, start: int, end: int) -> bool:
    stated = int.from_bytes(content[end - 4 : end], "big")
    return zlib.crc32(memoryview(content)[start + 4 : end - 4]) == stated


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk, up to the end mark."""
    start = len(SIGNATURE)
    while start + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if end > len(content) or kind == b"IEND":
            return
        yield kind, start, end
        start = end


def scale_transparent_colour(image: Image.Image, content: bytes) -> None:
    """The transparent colour of a picture without palette is stated in the file's depth; pixels come in 8 bits."""
    colour, depth = image.info.get("transparency"), content[DEPTH_AT]
    if isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    elif isinstance(colour, int) and image.mode == "L" and depth in (2, 4):
        image.info["transparency"] = colour * 255 // (2**depth - 1)
