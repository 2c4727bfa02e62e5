"""`cnncli verify-face`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.execute import STDOUT, Addition, RunContext, Tally, execute
from cnncli.cli.face_options import EMBED, GALLERY, PAIRS, FaceMode, Judging, task_options
from cnncli.cli.options import InputOptions, Manners, OutputOptions, with_shared_options
from cnncli.cli.streams import say
from cnncli.cli.vectors import Vectors
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

DIFFERENT, NO_FACE, UNREADABLE = 1, 5, 6  # exit codes of a single pair; 0 is the same person


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
        from cnncli.run.outputs import check_file

        out = context.output.out
        if context.output.out_dir or context.output.skip_existing:
            raise UsageError("two photos give one picture; use --out")
        if out is None or out == STDOUT:
            return
        if out.is_dir():
            raise UsageError(f"--out {out}: is a folder; name a file")
        if not can_write(out):
            raise UsageError(f"--out: '{out.suffix}' names no image format; use .png or .jpg")
        check_file(out, context.sources, context.existing)

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


def _first_embedding(result: Any) -> Any:
    """Of the face that comes first."""
    return result.chosen[0].embedding if result.chosen else None


@with_shared_options
def verify_face(
    mode: FaceMode,
    judging: Judging,
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
    from cnncli.run.pairs import PairSources

    chosen, engine = task_options(mode, judging, engine)
    if mode.option is None:
        output = replace(output, timings=True)
    common = (engine, inputs_as, output, run, manners)
    if mode.option not in (None, PAIRS):
        addition = _addition(mode, inputs_as.all_files, output.out, manners.quiet)
        return execute("verify-face", chosen, inputs, *common, addition)
    pairs = _pairs(mode, inputs)
    addition = _OnePair(pairs[0]) if mode.option is None else _Pairs(pairs)
    return execute("verify-face", chosen, [], *common, addition, PairSources(pairs))


def _addition(mode: FaceMode, all_files: bool, out: Path | None, quiet: bool) -> Addition:
    """What the mode adds to a run over single photos."""
    if mode.option == GALLERY:
        return _Gallery(mode.gallery, all_files, quiet)
    return Vectors(out, _first_embedding) if mode.option == EMBED else Addition()


def _pairs(mode: FaceMode, inputs: list[str]) -> list[Any]:
    """The pairs of the CSV, or the two photos that are named."""
    from cnncli.run.pairs import Pair, read_pairs

    if mode.pairs is not None:
        if inputs:
            raise UsageError("--pairs names the photos; leave the others out")
        return read_pairs(mode.pairs, mode.images)
    if len(inputs) != 2:
        raise UsageError(f"give two photos, not {len(inputs)}; or one of --pairs, --gallery, --landmarks and --embed")
    if inputs == ["-", "-"]:
        raise UsageError("standard input holds one photo, not both; name a file for the other one")
    return [Pair(*inputs)]
