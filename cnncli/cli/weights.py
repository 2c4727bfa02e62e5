"""`cnncli weights list|verify|path|pull`."""

import json
from typing import Annotated

import typer

from cnncli.cli.options import complete_model
from cnncli.cli.pages import PageCommand, new_app
from cnncli.cli.streams import print_out, say
from cnncli.errors import WeightsError

app = new_app(help="List, check, find and fetch the weights of models.", no_args_is_help=True)


@app.command("list", cls=PageCommand)
def list_weights(
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> int:
    """What models are on this machine, with their task, size, licence and measured accuracy."""
    from cnncli.io.store import installed_models
    from cnncli.io.weights import read_info

    entries = []
    for path in installed_models():
        info = read_info(path)
        entries.append(
            {
                "model": info.name,
                "task": info.task,
                "classes": len(info.classes),
                "input": "x".join(str(size) for size in info.recipe["input"]),
                "megabytes": round(path.stat().st_size / 1e6, 1),
                "measured": dict(info.measured),
                "licence": info.licence,
                "path": str(path),
            }
        )
    if as_json:
        print_out(json.dumps(entries, indent=2))
    else:
        _print_table(entries)
    return 0


def _print_table(entries: list[dict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "task", "input", "MB", "measured (% or dB)", "licence"):
        whole = name in ("model", "task", "input", "MB")
        table.add_column(name, justify="right" if name == "MB" else "left", overflow="fold", no_wrap=whole)
    for entry in entries:
        measured = "\n".join(f"{name.replace('_', ' ')} {value}" for name, value in entry["measured"].items())
        size = entry["input"], str(entry["megabytes"])
        table.add_row(entry["model"], entry["task"], *size, measured, entry["licence"])
    print_out(table)


@app.command(cls=PageCommand)
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models; all where none is named.", autocompletion=complete_model)
    ] = None,
) -> int:
    """Check the files of models against the hash of their tensors, and print the SHA-256 of the whole file."""
    from cnncli.io.store import installed_models, model_path
    from cnncli.io.weights import load_weights

    paths = [model_path(name) for name in names] if names else list(installed_models())
    failures = 0
    for path in paths:
        try:
            print_out(f"ok  {load_weights(path).sha256}  {path}")
        except WeightsError as error:
            failures += 1
            say(str(error))
    return WeightsError.exit_code if failures else 0


@app.command(cls=PageCommand)
def path(name: Annotated[str, typer.Argument(help="A model.", autocompletion=complete_model)]) -> int:
    """Print where the file of a model is."""
    from cnncli.io.store import model_path

    print_out(model_path(name))
    return 0


@app.command(cls=PageCommand)
def pull(
    name: Annotated[str, typer.Argument(help="torchvision's name of classification weights: resnet50.IMAGENET1K_V2.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch again what is there.")] = False,
) -> int:
    """Fetch torchvision's official weights, check them, and make them ready for both engines.

    The only command that opens a connection. CNNCLI_MIRROR names another server with the same file names.
    """
    from cnncli.io.download import downloaded
    from cnncli.io.store import SUFFIX, pulled_folder

    target = pulled_folder() / f"{name}{SUFFIX}"
    if target.exists() and not overwrite:
        print_out(target)
        return 0
    from cnncli.nn.official import convert, find

    entry = find(name)
    say(f"fetching {name}, {entry.size / 1e6:.0f} MB")
    with downloaded(entry.url, entry.sha256_prefix, entry.size, pulled_folder()) as file:
        say("writing the weights file and its graph")
        convert(entry, file, target, notify=say)
    print_out(target)
    return 0
