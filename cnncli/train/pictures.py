"""Pictures of a run: its curves, and a grid of examples."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnncli.imaging.figures import figure_of, pixels_of
from cnncli.imaging.geometry import resize

CELL = 224  # px, the long side of an example in the grid
GAP = 6
CURVES = (10, 4)  # inches


def draw_curves(figures: Sequence[dict[str, Any]], best: tuple[str, str]) -> np.ndarray:
    """Losses beside the figure that decides, over the epochs: uint8 RGB."""
    from matplotlib.ticker import MaxNLocator

    figure = figure_of(*CURVES)
    losses, scores = figure.subplots(1, 2)
    epochs = [entry["epoch"] for entry in figures]
    losses.plot(epochs, [entry["loss"] for entry in figures], "o-", ms=3, label="training")
    losses.plot(epochs, [entry["val_loss"] for entry in figures], "o-", ms=3, label="validation")
    losses.set(title="loss", xlabel="epoch")
    values = [entry[f"val_{best[0]}"] for entry in figures]
    scores.plot(epochs, values, "o-", ms=3, color="tab:green", label="validation")
    sign = 1 if best[1] == "max" else -1
    place = max(range(len(values)), key=lambda n: (sign * values[n], -figures[n]["val_loss"]))
    scores.plot(epochs[place], values[place], "*", ms=14, color="tab:red", label=f"best: {values[place]:.4g}")
    scores.set(title=best[0], xlabel="epoch")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return pixels_of(figure)


def grid(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures uint8 (H, W, 3) of any sizes in rows, on white; none is larger than a cell."""
    columns = math.ceil(math.sqrt(len(pictures)))
    shown = [_fitted(picture) for picture in pictures]
    rows = [shown[first : first + columns] for first in range(0, len(shown), columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    width = max(sum(picture.shape[1] + GAP for picture in row) for row in rows) + GAP
    canvas = np.full((sum(heights) + GAP * (len(rows) + 1), width, 3), 255, np.uint8)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for picture in row:
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + GAP
        top += height + GAP
    return canvas


def _fitted(picture: np.ndarray) -> np.ndarray:
    """Small pictures enlarged and large ones made smaller, so that their height is a cell's."""
    height, width = picture.shape[:2]
    factor = CELL / height
    if width * factor > 4 * CELL:
        factor = 4 * CELL / width
    return resize(picture, max(1, round(height * factor)), max(1, round(width * factor)), "bilinear")[0]
