"""Bytes to pixels and back: files, formats, size limits and EXIF orientation.

An image is uint8 (H, W, 3), RGB, upright after its EXIF orientation. JPEG goes through libjpeg-turbo in strict
mode (`jpeg`); Pillow, the well-kept reader of the rest, does everything else, mended where it shows another
picture than the file holds (`png`, `tiff`, `modes`).
"""

import contextlib
import io
import logging
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io import png, tiff
from cnncli.io.jpeg import decode_jpeg
from cnncli.io.modes import to_rgb
from cnncli.io.sources import HEAD, is_image_head

ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # long texts (prompts, profiles) are no damage
# What Pillow says of odd files is said by our records. Not by `catch_warnings`: its filters are those of all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

BYTES_PER_PIXEL_LIMIT = 8  # a file larger than this per allowed pixel is not a picture within the limit
LARGE_FILE = 1 << 26  # bytes; a larger one is looked into before it is read
CHUNK = 1 << 20  # bytes
ORIENTATION_TAG = 0x0112  # TIFF 6.0 / EXIF 2.3
TURNED = (5, 6, 7, 8)  # orientations in which rows become columns
JPEG_START = b"\xff\xd8"
FAR_LARGER = 8  # times the side that is needed: then a quarter of the size still has twice as much
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # readers that Pillow loads at once, unlike the other 40
UNTRUSTED_FORMATS = {"EPS", "PDF", "MPEG", "WMF", "FPX", "MIC"}  # run other programs, or hold no picture to read
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1")


