"""Pillow's modes to RGB: bit depths, transparency, inks."""

import io

import numpy as np
from PIL import Image, ImageCms

from cnncli.errors import InputError
from cnncli.io import tiff

WHITE = (255, 255, 255)
OVERSHOOT = 0.1  # real numbers leave their range by so much where a picture was resized or sharpened


def to_rgb(image: Image.Image) -> np.ndarray:
    """Any mode of Pillow as a viewer would show it: uint8 (H, W, 3); transparency lies on white."""
    tiff.mend_palette(image)
    if image.mode.startswith("I") or image.mode == "F" or tiff.is_signed_8_bit(image):
        return np.repeat(_grey(image)[..., None], 3, axis=2)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode == "CMYK" and "icc_profile" in image.info:
        return np.asarray(_managed(image))
    if image.mode == "LAB":
        lab_to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        return np.asarray(ImageCms.applyTransform(image, lab_to_rgb))
    return np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> np.ndarray:
    if image.mode == "La":
        image = image.convert("LA")  # Pillow has no direct way from it to RGBA
    background = Image.new("RGBA", image.size, (*WHITE, 255))
    return np.asarray(Image.alpha_composite(background, image.convert("RGBA")).convert("RGB"))


def _managed(image: Image.Image) -> Image.Image:
    """CMYK through its own ICC profile; through Pillow's plain formula where the profile is unusable."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image.convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """uint8 (H, W) of a picture whose grey values are not 8 bits deep."""
    values = tiff.samples(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("holds NaN or infinite values, which are no picture")
    grey = _scaled(values, *_black_and_white(image, values))
    if tiff.is_white_zero(image):
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return grey


def _black_and_white(image: Image.Image, values: np.ndarray) -> tuple[float, float]:
    """The values of black and white: as the depth says, else the least of the usual ranges that holds all values."""
    if image.mode.startswith("I;16"):
        return 0, tiff.white_of_16_bits(image)
    if image.format == "PPM" and image.mode == "I":
        return 0, 65535
    low, high = float(values.min()), float(values.max())
    margin = OVERSHOOT if values.dtype.kind == "f" else 0
    for white in (1, 255):
        if -margin * high <= low and high <= (1 + margin) * white:
            return 0, white
    return (0, 65535) if low >= 0 and high <= 65535 else (low, high)


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """uint8 of values: black becomes 0, white 255."""
    scaled = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    scaled -= black
    scaled *= 255 / max(white - black, 1e-12)
    return np.clip(np.rint(scaled, out=scaled), 0, 255).astype(np.uint8)
