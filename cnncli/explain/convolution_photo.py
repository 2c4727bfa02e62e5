"""What a kernel makes of a whole photo, and what turning it changes, side by side."""

from dataclasses import replace
from typing import Any

import numpy as np

from cnncli.explain.convolution import Settings, filtered, turned
from cnncli.explain.convolution_grids import DARK, WIDTH, WINDOW
from cnncli.imaging.figures import figure_of, pixels_of

HEIGHT = 4.4  # inches
MOSTLY = 99.5  # percent of the pixels are between black and white
EXACT = 1e-9


def draw_photo(photo: np.ndarray, kernel: np.ndarray, settings: Settings) -> np.ndarray:
    """The photo, what the kernel makes of the whole of it, and what turning the kernel changes."""
    from matplotlib.patches import Rectangle

    grey = photo.astype(np.float32)
    slid = filtered(grey, kernel, replace(settings, mode="cross-correlation"))
    flipped = filtered(grey, kernel, replace(settings, mode="convolution"))
    answer = flipped if settings.mode == "convolution" else slid
    figure = figure_of(WIDTH, HEIGHT)
    panels = figure.subplots(1, 3)
    size = f"{photo.shape[1]} x {photo.shape[0]} px"
    side = min(photo.shape)
    corner = (photo.shape[1] - side) / 2 - 0.5, (photo.shape[0] - side) / 2 - 0.5
    panels[0].add_patch(Rectangle(corner, side, side, fill=False, edgecolor=WINDOW, lw=2))
    same = "\n(none: turned, the kernel is the same)" if np.array_equal(kernel, turned(kernel)) else ""
    _panel(figure, panels[0], grey, (0, 255), f"photo, {size}; framed: what the input is of")
    _panel(figure, panels[1], answer, _limits(answer, kernel.sum()), f"{settings.mode} of the whole photo, same size")
    difference = flipped - slid
    _panel(figure, panels[2], difference, _limits(difference, 0), f"convolution minus cross-correlation{same}")
    return pixels_of(figure)


def _panel(figure: Any, axes: Any, values: np.ndarray, limits: tuple[float, float], title: str) -> None:
    shown_image = axes.imshow(values, cmap="gray", vmin=limits[0], vmax=limits[1])
    axes.set_title(title, size=9, color=DARK)
    axes.set(xlabel="column (px)", ylabel="row (px)")
    axes.tick_params(labelsize=7)
    bar = figure.colorbar(shown_image, ax=axes, shrink=0.7, extend="neither" if limits[0] == 0 else "both")
    bar.ax.tick_params(labelsize=7)


def _limits(values: np.ndarray, total: float) -> tuple[float, float]:
    """Black and white for what a kernel whose weights add up to `total` makes of a photo.

    0 and 255 where it keeps the brightness; zero is mid-grey where it takes all away.
    """
    if abs(total - 1) < EXACT:
        return 0, 255
    if abs(total) < EXACT:
        largest = float(np.percentile(np.abs(values), MOSTLY)) or 1.0
        return -largest, largest
    low, high = np.percentile(values, (100 - MOSTLY, MOSTLY))
    return float(low), float(max(high, low + 1))
