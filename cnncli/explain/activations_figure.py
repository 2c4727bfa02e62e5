"""Figures of what a layer gives: the photo, and beside it maps or bars."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnncli.explain.frames import View
from cnncli.explain.layout import draw_photo, plain
from cnncli.explain.tile_figure import Tile, extent_of, lay_tiles, scale_of
from cnncli.imaging.figures import figure_of, pixels_of

PHOTO = 3.8  # inches, the width of the photo's part
TILE = 1.5  # the longer side of a map
BAR = 0.24  # the height of one


def draw_maps(title: Sequence[str], view: View, maps: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Maps (K, h, w) of the network's whole input on one scale of colours: uint8 RGB."""
    columns = math.ceil(math.sqrt(len(maps)))
    width, height = extent_of(columns, math.ceil(len(maps) / columns))
    figure, beside = _beside_photo(title, view, max(width * TILE, 2.5) + 0.9, height * TILE)
    scale = scale_of(maps, "activation")
    tiles = [Tile(caption, values) for caption, values in zip(captions, maps, strict=True)]
    figure.colorbar(lay_tiles(beside, tiles, columns, scale, TILE), ax=beside, shrink=0.8, label=scale.unit)
    return pixels_of(figure)


def draw_units(title: Sequence[str], view: View, values: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Values (K,) of units as bars, the first on top: uint8 RGB."""
    figure, beside = _beside_photo(title, view, 5, len(values) * BAR + 0.6)
    rows = range(len(values))
    beside.barh(rows, values, color=["tab:blue" if value > 0 else "tab:red" for value in values])
    beside.set_yticks(rows, [plain(caption) for caption in captions])
    beside.invert_yaxis()
    beside.axvline(0, color="black", linewidth=0.8)
    beside.set_xlabel("activation")
    return pixels_of(figure)


def _beside_photo(title: Sequence[str], view: View, width: float, height: float) -> tuple[Any, Any]:
    """A figure with lines of a title, the photo, and the axes beside it, which have so many inches."""
    figure = figure_of(PHOTO + width, max(height, PHOTO * 0.7) + 0.7)
    figure.suptitle("\n".join(map(plain, title)))
    left, right = figure.subplots(1, 2, width_ratios=(PHOTO, width))
    draw_photo(left, view, "photo")
    left.set_axis_off()
    return figure, right
