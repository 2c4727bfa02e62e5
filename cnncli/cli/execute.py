"""What every task command does once its options are read: open, run, report."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.cli.options import FORMATS, InputOptions, Manners, OutputOptions
from cnncli.cli.streams import say
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

PROGRESS_FROM = 4  # inputs
STDOUT = Path("-")
Sink = Callable[[Any, Any], None]


@dataclass
class Tally:
    """What the run has come to so far; `before` are failures that a resumed file already held."""

    ok: int = 0
    failed: int = 0
    before: int = 0
    bug: str | None = None

    @property
    def exit_code(self) -> int:
        if self.bug:
            return 70
        return 1 if self.failed or self.before else 0


@dataclass(frozen=True)
class RunContext:
    """What the parts of a run know of it: the session, the sources, and the options of output and of the run."""

    session: Any
    sources: Any
    output: OutputOptions
    run: RunConfig

    @property
    def existing(self) -> Any:
        from cnncli.run.outputs import Existing

        output, run = self.output, self.run
        return Existing(output.overwrite, output.skip_existing, output.resume, run.shard, run.frames == "all")


class Addition:
    """What a task's own options add to a run; here, nothing.

    `takes_out`: --out is not for the task's picture. `suffix`: what --out and --out-dir receive are files of this
    ending, not pictures.
    """

    takes_out = False
    suffix: str | None = None
    places: tuple[Path, ...] = ()  # that it writes to; where one is a folder, no input is taken from there
    known_total: int | None = None  # of the items, where it is not the number of inputs
    formats: tuple[str, ...] = ()  # of standard output, beside those of all tasks

    def check(self, context: RunContext) -> None:
        """UsageError where the options don't fit together, before anything runs."""

    def products(self, context: RunContext, place: Any) -> list[Any]:
        """Further files for each input, written by the workers (run.runner.Product).

        Those of run.outputs.Drawing count for --skip-existing, and may go to standard output.
        """
        return []

    def sinks(self, context: RunContext, stack: contextlib.ExitStack, report: Any) -> list[Sink]:
        """Called with every record and its outcome, in order."""
        return []

    def writer(self, context: RunContext) -> Any:
        """What takes the place of the format's writer on standard output."""
        return None

    def items(self, context: RunContext, run: RunConfig) -> Iterator[Any]:
        """What gets a record each: the inputs."""
        from cnncli.run.items import items_of

        return items_of(context.sources, run, context.session.task.decode)

    def count(self, context: RunContext, run: RunConfig) -> int:
        """How many items all shards together have."""
        from cnncli.run.items import count_items

        return count_items(context.sources, run)

    def outcomes(
        self, context: RunContext, items: Iterator[Any], run: RunConfig, products: list[Any], total: int | None
    ) -> Iterator[tuple[Any, Any]]:
        """Records of the items, each with the outcome that it was made from."""
        from cnncli.run.runner import run_items

        return run_items(context.session, items, run, products, total, context.output.timings)

    def exit_code(self, tally: Tally) -> int:
        return tally.exit_code


def execute(
    task: str,
    options: Any,
    words: list[str],
    engine: EngineConfig,
    inputs: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    addition: Addition = Addition(),  # noqa: B008 (it holds nothing)
    sources: Any = None,
    opened: Callable[[Callable[[str], None]], Any] | None = None,
) -> int:
    """Run a task over the inputs and report; the exit code.

    `sources` are used in the place of those of the words, and the session that `opened` gives in that of the task's.
    """
    from cnncli.engine.device import available_cpus
    from cnncli.run.items import peek_count
    from cnncli.run.session import GPU_PAYS_FROM, open_session

    sources = sources or find_sources(words, inputs, [*filter(None, [output.out_dir]), *addition.places])
    expected = peek_count(sources, max(GPU_PAYS_FROM + 1, available_cpus()))
    notify = (lambda message: None) if manners.quiet else say
    session = opened(notify) if opened else open_session(task, options, engine, expected, notify, several=True)
    if manners.verbose:
        say(_description(session))
    context = RunContext(session, sources, output, run)
    gc.enable()  # see cli.app.main
    return _Execution(context, manners, expected, addition).run()


def _description(session: Any) -> str:
    """Which models run where."""
    run = session.run
    models = [(run.model, run.weights_sha256)] if run.model else []
    named = "".join(f"{name}, weights {sha256[:12]}; " for name, sha256 in [*models, *run.further.values()])
    return f"{named}{run.engine} engine on {run.device}, {session.precision}"


def find_sources(words: list[str], inputs: InputOptions, outputs: Sequence[Path] = ()) -> Any:
    """The sources that the words name, without what lies in folders of outputs.

    UsageError where there are none, before anything runs.
    """
    from cnncli.io.sources import STDIN, SourceOptions, Sources, stdin_is_input

    if not words:
        if not stdin_is_input():
            raise UsageError("no input; name an image, a folder, a pattern or @list.txt, or pipe an image in")
        words = [STDIN]
    avoid = tuple(map(str, outputs))
    sources = Sources(words, SourceOptions(inputs.recursive, inputs.all_files, inputs.null_separated, avoid))
    if not sources.is_stream:
        for word in words:  # each must yield something; the first input of each tells
            next(iter(Sources([word], sources.options)), None)
    return sources


