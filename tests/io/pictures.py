"""Small picture files made by code."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import PHOTOS

ORIENTATION = 0x0112


def photo(width: int = 90, height: int = 60) -> Image.Image:
    """A photo of a cat, RGB."""
    return Image.open(PHOTOS / "chelsea.png").convert("RGB").resize((width, height))


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def shown(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def reopened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Colours (H, W, 4) 0..255 laid on white, in real numbers."""
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG file; `rows` as PNG filters them, each led by its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [
        png_chunk(b"IHDR", header),
        *extra,
        png_chunk(b"IDAT", zlib.compress(rows, 9)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


TIFF_TYPES = {"B": 1, "H": 3, "I": 4}


def tiff(width: int, height: int, bits: Sequence[int], photometric: int, *pieces: bytes, **options: Any) -> bytes:
    """A TIFF file; `pieces` are its strips or tiles.

    Options: `order` of bytes ("<"), `compression` (1), `tile` (side in pixels), `tags` {number: (type, values)}.
    """
    order, tile = options.get("order", "<"), options.get("tile")
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", list(bits)),
        259: ("H", [options.get("compression", 1)]),
        262: ("H", [photometric]),
        277: ("H", [len(bits)]),
        **({322: ("I", [tile]), 323: ("I", [tile])} if tile else {278: ("I", [height])}),
        324 if tile else 273: ("I", [0] * len(pieces)),
        325 if tile else 279: ("I", [len(piece) for piece in pieces]),
        **options.get("tags", {}),
    }
    directory_end = 8 + 2 + 12 * len(tags) + 4
    packed = {number: struct.pack(f"{order}{len(values)}{kind}", *values) for number, (kind, values) in tags.items()}
    place = directory_end + sum(len(value) for value in packed.values() if len(value) > 4)
    offsets = []
    for piece in pieces:
        offsets.append(place)
        place += len(piece)
    packed[324 if tile else 273] = struct.pack(f"{order}{len(offsets)}I", *offsets)

    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    entries, beyond = b"", b""
    for number, (kind, values) in sorted(tags.items()):
        value = packed[number]
        entries += struct.pack(f"{order}HHI", number, TIFF_TYPES[kind], len(values))
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", directory_end + len(beyond))
            beyond += value
    return head + entries + struct.pack(f"{order}I", 0) + beyond + b"".join(pieces)


def icon(content: bytes, side: int = 16) -> bytes:
    """An ICO file that states `side` and holds the PNG `content`."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, side, side, 0, 0, 1, 32, len(content), 22) + content
