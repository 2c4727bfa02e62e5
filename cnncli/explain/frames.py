"""Where the network's input lies in the photo, and heat maps of the one on the other."""

from dataclasses import dataclass

import numpy as np

from cnncli.imaging.geometry import Geometry, letterbox, resize_and_crop
from cnncli.io.weights import ModelInfo


@dataclass(frozen=True)
class View:
    """A picture uint8 (H, W, 3) and where the network's input lies in it: x, y, width, height in its pixels."""

    picture: np.ndarray
    region: tuple[int, int, int, int]

    def laid(self, heat: np.ndarray) -> np.ndarray:
        """A map (h, w) of the network's input in the pixels of the picture, NaN where the network does not look."""
        import cv2

        x, y, width, height = self.region
        whole = np.full(self.picture.shape[:2], np.nan, np.float32)
        whole[y : y + height, x : x + width] = cv2.resize(heat.astype(np.float32), (width, height))
        return whole


def view_of(info: ModelInfo, photo: np.ndarray, seen: np.ndarray) -> tuple[View, tuple[slice, slice]]:
    """The photo with the region that the network sees, and the part of its input `seen` that shows that.

    A face that was turned upright is its own picture.
    """
    everything = (slice(None), slice(None))
    if info.task == "embed-face":
        return View(as_rgb(seen), (0, 0, seen.shape[1], seen.shape[0])), everything
    picture = as_rgb(photo)
    height, width = picture.shape[:2]
    if info.task == "detect":
        geometry = letterbox(picture, info.recipe["input"][0], info.recipe["fill"])[1]
        part = slice(round(height * geometry.scale_y)), slice(round(width * geometry.scale_x))
        return View(picture, (0, 0, width, height)), part
    if info.task == "classify":
        return _cropped(info, picture, seen)
    return View(picture, (0, 0, width, height)), everything


def _cropped(info: ModelInfo, picture: np.ndarray, seen: np.ndarray) -> tuple[View, tuple[slice, slice]]:
    """The region of a crop; where the input is larger than the resized photo, its black edges are left out."""
    geometry: Geometry = resize_and_crop(
        picture, info.recipe["resize"], tuple(info.recipe["input"]), info.recipe["filter"]
    )[1]
    corners = np.array([[0, 0], [seen.shape[1], seen.shape[0]]])
    (left, top), (right, bottom) = geometry.undo_points(corners)
    x, right = max(0, round(left)), min(picture.shape[1], round(right))
    y, bottom = max(0, round(top)), min(picture.shape[0], round(bottom))
    rows = slice(max(0, -int(geometry.offset_y)), seen.shape[0] - max(0, -int(geometry.offset_y)))
    columns = slice(max(0, -int(geometry.offset_x)), seen.shape[1] - max(0, -int(geometry.offset_x)))
    return View(picture, (x, y, max(1, right - x), max(1, bottom - y))), (rows, columns)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Any picture that a task works on as uint8 (H, W, 3)."""
    if pixels.dtype == np.uint16:
        pixels = pixels // 257
    elif pixels.dtype.kind == "f":
        pixels = np.rint(pixels.clip(0, 1) * 255)
    pixels = pixels.astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])
