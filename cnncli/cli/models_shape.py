"""`cnncli models shape`."""

import json
from typing import Annotated, Literal, TypeAlias

import typer

from cnncli.cli.streams import print_out
from cnncli.errors import UsageError
from cnncli.nn.arithmetic import Axis, ConvLayer, Form, padding_of

FORMATS = ("table", "json", "csv", "markdown")
FIGURES = ("entries", "parameters", "multiply_adds", "operations")
MOST_DIGITS = 9
Side: TypeAlias = int | Literal["same"]
HEADINGS = ("matrix entries", "parameters", "multiply-adds", "operations")


def shape(
    input: Annotated[str, typer.Option(metavar="CxHxW", help="Channels x height x width, as 3x224x224.")],
    kernel: Annotated[str, typer.Option(help="A side, or height x width, as 1x2.")] = "3",
    stride: Annotated[str, typer.Option(help="Likewise.")] = "1",
    padding: Annotated[
        str, typer.Option(help="Likewise: cells on each side; or same, which keeps the size at stride 1.")
    ] = "0",
    dilation: Annotated[str, typer.Option(help="Likewise: cells from one tap to the next.")] = "1",
    groups: Annotated[int, typer.Option(help="Parts that the channels are in, each with kernels of its own.")] = 1,
    out_channels: Annotated[int, typer.Option(help="Kernels, and so channels of the output.")] = 1,
    no_bias: Annotated[bool, typer.Option("--no-bias", help="Without a learned number added per channel.")] = False,
    transposed: Annotated[bool, typer.Option("--transposed", help="The layer that enlarges: ConvTranspose2d.")] = False,
    output_padding: Annotated[str, typer.Option(help="Rows and columns more, of a transposed layer.")] = "0",
    format: Annotated[str, typer.Option(help="table, json, csv or markdown.")] = "table",
) -> int:
    """What comes out of a convolutional layer, and what it costs in each of its three forms.

    \b
    cnncli models shape --input 3x224x224 --kernel 7 --stride 2 --padding 3 --out-channels 64
    cnncli models shape --input 1x280x320 --kernel 1x2 --no-bias

    The same layer can be computed as a convolution, as a sparse matrix that holds the kernel's weights at their
    places, or as one fully connected layer, whose matrix has an entry for every pair of neurons.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: choose table, json, csv or markdown")
    if transposed and padding == "same":
        raise UsageError("--padding same: a transposed layer keeps no size; give the padding in cells")
    channels, *sizes = _input_size(input)
    paddings: tuple[Side, Side] = ("same", "same") if padding == "same" else pair("--padding", padding)
    height, width = (
        Axis(cells, taps, step, padding_of(around, taps, step, gap), gap, transposed, kept, name)
        for cells, taps, step, around, gap, kept, name in zip(
            sizes,
            pair("--kernel", kernel),
            pair("--stride", stride),
            paddings,
            pair("--dilation", dilation),
            pair("--output-padding", output_padding),
            ("height", "width"),
            strict=True,
        )
    )
    layer = ConvLayer(channels, out_channels, height, width, groups, not no_bias)
    print_out({"table": _table, "json": _json, "csv": _csv, "markdown": _markdown}[format](layer))
    return 0


def pair(option: str, text: str) -> tuple[int, int]:
    """Whole numbers as an option gives them: "3" for height and width, or "3x5"."""
    parts = text.split("x")
    if len(parts) > 2 or not all(_is_whole(part) for part in parts):
        raise UsageError(f"{option} {text}: give a whole number, as 3, or height x width, as 3x5")
    return int(parts[0]), int(parts[-1])


def _input_size(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if len(parts) != 3 or not all(_is_whole(part) for part in parts):
        raise UsageError(
            f"--input {text}: give channels x height x width, as 3x224x224, of {MOST_DIGITS} digits at most"
        )
    return tuple(int(part) for part in parts)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _table(layer: ConvLayer) -> str:
    """A rich table would break numbers of 20 digits on a terminal of 80 columns."""
    columns: list[tuple[str, ...]] = [("", *HEADINGS)]
    columns += [(form.name, *(_shown(getattr(form, figure)) for figure in FIGURES)) for form in layer.forms()]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for heading, *cells in zip(*columns, strict=True):
        shown = [heading.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]
        lines.append("  ".join(shown))
    return "\n".join([*_terms(layer), "", *lines])


def _markdown(layer: ConvLayer) -> str:
    lines = ["| form | " + " | ".join(HEADINGS) + " |", "|---|" + "---:|" * len(HEADINGS)]
    for form in layer.forms():
        lines.append(f"| {form.name} | " + " | ".join(_shown(getattr(form, figure)) for figure in FIGURES) + " |")
    return "\n".join([*(f"    {line}" if line else "" for line in _terms(layer)), "", *lines])


def _terms(layer: ConvLayer) -> list[str]:
    """The formulas with this layer's numbers, one a line."""
    taps_high, taps_wide = layer.taps_inside
    convolution, sparse, _ = layer.forms()
    kernel = f"{layer.height.kernel} x {layer.width.kernel}"
    groups = f" / {layer.groups} groups" if layer.groups > 1 else ""
    channels = f"{layer.in_channels} x {layer.out_channels}{groups}"
    biases = f" + {layer.out_channels} of bias" if layer.bias else ""
    places = f"input, {_product(layer.input[1:])}" if layer.transposed else f"output, {_product(layer.output[1:])}"
    return [
        f"output      {layer.height.general}",
        f"  height    {layer.height.formula}",
        f"  width     {layer.width.formula}",
        f"neurons     {_product(layer.output)} = {layer.neurons:,}, from {_product(layer.input)}",
        f"parameters  {kernel} x {channels}{biases} = {convolution.parameters:,}",
        f"products    {kernel} x {channels} at each cell of the {places} = {convolution.multiply_adds:,}",
        f"  inside    {taps_high:,} taps along the height x {taps_wide:,} along the width x {channels} = "
        f"{sparse.multiply_adds:,} that are not on padding",
    ]


def _product(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)


def _shown(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _json(layer: ConvLayer) -> str:
    height, width = layer.height, layer.width
    figures = {
        "input": layer.input,
        "output": layer.output,
        "neurons": layer.neurons,
        "formula": layer.height.general,
        "height": height.formula,
        "width": width.formula,
        "kernel": (height.kernel, width.kernel),
        "stride": (height.stride, width.stride),
        "padding": (height.padding, width.padding),
        "dilation": (height.dilation, width.dilation),
        "output_padding": (height.output_padding, width.output_padding),
        "transposed": layer.transposed,
        "groups": layer.groups,
        "bias": layer.bias,
        "taps_inside": layer.taps_inside,
        **{form.name.replace(" ", "_"): _figures(form) for form in layer.forms()},
    }
    return json.dumps(figures, indent=2)


def _figures(form: Form) -> dict[str, int | None]:
    return {figure: getattr(form, figure) for figure in FIGURES}


def _csv(layer: ConvLayer) -> str:
    sizes = "x".join(str(size) for size in layer.input), "x".join(str(size) for size in layer.output)
    rows = [",".join(("form", "input", "output", "neurons", *FIGURES))]
    for form in layer.forms():
        figures = ("" if number is None else str(number) for number in _figures(form).values())
        rows.append(",".join((form.name, *sizes, str(layer.neurons), *figures)))
    return "\n".join(rows)
