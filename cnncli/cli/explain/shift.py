"""`cnncli explain shift`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

from cnncli.cli.execute import Addition, RunContext, Sink, execute, find_sources
from cnncli.cli.explain.shared import look
from cnncli.cli.options import InputOptions, Inputs, Manners, OutputOptions, with_shared_options
from cnncli.config import EngineConfig, RunConfig


class _Means(Addition):
    """Says at the end what the photos come to on average."""

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        movers = context.session.task.movers
        found: list[list[float]] = []
        stack.enter_context(_told(movers, found, report))
        return [lambda record, outcome: found.append(_figures(movers, record)) if record.ok and record.result else None]


def _figures(movers: Any, record: Any) -> list[float]:
    """The number that sums up each model's answers to one photo."""
    entries = record.result["explanation"]
    figure = movers[0].follower.figure
    return [entries[figure], entries["against"][figure]] if len(movers) > 1 else [entries[figure]]


@contextmanager
def _told(movers: Any, found: list[list[float]], report: Any) -> Iterator[None]:
    yield
    if len(found) < 2:
        return
    means = [sum(values) / len(found) for values in zip(*found, strict=True)]
    each = ", ".join(f"{mover.follower.name} {mean:.4f}" for mover, mean in zip(movers, means, strict=True))
    follower = movers[0].follower
    report.message(f"mean {follower.figure} over {len(found)} photos ({follower.meaning}): {each}")


@with_shared_options
def shift(
    engine: EngineConfig,
    inputs_as: InputOptions,
    output: OutputOptions,
    run: RunConfig,
    manners: Manners,
    inputs: Inputs = [],  # noqa: B006 (Typer copies it)
    task: Annotated[
        str | None,
        look(help="classify, detect, segment, denoise or sobel; by default what the model is made for."),
    ] = None,
    reach: Annotated[int, look("--range", help="How many pixels of the network's input to move (default: 8).")] = 8,
    direction: Annotated[str, look(help="right, down or diagonal (default).")] = "diagonal",
    against: Annotated[
        str | None, look(help="A second model, by name or file: the same with blur-pooling, for instance.")
    ] = None,
) -> int:
    """Does the answer stay when the photo moves by a pixel? Invariance and equivariance as a curve and a number.

    \b
    cnncli explain shift cat.jpg --out shift.png
    cnncli explain shift -r photos/ --weights plain.safetensors --against blurred.safetensors > shift.jsonl
    cnncli explain shift street.jpg --task detect --range 16 --direction right --out boxes.png

    The photo is resized once, so that a shift is a pixel of the network's input; then windows of it are answered.
    """
    from cnncli.engine.device import available_cpus
    from cnncli.explain.shift_session import open_shift
    from cnncli.explain.shift_windows import Shift
    from cnncli.run.items import peek_count
    from cnncli.run.session import GPU_PAYS_FROM

    way = Shift(reach, direction)
    sources = find_sources(inputs, inputs_as, [*filter(None, [output.out_dir])])
    expected = peek_count(sources, max(GPU_PAYS_FROM + 1, available_cpus()))
    return execute(
        "explain-shift", way, inputs, engine, inputs_as, output, run, manners,
        Addition() if manners.quiet else _Means(), sources,
        opened=lambda notify: open_shift(way, task, engine, against, expected, notify),
    )  # fmt: skip
