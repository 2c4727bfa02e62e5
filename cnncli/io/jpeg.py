"""JPEG through libjpeg-turbo in strict mode (simplejpeg).

OpenCV and Pillow show a picture with a grey half where the file is damaged, this one says so.
"""

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image

from cnncli.errors import InputError
from cnncli.io.modes import to_rgb

# Second bytes of markers (ITU T.81, B.1.1.3 and table B.1)
SCAN = 0xDA
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables and an extension, among the frames C0 to CF
BARE = (0x01, *range(0xD0, 0xD9))  # without a length
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2  # Huffman coded

# A marker, the length of its segment, which is 6 + 2 per component, and the number of components (ITU T.81, B.2.3)
START_OF_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
SCAN_LIMIT = 500  # as libjpeg-turbo's own tests: each scan takes a pass over all pixels, in a few bytes of the file

# libjpeg-turbo's way of saying that a valid JPEG is none of the kinds it handles here; Pillow then reads it
UNSUPPORTED = ("subsampling", "nsupported", "not implemented", "bogus", "bits per", "precision")


@dataclass(frozen=True)
class JpegHead:
    """What a JPEG states of itself before its first scan."""

    frame: int  # marker
    bits: int
    sampling: tuple[tuple[int, int], ...]  # across and down, per component
    components: bytes  # their numbers
    in_first_scan: int  # how many of them
    end: int  # where the first scan begins

    @property
    def is_one_scan(self) -> bool:
        """Whether a decoder stops after the first scan, as with most files.

        These need no looking through for more scans, which takes a tenth of the decoder's time under Python's lock.
        """
        return self.frame in SEQUENTIAL and self.in_first_scan == len(self.components)


def decode_jpeg(content: bytes, image: Image.Image, least_side: int | None = None) -> np.ndarray | None:
    """Pixels of a JPEG that Pillow has opened as `image`; None where Pillow has to read it. Any damage is an error.

    With `least_side`, in RGB, at a half, quarter or eighth of its size, as long as no side falls below that.
    """
    head = read_head(content)
    if not (head and head.is_one_scan) and _scans(content) > SCAN_LIMIT:
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


def read_head(content: bytes) -> JpegHead | None:
    """The segments up to the first scan; None where something else stands between them."""
    place, frame = 2, None
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        if marker in BARE:
            place += 2
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        segment = content[place + 4 : place + 2 + length]
        place += 2 + length
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAMES:
            if frame is not None or len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
                return None
            frame = marker, segment
        if marker == SCAN:
            return JpegHead(frame[0], *_components(frame[1]), segment[0], place) if frame and segment else None
    return None


def _components(frame: bytes) -> tuple[int, tuple[tuple[int, int], ...], bytes]:
    """Bits of a sample, then factors of sampling and numbers of the components: ITU T.81, B.2.2."""
    factors = tuple((value >> 4, value & 15) for value in frame[7::3])
    return frame[0], factors, frame[6::3]


def _scans(content: bytes) -> int:
    # counting bytes first: the pattern alone takes twice as long
    return sum(1 for _ in START_OF_SCAN.finditer(content)) if content.count(b"\xff\xda") > SCAN_LIMIT else 0


def _from_cmyk(inks: np.ndarray, image: Image.Image) -> np.ndarray:
    """Inks (H, W, 4), inverted by Adobe's convention, which all programs follow."""
    height, width = inks.shape[:2]
    page = Image.frombuffer("CMYK", (width, height), inks, "raw", "CMYK;I", 0, 1)
    page.info = image.info
    return to_rgb(page)
