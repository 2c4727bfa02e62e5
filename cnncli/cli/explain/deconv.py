"""`cnncli explain deconv`."""

from typing import Annotated

from cnncli.cli.explain.shared import NeededLayer, PhotoRun, explain, look
from cnncli.cli.options import Inputs, with_shared_options


@with_shared_options
def deconv(
    photos: PhotoRun,
    layer: NeededLayer,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    channel: Annotated[str, look(help="Channels by number from 0, as 3,17; or top (default): the strongest.")] = "top",
    count: Annotated[int, look(help="Channels that top means (default: 4).")] = 4,
) -> int:
    """What in the photo does a channel answer to? Its strongest activation, projected back to the pixels.

    \b
    cnncli explain deconv cat.jpg --layer 12 --out strongest.png
    cnncli explain deconv cat.jpg --layer backbone.stages.2 --channel 3,17 --out two.png
    cnncli explain deconv -r photos/ --layer 12 --out-dir projected/ > projected.jsonl
    """
    from cnncli.explain.deconv import Deconv

    return explain(Deconv(layer, channel, count), inputs, photos)