class _Execution:
    """One run of a command: builds the places that outputs go to, drives the runner, counts."""

    def __init__(self, context: RunContext, manners: Manners, expected: int, addition: Addition):
        self.context = context
        self.session = context.session
        self.sources = context.sources
        self.output = context.output
        self.config = context.run
        self.manners = manners
        self.expected = expected
        self.addition = addition
        self.tally = Tally()

    def run(self) -> int:
        from cnncli.run.outputs import mark_skipped

        if self.output.format not in FORMATS + self.addition.formats:
            raise UsageError(f"--format {self.output.format} is for detections; choose {', '.join(FORMATS)}")
        self.addition.check(self.context)
        place = None if self.addition.takes_out else self._place()
        products = [*self.addition.products(self.context, place), *self._pictures(place)]
        places = self._places(place, products)
        total = self.addition.count(self.context, self.config) if self.config.shard.count > 1 else None
        with contextlib.ExitStack() as stack:
            items = self.addition.items(self.context, self.config)
            record_file, items = self._records(stack, items)
            items = mark_skipped(places, items)
            report = stack.enter_context(self._report(self._takes_stdout(places)))
            sinks = self.addition.sinks(self.context, stack, report)
            for record, outcome in self.addition.outcomes(self.context, items, self.config, products, total):
                if record_file is not None:
                    record_file.write(record.as_dict())
                for sink in sinks:
                    sink(record, outcome)
                report.add(record, outcome.result)
                self._count(record, outcome, report)
                if self.manners.error_limit and self.tally.failed >= self.manners.error_limit:
                    report.message(f"stopped after {self.tally.failed} failed input(s)")
                    break
        return self._end()

    def _place(self) -> Any:
        """The place that --out or --out-dir names."""
        from cnncli.run.outputs import MirroredFolder, SingleFile, make_folder

        existing = self.context.existing
        suffix = self.addition.suffix or self.output.suffix or self.session.task.picture_suffix
        if self.output.out:
            return SingleFile(self.output.out, self.sources, existing)
        if self.output.out_dir:
            make_folder(self.output.out_dir, "--out-dir")
            return MirroredFolder(self.output.out_dir, suffix, self.sources, existing)
        return None

    def _pictures(self, place: Any) -> list[Any]:
        from cnncli.run.outputs import Drawing

        if place is None or self.addition.suffix:
            return []
        task, option = self.session.task, "--out" if self.output.out else "--out-dir"
        return [Drawing(place, task.draw, option, task.picture_key, task.picture_endings)]

    def _places(self, place: Any, products: list[Any]) -> list[Any]:
        """Where each input's outputs go."""
        from cnncli.run.outputs import Drawing

        drawn = [product.place for product in products if isinstance(product, Drawing)]
        return drawn if place in drawn or place is None else [place, *drawn]

    def _takes_stdout(self, places: list[Any]) -> bool:
        """Whether a picture goes to standard output, which has room for one."""
        from cnncli.run.outputs import refuse_shared

        taken = [place for place in places if getattr(place, "path", None) == STDOUT]
        if len(taken) > 1:
            raise UsageError("two pictures can't both go to standard output; name a file for one of them")
        refuse_shared(places, self.sources)
        return bool(taken)

    def _records(self, stack: contextlib.ExitStack, items: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
        """The records file, and the items that it does not hold yet."""
        from cnncli.run.checkpoint import RecordFile, Resumption
        from cnncli.run.outputs import refuse_inputs

        path = self.output.records
        if path is None:
            return None, items
        refuse_inputs(path, self.sources)
        file = RecordFile(path, self.output.resume, self.output.overwrite)
        stack.callback(file.close)
        if self.output.resume and path.is_file() and path.stat().st_size:
            file.repair()
            resumption = Resumption(path, self.session.run, self.config.shard)
            items = resumption.remaining(items)
            stack.callback(lambda: setattr(self.tally, "before", resumption.failed))
        return file, items

    def _report(self, stdout_is_taken: bool) -> Any:
        from cnncli.cli.report import open_report

        format, writer = self.output.format, self.addition.writer(self.context)
        if format == "auto" and (self.output.records or stdout_is_taken):
            format = "none"
        show_progress = self.manners.progress and not self.manners.quiet and self.expected >= PROGRESS_FROM
        known = self.addition.known_total
        inputs = self.sources if known is None else known
        return open_report(format, show_progress, inputs, self.config, self.session.task, writer)

    def _count(self, record: Any, outcome: Any, report: Any) -> None:
        if record.ok:
            self.tally.ok += 1
            return
        self.tally.failed += 1
        self.tally.bug = self.tally.bug or outcome.bug
        if not self.manners.quiet:
            report.message(record.complaint)

    def _end(self) -> int:
        tally = self.tally
        if not self.manners.quiet and (tally.failed or self.manners.verbose) and tally.ok + tally.failed > 1:
            say(f"{tally.ok} analysed, {tally.failed} failed")
        if tally.bug:
            for line in tally.bug.splitlines():
                say(line)
            say("this is a bug in cnncli, please report it with the lines above")
        return self.addition.exit_code(tally)
