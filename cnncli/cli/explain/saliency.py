"""`cnncli explain saliency`."""

from typing import Annotated

from cnncli.cli.explain.shared import Label, PhotoRun, explain, look
from cnncli.cli.options import Inputs, with_shared_options


@with_shared_options
def saliency(
    photos: PhotoRun,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    method: Annotated[str, look(help="gradient, guided, integrated or all (default).")] = "all",
    label: Label = None,
    steps: Annotated[int, look(help="Steps from black to the photo, for integrated (default: 50).")] = 50,
) -> int:
    """Which pixels matter? Gradients of the answer by the photo: plain, guided and integrated.

    \b
    cnncli explain saliency cat.jpg --out pixels.png
    cnncli explain saliency cat.jpg --method integrated --steps 200 --label "tiger cat" --out pixels.png
    """
    from cnncli.explain.saliency import Saliency

    return explain(Saliency(method, label, steps), inputs, photos)
