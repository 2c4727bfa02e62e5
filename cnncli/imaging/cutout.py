"""Objects cut out of their photo: with transparency, or on another background. Images are uint8 (H, W, 3) RGB."""

import re

import numpy as np
from PIL import Image

from cnncli.imaging.geometry import FILTERS

HEX_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
BLUR_PART = 0.03  # of the photo's long side: the sigma at which a background loses its detail, not its light
PURITY = 4  # the power of a pixel's uncovered part that it counts with: a half one by a sixteenth
FARTHEST = 1e-12  # the weight below which nothing of the background is near, and black stands behind the object


def with_alpha(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA (H, W, 4); alpha is uint8 (H, W)."""
    return np.dstack([image, alpha])


def composed(image: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The image over a background of its size, alpha uint8 (H, W) being its part."""
    part = alpha[..., None].astype(np.float32) / 255
    return np.rint(image * part + background * (1 - part)).astype(np.uint8)


def colour_of(text: str) -> tuple[int, int, int] | None:
    """Red, green, blue of "#rrggbb" or "#rgb"; None for any other text."""
    match = HEX_COLOUR.fullmatch(text)
    if match is None:
        return None
    digits = match[1] if len(match[1]) == 6 else "".join(digit * 2 for digit in match[1])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def blurred_background(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The photo out of focus, without the light of the object: only what lies outside of it is spread.

    Pixels that the object covers in part hold its light too, and count little. Computed at a quarter of the sigma's
    size, where nothing of the result is lost.
    """
    import cv2

    height, width = image.shape[:2]
    sigma = max(1.0, BLUR_PART * max(height, width))
    factor = max(1, int(sigma / 4))
    small = max(1, width // factor), max(1, height // factor)
    outside = (1 - alpha.astype(np.float32) / 255) ** PURITY
    weight = _blurred(outside, small, sigma / factor)
    spread = _blurred(image * outside[..., None], small, sigma / factor)
    spread /= np.maximum(weight, FARTHEST)[..., None]
    levels = np.clip(np.rint(spread), 0, 255).astype(np.uint8)
    return cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)


def _blurred(values: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Shrunk to a size (width, height), then out of focus by sigma."""
    import cv2

    return cv2.GaussianBlur(cv2.resize(values, size, interpolation=cv2.INTER_AREA), (0, 0), sigma)


def filling(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The centre of a picture, of a size's ratio, scaled to that size."""
    ratio = max(height / picture.shape[0], width / picture.shape[1])
    left, top = (picture.shape[1] - width / ratio) / 2, (picture.shape[0] - height / ratio) / 2
    box = (
        max(left, 0),
        max(top, 0),
        min(left + width / ratio, picture.shape[1]),
        min(top + height / ratio, len(picture)),
    )
    return np.asarray(Image.fromarray(picture).resize((width, height), FILTERS["bicubic"], box))
