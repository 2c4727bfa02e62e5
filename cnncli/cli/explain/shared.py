"""What the commands of `explain` share: options, and the run of a method over photos."""

from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.execute import execute
from cnncli.cli.options import InputOptions, Manners, OutputOptions, options
from cnncli.config import EngineConfig, RunConfig

look = options("Look")

Layer = Annotated[
    str | None,
    look("--layer", help="A layer: its number or name in 'cnncli models show', or the end of its name."),
]
NeededLayer = Annotated[
    str,
    look("--layer", help="A layer: its number or name in 'cnncli models show', or the end of its name."),
]
Label = Annotated[
    str | None, look("--label", help="The class to explain, by name; without it the network's own answer.")
]


def explain(
    method: Any,
    words: list[str],
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
) -> int:
    """Run a method over photos: a record and, where --out or --out-dir say so, a picture of each."""
    from cnncli.explain.session import open_explanation

    return execute(
        f"explain-{method.name}", method, words, engine, inputs_as, output, run, manners,
        opened=lambda notify: open_explanation(method, engine, notify),
    )  # fmt: skip


def write_picture(path: Path, pixels: Any) -> None:
    """Write a picture (H, W, 3) that no photo belongs to, to a file or, as PNG, to standard output ("-")."""
    from cnncli.io.lines import write_all
    from cnncli.io.pictures import Picture, encode
    from cnncli.run.outputs import write_file

    if str(path) == "-":
        write_all(1, encode(Picture(pixels), ".png"), "standard output")
    else:
        write_file(path, encode(Picture(pixels), path.suffix))


def check_picture(path: Path, overwrite: bool) -> None:
    """UsageError where a picture can't go to `path`, before anything is computed."""
    from cnncli.errors import UsageError
    from cnncli.io.pictures import WRITTEN_FORMATS, can_write
    from cnncli.run.outputs import check_folder

    if str(path) == "-":
        return
    if not can_write(path):
        raise UsageError(
            f"--out {path}: name a picture, such as {path.stem or 'picture'}.png ({', '.join(WRITTEN_FORMATS)})"
        )
    if path.is_dir():
        raise UsageError(f"--out {path}: is a folder; name a picture in it")
    check_folder(path.parent, "--out")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; use --overwrite")
