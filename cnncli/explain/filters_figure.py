"""Figures of kernels: colour pictures for those that read a photo, rows of tiles for the others."""

import math

import numpy as np

from cnncli.explain.filters import Kernels
from cnncli.explain.layout import plain
from cnncli.explain.tile_figure import Scale, Tile, extent_of, lay_tiles
from cnncli.imaging.figures import figure_of, pixels_of

TILE = 0.75  # inches
APART_UP_TO = 32  # kernels that have room for their three channels beside them
COLOURS = ("red", "green", "blue")


def draw_kernels(model: str, kernels: Kernels) -> np.ndarray:
    """The picture, uint8 RGB (H, W, 3)."""
    most = float(np.abs(kernels.values).max()) or 1.0  # a scale needs a length
    scale = Scale((-most, most), "weight", "RdBu_r")
    if kernels.colours:
        tiles, columns = _colour_tiles(kernels)
    elif kernels.shape[1] == 1:
        tiles = [Tile(str(channel), value[0]) for channel, value in zip(kernels.channels, kernels.values, strict=True)]
        columns = math.ceil(math.sqrt(len(tiles) * 1.5))
    else:
        tiles, columns = _rows_of_tiles(kernels)
    return _drawn(_title(model, kernels), tiles, columns, scale)


def in_colours(kernel: np.ndarray) -> np.ndarray:
    """A kernel (3, rows, columns) as a picture (rows, columns, 3): 0 is grey, its largest weight 0 or 1."""
    return 0.5 + 0.5 * np.moveaxis(kernel, 0, 2) / (np.abs(kernel).max() or 1)


def _colour_tiles(kernels: Kernels) -> tuple[list[Tile], int]:
    """Pictures, with the channels of each beside it where there is room."""
    pictures = [
        Tile(str(channel), in_colours(value)) for channel, value in zip(kernels.channels, kernels.values, strict=True)
    ]
    if len(pictures) > APART_UP_TO:
        return pictures, math.ceil(math.sqrt(len(pictures) * 1.5))
    tiles = []
    for picture, value in zip(pictures, kernels.values, strict=True):
        tiles += [picture, *(Tile(name, channel) for name, channel in zip(COLOURS, value, strict=True))]
    return tiles, 4 * math.ceil(math.sqrt(len(pictures) / 3))


def _rows_of_tiles(kernels: Kernels) -> tuple[list[Tile], int]:
    """A row for each kernel, a tile for each of its inputs, "in" which it looks."""
    tiles = [
        Tile(f"{channel}: in {source}" if number == 0 else f"in {source}", tile)
        for channel, sources, value in zip(kernels.channels, kernels.inputs, kernels.values, strict=True)
        for number, (source, tile) in enumerate(zip(sources, value, strict=True))
    ]
    return tiles, kernels.values.shape[1]


def _title(model: str, kernels: Kernels) -> str:
    out, inputs, rows, columns = kernels.shape
    kind = "depthwise " if kernels.depthwise else f"in {kernels.groups} groups, " if kernels.groups > 1 else ""
    shown = f"{len(kernels.channels)} of {out}" if len(kernels.channels) < out else f"all {out}"
    read = kernels.values.shape[1]
    part = f", {read} of {inputs} inputs" if read < inputs else ""
    return plain(f"{model}: {kernels.layer}") + "\n" + f"{kind}{rows} x {columns}, {shown} kernels{part}"


def _drawn(title: str, tiles: list[Tile], columns: int, scale: Scale) -> np.ndarray:
    width, height = extent_of(columns, math.ceil(len(tiles) / columns))
    figure = figure_of(max(width * TILE + 1.2, 5), max(height * TILE + 0.9, 2.2))
    figure.suptitle(title)
    place = figure.subplots()
    image = lay_tiles(place, tiles, columns, scale, TILE)
    if image is not None:
        figure.colorbar(image, ax=place, shrink=min(1.0, 3 / figure.get_figheight()), label=scale.unit)
    return pixels_of(figure)
