"""Figures of heat maps: the photo beside them, titles, a scale of colours for each."""

import math
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli.explain.frames import View
from cnncli.imaging.figures import figure_of, pixels_of

PANEL = 4.0  # inches, the long side of a photo
LETTERS_AN_INCH = 12  # of a title
MARGINS = (0.75, 0.8)  # inches beside and above each
DRAWING = threading.Lock()  # matplotlib's fonts and colours are shared by all figures
VEIL = 0.55  # opacity of heat over the photo


@dataclass(frozen=True)
class Panel:
    """A map `heat` (H, W) in the pixels of the picture, NaN where there is none, drawn over the greyed photo.

    `limits` are the values of the first and the last colour; `unit` stands beside the scale.
    """

    title: str
    heat: np.ndarray
    limits: tuple[float, float]
    unit: str
    colours: str = "inferno"
    veil: float = VEIL


def heat_figure(title: str, source: str, view: View, panels: Sequence[Panel]) -> np.ndarray:
    """The photo, with what the network sees of it framed, and each panel beside it: uint8 RGB."""
    width, height = panel_size(view)
    size = width + MARGINS[0], max(height, 1.6) + MARGINS[1]
    columns = min(4, len(panels) + 1)
    rows = math.ceil((len(panels) + 1) / columns)
    figure = figure_of(columns * size[0], rows * size[1])
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    figure.suptitle(plain(title))
    draw_photo(axes[0], view, source)
    for place, panel in zip(axes[1:], panels, strict=False):
        _heat(figure, place, view, panel)
    for place in axes:
        place.set_axis_off()
    return pixels_of(figure)


def panel_size(view: View) -> tuple[float, float]:
    """Width, wide enough for a title, and height of a picture in inches."""
    height, width = view.picture.shape[:2]
    factor = PANEL / max(height, width)
    return max(width * factor, 2.2), height * factor


def wrapped(title: str, view: View) -> str:
    """A title in lines that are no wider than the picture under it."""
    return plain(textwrap.fill(title, round(panel_size(view)[0] * LETTERS_AN_INCH), break_long_words=False))


def draw_photo(place: Any, view: View, source: str) -> None:
    """The photo on some axes, what the network sees of it framed."""
    from matplotlib.patches import Rectangle

    place.imshow(view.picture)
    x, y, width, height = view.region
    caption = source
    if (width, height) != view.picture.shape[1::-1]:
        place.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="white", linewidth=2.5))
        place.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="black", linewidth=1))
        caption += ", framed: what the network sees"
    place.set_title(wrapped(caption, view), fontsize="medium")


def _heat(figure: Any, place: Any, view: View, panel: Panel) -> None:
    grey = view.picture.mean(axis=2)
    place.imshow(grey, cmap="gray", vmin=0, vmax=255)
    low, high = panel.limits
    shown = place.imshow(
        panel.heat, cmap=panel.colours, vmin=low, vmax=high, alpha=panel.veil, interpolation="bilinear"
    )
    scale = figure.colorbar(shown, ax=place, shrink=0.8, label=panel.unit)
    scale.solids.set_alpha(1)
    place.set_title(wrapped(panel.title, view), fontsize="medium")


def plain(text: str) -> str:
    """Text in which a dollar sign is one, and no formula; without characters that no font shows."""
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return shown.replace("$", r"\$")
