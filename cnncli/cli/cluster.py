"""`cnncli cluster`."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.execute import find_sources
from cnncli.cli.options import INPUT, OUTPUT, PROVIDERS, InputOptions, count_or_auto, options, with_shared_options
from cnncli.cli.streams import say
from cnncli.errors import UsageError

CLUSTER = "Cluster"
FORMATS = {".jsonl": "jsonl", ".parquet": "parquet"}
_cluster, _input, _output = options(CLUSTER), options(INPUT), options(OUTPUT)


@dataclass(frozen=True)
class Workers:
    """Where a run's workers are, how many, and what each is given."""

    address: str
    count: int | None
    gpus: float
    cpus: int | None
    batch_size: int | None
    part_size: int | None


def worker_options(
    address: Annotated[
        str, _cluster(help="local (this machine), auto, HOST:PORT or ray://HOST:10001.", show_default=True)
    ] = "local",
    workers: Annotated[
        str,
        _cluster("--workers", "-j", help="Workers at most, each with a model; auto: what the cluster has room for."),
    ] = "auto",
    gpus_per_worker: Annotated[float, _cluster(help="0 (default) to 1; 0.5: two workers share a GPU.")] = 0.0,
    cpus_per_worker: Annotated[
        str, _cluster(help="Cores that decode and compute in a worker; auto: 1, or its GPU's part of all.")
    ] = "auto",
    batch_size: Annotated[
        str, _cluster("--batch-size", "-b", help="Images in one call of the network; auto: what is fastest there.")
    ] = "auto",
    part_size: Annotated[str, _cluster(help="Inputs that a worker is given at a time; auto: 16 to 1024.")] = "auto",
) -> Workers:
    count, cpus = count_or_auto("--workers", workers), count_or_auto("--cpus-per-worker", cpus_per_worker)
    batch, part = count_or_auto("--batch-size", batch_size), count_or_auto("--part-size", part_size)
    return Workers(address, count, gpus_per_worker, cpus, batch, part)


PROVIDERS[Workers] = worker_options


@with_shared_options
def cluster(
    workers: Workers,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="classify, detect, segment, denoise, verify-face or sobel.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUTS...",
            help="Images, folders, quoted globs, @list.txt, and tar shards of images (shards/*.tar).",
            show_default=False,
        ),
    ] = None,
    shared: InputOptions = None,  # type: ignore[assignment]
    manifest: Annotated[Path | None, _input(help="Take names from this table: .parquet, .jsonl or .csv.")] = None,
    column: Annotated[str, _input(help="The column of --manifest that holds them (default: file).")] = "file",
    out: Annotated[Path | None, _output("--out", "-o", help="Write the records of all inputs here, in order.")] = None,
    format: Annotated[str, _output(help="jsonl or parquet. auto: by the ending of --out.")] = "auto",
    parts: Annotated[
        Path | None, _output(help="Keep finished parts here until all are done (default: beside --out).")
    ] = None,
    resume: Annotated[bool, _output("--resume", help="Go on with the parts of a run that was stopped.")] = False,
    overwrite: Annotated[bool, _output("--overwrite", help="Replace --out, and parts of an older run.")] = False,
    set_: Annotated[
        list[str] | None,
        _cluster("--set", metavar="NAME=VALUE", help="An option of the task, such as top_k=3 or model=NAME."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Nothing on standard error but errors that end the run.")
    ] = False,
) -> int:
    """Run a task on many machines, through Ray: the same records, in the same order, as on one.

    Every machine has cnncli, and the photos under the same names. What a stopped run has done stays: --resume goes on.

    \b
    cnncli cluster classify -r photos --out labels.jsonl
    cnncli cluster detect 'shards/*.tar' --out found.parquet --address auto --gpus-per-worker 1
    cnncli cluster classify --manifest names.parquet --out labels.parquet --set top_k=3
    """
    out, format = _output_file(out, format)
    parts = parts or out.with_name(out.name + ".parts")
    _check(inputs or [], out, parts, resume, overwrite, manifest)
    from cnncli.cluster.connection import Wish
    from cnncli.cluster.run import Job
    from cnncli.cluster.settings import settings

    wish = Wish(workers.count, workers.cpus, workers.gpus)
    chosen = settings(task, set_ or [])
    if workers.batch_size is not None:
        chosen["batch_size"] = workers.batch_size
    job = Job(task, chosen, wish, workers.address, workers.part_size)
    entries = _entries(inputs or [], shared, manifest, column, (out, parts))
    return _run(job, entries, out, format, parts, resume, overwrite, quiet)


