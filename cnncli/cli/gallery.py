"""`cnncli gallery`."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.options import count_or_auto
from cnncli.cli.streams import say
from cnncli.errors import UsageError

SIZES = (32, 2048)  # px: smaller shows nothing, larger is the photo itself
MOST_WORKERS = 256


def gallery_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Records files of any tasks; '-' is standard input.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE.html", help="Write the page to this file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos", metavar="DIR", help="Look for photos here first (then: working folder, records file)."
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Longest side of a thumbnail in pixels.")] = 256,
    title: Annotated[
        str | None, typer.Option("--title", help="Heading of the page (default: the names of FILES).")
    ] = None,
    workers: Annotated[
        str, typer.Option("--workers", "-j", help="Threads that make thumbnails; auto: one per core.")
    ] = "auto",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Nothing on standard error but errors that end the run.")
    ] = False,
) -> int:
    """Show records as one web page: thumbnails with what was found, to filter, sort and look at closely.

    The page needs no network and no other file: it holds small pictures, and links to the photos beside it.

    \b
    cnncli detect -r photos --records found.jsonl
    cnncli gallery found.jsonl --out found.html
    cnncli classify -r photos | cnncli gallery - --out labels.html
    """
    _check(out, files, overwrite, photos, size)
    from cnncli.io.atomic import output_file
    from cnncli.viewer.build import PageOptions, write_page
    from cnncli.viewer.records import read_all

    tell = _nothing if quiet else say
    options = PageOptions(out, title or _title(files), size, photos, _threads(workers))
    with output_file(out, "; choose another place with --out") as file, _progress(files, quiet) as advance:
        tally = write_page(file, read_all(files, tell), options, advance)
    if tally.unseen:
        which = "has a photo" if tally.unseen == 1 else "have photos"
        way_out = "damaged, or moved: --photos DIR says where they lie"
        tell(f"{tally.unseen} of {tally.entries} {which} that can't be shown ({way_out})")
    return 0


def _check(out: Path, files: list[str], overwrite: bool, photos: Path | None, size: int) -> None:
    from cnncli.run.outputs import check_folder

    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: give a name that ends in .html")
    check_folder(out.parent, "--out")
    if out.exists() and any(name != "-" and os.path.exists(name) and out.samefile(name) for name in files):
        raise UsageError(f"{out}: is one of the records files, which are never overwritten; choose another place")
    if out.exists() and not overwrite:
        raise UsageError(f"{out}: exists; use --overwrite")
    if photos is not None and not photos.is_dir():
        raise UsageError(f"--photos {photos}: is not a folder")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"--size {size}: give {SIZES[0]} to {SIZES[1]} pixels")


def _title(files: list[str]) -> str:
    first = "standard input" if files[0] == "-" else Path(files[0]).name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _threads(workers: str) -> int:
    count = count_or_auto("--workers", workers)
    if count is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 1 <= count <= MOST_WORKERS:
        raise UsageError(f"--workers {workers}: give 1 to {MOST_WORKERS}, or auto")
    return count


def _nothing(*ignored: object) -> None:
    """Nobody is told, and nothing is counted."""


@contextlib.contextmanager
def _progress(files: list[str], quiet: bool) -> Iterator[Callable[[], None]]:
    """What to call after every entry: it moves a bar, where standard error is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from cnncli.viewer.records import count_lines

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr, highlight=False), transient=True) as progress:
        bar = progress.add_task("", total=count_lines(files))
        yield lambda: progress.advance(bar)
