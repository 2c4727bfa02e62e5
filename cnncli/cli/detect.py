"""`cnncli detect`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.execute import Addition, RunContext, Sink, execute
from cnncli.cli.options import (
    DETECTION_FORMATS,
    OUTPUT,
    InputOptions,
    Inputs,
    Manners,
    OutputOptions,
    options,
    with_shared_options,
)
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

_answer = options("Answer")
_output = options(OUTPUT)
WORTH_TILING = 4  # times the network's input: from there on small objects shrink to nothing


class _Detections(Addition):
    """What `detect` adds: crops, counts, COCO and YOLO files, annotated videos, and the offer to tile."""

    formats = DETECTION_FORMATS

    def __init__(self, output: OutputOptions, crops: Path | None, count: bool, images: Path | None, offer: bool):
        self.crops = crops
        self.places = (crops,) if crops is not None else ()
        self.counts = count
        self.images = images
        self.offer = offer
        self.yolo = output.format == "yolo"
        self.suffix = ".txt" if self.yolo else None
        self.video = output.out if output.out and _is_video(output.out) and not self.yolo else None
        self.takes_out = self.video is not None

    def check(self, context: RunContext) -> None:
        from cnncli.run.outputs import check_folder, refuse_inputs

        format = context.output.format
        if self.counts and format in self.formats:
            raise UsageError(f"--count and --format {format} both say what is given; choose one of them")
        if format == "coco" and self.images is None:
            raise UsageError("--format coco names photos by number; say with --images FILE where their names go")
        if self.images is not None and format != "coco":
            raise UsageError("--images goes with --format coco")
        if self.yolo and not (context.output.out or context.output.out_dir):
            raise UsageError("--format yolo writes a text file for each photo; say where with --out or --out-dir")
        for option, path in (("--images", self.images), ("--out", self.video)):
            if path is None:
                continue
            check_folder(path.parent, option)
            refuse_inputs(path, context.sources)
            if context.output.resume or context.output.skip_existing:
                raise UsageError(f"{option} {path}: is written as a whole, not resumed")
            if path.exists() and context.existing.refused:
                raise UsageError(f"{path}: exists; use --overwrite")
        if self.video is not None:
            self._check_video(context)

    def products(self, context: RunContext, place: Any) -> list[Any]:
        from cnncli.run.detections import Crops, VideoFrames, YoloFile
        from cnncli.run.outputs import MirroredFolder, make_folder

        products: list[Any] = []
        if self.yolo:
            products.append(YoloFile(place, context.session.task))
        if self.crops is not None:
            make_folder(self.crops, "--crops")
            folder = MirroredFolder(self.crops, "", context.sources, context.existing, "--crops")
            products.append(Crops(folder))
        if self.video is not None:
            products.append(VideoFrames(context.session.task))
        return products

    def _offers(self, context: RunContext) -> bool:
        """Whether smaller parts of a photo may show more; to a model of points they are other photos."""
        return self.offer and "points" not in context.session.task.model.outputs

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        from cnncli.run.detections import ImagesFile, VideoFile

        sinks: list[Sink] = [_TilingOffer(context.session.task, report)] if self._offers(context) else []
        if self.images is not None:
            sinks.append(stack.enter_context(ImagesFile(self.images)))
        if self.video is not None:
            (source,) = context.sources
            sinks.append(stack.enter_context(VideoFile(self.video, source.file)))
        return sinks

    def writer(self, context: RunContext) -> Any:
        from cnncli.cli import report

        if self.counts:
            return report.Counts(context.output.format)
        if self.yolo:
            return report.Nothing()
        return report.CocoResults() if context.output.format == "coco" else None

    def _check_video(self, context: RunContext) -> None:
        sources = list(zip(range(2), context.sources, strict=False))
        if len(sources) != 1 or not sources[0][1].is_video:
            raise UsageError(f"--out {self.video}: a video is written from one video; use --out-dir for photos")
        if self.video.exists() and self.video.samefile(sources[0][1].file):
            raise UsageError(f"{self.video}: is an input, and inputs are never overwritten; choose another place")


class _TilingOffer:
    """Says once that small objects of a large photo need --tile."""

    def __init__(self, task: Any, report: Any):
        self._limit = WORTH_TILING * task.model.recipe["input"][0]
        self._report = report
        self._said = False

    def __call__(self, record: Any, outcome: Any) -> None:
        if not self._said and record.ok and record.width and max(record.width, record.height) > self._limit:
            self._said = True
            side = self._limit // WORTH_TILING
            size = f"{record.width} x {record.height}"
            self._report.message(f"{record.file}: {size} is large; --tile {side} also finds its small objects")


def _is_video(path: Path) -> bool:
    from cnncli.io.sources import VIDEO_SUFFIXES

    return path.suffix.lower() in VIDEO_SUFFIXES


@with_shared_options
def detect(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    conf: Annotated[float, _answer(help="Least score of a box (default: 0.25).")] = 0.25,
    iou: Annotated[
        float, _answer(help="Overlap of two boxes of a class above which the less sure one goes (default: 0.5).")
    ] = 0.5,
    max_det: Annotated[int, _answer(help="Most boxes of a photo (default: 100).")] = 100,
    classes: Annotated[str | None, _answer(help="Only these classes: names, separated by commas or in @FILE.")] = None,
    labels: Annotated[Path | None, _answer(help="File of other names for the classes, one a line.")] = None,
    single: Annotated[bool, _answer("--single", help="Only the one most salient object, or nothing.")] = False,
    tile: Annotated[
        int | None, _answer(help="Also look at squares of this many pixels: finds small objects in large photos.")
    ] = None,
    tile_overlap: Annotated[float, _answer(help="Part of a tile shared with the next (default: 0.2).")] = 0.2,
    decode: Annotated[
        str,
        _answer(
            help="auto (default) and full: photos are decoded on the CPU; device: JPEGs are decoded and resized by the "
            "GPU (nvJPEG), which moves scores a little, the others on the CPU. Damage inside a JPEG that a GPU's "
            "decoder passes over isn't noticed then."
        ),
    ] = "auto",
    count: Annotated[bool, _output("--count", help="Give the number of objects per class over all inputs.")] = False,
    crops: Annotated[Path | None, _output(help="Write every object as a picture below this folder.")] = None,
    images: Annotated[Path | None, _output(help="With --format coco: the file that maps image ids to names.")] = None,
) -> int:
    """Where are things in the photo? A label, a score and a box for each.

    \b
    cnncli detect street.jpg --out boxes.jpg
    cnncli detect -r photos/ --classes person,dog --crops crops/
    cnncli detect clip.mp4 --out annotated.mp4
    """
    from cnncli.cli.names import chosen_names, read_names
    from cnncli.tasks.detect import DetectOptions

    names = chosen_names("--classes", classes)
    own = read_names(labels) if labels else ()
    chosen = DetectOptions(conf, iou, max_det, names, own, single, tile, tile_overlap, decode)
    addition = _Detections(output, crops, count, images, offer=tile is None and not manners.quiet)
    return execute("detect", chosen, inputs, engine, inputs_as, output, run, manners, addition)
