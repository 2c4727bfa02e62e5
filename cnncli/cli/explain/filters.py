"""`cnncli explain filters`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.explain.shared import Layer, check_picture, look, write_picture
from cnncli.cli.options import complete_model, options
from cnncli.cli.streams import print_out
from cnncli.config import EngineConfig

_model = options("Model")
STDOUT = Path("-")


def filters(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The picture; - is standard output (PNG).", show_default=False)
    ],
    model: Annotated[
        str | None,
        _model("--model", "-m", help="Model by name; see 'cnncli weights list'.", autocompletion=complete_model),
    ] = None,
    weights: Annotated[Path | None, _model(help="Weights file to use instead of a model by name.")] = None,
    layer: Layer = None,
    channel: Annotated[
        str | None, look(help="Output channels by number from 0, as 5,17 (default: all, or the strongest of many).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an --out that exists.")] = False,
) -> int:
    """What did a layer learn to look for? The kernels of a convolution (the first, without --layer).

    \b
    cnncli explain filters --out kernels.png
    cnncli explain filters -m yunet --layer 4 --channel 5,17 --out kernels.png

    Prints the layer, its shape and the norm of each kernel shown as JSON, unless --out is standard output.
    """
    check_picture(out, overwrite)
    from cnncli.explain.channels import channel_numbers
    from cnncli.explain.filters import kernels_to_show
    from cnncli.explain.filters_figure import draw_kernels
    from cnncli.explain.session import open_subject

    numbers = channel_numbers(channel) if channel else ()
    subject = open_subject(EngineConfig(model, weights, device="cpu", threads=1))
    kernels = kernels_to_show(subject, layer, numbers)
    write_picture(out, draw_kernels(subject.info.name, kernels))
    if out != STDOUT:
        print_out(json.dumps(_figures(subject.info.name, kernels)))
    return 0


def _figures(model: str, kernels: Any) -> dict[str, Any]:
    found = zip(kernels.channels.tolist(), kernels.norms.tolist(), strict=True)
    return {
        "model": model,
        "layer": kernels.layer,
        "shape": list(kernels.shape),
        "groups": kernels.groups,
        "kernels": [{"channel": channel, "norm": float(f"{norm:.6g}")} for channel, norm in found],
    }
