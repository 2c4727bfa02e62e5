"""Figures drawn by matplotlib, without a screen. It takes half a second to import, and is so here when it is used."""

from typing import Any

import numpy as np

DPI = 100  # dots an inch


def figure_of(width: float, height: float) -> Any:
    """An empty figure of a size in inches (100 px each), whose parts find their places by themselves."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout="constrained")


def pixels_of(figure: Any) -> np.ndarray:
    """A figure as uint8 RGB (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
