"""Figures of patches: parts of a network's input, where they lie in the photo, and what belongs to each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli.explain.channels import Box
from cnncli.explain.frames import View, as_rgb
from cnncli.explain.layout import plain
from cnncli.imaging.figures import figure_of, pixels_of

PHOTO = 4.6  # inches, the long side
CELL = 2.1  # inches a patch with its caption
MOST_ROWS = 4  # of patches beside a photo, before there is another column of them
GREY = 0.5  # of no contribution
COLOURS = "tab10"  # a frame's, by its number


@dataclass(frozen=True)
class Patch:
    """`pixels` uint8 RGB (h, w, 3) of the input; `box` in the picture; what is shown `beside` it, (h, w, C), signed."""

    title: str
    pixels: np.ndarray
    box: Box
    beside: np.ndarray


def cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    """The part of (H, W, ...) that a box covers."""
    x, y, width, height = box
    return pixels[y : y + height, x : x + width]


def box_in(region: Box, part: tuple[slice, slice], size: tuple[int, int], box: Box) -> Box:
    """A box in pixels of the network's input, of `size` (rows, columns), in those of the picture.

    `part` of the input shows the `region` of the picture; what lies outside is left out.
    """
    left, width = _along(region[0], region[2], part[1], size[1], box[0], box[2])
    top, height = _along(region[1], region[3], part[0], size[0], box[1], box[3])
    return left, top, width, height


def _along(start: int, length: int, part: slice, size: int, first: int, count: int) -> tuple[int, int]:
    """One axis of it: where the box begins, and how long it is, at least a pixel."""
    begin, end, _ = part.indices(size)
    scale = length / max(1, end - begin)
    low, high = (min(max(edge - begin, 0) * scale, length) for edge in (first, first + count))
    low = min(math.floor(low + 0.5), length - 1)
    return start + low, max(1, math.floor(high + 0.5) - low)


def around_grey(values: np.ndarray) -> np.ndarray:
    """Signed values (h, w, C) as RGB in 0..1: zero is grey, the strongest black or white. Of four channels three."""
    colours = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].repeat(3, axis=2)
    strongest = float(np.abs(colours).max()) or 1.0
    return GREY + colours / (2 * strongest)


def projection_figure(title: str, view: View, patches: Sequence[Patch]) -> np.ndarray:
    """The photo with a frame for each patch, and beside it each patch next to its projection: uint8 RGB."""
    columns = math.ceil(len(patches) / MOST_ROWS)
    rows = math.ceil(len(patches) / columns)
    height, width = view.picture.shape[:2]
    factor = PHOTO / max(height, width)
    sides = max(width * factor, 2.0), max(height * factor, rows * CELL * 0.9)
    figure = figure_of(sides[0] + 2 * columns * CELL + 0.4, sides[1] + 0.7)
    figure.suptitle(plain(title))
    left, right = figure.subfigures(1, 2, width_ratios=(sides[0], 2 * columns * CELL))
    _framed(left.subplots(), view, patches)
    places = right.subplots(rows, 2 * columns, squeeze=False)
    for place in places.flatten():
        place.set_axis_off()
    for number, patch in enumerate(patches):
        column, row = divmod(number, rows)
        _pair(places[row, 2 * column : 2 * column + 2], patch, number)
    return pixels_of(figure)


def _framed(place: Any, view: View, patches: Sequence[Patch]) -> None:
    place.imshow(view.picture)
    numbers: dict[Box, list[int]] = {}
    for number, patch in enumerate(patches):
        numbers.setdefault(patch.box, []).append(number)
    for box, alike in numbers.items():
        frame(place, box, alike[0])
        label = {"facecolor": colour_of(alike[0]), "edgecolor": "none", "pad": 1}
        text = ", ".join(str(number + 1) for number in alike)
        place.text(box[0], box[1], text, color="white", fontsize="small", va="top", bbox=label)
    place.set_title("photo: where they lie", fontsize="medium")
    place.set_axis_off()


def frame(place: Any, box: Box, number: int) -> None:
    """A frame in the colour of its number, dark outside."""
    from matplotlib.patches import Rectangle

    x, y, width, height = box
    for colour, line in (("black", 3.5), (colour_of(number), 2)):
        place.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line))


def colour_of(number: int) -> Any:
    from matplotlib import colormaps

    return colormaps[COLOURS](number % 10)


def _pair(places: Sequence[Any], patch: Patch, number: int) -> None:
    from matplotlib.patches import Rectangle

    places[0].imshow(as_rgb(patch.pixels))
    places[1].imshow(around_grey(patch.beside), vmin=0, vmax=1)
    places[0].set_title(plain(patch.title), fontsize="small", loc="left")
    for place in places:
        whole = {"fill": False, "edgecolor": colour_of(number), "linewidth": 3, "transform": place.transAxes}
        place.add_patch(Rectangle((0, 0), 1, 1, **whole))
