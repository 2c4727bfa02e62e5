"""`cnncli verify-face`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.execute import Addition, RunContext, Sink, Tally, execute
from cnncli.cli.options import OUTPUT, InputOptions, Manners, OutputOptions, options, with_shared_options
from cnncli.cli.streams import say
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

DIFFERENT, NO_FACE, UNREADABLE = 1, 5, 6  # exit codes of a single pair; 0 is the same person

_answer = options("Answer")
_output = options(OUTPUT)
_mode = options("In place of two photos")


class _Pairs(Addition):
    """Pairs from a file: a record each."""

    takes_out = True

    def __init__(self, pairs: list[Any]):
        self.pairs = pairs

    def check(self, context: RunContext) -> None:
        if context.output.out or context.output.out_dir or context.output.skip_existing:
            raise UsageError("--pairs gives records, no pictures; leave --out, --out-dir and --skip-existing out")

    def items(self, context: RunContext, run: RunConfig) -> Iterator[Any]:
        from cnncli.run.pairs import pair_items

        return pair_items(self.pairs, run.shard)

    def count(self, context: RunContext, run: RunConfig) -> int:
        return len(self.pairs)

    def outcomes(
        self, context: RunContext, items: Iterator[Any], run: RunConfig, products: list[Any], total: int | None
    ) -> Iterator[tuple[Any, Any]]:
        from cnncli.run.pairs import verify

        return verify(context.session, items, run, total, context.output.timings)


class _OnePair(_Pairs):
    """Two photos: the exit code tells the answer, --out shows both faces."""

    def __init__(self, pair: Any, max_pixels: int):
        super().__init__([pair])
        self.max_pixels = max_pixels
        self.code = 0

    def check(self, context: RunContext) -> None:
        from cnncli.io.pictures import can_write
        from cnncli.run.outputs import check_folder, refuse_inputs

        out = context.output.out
        if context.output.out_dir or context.output.skip_existing:
            raise UsageError("two photos give one picture; use --out")
        if out is None or out == Path("-"):
            return
        if not can_write(out):
            raise UsageError(f"--out: '{out.suffix}' names no image format; use .png or .jpg")
        check_folder(out.parent, "--out")
        refuse_inputs(out, context.sources)
        if out.exists() and context.existing.refused:
            raise UsageError(f"{out}: exists; use --overwrite")

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        def look(record: Any, outcome: Any) -> None:
            from cnncli.run.pairs import NO_FACE as NO_FACE_WORDS

            if record.ok:
                self.code = 0 if outcome.result.match.verified else DIFFERENT
            else:
                self.code = NO_FACE if record.failure.endswith(NO_FACE_WORDS) else UNREADABLE
            if context.output.out is not None and record.ok:
                self._draw(context, record, outcome.result)

        return [look]

    def _draw(self, context: RunContext, record: Any, result: Any) -> None:
        from cnncli.cli.streams import out
        from cnncli.io.pictures import encode
        from cnncli.run.outputs import write_file
        from cnncli.run.pairs import comparison

        path, session = context.output.out, context.session
        picture = comparison(record, result, session.run.model, session.task.decode, self.max_pixels)
        if path == Path("-"):
            out(encode(picture, ".png"))
        else:
            write_file(path, encode(picture, path.suffix))

    def exit_code(self, tally: Tally) -> int:
        return tally.exit_code if tally.bug else self.code


class _Gallery(Addition):
    """Who of a gallery is it? A record for each photo."""

    takes_out = True

    def __init__(self, folder: Path, count: int, quiet: bool):
        self.gallery_folder = folder
        self.count_shown = count
        self.quiet = quiet

    def check(self, context: RunContext) -> None:
        if context.output.out or context.output.out_dir or context.output.skip_existing:
            raise UsageError("--gallery gives records, no pictures; leave --out, --out-dir and --skip-existing out")

    def outcomes(
        self, context: RunContext, items: Iterator[Any], run: RunConfig, products: list[Any], total: int | None
    ) -> Iterator[tuple[Any, Any]]:
        from cnncli.run.gallery import open_gallery, recognise

        notify = (lambda message: None) if self.quiet else say
        gallery = open_gallery(self.gallery_folder, context.session, run, notify)
        found = super().outcomes(context, items, run, products, total)
        return recognise(context.session, gallery, found, self.count_shown)


class _Embeddings(Addition):
    """`--embed` with --out FILE.npy: an array of the embeddings of the faces that come first."""

    def __init__(self, out: Path | None):
        self.path = out if out is not None and out.suffix == ".npy" else None
        self.takes_out = self.path is not None

    def check(self, context: RunContext) -> None:
        from cnncli.run.outputs import check_array

        if self.path is not None:
            check_array(self.path, context.sources, context.existing, context.output.resume)

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        if self.path is None:
            return []
        from cnncli.io.arrays import row_writer

        rows = stack.enter_context(row_writer(self.path))

        def append(record: Any, outcome: Any) -> None:
            chosen = outcome.result.chosen if outcome.result else ()
            rows.append(chosen[0].embedding if chosen else None)

        return [append]


@with_shared_options
def verify_face(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Two photos to compare; with --gallery, --landmarks or --embed any number, folders and lists too.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (Typer copies it)
    pairs: Annotated[
        Path | None, _mode(help="CSV of pairs, two names a line: a record for each pair, every photo looked at once.")
    ] = None,
    gallery: Annotated[
        Path | None, _mode(help="Who is it? Compare with a folder of people: a subfolder or a photo for each.")
    ] = None,
    landmarks: Annotated[bool, _mode("--landmarks", help="Only find faces and five points of each.")] = False,
    embed: Annotated[
        bool, _mode("--embed", help="Give the faces' embeddings; with --out FILE.npy as an array (N, 128).")
    ] = False,
    threshold: Annotated[
        str | None, _answer(help="Largest distance of the same person, or @FILE from 'eval verify-face --calibrate'.")
    ] = None,
    metric: Annotated[
        str | None, _answer(help="cosine (default of sface), euclidean (of dlib_resnet29) or euclidean_l2.")
    ] = None,
    which: Annotated[
        str, _answer(help="Of several faces: best (default: size and score together), largest, or all.")
    ] = "best",
    conf: Annotated[float, _answer(help="Least score of a face (default: 0.6).")] = 0.6,
    top_k: Annotated[int, _answer("--top-k", "-k", help="With --gallery: how many people (default: 5).")] = 5,
    images: Annotated[Path | None, _answer(help="Folder of the photos that --pairs names; else the CSV's own.")] = None,
) -> int:
    """Is it the same person? The distance of two faces, and whether it is small enough.

    \b
    if cnncli verify-face a.jpg b.jpg --quiet > result.json; then echo same; fi
    cnncli verify-face --pairs pairs.csv --records verdicts.jsonl --resume
    cnncli verify-face door.jpg --gallery staff/

    For two photos the exit code is 0 for the same person, 1 for different ones, 5 where no face is found in one, 6
    where one can't be read. Ask people before you compare their faces; a photo of a photo passes for the person.
    """
    from cnncli.run.pairs import PairSources, read_pairs
    from cnncli.tasks.verify_face import EMBED, GALLERY, LANDMARKS, PAIR, FaceOptions

    chosen_modes = {"--pairs": pairs is not None, "--gallery": gallery is not None}
    mode = _only({**chosen_modes, "--landmarks": landmarks, "--embed": embed})
    limit, calibrated = _threshold(threshold)
    if calibrated is not None:
        engine, metric = _of_calibration(engine, metric, calibrated)
    chosen = FaceOptions(
        {"--gallery": GALLERY, "--landmarks": LANDMARKS, "--embed": EMBED}.get(mode, PAIR), conf, which, limit, metric
    )
    common = (engine, inputs_as, output, run, manners)
    if images is not None and pairs is None:
        raise UsageError("--images goes with --pairs")
    if top_k < 1:
        raise UsageError(f"--top-k {top_k}: at least 1 person is needed")
    if pairs is not None:
        if inputs:
            raise UsageError("--pairs names the photos; leave the others out")
        listed = read_pairs(pairs, images)
        return execute("verify-face", chosen, [], *common, _Pairs(listed), PairSources(listed))
    if mode is None:
        return _one_pair(inputs, chosen, common)
    if gallery is not None:
        return execute("verify-face", chosen, inputs, *common, _Gallery(gallery, top_k, manners.quiet))
    return execute("verify-face", chosen, inputs, *common, _Embeddings(output.out) if embed else Addition())


def _one_pair(inputs: list[str], chosen: Any, common: tuple[Any, ...]) -> int:
    from cnncli.run.pairs import Pair, PairSources

    if len(inputs) != 2:
        raise UsageError(
            f"{len(inputs)} photos named; give two, or use --pairs, --gallery, --landmarks or --embed for others"
        )
    engine, inputs_as, output, run, manners = common
    pair = Pair(*inputs)
    output = replace(output, timings=True)
    addition = _OnePair(pair, run.max_pixels)
    return execute("verify-face", chosen, [], engine, inputs_as, output, run, manners, addition, PairSources([pair]))


def _only(modes: dict[str, bool]) -> str | None:
    from cnncli.cli.names import only_one

    return only_one(modes)


def _threshold(text: str | None) -> tuple[float | None, Any]:
    """The threshold that is given, and the calibration that it is from."""
    from cnncli.cli.names import number_or

    if text is None:
        return None, None
    if not text.startswith("@"):
        return number_or("--threshold", text), None
    from cnncli.evaluate.verify_face import read_calibration

    calibration = read_calibration(Path(text[1:]))
    return calibration.threshold, calibration


def _of_calibration(engine: EngineConfig, metric: str | None, calibration: Any) -> tuple[EngineConfig, str]:
    """A calibrated threshold holds for the model and metric that it was made with."""
    if metric not in (None, calibration.metric):
        raise UsageError(f"--metric {metric}: the threshold was calibrated for {calibration.metric}")
    if engine.weights is None and engine.model is None:
        engine = replace(engine, model=calibration.model)
    if engine.model not in (None, calibration.model):
        raise UsageError(f"--model {engine.model}: the threshold was calibrated for {calibration.model}")
    return engine, calibration.metric
