"""Resizing and cropping, each returned with the `Geometry` that undoes it.

Images are uint8 (H, W, C). Pillow resizes, because the weights' recipes ask for its antialiased filters.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """Where a network's input lies in its image: input = image * scale - offset, per axis, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: float = 0.0
    offset_y: float = 0.0

    def undo_points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), x and y in pixels of the network's input, in pixels of the image."""
        return ((*points, self.offset_x, self.offset_y)) / (self.scale_x, self.scale_y)


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
    does not become one of millions of columns. Equal to resizing all, then cropping, to one grey level.
    """
    height, width = image.shape[:2]
    new_width, new_height = short_side_size(width, height, short)
    scale_x, scale_y = new_width / width, new_height / height
    left, top = round((new_width - crop[1]) / 2), round((new_height - crop[0]) / 2)
    box = (left / scale_x, top / scale_y, (left + crop[1]) / scale_x, (top + crop[0]) / scale_y)
    inside = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
    pixels = np.asarray(Image.fromarray(image).resize((crop[1], crop[0]), FILTERS[resampling], box=inside))
    return pixels, Geometry(scale_x, scale_y, left, top)
