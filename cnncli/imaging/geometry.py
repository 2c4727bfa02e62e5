"""Resizing and cropping, each returned with the `Geometry` that undoes it.

Images are uint8 (H, W, C). Pillow resizes, because the weights' recipes ask for its antialiased filters.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SUPPORT = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}  # pixels to either side; more when shrinking


@dataclass(frozen=True)
class Geometry:
    """Where a network's input lies in its image: input = image * scale - offset, per axis, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: float = 0.0
    offset_y: float = 0.0

    def undo_points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), x and y in pixels of the network's input, in pixels of the image."""
        return np.add(points, (self.offset_x, self.offset_y)) / (self.scale_x, self.scale_y)


def short_side_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height after the short side becomes `short`; the long side is rounded down, as in torchvision."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def resize_and_crop(
    image: np.ndarray, short: int, crop: tuple[int, int], resampling: str
) -> tuple[np.ndarray, Geometry]:
    """Resize the short side to `short` and cut the centre `crop` (height, width) out of the result.

    Only the crop is computed: the filter reads just the pixels that it needs, so that a 20,000 x 2 image
    does not become one of millions of columns. Equal to resizing all, then cropping, to one grey level on photos.
    Where the crop is larger, it is black around the image.
    """
    height, width = image.shape[:2]
    new_width, new_height = short_side_size(width, height, short)
    scale_x, scale_y = new_width / width, new_height / height
    top, left = crop_start(new_height, crop[0]), crop_start(new_width, crop[1])
    seen = min(new_height, crop[0]), min(new_width, crop[1])
    y, x = max(top, 0), max(left, 0)
    columns = x / scale_x, min((x + seen[1]) / scale_x, width)
    rows = y / scale_y, min((y + seen[0]) / scale_y, height)
    pixels = _resized(image, seen, rows, columns, resampling)
    if seen != tuple(crop):
        pixels = _on_black(pixels, crop, y - top, x - left)
    return pixels, Geometry(scale_x, scale_y, left, top)


def _resized(
    image: np.ndarray, size: tuple[int, int], rows: tuple[float, float], columns: tuple[float, float], resampling: str
) -> np.ndarray:
    """A part of an image, given by its edges, in another `size` (height, width).

    First across, then down, as Pillow did until version 12; since then it goes either way, as is cheaper for the
    part, and rounds accordingly.
    """
    support = SUPPORT[resampling]
    top, bottom = _with_margin(rows, size[0], support, image.shape[0])
    left, right = _with_margin(columns, size[1], support, image.shape[1])
    part = Image.fromarray(image[top:bottom, left:right])
    box = (columns[0] - left, 0, columns[1] - left, part.height)
    across = part.resize((size[1], part.height), FILTERS[resampling], box)
    box = (0, rows[0] - top, across.width, rows[1] - top)
    return np.asarray(across.resize((size[1], size[0]), FILTERS[resampling], box))


def _with_margin(edges: tuple[float, float], length: int, support: int, limit: int) -> tuple[int, int]:
    """Whole pixels that a filter reads to make `length` pixels of those between two edges."""
    margin = support * max(1.0, (edges[1] - edges[0]) / length) + 1
    return max(0, math.floor(edges[0] - margin)), min(limit, math.ceil(edges[1] + margin))


def crop_start(length: int, crop: int) -> int:
    """Where a centred crop begins, rounded as in torchvision; negative where it is longer."""
    return round((length - crop) / 2) if crop <= length else -((crop - length) // 2)


def _on_black(pixels: np.ndarray, size: tuple[int, int], top: int, left: int) -> np.ndarray:
    padded = np.zeros((*size, pixels.shape[2]), np.uint8)
    padded[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return padded


def letterbox(image: np.ndarray, size: int, fill: int) -> tuple[np.ndarray, Geometry]:
    """The whole image in the top left of a square of `size`, its ratio kept, the rest filled.

    Plain bilinear (OpenCV's INTER_LINEAR), as EfficientDet was trained with: antialiasing loses it 0.8 AP.
    """
    import cv2

    height, width = image.shape[:2]
    inner, geometry = letterbox_geometry(width, height, size)
    canvas = np.full((size, size, 3), fill, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    return canvas, geometry


def letterbox_geometry(width: int, height: int, size: int) -> tuple[tuple[int, int], Geometry]:
    """Width and height that an image has in its letterbox, and what undoes it."""
    scale = min(size / width, size / height)
    inner = max(1, int(width * scale)), max(1, int(height * scale))
    return inner, Geometry(inner[0] / width, inner[1] / height)


def tiles(width: int, height: int, side: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of squares of `side` px that cover an image, at least `overlap` of a side shared.

    They are spread evenly, so that none hangs over an edge; an image shorter than `side` gives its own height or width.
    """
    columns, rows = _starts(width, side, overlap), _starts(height, side, overlap)
    return [(x, y, min(x + side, width), min(y + side, height)) for y in rows for x in columns]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    steps = math.ceil((length - side) / (side * (1 - overlap)))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def resize(image: np.ndarray, height: int, width: int, resampling: str) -> tuple[np.ndarray, Geometry]:
    """The whole image (H, W, C) or (H, W) in another size, its ratio not kept."""
    scale = Geometry(width / image.shape[1], height / image.shape[0])
    if image.shape[:2] == (height, width):
        return image, scale
    return np.asarray(Image.fromarray(image).resize((width, height), FILTERS[resampling])), scale


def stepped_size(width: int, height: int, long_side: int, step: int, rest: int) -> tuple[int, int]:
    """Width and height after the long side becomes `long_side`, each the nearest step * k + rest, k at least 1."""
    ratio = long_side / max(width, height)
    return _stepped(width * ratio, step, rest), _stepped(height * ratio, step, rest)


def _stepped(length: float, step: int, rest: int) -> int:
    return max(1, round((length - rest) / step)) * step + rest
