"""`cnncli export`."""

from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.options import complete_model
from cnncli.cli.streams import print_out, say
from cnncli.errors import UsageError


def export(
    weights: Annotated[
        str,
        typer.Argument(metavar="WEIGHTS", help="A weights file, or a model by name.", autocompletion=complete_model),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A self-contained .onnx file; or another .safetensors (default: the file itself).",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an --out that exists.")] = False,
) -> int:
    """Write the ONNX graph of a weights file, proven to answer as its network does.

    \b
    cnncli export runs/photos/last.safetensors                     # into the file: CPU runs need no torch then
    cnncli export runs/photos/best.safetensors --out photos.onnx   # one file for any ONNX runtime
    """
    from cnncli.io.store import SUFFIX, model_path

    path = Path(weights) if weights.endswith(SUFFIX) or "/" in weights else model_path(weights)
    if out is not None and out.suffix not in (".onnx", SUFFIX):
        raise UsageError(f"--out {out}: give a name that ends in .onnx or {SUFFIX}")
    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"--out {out}: exists; name another file, or use --overwrite")
    from cnncli.train.export import export_weights

    target, difference = export_weights(path, out)
    say(f"its answers are those of torch to {difference:.1g} of the largest")
    print_out(target)
    return 0
