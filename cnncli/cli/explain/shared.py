"""What the commands of `explain` share: options, and the run of a method over photos."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cnncli.cli.execute import execute
from cnncli.cli.options import (
    MODEL,
    PROVIDERS,
    InputOptions,
    Manners,
    OutputOptions,
    complete_model,
    count_or_auto,
    options,
    with_shared_options,
)
from cnncli.config import EngineConfig, RunConfig

if TYPE_CHECKING:
    import numpy as np

look = options("Look")
_model = options(MODEL)


@dataclass(frozen=True)
class LookConfig(EngineConfig):
    """Where a network that is looked into runs: always in torch, in fp32."""


def look_options(
    model: Annotated[
        str | None,
        _model(
            "--model",
            "-m",
            help="Model by name; see 'cnncli models list' (default: that of classify).",
            autocompletion=complete_model,
        ),
    ] = None,
    weights: Annotated[Path | None, _model(help="Weights file to use instead of a model by name.")] = None,
    device: Annotated[
        str, _model("--device", "-d", help="auto, cpu, cuda, cuda:N or mps. auto: a GPU where there is one.")
    ] = "auto",
    threads: Annotated[str, _model(help="Threads of inference; auto: all cores.")] = "auto",
) -> LookConfig:
    return LookConfig(model, weights, device, threads=count_or_auto("--threads", threads))


PROVIDERS[LookConfig] = look_options

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


@dataclass(frozen=True)
class PhotoRun:
    """The options of a run of a method over photos."""

    engine: LookConfig
    inputs_as: InputOptions
    output: OutputOptions
    run: RunConfig
    manners: Manners


@with_shared_options
def photo_run(
    engine: LookConfig, inputs_as: InputOptions, output: OutputOptions, run: RunConfig, manners: Manners
) -> PhotoRun:
    return PhotoRun(engine, inputs_as, output, run, manners)


PROVIDERS[PhotoRun] = photo_run


def explain(method: Any, words: list[str], photos: PhotoRun) -> int:
    """Run a method over photos: a record and, where --out or --out-dir say so, a picture of each."""
    from cnncli.explain.session import open_explanation

    return execute(
        f"explain-{method.name}", method, words, photos.engine, photos.inputs_as, photos.output, photos.run,
        photos.manners, opened=lambda notify: open_explanation(method, photos.engine, notify),
    )  # fmt: skip


def write_picture(path: Path, pixels: Any) -> None:
    """Write a picture (H, W, 3) that no photo belongs to, to a file or, as PNG, to standard output ("-")."""
    from cnncli.io.atomic import output_file
    from cnncli.io.lines import write_all
    from cnncli.io.pictures import Picture, encode

    if str(path) == "-":
        write_all(1, encode(Picture(pixels), ".png"), "standard output")
    else:
        with output_file(path) as file:
            file.write(encode(Picture(pixels), path.suffix))


def check_picture(path: Path, overwrite: bool, photo: str | None = None) -> None:
    """UsageError where a picture can't go to `path`, before anything is computed; nor where the input `photo` is."""
    from cnncli.errors import UsageError
    from cnncli.io.pictures import WRITTEN_FORMATS, can_write
    from cnncli.run.outputs import check_folder

    if str(path) == "-":
        return
    if path.is_dir():
        raise UsageError(f"--out {path}: is a folder; name a picture in it")
    if not can_write(path):
        raise UsageError(
            f"--out {path}: name a picture, such as {path.stem or 'picture'}.png ({', '.join(WRITTEN_FORMATS)})"
        )
    check_folder(path.parent, "--out")
    if photo is not None and path.exists() and Path(photo).exists() and path.samefile(photo):
        raise UsageError(f"{path}: is the input, and inputs are never overwritten; choose another place")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; use --overwrite")


def read_photo(name: str) -> "np.ndarray":
    """The pixels of one photo, uint8 RGB (H, W, 3); "-" is standard input. InputError where it can't be read."""
    from cnncli.config import DEFAULT_MAX_PIXELS
    from cnncli.errors import InputError
    from cnncli.io.images import decode, read_file, read_stream
    from cnncli.io.sources import STDIN

    try:
        if name == STDIN:
            return decode(read_stream(sys.stdin.buffer, DEFAULT_MAX_PIXELS)).pixels
        return decode(read_file(name, DEFAULT_MAX_PIXELS)).pixels
    except InputError as error:
        raise InputError(f"{'standard input' if name == STDIN else name}: {error}") from error
