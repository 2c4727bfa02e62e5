"""`cnncli bench`: what each stage of a task costs on this machine."""

import json
from typing import Annotated, Any

import typer

from cnncli.catalog import TASKS, resolve
from cnncli.cli.execute import find_sources
from cnncli.cli.options import InputOptions, Inputs, with_shared_options
from cnncli.cli.pages import PageCommand, new_app
from cnncli.cli.streams import print_out
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import InputError

app = new_app(help="Measure how fast a task runs here.", no_args_is_help=True)
PHOTOS_KEPT = 200  # of the inputs: read once and kept in memory, so that the disk is not measured


def _register(task: str) -> None:
    @app.command(task, cls=PageCommand)
    @with_shared_options
    def bench(
        engine: EngineConfig,
        inputs_as: InputOptions,
        run: RunConfig,
        inputs: Inputs = [],  # noqa: B006 (Typer copies it)
        seconds: Annotated[float, typer.Option(help="Time for each stage.")] = 2.0,
        as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    ) -> int:
        """Images per second of each stage, of the whole, and of the bound that the stages set.

        Measures on the inputs (the first 200), or on synthetic 640 x 480 JPEGs where none is named.
        """
        from cnncli.run.benchmark import measure, synthetic_photos
        from cnncli.run.session import open_session

        photos = _read(inputs, inputs_as, run) if inputs else synthetic_photos(16)
        session = open_session(task, resolve(TASKS[task].options)(), engine, expected_inputs=1 << 20)
        figures = measure(session, photos, run, seconds)
        print_out(json.dumps(figures, indent=2)) if as_json else _print(figures)
        return 0


for _task in TASKS:
    _register(_task)


def _read(words: list[str], inputs: InputOptions, run: RunConfig) -> list[bytes]:
    """Bytes of the inputs that can be decoded."""
    from itertools import islice

    from cnncli.io.images import decode, read_file

    photos = []
    for source in islice(find_sources(words, inputs), PHOTOS_KEPT):
        try:
            content = read_file(source.file, run.max_pixels)
            decode(content, run.max_pixels)
        except InputError:
            continue
        photos.append(content)
    return photos


def _print(figures: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = "{engine} engine on {device}, {precision}, {photos} photos".format(**figures)
    if figures["model"]:
        title = f"{figures['model']}, {title}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("stage", "images/s", "ms per image", "threads"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in figures["stages"]:
        numbers = f"{stage['images_per_s']:.1f}", f"{stage['ms_per_image']:.2f}", str(stage["threads"])
        table.add_row(stage["stage"], *numbers)
    table.add_section()
    whole, bound = figures["end_to_end_images_per_s"], figures["bound_images_per_s"]
    table.add_row("bound by these", f"{bound:.1f}", f"{1000 / bound:.2f}", "")
    table.add_row("end to end", f"{whole:.1f}", f"{1000 / whole:.2f}", "")
    print_out(table)
    print_out(
        f"end to end reaches {figures['efficiency']:.0%} of the bound; limited by {figures['limited_by']}; "
        f"peak memory {figures['peak_memory_mb']:.0f} MB"
    )
