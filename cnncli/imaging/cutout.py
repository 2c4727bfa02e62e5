"""Objects cut out of their photo: with transparency, or on another background. Images are uint8 (H, W, 3) RGB."""

import re

import numpy as np

from cnncli.imaging.geometry import resize

HEX_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
BLUR_PART = 0.03  # of the photo's long side: the sigma at which a background loses its detail, not its light


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

    Computed at a sixteenth of the sigma's size, where nothing of the result is lost.
    """
    import cv2

    height, width = image.shape[:2]
    sigma = max(1.0, BLUR_PART * max(height, width))
    factor = max(1, int(sigma / 4))
    small = max(1, width // factor), max(1, height // factor)
    outside = cv2.resize(1 - alpha.astype(np.float32) / 255, small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(image.astype(np.float32), small, interpolation=cv2.INTER_AREA) * outside[..., None]
    kernel = {"ksize": (0, 0), "sigmaX": sigma / factor}
    weight = cv2.GaussianBlur(outside, **kernel) + np.float32(1e-4)
    spread = cv2.GaussianBlur(colours, **kernel) / weight[..., None]
    enlarged = cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.rint(enlarged), 0, 255).astype(np.uint8)


def filling(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture scaled to cover a size, its centre cut out."""
    ratio = max(height / picture.shape[0], width / picture.shape[1])
    inner = max(height, round(picture.shape[0] * ratio)), max(width, round(picture.shape[1] * ratio))
    scaled, _ = resize(picture, *inner, "bicubic")
    top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])
