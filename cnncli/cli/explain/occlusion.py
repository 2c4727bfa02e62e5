"""`cnncli explain occlusion`."""

from typing import Annotated

from cnncli.cli.explain.shared import Label, PhotoRun, explain, look
from cnncli.cli.options import Inputs, count_or_auto, with_shared_options


@with_shared_options
def occlusion(
    photos: PhotoRun,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    label: Label = None,
    patch: Annotated[int, look(help="Side of the patch in pixels of what the network sees (default: 32).")] = 32,
    step: Annotated[
        str, look(help="Pixels from one place to the next, or auto (default): at most 20 places along a side.")
    ] = "auto",
    fill: Annotated[
        str, look(help="What the patch shows: mean (default), the photo's mean colour, black, grey or blur.")
    ] = "mean",
) -> int:
    """What does the answer hang on? Cover the photo patch by patch, and see where the score drops.

    \b
    cnncli explain occlusion cat.jpg --out drops.png
    cnncli explain occlusion cat.jpg --label "tiger cat" --patch 48 --fill blur --out drops.png
    """
    from cnncli.explain.occlusion import Occlusion

    return explain(Occlusion(label, patch, count_or_auto("--step", step), fill), inputs, photos)
