"""`cnncli verify-face`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.execute import STDOUT, Addition, RunContext, Sink, Tally, execute
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
        self.known_total = len(pairs)

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

    def __init__(self, pair: Any):
        super().__init__([pair])
        self.code = 0

    def check(self, context: RunContext) -> None:
        from cnncli.io.pictures import can_write
        from cnncli.run.outputs import check_folder, refuse_inputs

        out = context.output.out
        if context.output.out_dir or context.output.skip_existing:
            raise UsageError("two photos give one picture; use --out")
        if out is None or out == STDOUT:
            return
        if out.is_dir():
            raise UsageError(f"--out {out}: is a folder; name a file")
        if not can_write(out):
            raise UsageError(f"--out: '{out.suffix}' names no image format; use .png or .jpg")
        check_folder(out.parent, "--out")
        refuse_inputs(out, context.sources)
        if out.exists() and context.existing.refused:
            raise UsageError(f"{out}: exists; use --overwrite")

    def writer(self, context: RunContext) -> Any:
        from cnncli.cli.report import Nothing

        return Nothing() if context.output.out == STDOUT and context.output.format == "auto" else None

    def outcomes(
        self, context: RunContext, items: Iterator[Any], run: RunConfig, products: list[Any], total: int | None
    ) -> Iterator[tuple[Any, Any]]:
        for record, outcome in super().outcomes(context, items, run, products, total):
            self.code = _code(record, outcome)
            if record.ok and context.output.out is not None:
                _write_comparison(context, record, outcome.result)
                record = replace(record, extra={**record.extra, "output": str(context.output.out)})
            yield record, outcome

    def exit_code(self, tally: Tally) -> int:
        return tally.exit_code if tally.bug else self.code


def _code(record: Any, outcome: Any) -> int:
    if record.ok:
        return 0 if outcome.result.match.verified else DIFFERENT
    return NO_FACE if outcome.is_faceless else UNREADABLE


def _write_comparison(context: RunContext, record: Any, result: Any) -> None:
    from cnncli.cli.streams import out
    from cnncli.io.pictures import encode
    from cnncli.run.outputs import write_file
    from cnncli.run.pairs import comparison

    path, session = context.output.out, context.session
    picture = comparison(record, result, session.run.model, session.task.decode, context.run.max_pixels)
    if path == STDOUT:
        out(encode(picture, ".png"))
    else:
        write_file(path, encode(picture, path.suffix))


class _Gallery(Addition):
    """Who of a gallery is it? A record for each photo."""

    takes_out = True

    def __init__(self, folder: Path, all_files: bool, quiet: bool):
        self.people = folder
        self.all_files = all_files
        self.quiet = quiet

    def check(self, context: RunContext) -> None:
        if context.output.out or context.output.out_dir or context.output.skip_existing:
            raise UsageError("--gallery gives records, no pictures; leave --out, --out-dir and --skip-existing out")

    def outcomes(
        self, context: RunContext, items: Iterator[Any], run: RunConfig, products: list[Any], total: int | None
    ) -> Iterator[tuple[Any, Any]]:
        from cnncli.run.gallery import open_gallery, recognise

        notify = (lambda message: None) if self.quiet else say
        gallery = open_gallery(self.people, context.session, run, notify, self.all_files)
        return recognise(context.session, gallery, super().outcomes(context, items, run, products, total))


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
            help="Two photos to compare (- is one on standard input); with --gallery, --landmarks or --embed any "
            "number, folders and lists too.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (Typer copies it)
    pairs: Annotated[
        Path | None, _mode(help="CSV with two names a line (a heading img1,img2 is optional): a record for each pair.")
    ] = None,
    gallery: Annotated[
        Path | None,
        _mode(help="Who is it? The nearest people of a folder that has a subfolder of photos, or one photo, for each."),
    ] = None,
    landmarks: Annotated[bool, _mode("--landmarks", help="Only find faces and five points of each.")] = False,
    embed: Annotated[
        bool,
        _mode("--embed", help="Give the faces' embeddings; with --out FILE.npy as an array (N, 128), a row a photo."),
    ] = False,
    threshold: Annotated[
        str | None,
        _answer(
            help="Largest distance that counts as the same person (default: the model's), or @FILE that "
            "'eval verify-face --calibrate' wrote."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        _answer(
            help="Distance: cosine (default of sface), euclidean (default of dlib_resnet29) or euclidean_l2 (of "
            "embeddings scaled to length 1)."
        ),
    ] = None,
    which: Annotated[
        str,
        _answer(
            help="Of several faces in a photo: best (default: size and score together), largest, or all (the nearest "
            "two count)."
        ),
    ] = "best",
    mirror: Annotated[
        bool | None,
        _answer(
            "--mirror/--no-mirror",
            help="Embed each face and its mirror image, and take the mean: mirrored photos get the same verdict, in "
            "twice the time (default: with sface).",
        ),
    ] = None,
    conf: Annotated[
        float | None, _answer(help="Least score of a face, 0 to 1 (default: 0.6 with --landmarks, else 0.8).")
    ] = None,
    top_k: Annotated[int, _answer("--top-k", "-k", help="With --gallery: how many people (default: 5).")] = 5,
    images: Annotated[
        Path | None, _mode(help="Folder of the photos that --pairs names (default: that of the CSV).")
    ] = None,
) -> int:
    """Is it the same person? The distance of two faces, and whether it is small enough.

    \b
    cnncli verify-face a.jpg b.jpg --out both.png
    if cnncli verify-face a.jpg b.jpg --quiet > result.json; then echo same; fi
    cnncli verify-face --pairs pairs.csv --records verdicts.jsonl --resume
    cnncli verify-face door.jpg --gallery staff/

    For two photos the exit code is 0 for the same person, 1 for different ones, 5 where no face is found in one, 6
    where one can't be read; else 0 says that all photos were looked at, whoever they show. Embeddings of a gallery are
    kept in the user's cache folder, so that each photo of it is looked at once. Ask people before you compare their
    faces; a photo of a photo passes for the person.
    """
    from cnncli.run.pairs import PairSources, read_pairs
    from cnncli.tasks.verify_face import EMBED, GALLERY, LANDMARKS, PAIR, FaceOptions

    chosen_modes = {"--pairs": pairs is not None, "--gallery": gallery is not None}
    mode = _only({**chosen_modes, "--landmarks": landmarks, "--embed": embed})
    if images is not None and pairs is None:
        raise UsageError("--images goes with --pairs")
    if (landmarks or embed) and (threshold is not None or metric is not None):
        raise UsageError(f"{mode} compares nothing; leave --threshold and --metric out")
    engine, limit, metric = chosen_threshold(engine, threshold, metric)
    role = {"--gallery": GALLERY, "--landmarks": LANDMARKS, "--embed": EMBED}.get(mode or "", PAIR)
    chosen = FaceOptions(role, conf, which, limit, metric, top_k, str(gallery or ""), mirror)
    common = (engine, inputs_as, output, run, manners)
    if pairs is not None:
        if inputs:
            raise UsageError("--pairs names the photos; leave the others out")
        listed = read_pairs(pairs, images)
        return execute("verify-face", chosen, [], *common, _Pairs(listed), PairSources(listed))
    if mode is None:
        return _one_pair(inputs, chosen, common)
    if gallery is not None:
        return execute("verify-face", chosen, inputs, *common, _Gallery(gallery, inputs_as.all_files, manners.quiet))
    return execute("verify-face", chosen, inputs, *common, _Embeddings(output.out) if embed else Addition())


def _one_pair(inputs: list[str], chosen: Any, common: tuple[Any, ...]) -> int:
    from cnncli.run.pairs import Pair, PairSources

    if len(inputs) != 2:
        raise UsageError(f"give two photos, not {len(inputs)}; or one of --pairs, --gallery, --landmarks and --embed")
    if inputs == ["-", "-"]:
        raise UsageError("standard input holds one photo, not both; name a file for the other one")
    engine, inputs_as, output, run, manners = common
    pair = Pair(*inputs)
    output = replace(output, timings=True)
    sources = PairSources([pair])
    return execute("verify-face", chosen, [], engine, inputs_as, output, run, manners, _OnePair(pair), sources)


def _only(modes: dict[str, bool]) -> str | None:
    from cnncli.cli.names import only_one

    return only_one(modes)


def chosen_threshold(
    engine: EngineConfig, threshold: str | None, metric: str | None
) -> tuple[EngineConfig, float | None, str | None]:
    """The threshold that is given, as a number or as @FILE; a file also says for which model and metric it holds."""
    from cnncli.cli.names import number_or

    if threshold is None or not threshold.startswith("@"):
        return engine, None if threshold is None else number_or("--threshold", threshold), metric
    from cnncli.evaluate.verify_face import read_calibration
    from cnncli.io.weights import read_info

    calibration = read_calibration(Path(threshold[1:]))
    if metric not in (None, calibration.metric):
        raise UsageError(f"--metric {metric}: the threshold was calibrated for {calibration.metric}")
    model = read_info(engine.weights).name if engine.weights else engine.model or calibration.model
    if model != calibration.model:
        named = f"--weights {engine.weights}" if engine.weights else f"--model {model}"
        raise UsageError(f"{named}: the threshold was calibrated for {calibration.model}")
    return engine if engine.weights else replace(engine, model=model), calibration.threshold, calibration.metric
