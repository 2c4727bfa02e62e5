"""Bytes to the numbers that a file stores: its own depth and channels, alpha apart, colours unconverted.

For tasks whose answer is again a picture of the same kind (denoise), or numbers (sobel). `images.decode` gives what
a viewer shows instead. Everything that `decode` refuses is refused here too.
"""

import io

import numpy as np
from PIL import Image

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io import png, pnm, tiff
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
COLOUR_TYPE_AT, GREY_ALPHA = png.DEPTH_AT + 1, 4  # PNG 3rd ed., 11.2.1
ANIMATION = (b"acTL", b"fcTL", b"fdAT")  # ibid., 11.3.6
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
EXTRA_SAMPLES, ASSOCIATED_ALPHA = 338, 1  # TIFF 6.0, section 18


def decode_stored(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The (first) picture in `content`, (H, W) if it is grey, else (H, W, 3) RGB.

    uint8 or uint16 up to white; of a TIFF also int8, int32, uint32 or float32, as they are.
    """
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
    stated = None
    with reported_as_input_errors():
        if image.format == "TIFF":
            tiff.check_layout(image, max_pixels)
            stated = orientation_of(image)
        if image.format == "PPM" and pnm.is_deep(image):
            samples = pnm.deep_samples(image, content)
        else:
            deep = _is_deep(image, content)
            image.load()
            check_size(image, max_pixels)
            samples = _deep_samples(content, image) if deep else _samples(image)
    remaining = orientation_of(image)  # none after the readers of TIFF, Pillow's and OpenCV's, have turned it
    pixels, alpha = _parted(samples)
    alpha = None if alpha is None else upright(alpha, remaining)
    return Photo(upright(pixels, remaining), stated or remaining, alpha, icc, _exif(image))


def _exif(image: Image.Image) -> bytes | None:
    """The file's EXIF block without the orientation, which is undone. Pillow's image forgets it too."""
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

    if image.format == "PNG":
        content = _still(content)  # of an animation OpenCV gives a frame
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != image.size[::-1] or pixels.dtype != np.uint16:
        raise InputError("damaged, or of a kind that is not read in its full depth")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 3 or not image.has_transparency_data:  # a fourth channel may be of no known use
        return cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2RGB)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    if image.format == "PNG" and content[COLOUR_TYPE_AT] == GREY_ALPHA:
        return pixels[..., 2:]
    return _unassociated(pixels) if image.format == "TIFF" and _is_associated(image) else pixels


def _still(content: bytes) -> bytes:
    """A PNG without its animation."""
    if ANIMATION[0] not in content:
        return content
    kept = (content[start:end] for kind, start, end in png.chunks(content) if kind not in ANIMATION)
    return png.SIGNATURE + b"".join(kept) + PNG_END


def _is_associated(image: Image.Image) -> bool:
    return ASSOCIATED_ALPHA in getattr(image, "tag_v2", {}).get(EXTRA_SAMPLES, ())


def _unassociated(pixels: np.ndarray) -> np.ndarray:
    """RGBA whose colours were multiplied by their alpha, divided by it; black where nothing is seen."""
    alpha = pixels[..., 3:].astype(np.float32)
    colours = np.minimum(pixels[..., :3] * (65535 / np.maximum(alpha, 1)), 65535)
    return np.concatenate([np.rint(colours).astype(np.uint16), pixels[..., 3:]], axis=2)


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
    """Grey values that are not 8 bits deep, or are signed; uint16 (H, W, 2) where PNG has a transparent value."""
    values = tiff.samples(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("holds NaN or infinite values, which are no picture")
    if image.format == "PNG":
        return _with_key(values.astype(np.uint16, copy=False), image.info.get("transparency"))
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype == np.uint16 and (white := tiff.white_of_16_bits(image)) != 65535:
        values = np.rint(values.astype(np.float32) * (65535 / white)).astype(np.uint16)
    if not tiff.is_white_zero(image):
        return values
    return 1 - values if values.dtype.kind == "f" else ~values


def _with_key(grey: np.ndarray, transparent: int | None) -> np.ndarray:
    """Grey of 16 bits, with alpha (H, W, 2) where one value stands for transparency."""
    return grey if transparent is None else np.dstack([grey, np.where(grey == transparent, 0, 65535).astype(np.uint16)])


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
