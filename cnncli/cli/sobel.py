"""`cnncli sobel`."""

from typing import Annotated

from cnncli.cli.execute import execute
from cnncli.cli.options import FilterConfig, InputOptions, Inputs, Manners, OutputOptions, options, with_shared_options
from cnncli.config import RunConfig

_answer = options("Answer")


@with_shared_options
def sobel(
    output: OutputOptions,
    engine: FilterConfig,
    inputs_as: InputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    gradient: Annotated[
        str,
        _answer(
            "--gradient",
            "-g",
            help="magnitude (default), gx, gy, angle, sum (gx + gy), mean ((gx + gy) / 2) or abs (|gx| + |gy|).",
        ),
    ] = "magnitude",
    kernel: Annotated[str, _answer(help="3 (default), 5, 7 or scharr.")] = "3",
    border: Annotated[
        str, _answer(help="Beyond the edge: reflect101 (default), reflect, replicate, constant (black) or wrap.")
    ] = "reflect101",
    gray: Annotated[bool, _answer("--gray", help="Of the brightness (default).")] = False,
    per_channel: Annotated[bool, _answer("--per-channel", help="Of red, green and blue each.")] = False,
    max_channel: Annotated[
        bool, _answer("--max-channel", help="Of the colour that changes most, at each pixel.")
    ] = False,
    blur: Annotated[float, _answer(help="First smooth with a Gaussian of this sigma in pixels.")] = 0.0,
    thin: Annotated[bool, _answer("--thin", help="Only the crests of the edges (non-maximum suppression).")] = False,
    threshold: Annotated[
        str | None,
        _answer(help="Black and white: white where the value, as in .npy, reaches this; auto finds it (Otsu)."),
    ] = None,
    stretch: Annotated[
        bool, _answer("--stretch", help="Show the largest value as white; else a fixed scale, the same for all photos.")
    ] = False,
) -> int:
    """Where are the edges? Sobel's or Scharr's derivatives of a photo.

    \b
    cnncli sobel photo.jpg --out edges.png
    cnncli sobel photo.jpg --gradient gx --kernel 5 --out gx.npy
    cnncli sobel photo.jpg --blur 1 --thin --threshold auto --out lines.png

    In .npy and .tif files the values are kept whole and signed; other formats show them: magnitudes from black,
    signed values around mid-grey, angles as hues. Without --out and --out-dir the records tell their range alone.
    """
    from cnncli.cli.names import number_or, only_one
    from cnncli.tasks.sobel import SobelOptions

    channels = only_one({"--gray": gray, "--per-channel": per_channel, "--max-channel": max_channel}) or "--gray"
    limit = threshold if threshold in (None, "auto") else number_or("--threshold", threshold, "auto")
    chosen = SobelOptions(gradient, kernel, border, channels.removeprefix("--"), blur, thin, limit, stretch)
    return execute("sobel", chosen, inputs, engine, inputs_as, output, run, manners)
