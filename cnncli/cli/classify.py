"""`cnncli classify`."""

from pathlib import Path
from typing import Annotated

from cnncli.cli.execute import execute
from cnncli.cli.options import (
    OUTPUT,
    InputOptions,
    Inputs,
    Manners,
    OutputOptions,
    comma_separated,
    options,
    with_shared_options,
)
from cnncli.config import EngineConfig, RunConfig

_answer = options("Answer")
_output = options(OUTPUT)


@with_shared_options
def classify(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    top_k: Annotated[int, _answer("--top-k", "-k", help="How many labels (default: 5).")] = 5,
    classes: Annotated[str | None, _answer(help="Only these labels: names, separated by commas or in @FILE.")] = None,
    labels: Annotated[Path | None, _answer(help="File of other names for the classes, one a line.")] = None,
    embed: Annotated[
        bool, _answer("--embed", help="Give the features in place of labels; with --out FILE.npy as an array (N, F).")
    ] = False,
) -> int:
    """What is in the photo? The best labels and their scores.

    \b
    cnncli classify photo.jpg
    cnncli classify -r photos/ --records labels.jsonl --resume
    cnncli classify photo.jpg --out labelled.jpg
    """
    from cnncli.cli.names import read_names
    from cnncli.tasks.classify import ClassifyOptions

    names = read_names(classes[1:]) if classes and classes.startswith("@") else comma_separated(classes)
    other = read_names(labels) if labels else ()
    return execute(
        "classify", ClassifyOptions(top_k, names, other, embed), inputs, engine, inputs_as, output, run, manners
    )