def _run(
    job: Any, entries: Iterator[Any], out: Path, format: str, parts: Path, resume: bool, overwrite: bool, quiet: bool
) -> int:
    from cnncli.cluster.part_files import PartFolder
    from cnncli.cluster.run import run_parts, write_output

    folder = PartFolder(parts, job.identity, resume, overwrite)
    with contextlib.closing(folder), _progress(quiet) as (advance, tell):
        for progress in run_parts(job, entries, folder, tell):
            advance(progress.inputs)
            for failure in progress.failures:
                tell(failure)
        total, failed = write_output(out, format, job.task, folder)
        folder.remove()
    if failed and total > 1 and not quiet:
        say(f"{total - failed} analysed, {failed} failed")
    return 1 if failed else 0


def _output_file(out: Path | None, format: str) -> tuple[Path, str]:
    if out is None:
        raise UsageError("say with --out FILE where the records go")
    if format == "auto":
        format = FORMATS.get(out.suffix.lower(), "")
        if not format:
            raise UsageError(f"--out {out}: give a name that ends in .jsonl or .parquet, or say which with --format")
    if format not in FORMATS.values():
        raise UsageError(f"--format {format}: choose jsonl or parquet")
    return out, format


def _check(words: list[str], out: Path, parts: Path, resume: bool, overwrite: bool, manifest: Path | None) -> None:
    from cnncli.run.outputs import check_folder

    if manifest is not None and words:
        raise UsageError("--manifest and INPUTS both name what is looked at; give one of them")
    if "-" in words or (manifest is None and not words):
        raise UsageError("name images, folders, patterns, @list.txt or tar shards: no worker reads standard input")
    check_folder(out.parent, "--out")
    check_folder(parts.parent, "--parts")
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name a file")
    if manifest is not None and out.exists() and manifest.exists() and out.samefile(manifest):
        raise UsageError(f"--out {out}: is the manifest, which is never overwritten; choose another place")
    if out.exists() and not overwrite:
        done = "; its run is done" if resume and not parts.exists() else ""
        raise UsageError(f"{out}: exists; use --overwrite{done}")


def _entries(
    words: list[str], shared: InputOptions, manifest: Path | None, column: str, avoid: tuple[Path, ...]
) -> Iterator[Any]:
    """What is looked at. UsageError where there is nothing, before a cluster is asked for."""
    import itertools

    from cnncli.cluster.entries import entries_of
    from cnncli.cluster.manifests import manifest_entries
    from cnncli.run.outputs import refuse_inputs

    if manifest is not None:
        entries = manifest_entries(manifest, column)
    else:
        sources = find_sources(words, shared, avoid)
        refuse_inputs(avoid[0], sources)
        entries = entries_of(sources)
    first = next(entries, None)
    if first is None:
        raise UsageError(f"{' '.join(words) or manifest}: hold no picture (by their endings)")
    return itertools.chain([first], entries)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """What to call with a number of inputs done, and with a message; a bar, where standard error is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield (lambda count: None), ((lambda message: None) if quiet else say)
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

    console = Console(file=sys.stderr, highlight=False)
    with Progress(SpinnerColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True) as bar:
        row = bar.add_task("", total=None)
        yield (lambda count: bar.advance(row, count)), say
