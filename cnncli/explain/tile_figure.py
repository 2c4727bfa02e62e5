"""Figures of many small maps: tiles in rows, each with its caption, on one scale of colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli.explain.layout import plain

GAP = 0.12  # between tiles, of a tile's side
CAPTION = 0.3  # above each tile, of its side


@dataclass(frozen=True)
class Tile:
    """A map (h, w), or a picture (h, w, 3) in 0..1, and the line above it; each lies in a square of its own."""

    caption: str
    values: np.ndarray


@dataclass(frozen=True)
class Scale:
    """The values of the first and the last colour, what they measure, and the colours' name in matplotlib."""

    limits: tuple[float, float]
    unit: str
    colours: str


def scale_of(maps: np.ndarray, unit: str) -> Scale:
    """One scale for maps: from 0 where nothing is below it, else symmetric about 0, which is white."""
    low, high = float(maps.min()), float(maps.max())
    most = max(abs(low), abs(high)) or 1.0  # a scale needs a length
    return Scale((0, most), unit, "viridis") if low >= 0 else Scale((-most, most), unit, "RdBu_r")


def extent_of(columns: int, rows: int) -> tuple[float, float]:
    """Width and height of a grid of tiles, in tiles."""
    return columns * (1 + GAP) - GAP, rows * (1 + GAP + CAPTION) - GAP


def lay_tiles(place: Any, tiles: Sequence[Tile], columns: int, scale: Scale, size: float) -> Any:
    """Draw tiles, `columns` to a row, on the axes `place`; text is for tiles of `size` inches. For the colour bar."""
    image = None
    for number, tile in enumerate(tiles):
        x, y = (number % columns) * (1 + GAP), (number // columns) * (1 + GAP + CAPTION) + CAPTION
        drawn = _lay(place, tile, x, y, scale)
        image = drawn if tile.values.ndim == 2 else image
        place.text(x, y - 0.04, plain(tile.caption), fontsize=min(8, 11 * size), va="bottom", ha="left")
    width, height = extent_of(columns, -(-len(tiles) // columns))
    place.set(xlim=(-0.02, width + 0.02), ylim=(height + 0.02, -0.02), aspect="equal")
    place.set_axis_off()
    return image


def _lay(place: Any, tile: Tile, x: float, y: float, scale: Scale) -> Any:
    height, width = tile.values.shape[:2]
    longest = max(height, width)
    box = x, x + width / longest, y + height / longest, y
    low, high = scale.limits
    drawn = place.imshow(tile.values, cmap=scale.colours, vmin=low, vmax=high, extent=box, interpolation="nearest")
    place.add_patch(_frame(box))
    return drawn


def _frame(box: tuple[float, float, float, float]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = box
    return Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="0.6", linewidth=0.5)