@dataclass(frozen=True)
class Photo:
    """A decoded image: `pixels` uint8 (H, W, 3) RGB, upright; `orientation` is the EXIF value that was undone.

    Read for what it stores (io.stored) it may be grey (H, W) and of another number type, and keeps what else its file
    holds: `alpha` (H, W) of the same type, the ICC profile of its colours, and its EXIF block without the orientation.
    Read in a reduced size, its own is `full_size` (width, height), and `reload` reads it whole. Not read at all
    (`io.encoded`), `pixels` is an EncodedPhoto.
    """

    pixels: np.ndarray
    orientation: int | None = None
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    full_size: tuple[int, int] | None = None
    reload: Callable[[], "Photo"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, whatever the size that it was read in."""
        return self.full_size or (self.pixels.shape[1], self.pixels.shape[0])

    def whole(self) -> "Photo":
        """With all its pixels."""
        return self.reload() if self.reload else self


def read_file(path: str | os.PathLike, max_pixels: int) -> bytes:
    """A file's bytes. Pipes (`<(command)`) are read to their end."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return read_stream(file, max_pixels)
            if status.st_size > _byte_limit(max_pixels):
                raise InputError(f"{status.st_size:,} bytes is too large for an image; raise --max-pixels to read it")
            if status.st_size > LARGE_FILE:
                open_image(file, max_pixels)
                file.seek(0)
            return file.read()
    except OSError as error:
        raise InputError(reason(error)) from error
    except ValueError as error:  # a NUL in the name
        raise InputError("no such file") from error


def read_stream(file: BinaryIO, max_pixels: int) -> bytes:
    """All that a pipe or standard input gives, which may have no end."""
    content = bytearray()
    while chunk := file.read(CHUNK):
        content += chunk
        if len(content) > _byte_limit(max_pixels):
            raise InputError(f"more than {_byte_limit(max_pixels):,} bytes, too large for an image; see --max-pixels")
    return bytes(content)


def _byte_limit(max_pixels: int) -> int:
    return BYTES_PER_PIXEL_LIMIT * max(max_pixels, 1 << 24)


def reason(error: OSError) -> str:
    """Why a file can't be read, in words."""
    known = {FileNotFoundError: "no such file", IsADirectoryError: "is a folder", PermissionError: "permission denied"}
    return known.get(type(error)) or f"can't be read ({error.strerror or error})"


def decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The (first) picture in `content`. InputError where it is damaged, too large or no image at all."""
    if not content:
        raise InputError("empty file")
    image = open_image(io.BytesIO(content), max_pixels)
    if image.format in ("JPEG", "MPO"):
        with reported_as_input_errors():
            pixels = decode_jpeg(content, image)
        if pixels is not None:
            orientation = orientation_of(image)
            return Photo(upright(pixels, orientation), orientation)
    if image.format == "PNG":
        png.check_pixels(content)
        png.scale_transparent_colour(image, content)
    return load_photo(image, max_pixels)


def decode_reduced(content: bytes, max_pixels: int, least_side: int) -> Photo:
    """As `decode`, but a JPEG whose sides are far larger than `least_side` in a reduced size: at least twice that.

    Leaving out frequencies while decoding takes a fraction of the time of computing pixels that a resize drops again.
    """
    if content[:2] != JPEG_START:
        return decode(content, max_pixels)
    image = open_image(io.BytesIO(content), max_pixels)
    if image.format not in ("JPEG", "MPO") or image.mode == "CMYK" or min(image.size) < FAR_LARGER * least_side:
        return decode(content, max_pixels)
    with reported_as_input_errors():
        pixels = decode_jpeg(content, image, 2 * least_side)
    if pixels is None:
        return decode(content, max_pixels)
    orientation = orientation_of(image)
    size = image.size[::-1] if orientation in TURNED else image.size
    return Photo(upright(pixels, orientation), orientation, full_size=size, reload=lambda: decode(content, max_pixels))


def load_photo(image: Image.Image, max_pixels: int) -> Photo:
    """The picture that an opened image stands at."""
    stated = None
    if image.format == "TIFF":
        with reported_as_input_errors():
            tiff.check_layout(image, max_pixels)
        stated = orientation_of(image)  # the reader turns the picture upright by itself, and forgets how it lay
    with reported_as_input_errors():
        image.load()
        check_size(image, max_pixels)  # icons hold pictures of another size than they state
        pixels = to_rgb(image)
    remaining = orientation_of(image)
    return Photo(upright(pixels, remaining), stated or remaining)


def open_image(file: BinaryIO, max_pixels: int) -> Image.Image:
    """A picture whose format and size are known and allowed, and whose pixels are still to be decoded."""
    _allow(max_pixels)
    with reported_as_input_errors():
        try:
            image = Image.open(file, formats=COMMON_FORMATS)
        except UnidentifiedImageError:
            image = _open_uncommon(file)
    if image.format in UNTRUSTED_FORMATS:
        raise InputError(f"{image.format} is not read, convert it to PNG first")
    check_size(image, max_pixels)
    return image


def _allow(max_pixels: int) -> None:
    """Pillow's own limit guards the pictures inside of pictures (icons, tiles). It is raised, never lowered."""
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:  # an error from the double on
        Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)


def _open_uncommon(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=_all_formats())
    except UnidentifiedImageError as error:
        file.seek(0)
        raise InputError(_unknown(file.read(HEAD))) from error


def _unknown(head: bytes) -> str:
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and "HEIF" not in Image.OPEN:
        return "HEIC is read once pillow-heif is installed: pip install 'cnncli[heif]'"
    return "damaged, or of a kind that is not read" if is_image_head(head) else "not an image of a known format"


@cache
def _all_formats() -> tuple[str, ...]:
    """Every format that Pillow reads here, and HEIC where pillow-heif is installed."""
    Image.init()
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(Image.ID)


def check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width < 1 or image.height < 1:
        raise InputError(f"{image.width} x {image.height} holds no pixels")
    if image.width * image.height > max_pixels:
        raise InputError(f"{image.width} x {image.height} is over the limit of {max_pixels:,} pixels; see --max-pixels")


@contextlib.contextmanager
def reported_as_input_errors() -> Iterator[None]:
    """Decoders meet broken files with errors of any kind: each becomes one sentence about the file."""
    try:
        yield
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError("holds more pixels than the limit; see --max-pixels") from error
    except MemoryError as error:
        raise InputError("does not fit into memory") from error
    except Exception as error:
        raise InputError(f"damaged ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]


def orientation_of(image: Image.Image) -> int | None:
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged EXIF does not make the picture unreadable
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    if orientation in TURNED:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
