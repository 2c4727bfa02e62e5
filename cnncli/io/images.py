"""Bytes to pixels and back: the one file that knows colour order, EXIF, ICC profiles and bit depth.

An image is uint8 (H, W, 3), RGB, upright after its EXIF orientation. JPEG goes through libjpeg-turbo in strict
mode (simplejpeg): OpenCV and Pillow show a picture with a grey half where the file is damaged, this one says so.
Pillow, the well-kept reader of the rest, does everything else.
"""

import contextlib
import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from cnncli.errors import InputError

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked here, per run, before anything is decoded
ImageFile.LOAD_TRUNCATED_IMAGES = False

DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit for an error: half a gigabyte of RGB
BYTES_PER_PIXEL_LIMIT = 8  # a file larger than this per allowed pixel is not a picture within the limit
ORIENTATION_TAG = 0x0112  # TIFF 6.0 / EXIF 2.3
WHITE = (255, 255, 255)
UNTRUSTED_FORMATS = {"EPS", "PDF", "MPEG", "WMF", "FPX", "MIC"}  # run other programs, or hold no picture to read

# libjpeg-turbo's way of saying that a valid JPEG is none of the kinds it handles here; Pillow then reads it
UNSUPPORTED_JPEG = ("subsampling", "nsupported", "not implemented", "bogus", "bits per", "precision")


@dataclass(frozen=True)
class Photo:
    """A decoded image: `pixels` uint8 (H, W, 3) RGB, upright; `orientation` is the EXIF value that was undone."""

    pixels: np.ndarray
    orientation: int | None = None


def read_file(path: str | os.PathLike, max_pixels: int) -> bytes:
    """A file's bytes. Pipes (`<(command)`) are read to their end."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > BYTES_PER_PIXEL_LIMIT * max(max_pixels, 1 << 24):
                raise InputError(f"{status.st_size:,} bytes is too large for an image; raise --max-pixels to read it")
            content = file.read()
    except OSError as error:
        raise InputError(_reason(error)) from error
    return content


def _reason(error: OSError) -> str:
    known = {FileNotFoundError: "no such file", IsADirectoryError: "is a folder", PermissionError: "permission denied"}
    return known.get(type(error)) or f"can't be read ({error.strerror or error})"


def decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The (first) picture in `content`. InputError where it is damaged, too large or no image at all."""
    image = _open(content, max_pixels)
    orientation = _orientation(image)
    pixels = None
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        pixels = _decode_jpeg(content)
    if pixels is None:
        pixels = _decode_with_pillow(image)
        remaining = _orientation(image)  # Pillow's TIFF reader turns the picture upright by itself
    else:
        remaining = orientation
    return Photo(_upright(pixels, remaining), orientation)


def _open(content: bytes, max_pixels: int) -> Image.Image:
    if not content:
        raise InputError("empty file")
    with _reported_as_input_errors():
        image = Image.open(io.BytesIO(content))
    if image.format in UNTRUSTED_FORMATS:
        raise InputError(f"{image.format} is not read, convert it to PNG first")
    if image.width * image.height > max_pixels:
        raise InputError(f"{image.width} x {image.height} is over the limit of {max_pixels:,} pixels; see --max-pixels")
    return image


@contextlib.contextmanager
def _reported_as_input_errors():
    """Decoders meet broken files with errors of any kind: each becomes one sentence about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("not an image of a known format") from error
    except MemoryError as error:
        raise InputError("does not fit into memory") from error
    except Exception as error:
        raise InputError(f"damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]


def _orientation(image: Image.Image) -> int | None:
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged EXIF does not make the picture unreadable
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_jpeg(content: bytes) -> np.ndarray | None:
    """Pixels of a grey or colour JPEG, None where Pillow has to read it; any damage is an error."""
    try:
        return simplejpeg.decode_jpeg(content, colorspace="RGB", strict=True)
    except ValueError as error:
        message = str(error)
        if any(word in message for word in UNSUPPORTED_JPEG):
            return None
        raise InputError(f"damaged ({message})") from error


def _decode_with_pillow(image: Image.Image) -> np.ndarray:
    with _reported_as_input_errors():
        image.load()
        return to_rgb(image)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Any mode of Pillow as a viewer would show it: uint8 (H, W, 3); transparency lies on white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _grey_to_rgb(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    if image.mode == "CMYK" and "icc_profile" in image.info:
        return np.asarray(_managed(image))
    if image.mode == "LAB":
        lab_to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        return np.asarray(ImageCms.applyTransform(image, lab_to_rgb))
    return np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> np.ndarray:
    background = Image.new("RGBA", image.size, (*WHITE, 255))
    return np.asarray(Image.alpha_composite(background, image).convert("RGB"))


def _managed(image: Image.Image) -> Image.Image:
    """CMYK through its own ICC profile; through Pillow's plain formula where the profile is unusable."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image.convert("RGB")


def _grey_to_rgb(values: np.ndarray) -> np.ndarray:
    """16-bit grey by 257; deeper or real numbers from 0..1 or 0..65535, else stretched from least to most."""
    if not np.isfinite(values).all():
        raise InputError("holds NaN or infinite values, which are no picture")
    if values.dtype == np.uint16:
        grey = values // 257
    else:
        grey = _stretched(values.astype(np.float64))
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return np.rint((values - low) * (255 / max(high - low, 1e-12)))


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    """An image file of uint8 (H, W, 3) or (H, W) pixels in the format that `suffix` (".png", ".jpg") names."""
    image_format = Image.registered_extensions().get(suffix.lower())
    if image_format is None:
        raise InputError(f"'{suffix}' names no image format; use .png or .jpg")
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def can_write(path: Path) -> bool:
    """Whether the ending of `path` names a format that `encode` writes."""
    return Image.registered_extensions().get(path.suffix.lower()) in Image.SAVE
