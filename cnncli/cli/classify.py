"""`cnncli classify`."""

from pathlib import Path
from typing import Annotated

from cnncli.cli.execute import Addition, execute
from cnncli.cli.options import InputOptions, Inputs, Manners, OutputOptions, options, with_shared_options
from cnncli.cli.vectors import Vectors
from cnncli.config import EngineConfig, RunConfig

_answer = options("Answer")
NO_PICTURE = "--embed gives features, which are no picture; use --out FILE.npy"


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
    decode: Annotated[
        str,
        _answer(
            help="auto (default): JPEGs far larger than the network's input are decoded in a reduced size, which "
            "moves scores by less than 0.01 on average; full: never; device: JPEGs are decoded, resized and cropped by "
            "the GPU (nvJPEG), which moves scores a little, the others on the CPU. Damage inside a JPEG that a GPU's "
            "decoder passes over isn't noticed then."
        ),
    ] = "auto",
) -> int:
    """What is in the photo? The best labels and their scores.

    \b
    cnncli classify photo.jpg
    cnncli classify -r photos/ --records labels.jsonl --resume
    cnncli classify photo.jpg --out labelled.jpg
    """
    from cnncli.cli.names import chosen_names, read_names
    from cnncli.tasks.classify import ClassifyOptions

    names = chosen_names("--classes", classes)
    chosen = ClassifyOptions(top_k, names, read_names(labels) if labels else (), embed, decode)
    addition = Vectors(output.out, lambda result: result.features, NO_PICTURE) if embed else Addition()
    return execute("classify", chosen, inputs, engine, inputs_as, output, run, manners, addition)
