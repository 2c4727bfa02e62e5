"""`cnncli explain cam`."""

from typing import Annotated

from cnncli.cli.explain.shared import Label, Layer, PhotoRun, explain, look
from cnncli.cli.options import Inputs, with_shared_options


@with_shared_options
def cam(
    photos: PhotoRun,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    label: Label = None,
    layer: Layer = None,
    variant: Annotated[str, look(help="grad-cam (default) or grad-cam++.")] = "grad-cam",
) -> int:
    """Where is the evidence? Grad-CAM: the maps of a late layer, weighted by how much they raise the answer.

    \b
    cnncli explain cam cat.jpg --out heat.png
    cnncli explain cam cat.jpg --label "tiger cat" --variant grad-cam++ --out heat.png
    cnncli explain cam -r photos/ --out-dir heat/ > heat.jsonl
    """
    from cnncli.explain.cam import Cam

    return explain(Cam(layer, label, variant), inputs, photos)
