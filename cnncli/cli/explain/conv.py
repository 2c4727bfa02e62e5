"""`cnncli explain conv`."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.explain.shared import check_picture, read_photo, write_picture
from cnncli.cli.models_shape import pair
from cnncli.cli.options import PROVIDERS, with_shared_options
from cnncli.cli.streams import print_out
from cnncli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from cnncli.explain.convolution import Convolution, Step

PADDING_WORDS = ("same", "valid", "full")
MOST_CELLS = 12  # of a side of the input: more numbers can't be read
MOST_SHOWN = 20  # of a side with its padding, or of the output
MOST_TAPS = 7  # of a side of the kernel
MATRIX_UP_TO = 6  # cells a side; its matrix has at most 36 columns
LARGEST = 1e6  # of a value: products stay exact
STDOUT = Path("-")


@dataclass(frozen=True)
class Way:
    """How the kernel goes over the input."""

    mode: str
    stride: tuple[int, int]
    padding: Any
    dilation: tuple[int, int]
    border: str
    transposed: bool


def way(
    mode: Annotated[
        str, typer.Option(help="cross-correlation, as networks do, or convolution, which turns the kernel.")
    ] = "cross-correlation",
    stride: Annotated[str, typer.Option(help="Cells from one window to the next: 2, or height x width, as 1x2.")] = "1",
    padding: Annotated[
        str, typer.Option(help="Cells on each side, likewise; or valid (none), same (keeps the size), full (all).")
    ] = "valid",
    dilation: Annotated[str, typer.Option(help="Cells from one tap of the kernel to the next, likewise.")] = "1",
    border: Annotated[str, typer.Option(help="What the padding holds: zeros, reflect or replicate.")] = "zeros",
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Lay the kernel, times each value, on the output; padding is cut off.")
    ] = False,
) -> Way:
    how = padding if padding in PADDING_WORDS else pair("--padding", padding)
    return Way(mode, pair("--stride", stride), how, pair("--dilation", dilation), border, transposed)


PROVIDERS[Way] = way


@with_shared_options
def conv(
    way: Way,
    image: Annotated[
        str | None,
        typer.Argument(metavar="IMAGE", help="A photo, whose grey values are shrunk to a few; - is standard input."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; - is standard output (PNG).")] = None,
    values: Annotated[
        str | None, typer.Option(help='Numbers in place of a photo, rows by ";": "0 1 2; 3 4 5".')
    ] = None,
    grid: Annotated[int, typer.Option(help="Cells a side that the photo's middle is shrunk to (1 to 12).")] = 7,
    kernel: Annotated[
        str, typer.Option(help="sobel-x, sobel-y, blur, sharpen, edge, identity, or numbers as in --values.")
    ] = "sobel-x",
    toeplitz: Annotated[
        bool | None,
        typer.Option(
            "--toeplitz/--no-toeplitz", help="Show the matrix too; by default for up to 6 x 6.", show_default=False
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="text, or json: every step with its products.")] = "text",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an --out that exists.")] = False,
) -> int:
    """A convolution step by step, in numbers small enough to follow by hand.

    \b
    cnncli explain conv photo.jpg --out steps.png
    cnncli explain conv --values "0 1 2; 3 4 5; 6 7 8" --kernel "0 1; 2 3" --out steps.png
    cnncli explain conv photo.jpg --kernel sobel-x --mode convolution --padding same --format json
    """
    from cnncli.explain.convolution import Convolution, Settings

    if format not in ("text", "json"):
        raise UsageError(f"--format {format}: choose text or json")
    if values is not None and image is not None:
        raise UsageError("--values: takes the place of the photo; give one of them")
    if out == STDOUT and format == "json":
        raise UsageError("--out - : standard output can't carry the picture and the JSON; name a file for the picture")
    if out is not None:
        check_picture(out, overwrite, image)
    settings = Settings(way.mode, way.stride, way.padding, way.dilation, way.border, way.transposed)
    taps = _kernel(kernel)
    photo = _photo(image, grid) if values is None else None
    cells = _shrunk(photo, grid) if photo is not None else _numbers("--values", values or "", MOST_CELLS)
    convolution = Convolution(cells, taps, settings)
    _check_shown(convolution)
    with_matrix = max(cells.shape) <= MATRIX_UP_TO if toeplitz is None else toeplitz
    if out is not None:
        from cnncli.explain.convolution_figure import draw

        write_picture(out, draw(convolution, photo, with_matrix))
    if format == "json":
        print_out(json.dumps(_figures(convolution, with_matrix)))
    elif out != STDOUT:
        print_out(_text(convolution))
    return 0


def _photo(image: str | None, grid: int) -> "np.ndarray":
    """The photo's grey values, uint8 (H, W)."""
    from cnncli.imaging.colour import grey_of
    from cnncli.io.sources import STDIN, stdin_is_input

    if not 1 <= grid <= MOST_CELLS:
        raise UsageError(f"--grid {grid}: give 1 to {MOST_CELLS}")
    if image is None and not stdin_is_input():
        raise UsageError("no input; name a photo, or give numbers with --values")
    return grey_of(read_photo(STDIN if image is None else image))


