"""`cnncli explain dream`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cnncli.cli.explain.shared import LookConfig, check_picture, look, read_photo, write_picture
from cnncli.cli.models_shape import pair
from cnncli.cli.options import options, with_shared_options
from cnncli.cli.streams import out as to_stdout
from cnncli.cli.streams import say
from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.explain.dream import Dreamt, Goal, Settings
    from cnncli.explain.subject import Size, Subject

SIZES = (8, 2048)  # pixels of a side
_output = options("Output")


@with_shared_options
def dream(
    engine: LookConfig,
    out: Annotated[Path, _output("--out", "-o", help="The picture; - is standard output (PNG).")],
    layer: Annotated[
        str | None, look(help="A layer: its number or name in 'cnncli models show', or the end of its name.")
    ] = None,
    channel: Annotated[str | None, look(help="Its channels by number from 0, as 3,17: a picture each.")] = None,
    label: Annotated[list[str], look("--label", help="In place of a channel: a class, by name; may be repeated.")] = [],  # noqa: B006 (Typer copies it)
    start: Annotated[
        str | None, look("--from", metavar="PHOTO", help="Begin with a photo in place of noise: - is standard input.")
    ] = None,
    steps: Annotated[
        int | None,
        look(help="Steps of the ascent (default: 256, from a photo 64; fewer of a network that takes long)."),
    ] = None,
    size: Annotated[str | None, look(help="Side in pixels, or height x width; default: the model's.")] = None,
    seed: Annotated[int, look(help="Of the noise and the movements (default: 0).")] = 0,
    overwrite: Annotated[bool, _output("--overwrite", help="Replace an --out that exists.")] = False,
    quiet: Annotated[bool, _output("--quiet", "-q", help="Nothing on standard error but errors.")] = False,
) -> int:
    """What would a channel, or a class, like to see? The input that it answers to most, found by optimising it.

    \b
    cnncli explain dream --label "Egyptian cat" --out cat.png
    cnncli explain dream --layer 18 --channel 3,17,25 --out channels.png
    cnncli explain dream --layer 30 --channel 5 --from photo.jpg --out dreaming.png

    The figure for each is that of the picture itself: of a class its score, of a channel its mean activation.
    """
    from cnncli.explain.dream import Settings, dream, fitted
    from cnncli.explain.dream_figure import dream_figure
    from cnncli.explain.session import open_subject
    from cnncli.io.lines import to_line

    _check(layer, channel, label)
    settings = Settings(steps, seed)
    check_picture(out, overwrite, start)
    photo = read_photo(start) if start else None
    subject = open_subject(engine, _nothing if quiet else say)
    side = _size(size) if size else tuple(subject.info.recipe["input"])
    goals = _goals(subject, side, size, layer, channel, label)
    beginning = fitted(photo, side) if photo is not None else None
    found = []
    for goal in goals:
        found.append(dream(subject, goal, settings, side, beginning))
        if str(out) != "-":
            to_stdout(to_line(_entry(subject, goal, found[-1], settings, side)))
    reading = "score" if label else "mean activation"
    write_picture(out, dream_figure(f"{subject.info.name}: what raises the {reading}{goals[0].place}", reading, found))
    return 0


def _check(layer: str | None, channel: str | None, label: list[str]) -> None:
    if label and (layer or channel):
        raise UsageError("--label and --layer both say what to raise; give one of them")
    if not label and not layer:
        raise UsageError("nothing says what to raise; give --layer and --channel, or --label")
    if layer and channel is None:
        raise UsageError(f"--layer {layer}: which of its channels? add --channel, such as --channel 3,17")


def _size(text: str) -> "Size":
    size = pair("--size", text)
    if not all(SIZES[0] <= side <= SIZES[1] for side in size):
        raise UsageError(f"--size {text}: give {SIZES[0]} to {SIZES[1]} pixels")
    return size


def _goals(
    subject: "Subject", side: "Size", size: str | None, layer: str | None, channel: str | None, label: list[str]
) -> "list[Goal]":
    """What is to be raised, one after the other. UsageError where the network can't take inputs of that size."""
    from cnncli.explain.dream import channel_goals, class_goals

    try:
        return class_goals(subject, label, side) if label else channel_goals(subject, str(layer), str(channel), side)
    except (RuntimeError, ValueError) as error:
        if size is None:
            raise
        raise UsageError(f"--size {size}: {subject.info.name} takes no input of that size; leave --size out") from error


def _entry(subject: "Subject", goal: "Goal", found: "Dreamt", settings: "Settings", side: "Size") -> dict[str, Any]:
    """The line of JSON for one picture."""
    return {
        **goal.entries,
        "start": float(f"{found.before:.6g}"),
        "reached": float(f"{found.after:.6g}"),
        "steps": found.steps,
        "seed": settings.seed,
        "size": list(side),
        "model": subject.info.name,
        "weights_sha256": subject.weights.sha256,
    }


def _nothing(message: str) -> None:
    """Nobody is told."""
