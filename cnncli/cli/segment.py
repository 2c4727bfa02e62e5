"""`cnncli segment`."""

from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.execute import Addition, RunContext, execute
from cnncli.cli.options import OUTPUT, InputOptions, Inputs, Manners, OutputOptions, options, with_shared_options
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

_answer = options("Answer")
_output = options(OUTPUT)


class _Segments(Addition):
    """What `segment` adds: coloured overlays and cut-outs."""

    def __init__(self, overlay: Path | None, cutout: Path | None, background: str):
        self.overlay = overlay
        self.cutout = cutout
        self.background = background
        self.places = tuple(path for path in (overlay, cutout) if path is not None)

    def check(self, context: RunContext) -> None:
        if self.background != "none" and self.cutout is None:
            raise UsageError("--background is for cut-outs; say with --cutout where they go")

    def products(self, context: RunContext, place: Any) -> list[Any]:
        from cnncli.io.pictures import ALPHA_ENDINGS, WRITTEN_FORMATS
        from cnncli.run.cutouts import Cutout, background_of
        from cnncli.run.outputs import Drawing, further_place

        task, products = context.session.task, []
        if self.overlay is not None:
            place = further_place("--overlay", self.overlay, ".jpg", context.sources, context.existing)
            products.append(Drawing(place, task.overlay, "--overlay", "overlay"))
        if self.cutout is not None:
            background = background_of(self.background)
            endings = tuple(WRITTEN_FORMATS) if background else ALPHA_ENDINGS
            place = further_place("--cutout", self.cutout, ".png", context.sources, context.existing)
            products.append(Drawing(place, Cutout(task, background), "--cutout", "cutout", endings))
        return products


@with_shared_options
def segment(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    classes: Annotated[str | None, _answer(help="Only these classes: names, separated by commas or in @FILE.")] = None,
    labels: Annotated[Path | None, _answer(help="File of other names for the classes, one a line.")] = None,
    foreground: Annotated[
        bool, _answer("--foreground", help="A soft matte of the main object, whatever it is, in place of classes.")
    ] = False,
    instances: Annotated[
        bool,
        _answer(
            "--instances",
            help="Tell objects of a class apart, by the boxes of a detector; networks that learned it do anyway.",
        ),
    ] = False,
    conf: Annotated[float, _answer(help="Least score of an object that is told apart (default: 0.25).")] = 0.25,
    scale: Annotated[
        int | None,
        _answer(help="Long side of the network's input in pixels (default: 513): more shows smaller things."),
    ] = None,
    scales: Annotated[
        str, _answer(help="Average over these factors of that side, such as 0.75,1,1.25 (default: 1).")
    ] = "1",
    flip: Annotated[bool, _answer("--flip", help="Average over the photo and its mirror image.")] = False,
    overlay: Annotated[
        Path | None, _output(help="Write the photo with its segments in colour: a file, or a folder for several.")
    ] = None,
    cutout: Annotated[
        Path | None,
        _output(help="Write what is segmented, cut out on a transparent ground: a file, or a folder for several."),
    ] = None,
    background: Annotated[
        str, _output(help="Behind the cut-outs: none (default), '#rrggbb', blur, or an image file.")
    ] = "none",
) -> int:
    """Which pixels belong to what? A mask of classes, or the main object cut out.

    \b
    cnncli segment photo.jpg --out mask.png --overlay seen.jpg
    cnncli segment -r photos/ --classes person --cutout people/
    cnncli segment mug.jpg --foreground --cutout mug.png

    The mask is a PNG in PASCAL VOC's colours whose pixels are class numbers; with --foreground a grey matte.
    """
    from cnncli.cli.names import chosen_names, numbers, read_names
    from cnncli.tasks.segment import SegmentOptions

    names = chosen_names("--classes", classes)
    own = read_names(labels) if labels else ()
    factors = numbers("--scales", scales)
    chosen = SegmentOptions(names, own, scale, factors, flip, instances, conf, foreground)
    return execute(
        "segment", chosen, inputs, engine, inputs_as, output, run, manners, _Segments(overlay, cutout, background)
    )
