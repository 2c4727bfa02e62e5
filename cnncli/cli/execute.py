"""What every task command does once its options are read: open, run, report."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.cli.options import InputOptions, Manners, OutputOptions
from cnncli.cli.streams import say
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

PROGRESS_FROM = 4  # inputs


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


def execute(
    task: str,
    options: Any,
    words: list[str],
    engine: EngineConfig,
    inputs: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
) -> int:
    """Run a task over the inputs and report; the exit code."""
    from cnncli.engine.device import available_cpus
    from cnncli.run.items import peek_count
    from cnncli.run.session import GPU_PAYS_FROM, open_session

    sources = find_sources(words, inputs, output)
    expected = peek_count(sources, max(GPU_PAYS_FROM + 1, available_cpus()))
    notify = (lambda message: None) if manners.quiet else say
    session = open_session(task, options, engine, expected, notify)
    if manners.verbose:
        place = f"{session.run.engine} engine on {session.run.device}, {session.precision}"
        say(f"{session.run.model} ({place}), weights {session.run.weights_sha256[:12]}")
    return _Execution(session, sources, output, run, manners, expected).run()


def find_sources(words: list[str], inputs: InputOptions, output: OutputOptions | None = None) -> Any:
    """The sources that the words name. UsageError where there are none, before anything runs."""
    from cnncli.io.sources import STDIN, SourceOptions, Sources, stdin_is_input

    if not words:
        if not stdin_is_input():
            raise UsageError("no input; name an image, a folder, a pattern or @list.txt, or pipe an image in")
        words = [STDIN]
    avoid = str(output.out_dir) if output and output.out_dir else None
    sources = Sources(words, SourceOptions(inputs.recursive, inputs.all_files, inputs.null_separated, avoid))
    if not sources.is_stream:
        for word in words:  # each must yield something; the first input of each tells
            next(iter(Sources([word], sources.options)), None)
    return sources


class _Execution:
    """One run of a command: builds the sinks, drives the runner, counts."""

    def __init__(
        self, session: Any, sources: Any, output: OutputOptions, run: RunConfig, manners: Manners, expected: int
    ):
        self.session = session
        self.sources = sources
        self.output = output
        self.config = run
        self.manners = manners
        self.expected = expected
        self.tally = Tally()

    def run(self) -> int:
        from cnncli.run.items import count_items, items_of
        from cnncli.run.runner import run_items

        pictures = self._pictures()
        total = count_items(self.sources, self.config) if self.config.shard.count > 1 else None
        with contextlib.ExitStack() as stack:
            items = items_of(self.sources, self.config)
            record_file, items = self._records(stack, items)
            vectors = self._vectors(stack)
            report = stack.enter_context(self._report())
            records = run_items(self.session, items, self.config, pictures, total, self.output.timings)
            for record, outcome in records:
                if record_file is not None:
                    record_file.write(record.as_dict())
                if vectors is not None:
                    vectors.append(outcome.result.features if outcome.result else None)
                report.add(record, outcome.result)
                self._count(record, outcome, report)
                if self.manners.error_limit and self.tally.failed >= self.manners.error_limit:
                    report.message(f"stopped after {self.tally.failed} failed input(s)")
                    break
        return self._end()

    @property
    def _vector_path(self) -> Path | None:
        out = self.output.out
        return out if out is not None and out.suffix == ".npy" else None

    def _pictures(self) -> Any:
        from cnncli.run.outputs import Existing, PictureFolder, SinglePicture

        existing = Existing(self.output.overwrite, self.output.skip_existing, self.output.resume)
        if self._vector_path:
            if self.session.task.result_key != "features":
                raise UsageError(
                    f"--out {self._vector_path}: arrays are written with --embed; pictures end in .png or .jpg"
                )
            if self._vector_path.exists() and existing.refused:
                raise UsageError(f"{self._vector_path}: exists; use --overwrite")
            if self.output.resume:
                raise UsageError(f"--out {self._vector_path}: an array can't be resumed; use --records alone")
            return None
        if (self.output.out or self.output.out_dir) and self.session.task.result_key == "features":
            raise UsageError("--embed gives features, which are no picture; use --out FILE.npy")
        if self.output.out:
            return SinglePicture(self.output.out, self.sources, existing)
        if self.output.out_dir:
            self.output.out_dir.mkdir(exist_ok=True) if self.output.out_dir.parent.is_dir() else None
            return PictureFolder(self.output.out_dir, self.session.task.picture_suffix, self.sources, existing)
        return None

    def _vectors(self, stack: contextlib.ExitStack) -> Any:
        if not self._vector_path:
            return None
        from cnncli.io.arrays import row_writer

        return stack.enter_context(row_writer(self._vector_path))

    def _records(self, stack: contextlib.ExitStack, items: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
        """The records file, and the items that it does not hold yet."""
        from cnncli.run.checkpoint import RecordFile, Resumption, drop_torn_line

        path = self.output.records
        if path is None:
            return None, items
        resumption = None
        if self.output.resume and path.exists():
            drop_torn_line(path)
            resumption = Resumption(path, self.session.run, self.config.shard)
            items = resumption.remaining(items)
        file = RecordFile(path, self.output.resume, self.output.overwrite)
        stack.callback(file.close)
        if resumption is not None:
            stack.callback(lambda: setattr(self.tally, "before", resumption.failed))
        return file, items

    def _report(self) -> Any:
        from cnncli.cli.report import open_report

        format = self.output.format
        if format == "auto" and (self.output.records or self.output.out == Path("-") or self._vector_path):
            format = "none"
        show_progress = self.manners.progress and not self.manners.quiet and self.expected >= PROGRESS_FROM
        return open_report(format, show_progress, self.sources, self.config, self.session.task)

    def _count(self, record: Any, outcome: Any, report: Any) -> None:
        if record.ok:
            self.tally.ok += 1
            return
        self.tally.failed += 1
        self.tally.bug = self.tally.bug or outcome.bug
        if not self.manners.quiet:
            report.message(f"{record.file}: {record.failure}")

    def _end(self) -> int:
        tally = self.tally
        if not self.manners.quiet and (tally.failed or self.manners.verbose) and tally.ok + tally.failed > 1:
            say(f"{tally.ok} analysed, {tally.failed} failed")
        if tally.bug:
            import sys

            print(tally.bug, file=sys.stderr)
            say("this is a bug in cnncli, please report it with the lines above")
        return tally.exit_code
