"""`cnncli denoise`."""

from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.execute import Addition, RunContext, execute
from cnncli.cli.options import OUTPUT, InputOptions, Inputs, Manners, OutputOptions, options, with_shared_options
from cnncli.config import EngineConfig, RunConfig

_answer = options("Answer")
_output = options(OUTPUT)


class _Measures(Addition):
    """What `denoise` adds: before and after side by side, and likeness to a clean photo."""

    def __init__(self, compare: Path | None, reference: Path | None, max_pixels: int):
        self.compare = compare
        self.reference = reference
        self.max_pixels = max_pixels
        self.places = (compare,) if compare is not None else ()

    def products(self, context: RunContext, place: Any) -> list[Any]:
        from cnncli.run.outputs import Drawing, further_place
        from cnncli.run.quality import Reference, side_by_side

        products: list[Any] = []
        if self.reference is not None:
            products.append(Reference(self.reference, context.sources, self.max_pixels))
        if self.compare is not None:
            place = further_place("--compare", self.compare, ".png", context.sources, context.existing)
            products.append(Drawing(place, side_by_side, "--compare", "compare"))
        return products


@with_shared_options
def denoise(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    sigma: Annotated[
        str, _answer(help="Noise level of 255, up to 75; auto (default): estimated, and stated in the record.")
    ] = "auto",
    strength: Annotated[float, _answer(help="Part of the noise to remove, 0 to 1 (default: 1).")] = 1.0,
    tile: Annotated[
        int | None,
        _answer(help="Work in squares of this many pixels, joined without seams (default: 1024, over 1.5 megapixels)."),
    ] = None,
    tile_overlap: Annotated[
        int | None,
        _answer(
            help="Pixels that a tile shares with the next (default: 64, or what the network sees; half of the tile "
            "at most)."
        ),
    ] = None,
    add_noise: Annotated[
        float | None, _answer(help="Make a noisy copy in place of a clean one: Gaussian noise of this level of 255.")
    ] = None,
    seed: Annotated[int, _answer(help="Of --add-noise: the same photo and seed give the same noise (default: 0).")] = 0,
    reference: Annotated[
        Path | None, _answer(help="The clean photo, or a folder of them: adds PSNR and SSIM to the records.")
    ] = None,
    compare: Annotated[
        Path | None, _output(help="Write before and after side by side: a file, or a folder for several.")
    ] = None,
) -> int:
    """Take the noise out of a photo; size, depth, transparency, EXIF and colour profile stay.

    \b
    cnncli denoise noisy.jpg --out clean.png --compare both.png
    cnncli denoise -r scans/ --sigma 15 --out-dir clean/
    cnncli denoise photo.png --add-noise 25 --out noisy.png

    Without --out and --out-dir the records tell the noise level alone.
    """
    from cnncli.cli.names import number_or
    from cnncli.tasks.denoise import DenoiseOptions

    level = number_or("--sigma", sigma, "auto")
    chosen = DenoiseOptions(level, strength, tile, tile_overlap, add_noise, seed)
    addition = _Measures(compare, reference, run.max_pixels)
    return execute("denoise", chosen, inputs, engine, inputs_as, output, run, manners, addition)
