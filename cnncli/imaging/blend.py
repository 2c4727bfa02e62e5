"""Overlapping tiles of an image, and their results joined without seams."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """Rows top to bottom and columns left to right of an image; weights of them in the whole, between 0 and 1."""

    top: int
    left: int
    row_weights: np.ndarray
    column_weights: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + len(self.row_weights)),
            slice(self.left, self.left + len(self.column_weights)),
        )


def tile_grid(height: int, width: int, side: int, overlap: int, radius: int) -> list[Tile]:
    """Tiles of up to `side` x `side` px that cover an image of even sides, neighbours sharing at least `overlap`.

    All start at even places, so that networks that work on 2 x 2 blocks see the same blocks. A network's result is
    right `radius` px from a tile's inner edges: so much is left out, as far as the overlap allows, and between it
    the weights pass linearly from one tile to the next.
    """
    rows, columns = _axis(height, side, overlap, radius), _axis(width, side, overlap, radius)
    return [Tile(top, left, down, across) for top, down in rows for left, across in columns]


def _axis(length: int, side: int, overlap: int, radius: int) -> list[tuple[int, np.ndarray]]:
    """Start and weights of each tile along one axis."""
    side = min(side, length)
    steps = math.ceil((length - side) / (side - overlap)) if length > side else 0
    starts = [2 * round(step * (length - side) / steps / 2) for step in range(steps + 1)] if steps else [0]
    weights = [np.ones(side, np.float32) for _ in starts]
    for before, after, start, end in zip(weights, weights[1:], starts[1:], starts, strict=False):
        shared = end + side - start
        fall = _ramp(shared, radius)
        before[side - shared :] *= 1 - fall
        after[:shared] *= fall
    return list(zip(starts, _of_one(starts, weights, length), strict=True))


def _of_one(starts: list[int], weights: list[np.ndarray], length: int) -> list[np.ndarray]:
    """The weights divided by their sum, which is over 1 where three tiles overlap."""
    total = np.zeros(length, np.float32)
    for start, values in zip(starts, weights, strict=True):
        total[start : start + len(values)] += values
    return [values / total[start : start + len(values)] for start, values in zip(starts, weights, strict=True)]


def _ramp(shared: int, radius: int) -> np.ndarray:
    """From 0 to 1 over `shared` pixels; `radius` of them at each end are level, or all but two."""
    level = min(radius, max(shared - 1, 0) // 2)
    inner = shared - 2 * level
    rising = (np.arange(inner, dtype=np.float32) + 0.5) / max(inner, 1)
    return np.concatenate([np.zeros(level, np.float32), rising, np.ones(level, np.float32)])


def add_tile(canvas: np.ndarray, tile: Tile, values: np.ndarray) -> None:
    """Add the part of a tile's result (h, w, C) to the canvas (H, W, C); what hangs over its edge is left out."""
    part = canvas[tile.place]
    height, width = part.shape[:2]
    weighted = values[:height, :width] * tile.row_weights[:height, None, None]
    weighted *= tile.column_weights[None, :width, None]
    part += weighted
