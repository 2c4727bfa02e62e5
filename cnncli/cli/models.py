"""`cnncli models list|show|shape`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.catalog import BACKBONES, MODELS, TASKS
from cnncli.cli.models_shape import shape
from cnncli.cli.pages import PageCommand, new_app
from cnncli.cli.streams import print_out
from cnncli.errors import UsageError

app = new_app(help="What networks there are, and what each is made of.", no_args_is_help=True)
app.command("shape", cls=PageCommand)(shape)

LIST_FORMATS = ("table", "json", "csv")
SHOW_FORMATS = ("table", "json", "csv", "markdown")


def complete_network(incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys([*MODELS, *BACKBONES]) if name.startswith(incomplete)]


@app.command("list", cls=PageCommand)
def list_models(
    task: Annotated[str | None, typer.Option(help="Only models of this task or use, such as classify.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only models whose backbone's name holds this.")] = None,
    licence: Annotated[str | None, typer.Option(help="Only models whose licence holds this, such as MIT.")] = None,
    pullable: Annotated[
        bool, typer.Option("--pullable", help="Also what 'weights pull' can fetch: torchvision's official weights.")
    ] = False,
    backbones: Annotated[
        bool, typer.Option("--backbones", help="The names of all backbones instead, one a line.")
    ] = False,
    format: Annotated[str, typer.Option(help="table, json or csv.")] = "table",
) -> int:
    """What models are there? Their task, size, cost, measured accuracy and licence.

    \b
    cnncli models list --task detect
    cnncli models list --pullable --backbone resnet
    """
    from cnncli.cli.model_entries import here, official

    if format not in LIST_FORMATS:
        raise UsageError(f"--format {format}: choose {', '.join(LIST_FORMATS[:-1])} or {LIST_FORMATS[-1]}")
    if backbones:
        print_out(*([json.dumps([*BACKBONES], indent=2)] if format == "json" else BACKBONES))
        return 0
    entries = [*here(), *(official() if pullable else ())]
    known = dict.fromkeys([*TASKS, *(entry["task"] for entry in entries)])
    if task is not None and task not in known:
        raise UsageError(f"--task {task}: choose {', '.join(known)}")
    chosen = [
        entry
        for entry in entries
        if (task is None or task in (entry["task"], entry["command"]))
        and (backbone or "").lower() in entry["backbone"].lower()
        and (licence or "").lower() in entry["licence"].lower()
    ]
    _print_list(chosen, format)
    return 0


def _print_list(entries: list[dict[str, Any]], format: str) -> None:
    from cnncli.cli.model_tables import model_rows, model_table

    writers = {"table": model_table, "csv": model_rows, "json": lambda rows: json.dumps(rows, indent=2)}
    print_out(writers[format](entries))


@app.command(cls=PageCommand)
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, a weights file, a backbone, or official weights such as resnet50.IMAGENET1K_V2.",
            autocompletion=complete_network,
        ),
    ],
    input: Annotated[
        str | None,
        typer.Option("--input", metavar="CxHxW", help="Of this size instead of its own, such as 3x224x224."),
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Of a backbone's classifier (default: 1000).", min=1)] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also normalisation, activations, sums and concatenations.")
    ] = False,
    format: Annotated[str, typer.Option(help="table, json, csv or markdown.")] = "table",
) -> int:
    """What is a network made of? Its layers, one a line.

    Of each: kernel, stride, padding and dilation (height x width where they differ), the output as channels x height
    x width, its neurons, the learned parameters, multiply-adds (MACs), the receptive field (what one cell sees of the
    input, in pixels, padding counted; "all" where a mean or a fully connected layer has summed up the whole map) and
    the jump (pixels from the field of one cell to the next).

    \b
    cnncli models show vgg19
    cnncli models show resnet50 --input 3x512x512 --format csv
    cnncli models show runs/photos/best.safetensors --all
    """
    from cnncli.cli.model_tables import LAYER_WRITERS

    if format not in SHOW_FORMATS:
        raise UsageError(f"--format {format}: choose {', '.join(SHOW_FORMATS[:-1])} or {SHOW_FORMATS[-1]}")
    wanted = _input_of(input)
    from cnncli.nn.layer_table import layer_table
    from cnncli.nn.named import named_network

    network, own = named_network(name, classes)
    if wanted is not None and wanted[0] != own[0]:
        raise UsageError(f"--input {input}: {name} takes {own[0]} channels")
    try:
        table = layer_table(network, wanted or own, every)
    except (RuntimeError, ValueError) as error:
        if wanted is None:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"--input {input}: {name} can't take it ({reason}); its own size is {own[1]}x{own[2]}"
        ) from error
    print_out(LAYER_WRITERS[format](Path(name).name, table))
    return 0


@app.command(cls=PageCommand)
def labels(
    name: Annotated[str, typer.Argument(help="A model or a weights file.", autocompletion=complete_network)],
) -> int:
    """Print the names of a model's classes, one a line, in the order of their numbers."""
    from cnncli.io.store import SUFFIX, model_path
    from cnncli.io.weights import read_info

    info = read_info(Path(name) if name.endswith(SUFFIX) or "/" in name else model_path(name))
    if not info.classes:
        raise UsageError(f"{name}: is made for {info.task} and has no classes")
    print_out(*info.classes)
    return 0


def _input_of(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input {text}: write channels, height and width, as 3x224x224")
    return tuple(int(part) for part in parts)
