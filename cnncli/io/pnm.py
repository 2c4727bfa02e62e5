"""PGM and PPM of 16 bits in full: Pillow reduces their colours to 8, and takes seconds for a megapixel.

The layout is that of Netpbm's manual: most significant byte first, or numbers in plain text with comments from # on.
"""

import re
from typing import Any

import numpy as np
from PIL import Image

from cnncli.errors import InputError

COMMENT = re.compile(rb"#[^\r\n]*")
WHITE = 65535


def is_deep(image: Image.Image) -> bool:
    """Whether an opened picture of this format, not yet loaded, has more than 8 bits."""
    return image.mode in ("I", "RGB") and _white(image) > 255


def deep_samples(image: Image.Image, content: bytes) -> np.ndarray:
    """uint16 (H, W) or (H, W, 3) of an opened picture, the file's own white at 65535."""
    shape = (image.height, image.width, 3)[: 3 if image.mode == "RGB" else 2]
    values, white = _stored(image, content, int(np.prod(shape))), _white(image)
    if white < WHITE:
        values = np.rint(np.minimum(values, white) * np.float32(WHITE / white))
    return values.astype(np.uint16).reshape(shape)


def _tile(image: Image.Image) -> tuple[str, Any, int, Any]:
    """Pillow's decoder, the place in the picture, the offset in the file, and arguments of the decoder."""
    return getattr(image, "tile")[0]  # noqa: B009 (only of opened files)


def _white(image: Image.Image) -> int:
    *_, arguments = _tile(image)  # Pillow states it to its decoders for all but two depths
    if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return arguments[-1]
    return WHITE if image.mode == "I" else 255


def _stored(image: Image.Image, content: bytes, count: int) -> np.ndarray:
    """The numbers in the file, from left to right and down."""
    decoder, _, offset, _ = _tile(image)
    if decoder != "ppm_plain":
        return np.frombuffer(content, ">u2", count, offset)
    values = np.fromstring(COMMENT.sub(b"", content[offset:]).decode("ascii"), np.int64, sep=" ")[:count]
    if values.size < count or values.min() < 0 or values.max() > _white(image):
        raise InputError("damaged (numbers are missing or out of range)")
    return values


def deep_file(pixels: np.ndarray) -> bytes:
    """The file of 16 bits of uint16 (H, W) or (H, W, 3)."""
    kind = "P5" if pixels.ndim == 2 else "P6"
    return f"{kind}\n{pixels.shape[1]} {pixels.shape[0]}\n{WHITE}\n".encode() + pixels.astype(">u2").tobytes()
