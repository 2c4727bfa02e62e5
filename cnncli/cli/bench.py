"""`cnncli bench`: what each stage of a task costs on this machine."""

import dataclasses
import json
from typing import Annotated, Any

import typer

from cnncli.catalog import TASKS, resolve
from cnncli.cli.execute import find_sources
from cnncli.cli.options import InputOptions, Inputs, with_shared_options
from cnncli.cli.pages import PageCommand, new_app
from cnncli.cli.streams import print_out
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

app = new_app(help="Measure how fast a task runs here.", no_args_is_help=True)
PHOTOS_KEPT = 200  # of the inputs: read once and kept in memory, so that the disk is not measured
SYNTHETIC = 16
READ_NOTE = "read: the same files once more, mostly from the page cache; part of no bound"
BEST_NOTE = "forward, best: the network alone, at its best batch size; used for the bound"


def _register(task: str) -> None:
    @app.command(task, cls=PageCommand)
    @with_shared_options
    def bench(
        engine: EngineConfig,
        inputs_as: InputOptions,
        run: RunConfig,
        inputs: Inputs = [],  # noqa: B006 (Typer copies it)
        seconds: Annotated[float, typer.Option(help="Time for each stage.")] = 2.0,
        decode: Annotated[
            str, typer.Option(help="As the task's own option: auto, full or device, for tasks that have it.")
        ] = "auto",
        as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    ) -> int:
        """Images per second of each stage, of the whole, and of the bound that the stages set.

        Measures on 200 of the inputs, spread evenly over all of them, or on synthetic 640 x 480 JPEGs where none is
        named.
        """
        from cnncli.run.benchmark import measure
        from cnncli.run.benchmark_photos import Sample, sample_of, synthetic_photos
        from cnncli.run.session import open_session

        if not 0 < seconds < float("inf"):
            raise UsageError(f"--seconds {seconds:g}: give a time above 0")
        options = _options(task, decode)
        if inputs:
            sample = sample_of(find_sources(inputs, inputs_as), PHOTOS_KEPT, run.max_pixels)
        else:
            sample = Sample([], synthetic_photos(SYNTHETIC), SYNTHETIC)
        session = open_session(task, options, engine, expected_inputs=1 << 20)
        figures = {**measure(session, sample.photos, run, seconds, sample.files), "inputs": sample.listed}
        print_out(json.dumps(figures, indent=2)) if as_json else _print(figures)
        return 0


for _task in TASKS:
    _register(_task)


def _options(task: str, decode: str) -> Any:
    """The task's own defaults, with another way of decoding where it has several."""
    options = resolve(TASKS[task].options)
    if decode == "auto":
        return options()
    if "decode" not in {field.name for field in dataclasses.fields(options)}:
        raise UsageError(f"--decode {decode}: {task} decodes in one way only; leave it out")
    return options(decode=decode)


def _print(figures: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = "{engine} engine on {device}, {precision}, {photos} photos".format(**figures)
    if figures["inputs"] > figures["photos"]:
        title += f" of {figures['inputs']}"
    if figures["model"]:
        title = f"{figures['model']}, {title}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("stage", "images/s", "ms per image", "threads"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in figures["stages"]:
        table.add_row(stage["stage"], *_numbers(stage["images_per_s"]), str(stage["threads"]))
    table.add_section()
    table.add_row("bound by these", *_numbers(figures["bound_images_per_s"]), "")
    table.add_row("end to end", *_numbers(figures["end_to_end_images_per_s"]), "")
    print_out(table)
    print_out(f"end to end reaches {figures['efficiency']:.0%} of the bound; limited by {figures['limited_by']}")
    busy = f"GPU busy {figures['gpu_busy_percent']:.0f}%; " if "gpu_busy_percent" in figures else ""
    print_out(f"{busy}peak memory {figures['peak_memory_mb']:.0f} MB")
    if figures["stages"][0]["stage"] == "read":
        print_out(READ_NOTE)
    if figures["best_batch"]:
        print_out(BEST_NOTE)


def _numbers(rate: float) -> tuple[str, str]:
    """Images per second, and milliseconds of one."""
    return f"{rate:.1f}", f"{1000 / rate:.2f}"
