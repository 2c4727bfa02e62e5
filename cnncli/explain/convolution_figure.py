"""The picture of a convolution: input, kernel and output, some steps, the matrix, and the whole photo."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from cnncli.explain.convolution import Convolution, Settings, Step
from cnncli.explain.convolution_grids import (
    GAP,
    MARGIN,
    PADDING,
    RESULT,
    WIDTH,
    WINDOW,
    Grid,
    Mark,
    cell_for,
    grey_shades,
    rgb,
    row_of,
    shown,
    signed_shades,
)
from cnncli.explain.convolution_photo import draw_photo
from cnncli.imaging.figures import DPI

LARGE, SMALL = 0.42, 0.3  # inches, a cell's side at most: of the whole, of a step
SUMMED = "value · weight of each tap of the kernel, and their sum"
TRANSPOSED = "value · weight of each tap of the kernel, added to what the output has there"
FIRST_STEPS = 3  # which are shown, beside the last
PRODUCTS_A_LINE = 4
MATRIX_WIDTH = 10.5  # inches
MATRIX_CELL = 0.26


def draw(convolution: Convolution, photo: np.ndarray | None = None, with_matrix: bool = False) -> np.ndarray:
    """All there is to show, one below the other: uint8 RGB. `photo`: grey (H, W), whose middle is the input."""
    rows = [_whole(convolution), np.concatenate(list(_steps(convolution)))]
    if with_matrix:
        rows.append(_matrix(convolution))
    if photo is not None:
        rows.append(draw_photo(photo, convolution.kernel, convolution.settings))
    line = np.full((2, round(WIDTH * DPI), 3), 200, np.uint8)
    return np.concatenate([part for row in rows for part in (row, line)][:-1])


def _whole(convolution: Convolution) -> np.ndarray:
    """The input, the kernel as it is given and as it slides, and the output."""
    settings, kernel = convolution.settings, convolution.kernel
    sign = "*" if settings.mode == "convolution" else "⋆"
    kernels = [Grid(kernel, signed_shades(kernel), f"kernel {_size(kernel)}", before=sign)]
    if settings.mode == "convolution":
        weights = convolution.weights
        kernels.append(Grid(weights, signed_shades(weights), "as it slides:\nturned by 180°", before="→"))
    output = convolution.output
    sizes = ",  ".join(f"{axis.name} {axis.formula}" for axis in convolution.axes)
    grids = [
        _input(convolution, ()),
        *kernels,
        Grid(output, signed_shades(output), f"output {_size(output)}", before="="),
    ]
    cell = cell_for(sum(grid.numbers.shape[1] for grid in grids), len(grids), LARGE)
    name = f"{'Transposed ' if settings.transposed else ''}{settings.mode}"
    heading = f"{name[0].upper()}{name[1:]}, {_moves(settings)}"
    return row_of(grids, cell, (heading, f"output = {convolution.axes[0].general}:  {sizes}"), _legend(convolution))


def _moves(settings: Settings) -> str:
    padding = settings.padding if isinstance(settings.padding, str) else _pair(settings.padding)
    around = "" if settings.padding in ("valid", (0, 0)) or settings.transposed else f" ({settings.border})"
    return f"stride {_pair(settings.stride)}, padding {padding}{around}, dilation {_pair(settings.dilation)}"


def _legend(convolution: Convolution) -> list[tuple[str, str]]:
    if convolution.settings.transposed:
        entries = [(WINDOW, "one value of the input"), (RESULT, "where its products are added")]
        return entries + ([(PADDING, "padding, cut off")] if np.any(convolution.padding) else [])
    entries = [(WINDOW, "window: what the kernel lies on"), (RESULT, "the sum of its products")]
    return entries + ([(PADDING, f"padding ({convolution.settings.border})")] if np.any(convolution.padding) else [])


def _input(convolution: Convolution, marks: Sequence[Mark]) -> Grid:
    """The padded input; rows and columns are counted from the first cell of the image."""
    padded, image = convolution.padded, convolution.image
    colours = grey_shades(padded, float(image.min()), float(image.max()))
    title = f"input {_size(image)}"
    if convolution.settings.transposed or padded.shape == image.shape:
        return Grid(padded, colours, title, marks=marks)
    (top, _), (left, _) = convolution.padding
    inside = np.zeros(padded.shape, bool)
    inside[top : top + image.shape[0], left : left + image.shape[1]] = True
    colours[~inside] = rgb(PADDING)
    return Grid(padded, colours, f"{title}, padded {_size(padded)}", start=(-top, -left), marks=marks)


def _steps(convolution: Convolution) -> Iterator[np.ndarray]:
    """The first windows and the last, as many to a row as fit."""
    steps = list(convolution.steps())
    chosen = [number for number in range(len(steps)) if number < FIRST_STEPS or number == len(steps) - 1]
    notes = [_products(convolution, steps[number]) for number in chosen]
    longest = max(len(line) for lines in notes for line in lines)
    pairs = [
        _step(convolution, steps, number, [line.ljust(longest) for line in lines])  # so that all steps are as wide
        for number, lines in zip(chosen, notes, strict=True)
    ]
    columns = sum(grid.numbers.shape[1] for grid in pairs[0])
    widths = [max(grid.note_width, grid.numbers.shape[1] * SMALL) for grid in pairs[0]]
    fitting = max(1, int((WIDTH - 2 * MARGIN + GAP) / (sum(widths) + 2 * GAP)))
    in_row = ceil(len(pairs) / ceil(len(pairs) / fitting))  # 2 and 2 rather than 3 and 1
    heading = ("Steps: the first, and the last", TRANSPOSED if convolution.settings.transposed else SUMMED)
    for first in range(0, len(pairs), in_row):
        shown_pairs = pairs[first : first + in_row]
        grids = [grid for pair in shown_pairs for grid in pair]
        cell = cell_for(columns * len(shown_pairs), len(grids), SMALL)
        yield row_of(grids, cell, heading if first == 0 else ())


def _step(convolution: Convolution, steps: Sequence[Step], number: int, notes: list[str]) -> tuple[Grid, Grid]:
    """The input with what a step reads, notes below; and the output up to this step."""
    step = steps[number]
    title = f"step {number + 1} of {len(steps)}"
    if convolution.settings.transposed:
        before = _input(convolution, [Mark([step.cell], WINDOW)])
        after = _laid(convolution, steps[: number + 1])
    else:
        before = _input(convolution, [Mark(step.places, WINDOW)])
        after = _filled(convolution, step)
    return replace(before, title=title, notes=notes), replace(after, before="→")


def _products(convolution: Convolution, step: Step) -> list[str]:
    """Value times weight of each tap, a line or more for each row of the kernel, and their sum."""
    pairs = [f"{shown(value)}·{_signed(weight)}" for value, weight in zip(step.values, step.weights, strict=True)]
    taps = convolution.kernel.shape[1]
    rows = [pairs[first : first + taps] for first in range(0, len(pairs), taps)]
    lines = [row[first : first + PRODUCTS_A_LINE] for row in rows for first in range(0, taps, PRODUCTS_A_LINE)]
    letters = max(len(pair) for pair in pairs)
    if convolution.settings.transposed:
        return ["  ".join(pair.rjust(letters) for pair in line) for line in lines]
    sums = [" + ".join(pair.rjust(letters) for pair in line) for line in lines]
    return [*(f"{line} +" for line in sums[:-1]), sums[-1], f"= {shown(step.total)}"]


def _filled(convolution: Convolution, step: Step) -> Grid:
    """The output as far as it is known after a step."""
    output = convolution.output
    numbers = output.copy()
    numbers.ravel()[step.cell[0] * output.shape[1] + step.cell[1] + 1 :] = np.nan
    colours = signed_shades(numbers, float(np.abs(output).max()))
    return Grid(numbers, colours, "output so far", marks=[Mark([step.cell], RESULT, fills=False)])


def _laid(convolution: Convolution, steps: Sequence[Step]) -> Grid:
    """The sums of a transposed convolution after some steps, before its padding is cut off."""
    (top, bottom), (left, right) = convolution.padding
    height, width = convolution.output.shape
    numbers = np.zeros((height + top + bottom, width + left + right))
    for step in steps:
        for place, product in zip(step.places, step.products, strict=True):
            numbers[place] += product
    colours = signed_shades(numbers, float(np.abs(convolution.output).max()))
    kept = np.zeros(numbers.shape, bool)
    kept[top : top + height, left : left + width] = True
    colours[~kept] = rgb(PADDING)
    marks = [Mark(steps[-1].places, RESULT, fills=False)]
    return Grid(numbers, colours, "output so far", start=(-top, -left), marks=marks)


def _matrix(convolution: Convolution) -> np.ndarray:
    """The matrix, the input as a vector and the output as one."""
    matrix, settings = convolution.matrix, convolution.settings
    image, output = convolution.image, convolution.output
    cell = min(MATRIX_CELL, MATRIX_WIDTH / matrix.shape[1])
    toeplitz = settings.border == "zeros" and settings.stride == (1, 1)
    zeros = np.count_nonzero(matrix == 0)
    entries = f"{matrix.size - zeros} entries are not zero, {zeros} are"
    heading = (
        f"The same as a {'doubly blocked Toeplitz matrix' if toeplitz else 'matrix'} of {_size(matrix)} entries",
        f"a column for each cell of the input, a row for each of the output; {entries}; blocks: a row of the "
        "output by one of the input",
    )
    numbers, axes = np.where(matrix == 0, np.nan, matrix), ("cell of the output", "cell of the input")
    grids = [
        Grid(numbers, signed_shades(matrix), "matrix", axes, blocks=(output.shape[1], image.shape[1])),
        _vector(image, grey_shades(image, float(image.min()), float(image.max())), "input", "×"),
        _vector(output, signed_shades(output), "output", "="),
    ]
    return row_of(grids, cell, heading)


def _vector(numbers: np.ndarray, colours: np.ndarray, title: str, sign: str) -> Grid:
    blocks = numbers.shape[1], 1
    return Grid(numbers.reshape(-1, 1), colours.reshape(-1, 1, 3), title, ("cell", ""), blocks=blocks, before=sign)


def _signed(weight: float) -> str:
    return f"({shown(weight)})" if weight < 0 else shown(weight)


def _size(values: np.ndarray) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"


def _pair(values: tuple[int, int]) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]} x {values[1]}"
