"""`cnncli explain top-patches`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cnncli.cli.execute import Tally, find_sources
from cnncli.cli.explain.shared import LookConfig, NeededLayer, check_picture, look, write_picture
from cnncli.cli.options import InputOptions, Inputs, options, with_shared_options
from cnncli.cli.streams import out as to_stdout
from cnncli.cli.streams import say
from cnncli.config import RunConfig

if TYPE_CHECKING:
    from cnncli.explain.best_patches import Best

_output = options("Output")


@with_shared_options
def top_patches(
    engine: LookConfig,
    inputs_as: InputOptions,
    layer: NeededLayer,
    channel: Annotated[str, look(help="Channels by number from 0, as 3,17: a row each.")],
    out: Annotated[Path, _output("--out", "-o", help="The picture; - is standard output (PNG).")],
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    count: Annotated[int, look(help="Patches of each channel (default: 9).")] = 9,
    overwrite: Annotated[bool, _output("--overwrite", help="Replace an --out that exists.")] = False,
    quiet: Annotated[bool, _output("--quiet", "-q", help="No line on standard error for a photo that fails.")] = False,
) -> int:
    """What does a channel look for? The patches of many photos to which it answers most, the strongest first.

    \b
    cnncli explain top-patches photos/ --layer 12 --channel 3 --out patches.png
    cnncli explain top-patches -r photos/ --layer 30 --channel 3,17,25 --count 16 --out patches.png > patches.jsonl
    """
    from cnncli.explain.best_patches import patches_figure
    from cnncli.explain.channels import channel_numbers
    from cnncli.explain.patches import TopPatches
    from cnncli.io.lines import to_line
    from cnncli.run.outputs import refuse_inputs

    wanted = TopPatches(layer, channel_numbers(channel), count)
    check_picture(out, overwrite)
    sources = find_sources(inputs, inputs_as)
    refuse_inputs(out, sources)
    best, tally = _search(wanted, engine, sources, quiet)
    rows = best.rows()
    if rows[0]:
        info, path = best.engine.subject.info, best.engine.path
        write_picture(out, patches_figure(f"{info.name}: what channels of {path} answer to most", rows))
    if str(out) != "-":
        to_stdout(b"".join(to_line(patch.as_dict(rank)) for row in rows for rank, patch in enumerate(row, 1)))
    return tally.exit_code


def _search(wanted: Any, engine: LookConfig, sources: Any, quiet: bool) -> tuple["Best", Tally]:
    """Look through all photos; what fails is named on standard error and counted."""
    from cnncli.explain.best_patches import Best
    from cnncli.explain.patches import open_search
    from cnncli.run.items import items_of
    from cnncli.run.runner import run_items

    tell = _nothing if quiet else say
    session, peaks = open_search(wanted, engine, tell)
    best, tally, run = Best(peaks, wanted.count), Tally(), RunConfig()
    for record, outcome in run_items(session, items_of(sources, run), run):
        if record.ok:
            tally.ok += 1
            best.add(outcome)
        else:
            tally.failed += 1
            tally.bug = tally.bug or outcome.bug
            tell(record.complaint)
    if tally.failed:
        tell(f"{tally.ok} looked through, {tally.failed} failed")
    if tally.bug:
        say(tally.bug)
    return best, tally


def _nothing(message: str) -> None:
    """Nobody is told."""
