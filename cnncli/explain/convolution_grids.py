"""Small arrays as grids of numbers, side by side on white: the parts of which the picture of a convolution is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from cnncli.imaging.figures import figure_of, pixels_of

WIDTH = 14.0  # inches, of every row
GAP, MARGIN = 0.75, 0.55  # inches: between grids, and around them for titles and numbers of rows and columns
HEADING, TITLE, LINE = 0.26, 0.5, 0.17  # inches: heights of a line of the heading, of a grid's title, of a note
TICK = 0.15  # inches, between numbers of rows and columns at least
LETTER = 0.072  # inches, of a note
LEAST_WITH_NUMBERS = 0.17  # inches, a cell's side
DARK, FAINT, PADDING = "#222222", "#cccccc", "#cdd9f0"
WINDOW, RESULT = "#e8710a", "#0b8043"  # colours of a window and of what comes of it
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Mark:
    """Frames around cells (row, column), filled with a paler shade of their colour where it `fills`."""

    places: Sequence[tuple[int, int]]
    colour: str
    fills: bool = True


@dataclass(frozen=True)
class Grid:
    """Numbers (H, W), NaN for cells still empty, on colours (H, W, 3) in 0..1, and what is written around them.

    `start`: number of the first row and column. `blocks`: rows and columns between thick lines.
    """

    numbers: np.ndarray
    colours: np.ndarray
    title: str
    axes: tuple[str, str] = ("row", "column")
    start: tuple[int, int] = (0, 0)
    marks: Sequence[Mark] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    blocks: tuple[int, int] | None = None
    before: str = ""  # a sign between the grid on the left and this

    @property
    def note_width(self) -> float:
        return max((len(line) for line in self.notes), default=0) * LETTER


def rgb(colour: str) -> tuple[float, ...]:
    """A colour "#rrggbb" as parts of 1."""
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


def grey_shades(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colours (H, W, 3) of numbers between two limits, from mid-grey to white, so that dark numbers can be read."""
    part = np.clip((numbers - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat(0.45 + 0.55 * part[..., None], 3, axis=2)


def signed_shades(numbers: np.ndarray, limit: float | None = None) -> np.ndarray:
    """Blue below zero, white, red above, none of them dark; NaN is white."""
    from matplotlib import colormaps

    largest = limit or float(np.nanmax(np.abs(numbers), initial=0)) or 1.0
    part = 0.5 + 0.3 * np.clip(np.nan_to_num(numbers) / largest, -1, 1)
    return np.where(np.nan_to_num(numbers)[..., None] == 0, WHITE, np.asarray(colormaps["RdBu_r"](part))[..., :3])


def cell_for(columns: int, grids: int, largest: float, width: float = WIDTH) -> float:
    """Inches a cell's side, so that so many columns in so many grids fit a row."""
    return min(largest, (width - 2 * MARGIN - (grids - 1) * GAP) / columns)


def row_of(
    grids: Sequence[Grid], cell: float, heading: Sequence[str] = (), legend: Sequence[tuple[str, str]] = ()
) -> np.ndarray:
    """Grids from left to right, their tops at one height: uint8 RGB, WIDTH wide.

    `heading`: lines, the first of them large. `legend`: colours and words.
    """
    tallest = max(grid.numbers.shape[0] * cell + len(grid.notes) * LINE for grid in grids)
    top = TITLE + (0.15 + HEADING * len(heading) if heading else 0)
    height = top + tallest + MARGIN + (0.35 if legend else 0)
    figure = figure_of(WIDTH, height)
    figure.set_layout_engine("none")  # the places are given, so that cells of all grids have one size
    for number, line in enumerate(heading):
        size, weight = (13, "bold") if number == 0 else (10, "normal")
        y = 1 - (0.12 + HEADING * number) / height
        figure.text(0.2 / WIDTH, y, line, va="top", size=size, weight=weight, color=DARK)
    widths = [max(grid.numbers.shape[1] * cell, grid.note_width) for grid in grids]
    left = max(MARGIN, (WIDTH - sum(widths) - GAP * (len(grids) - 1)) / 2)
    rows_before = 0
    for grid, width in zip(grids, widths, strict=True):
        rows, columns = grid.numbers.shape
        below = height - top - rows * cell
        place = (left / WIDTH, below / height, columns * cell / WIDTH, rows * cell / height)
        _draw(figure.add_axes(place), grid, cell)
        for number, line in enumerate(grid.notes):
            y = below - 0.45 - number * LINE
            figure.text(left / WIDTH, y / height, line, va="top", size=8, family="monospace", color=DARK)
        if grid.before:
            middle = (left - GAP * 0.72) / WIDTH, 1 - (top + min(rows, rows_before) * cell / 2) / height
            figure.text(*middle, grid.before, ha="center", va="center", size=16, color=DARK)
        left += width + GAP
        rows_before = rows
    if legend:
        _legend(figure, legend)
    return pixels_of(figure)


def _legend(figure: Any, entries: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour if colour == PADDING else "none", edgecolor=colour, lw=2) for colour, _ in entries
    ]
    words = [word for _, word in entries]
    figure.legend(handles, words, loc="lower center", ncols=len(entries), frameon=False, fontsize=9)


def _draw(axes: Any, grid: Grid, cell: float) -> None:
    rows, columns = grid.numbers.shape
    colours = grid.colours.copy()
    for mark in grid.marks:
        _frame(axes, mark, colours)
    axes.imshow(colours, aspect="auto", extent=(0, columns, rows, 0), interpolation="nearest")
    points = min(10.0, cell * 72 * 0.36)
    if cell >= LEAST_WITH_NUMBERS:
        for row, column in np.argwhere(~np.isnan(grid.numbers)):
            ink = DARK if colours[row, column] @ LUMINANCE > 0.45 else "white"
            text = shown(grid.numbers[row, column])
            size = points * min(1.0, 4 / len(text))
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=size, color=ink)
    _lines(axes, grid, cell)
    axes.set_title(grid.title, size=9, color=DARK)
    axes.set_ylabel(grid.axes[0], size=8, labelpad=2)
    axes.set_xlabel(grid.axes[1], size=8, labelpad=2)
    for axis, start, count in ((axes.yaxis, grid.start[0], rows), (axes.xaxis, grid.start[1], columns)):
        step = ceil(TICK / cell)
        if count == 1:  # a vector
            axis.set_ticks([])
            continue
        axis.set_ticks([place + 0.5 for place in range(0, count, step)], range(start, start + count, step))
    axes.tick_params(length=0, labelsize=min(7.0, max(4.5, cell * 26)), pad=2)


def _frame(axes: Any, mark: Mark, colours: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for row, column in mark.places:
        if mark.fills:
            colours[row, column] = 0.35 * np.array(rgb(mark.colour)) + 0.65
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=mark.colour, lw=2, zorder=3))


def _lines(axes: Any, grid: Grid, cell: float) -> None:
    rows, columns = grid.numbers.shape
    if cell >= 0.1:
        axes.hlines(range(rows + 1), 0, columns, color=FAINT, lw=0.5)
        axes.vlines(range(columns + 1), 0, rows, color=FAINT, lw=0.5)
    if grid.blocks:
        axes.hlines(range(0, rows + 1, grid.blocks[0]), 0, columns, color=DARK, lw=1)
        axes.vlines(range(0, columns + 1, grid.blocks[1]), 0, rows, color=DARK, lw=1)


def shown(number: float) -> str:
    """A number in few letters: whole ones whole, others to three digits, or to the second behind the point."""
    if float(number).is_integer() and abs(number) < 1e7:
        return f"{number:.0f}"
    if 10 <= abs(number) < 1000:
        return f"{number:.2f}".rstrip("0").rstrip(".")
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.3e}" if abs(number) >= 1e7 else f"{number:.0f}"
