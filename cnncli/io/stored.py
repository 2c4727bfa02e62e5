"""Bytes to the numbers that a file stores: its own depth and channels, alpha apart, colours unconverted.

For tasks whose answer is again a picture of the same kind (denoise), or numbers (sobel). `images.decode` gives what
a viewer shows instead. Everything that `decode` refuses is refused here too.
"""

import io

import numpy as np
from PIL import Image

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io import png, tiff
from cnncli.io.images import (
    ORIENTATION_TAG,
    Photo,
    check_size,
    decode,
    open_image,
    orientation_of,
    reported_as_input_errors,
    upright,
)
from cnncli.io.modes import to_rgb

CONVERTED_MODES = ("CMYK", "LAB", "HSV")  # to RGB, which is what is written; the profile is then no longer theirs


def decode_stored(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The (first) picture in `content`: uint8, uint16, int32 or float32, (H, W) if it is grey, else (H, W, 3) RGB."""
    if not content:
        raise InputError("empty file")
    image = open_image(io.BytesIO(content), max_pixels)
    icc = None if image.mode in CONVERTED_MODES else image.info.get("icc_profile")
    if image.format in ("JPEG", "MPO"):
        shown = decode(content, max_pixels)
        pixels = np.ascontiguousarray(shown.pixels[..., 0]) if image.mode == "L" else shown.pixels
        return Photo(pixels, shown.orientation, None, icc, _exif(image))
    if image.format == "PNG":
        png.check_pixels(content)
        png.scale_transparent_colour(image, content)
    return _load(image, content, icc, max_pixels)


def _load(image: Image.Image, content: bytes, icc: bytes | None, max_pixels: int) -> Photo:
    with reported_as_input_errors():
        if image.format == "TIFF":
            tiff.check_layout(image, max_pixels)
        stated = orientation_of(image)
        exif = _exif(image)
        deep = _is_deep(image, content)
        image.load()
        check_size(image, max_pixels)
        samples = _deep_samples(content, image) if deep else _samples(image)
    remaining = orientation_of(image)  # none after the readers of TIFF, Pillow's and OpenCV's, have turned it
    pixels, alpha = (None if part is None else upright(part, remaining) for part in _parted(samples))
    return Photo(pixels, stated or remaining, alpha, icc, exif)


def _exif(image: Image.Image) -> bytes | None:
    """The file's EXIF block without the orientation, which is undone."""
    try:
        exif = image.getexif()
        if image.format == "TIFF" or not exif:  # a TIFF's own tags are its layout
            return None
        exif.pop(ORIENTATION_TAG, None)
        return exif.tobytes() if exif else None
    except Exception:  # damaged EXIF does not make the picture unreadable
        return None


def _is_deep(image: Image.Image, content: bytes) -> bool:
    """Whether Pillow would reduce the picture's 16 bits to 8."""
    if image.format == "PNG":
        return content[png.DEPTH_AT] == 16 and not image.mode.startswith("I")
    if image.format == "TIFF":
        return image.mode in ("RGB", "RGBA", "RGBX") and tiff.bits_per_sample(image) == 16
    return False


def _deep_samples(content: bytes, image: Image.Image) -> np.ndarray:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != image.size[::-1] or pixels.dtype != np.uint16:
        raise InputError("damaged, or of a kind that is not read in its full depth")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        return _grey_alpha(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), image)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _grey_alpha(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """OpenCV gives grey with alpha as RGBA."""
    return np.ascontiguousarray(pixels[..., 2:]) if image.mode == "LA" else pixels


def _samples(image: Image.Image) -> np.ndarray:
    """(H, W), (H, W, 2) with alpha, (H, W, 3) or (H, W, 4)."""
    tiff.mend_palette(image)
    if image.mode.startswith("I") or image.mode == "F" or tiff.is_signed_8_bit(image):
        return _numbers(image)
    if image.has_transparency_data:
        return np.asarray(image.convert("LA" if image.mode in ("L", "LA", "La", "1") else "RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return to_rgb(image)


def _numbers(image: Image.Image) -> np.ndarray:
    """Grey values that are not 8 bits deep: uint16, int8, int32 or float32."""
    values = tiff.samples(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("holds NaN or infinite values, which are no picture")
    if image.format in ("PNG", "PPM") and image.mode == "I":  # read as 32 bits, stored in 16
        return values.astype(np.uint16)
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype == np.uint16 and (white := tiff.white_of_16_bits(image)) != 65535:
        values = np.rint(values.astype(np.float32) * (65535 / white)).astype(np.uint16)
    return 65535 - values if values.dtype == np.uint16 and tiff.is_white_zero(image) else values


def _parted(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours or grey, and alpha."""
    if samples.ndim == 2:
        return samples, None
    channels = samples.shape[2]
    if channels == 2:
        return np.ascontiguousarray(samples[..., 0]), np.ascontiguousarray(samples[..., 1])
    if channels == 4:
        return np.ascontiguousarray(samples[..., :3]), np.ascontiguousarray(samples[..., 3])
    return samples, None