def _shrunk(photo: "np.ndarray", grid: int) -> "np.ndarray":
    """Mean grey values of the squares that the photo's middle is divided into, rounded; a tiny photo keeps its own."""
    import cv2

    side = min(photo.shape)
    top, left = ((length - side) // 2 for length in photo.shape)
    middle = photo[top : top + side, left : left + side]
    return cv2.resize(middle, (min(grid, side),) * 2, interpolation=cv2.INTER_AREA)


def _kernel(text: str) -> "np.ndarray":
    import numpy as np

    from cnncli.explain.convolution import KERNELS

    if text in KERNELS:
        return np.array(KERNELS[text], np.float64)
    if text[:1].isalpha():
        raise UsageError(f"--kernel {text}: choose {', '.join(KERNELS)}, or give numbers, rows by ';'")
    return _numbers("--kernel", text, MOST_TAPS)


def _numbers(option: str, text: str, most: int) -> "np.ndarray":
    """Rows of numbers (H, W), each row as long as the first; separated by ";" or lines, numbers by spaces or commas."""
    import numpy as np

    rows = [row.replace(",", " ").split() for row in text.strip().strip(";").replace(";", "\n").splitlines()]
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        raise UsageError(f"{option}: give rows of equally many numbers, as '0 1 2; 3 4 5'")
    if max(len(rows), len(rows[0])) > most:
        raise UsageError(f"{option}: {len(rows)} x {len(rows[0])} numbers; at most {most} x {most} can be shown")
    return np.array([[_number(option, word) for word in row] for row in rows])


def _number(option: str, word: str) -> float:
    """A number, or a fraction as 1/9."""
    above, _, below = word.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UsageError(f"{option}: '{word}' is no number of at most {LARGEST:,.0f}")
    return value


def _check_shown(convolution: "Convolution") -> None:
    for name, shape in (("the padded input", convolution.padded.shape), ("the output", convolution.output.shape)):
        if max(shape) > MOST_SHOWN:
            size = f"{shape[0]} x {shape[1]}"
            raise UsageError(f"{name} has {size} cells; at most {MOST_SHOWN} a side can be shown, so make it smaller")


def _text(convolution: "Convolution") -> str:
    """The sizes by their formula, and the output in the form that --values takes."""
    rows = "; ".join(" ".join(f"{value:.10g}" for value in row) for row in convolution.output)
    formulas = [f"{axis.name:<6}  {axis.general} = {axis.formula}" for axis in convolution.axes]
    return "\n".join([*formulas, f"output  {rows}"])


def _figures(convolution: "Convolution", with_matrix: bool) -> dict[str, Any]:
    settings = convolution.settings
    figures = {
        "input": _whole(convolution.image),
        "kernel": _whole(convolution.kernel),
        "weights": _whole(convolution.weights),
        "mode": settings.mode,
        "transposed": settings.transposed,
        "stride": settings.stride,
        "padding": convolution.padding,
        "dilation": settings.dilation,
        "border": settings.border,
        "formula": convolution.axes[0].general,
        "height": convolution.axes[0].formula,
        "width": convolution.axes[1].formula,
        "padded": _whole(convolution.padded),
        "output": _whole(convolution.output),
        "steps": [_step(step, settings.transposed) for step in convolution.steps()],
    }
    return figures | ({"matrix": _whole(convolution.matrix)} if with_matrix else {})


def _step(step: "Step", transposed: bool) -> dict[str, Any]:
    """Products of a transposed step go to places of their own; there is nothing to add up."""
    figures = {
        "cell": step.cell,
        "places": step.places,
        "values": _whole(step.values),
        "weights": _whole(step.weights),
        "products": _whole(step.products),
    }
    return figures if transposed else {**figures, "sum": _whole(step.total)}


def _whole(values: Any) -> Any:
    """Numbers of an array for JSON, those without a fraction without a point."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [_whole(value) for value in values]
    return int(values) if float(values).is_integer() else values
