"""The picture of inputs that were optimised, side by side."""

import math
from collections.abc import Sequence

import numpy as np

from cnncli.explain.dream import Dreamt
from cnncli.explain.layout import plain
from cnncli.imaging.figures import DPI, figure_of, pixels_of

A_LINE = 4  # pictures
LEAST_SIDE = 3.2  # inches of a picture, of which a caption takes the width
CAPTION, TITLE = 0.5, 0.5


def dream_figure(title: str, reading: str, dreamt: Sequence[Dreamt]) -> np.ndarray:
    """Each picture under what it shows, and what the `reading` rose from and to: uint8 RGB."""
    columns = min(A_LINE, len(dreamt))
    rows = math.ceil(len(dreamt) / columns)
    height, width = dreamt[0].picture.shape[1:]
    factor = max(LEAST_SIDE, height / DPI, width / DPI) / max(height, width)
    figure = figure_of(columns * max(width * factor, LEAST_SIDE) + 0.2, rows * (height * factor + CAPTION) + TITLE)
    figure.suptitle(_lines(title), fontsize="medium")
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in places:
        place.set_axis_off()
    for place, one in zip(places, dreamt, strict=False):
        place.imshow(pixels_of_dream(one))
        place.set_title(_lines(f"{one.name}\n{reading} {one.before:.3g} → {one.after:.3g}"), fontsize="small")
    return pixels_of(figure)


def _lines(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))


def pixels_of_dream(dreamt: Dreamt) -> np.ndarray:
    """A picture as uint8 RGB (H, W, 3)."""
    colours = dreamt.picture.permute(1, 2, 0).numpy()
    return np.rint(255 * (colours if colours.shape[2] == 3 else colours[..., :1].repeat(3, axis=2))).astype(np.uint8)
