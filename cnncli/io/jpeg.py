"""JPEG through libjpeg-turbo in strict mode (simplejpeg).

OpenCV and Pillow show a picture with a grey half where the file is damaged, this one says so.
"""

import re

import numpy as np
import simplejpeg
from PIL import Image

from cnncli.errors import InputError
from cnncli.io.modes import to_rgb

SCAN = 0xDA  # second byte of the marker that begins a scan
# A marker, the length of its segment, which is 6 + 2 per component, and the number of components (ITU T.81, B.2.3)
START_OF_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
SCAN_LIMIT = 500  # as libjpeg-turbo's own tests: each scan takes a pass over all pixels, in a few bytes of the file

# libjpeg-turbo's way of saying that a valid JPEG is none of the kinds it handles here; Pillow then reads it
UNSUPPORTED = ("subsampling", "nsupported", "not implemented", "bogus", "bits per", "precision")


def decode_jpeg(content: bytes, image: Image.Image, least_side: int | None = None) -> np.ndarray | None:
    """Pixels of a JPEG that Pillow has opened as `image`; None where Pillow has to read it. Any damage is an error.

    With `least_side`, in RGB, at a half, quarter or eighth of its size, as long as no side falls below that.
    """
    if not _has_one_scan(content, image) and _scans(content) > SCAN_LIMIT:
        raise InputError(f"made of more than {SCAN_LIMIT} scans, as no camera or program writes it")
    try:
        if image.mode == "CMYK":
            return _from_cmyk(simplejpeg.decode_jpeg(content, "CMYK", strict=True), image)
        least = least_side or 0
        factor = 2 if least_side else 1
        return simplejpeg.decode_jpeg(content, "RGB", min_height=least, min_width=least, min_factor=factor, strict=True)
    except ValueError as error:
        message = str(error)
        if any(word in message for word in UNSUPPORTED):
            return None
        raise InputError(f"damaged ({message})") from error


def _has_one_scan(content: bytes, image: Image.Image) -> bool:
    """Whether the decoder stops after the first scan: that of a baseline file which holds all components.

    So of most files; looking through them for more takes a tenth of the decoder's time, under Python's lock.
    """
    position = 2  # behind the start of the image
    while "progressive" not in image.info and position + 4 < len(content) and content[position] == 0xFF:
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        if marker == SCAN:
            return content[position + 4] == len(image.getbands())
        position += 2 + length
    return False


def _scans(content: bytes) -> int:
    # counting bytes first: the pattern alone takes twice as long
    return sum(1 for _ in START_OF_SCAN.finditer(content)) if content.count(b"\xff\xda") > SCAN_LIMIT else 0


def _from_cmyk(inks: np.ndarray, image: Image.Image) -> np.ndarray:
    """Inks (H, W, 4), inverted by Adobe's convention, which all programs follow."""
    height, width = inks.shape[:2]
    page = Image.frombuffer("CMYK", (width, height), inks, "raw", "CMYK;I", 0, 1)
    page.info = image.info
    return to_rgb(page)
