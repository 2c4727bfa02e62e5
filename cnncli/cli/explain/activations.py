"""`cnncli explain activations`."""

from typing import Annotated

from cnncli.cli.explain.shared import NeededLayer, PhotoRun, explain, look
from cnncli.cli.options import Inputs, with_shared_options


@with_shared_options
def activations(
    photos: PhotoRun,
    layer: NeededLayer,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    channel: Annotated[
        str | None, look(help="Channels by number from 0, as 5,17 (default: those with the largest mean).")
    ] = None,
    count: Annotated[int, look(help="How many of the strongest (default: 16).")] = 16,
) -> int:
    """What does a layer answer to this photo? The maps of its channels, side by side.

    \b
    cnncli explain activations cat.jpg --layer 5 --out maps.png
    cnncli explain activations cat.jpg --layer backbone.stem --channel 5,17 --out maps.png
    """
    from cnncli.explain.activations import Activations
    from cnncli.explain.channels import channel_numbers

    chosen = channel_numbers(channel) if channel else ()
    return explain(Activations(layer, chosen, count), inputs, photos)
