"""`cnncli classify`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.execute import Addition, RunContext, Sink, execute
from cnncli.cli.options import (
    OUTPUT,
    InputOptions,
    Inputs,
    Manners,
    OutputOptions,
    options,
    with_shared_options,
)
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

_answer = options("Answer")
_output = options(OUTPUT)


class _Vectors(Addition):
    """`--embed`: features instead of labels; an array of them where --out ends in .npy."""

    def __init__(self, out: Path | None):
        self.path = out if out is not None and out.suffix == ".npy" else None
        self.takes_out = self.path is not None

    def check(self, context: RunContext) -> None:
        from cnncli.run.outputs import check_array

        if self.path is None and (context.output.out or context.output.out_dir):
            raise UsageError("--embed gives features, which are no picture; use --out FILE.npy")
        if self.path is not None:
            check_array(self.path, context.sources, context.existing, context.output.resume)

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        if self.path is None:
            return []
        from cnncli.io.arrays import row_writer

        rows = stack.enter_context(row_writer(self.path))
        return [lambda record, outcome: rows.append(outcome.result.features if outcome.result else None)]


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
    from cnncli.cli.names import chosen_names, read_names
    from cnncli.tasks.classify import ClassifyOptions

    names = chosen_names("--classes", classes)
    chosen = ClassifyOptions(top_k, names, read_names(labels) if labels else (), embed)
    addition = _Vectors(output.out) if embed else Addition()
    return execute("classify", chosen, inputs, engine, inputs_as, output, run, manners, addition)
