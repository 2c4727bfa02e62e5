"""`cnncli train`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.catalog import RECIPES
from cnncli.cli.options import with_shared_options
from cnncli.cli.streams import print_out, printable, say
from cnncli.cli.train_options import DataChoice, LearningChoice, NetworkChoice, RunChoice, Talk, complete
from cnncli.errors import InterruptedRunError, UsageError

MNIST1D = "mnist1d"
RUNS = Path("runs")  # where runs are kept whose folder is not named


@with_shared_options
def train(
    network: NetworkChoice,
    examples: DataChoice,
    learning: LearningChoice,
    run: RunChoice,
    talk: Talk,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help=f"{', '.join(RECIPES)}; or {MNIST1D}, the course's experiment, which needs no data.",
            autocompletion=complete([*RECIPES, MNIST1D]),
        ),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Folder of examples, see above.", show_default=False)
    ] = "",
) -> int:
    """Train a network of the course on your own images.

    \b
    cnncli train classify photos/ && cnncli classify --weights runs/photos/best.safetensors x.jpg
    cnncli train segment roads/ --backbone mobilenet_v2 --head unet --epochs 30
    cnncli train denoise clean_photos/ --head unet --set sigma=0:55
    torchrun --nproc-per-node 4 -m cnncli train classify photos/ --backbone resnet50

    DATA is a folder with a folder per class (classify; or a CSV or IDX files), photos with a COCO json (detect; or
    landmarks.csv), images/ and masks/ (segment), clean photos (denoise), or a folder per person (verify-face); the
    README's table has every layout, and a wrong one is answered with the right ones. The run's folder gets best and
    last weights, metrics.jsonl, curves.png and examples.png; --resume goes on after any interruption.
    """
    from cnncli.train.config import TrainConfig

    if task == MNIST1D:
        return _mnist1d(data, learning, run, talk.quiet)
    if task not in RECIPES:
        raise UsageError(f"{task}: is not a task to train; choose {', '.join([*RECIPES, MNIST1D])}")
    if not data:
        raise UsageError(f"train {task}: name the folder of examples; see 'cnncli train --help'")
    given = {**network, **examples, **run, **learning, "out": run["out"] or RUNS / _name(data)}
    if given["epochs"] is None:
        del given["epochs"]
    return _train(TrainConfig(task=task, data=str(Path(data)), **given), talk)


def _train(config: Any, talk: Talk) -> int:
    notify = _voice(talk.quiet)
    try:
        with _bar(talk.quiet or talk.no_progress) as bar:
            from cnncli.train.run import TrainingRun

            run = TrainingRun(config, notify, bar.step)
            run.notify(run.description)
            for report in run.epochs():
                bar.clear()
                run.notify(_line(report, config.epochs, run.recipe.best[0]))
        result = run.finish()
    except InterruptedRunError as error:
        raise InterruptedRunError(
            f"interrupted; {config.out} keeps what whole epochs reached, the same command with --resume goes on",
            error.exit_code,
        ) from error
    if result:
        print_out(json.dumps(result))
    return 0


def _line(report: Any, epochs: int, best: str) -> str:
    """An epoch in one line: losses, then the figures of validation."""
    figures = report.figures
    names = [name for name in figures if name.startswith("val_") and name != "val_loss"]
    names.sort(key=lambda name: name != f"val_{best}")
    shown = ", ".join(f"{name.removeprefix('val_')} {figures[name]:.4g}" for name in names[:4])
    star = " *" if report.is_best else ""
    return (
        f"epoch {report.epoch}/{epochs}: loss {figures['loss']:.4g}, validation {figures['val_loss']:.4g}, {shown}"
        f"{star} ({report.seconds:.1f} s, {report.images_per_second:.0f} examples/s)"
    )


class _Bar:
    """How far an epoch is, on one line of a terminal."""

    def __init__(self, shown: bool):
        self._shown = shown

    def step(self, done: int, total: int) -> None:
        if self._shown and sys.stderr is not None:
            filled = round(30 * done / total)
            print(f"\r{'█' * filled}{'░' * (30 - filled)} {done}/{total}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown and sys.stderr is not None:
            print(f"\r{' ' * 60}\r", end="", file=sys.stderr, flush=True)


@contextmanager
def _bar(hidden: bool) -> Iterator[_Bar]:
    bar = _Bar(not hidden and sys.stderr is not None and sys.stderr.isatty())
    try:
        yield bar
    finally:
        bar.clear()


def _mnist1d(data: str, learning: LearningChoice, run: RunChoice, quiet: bool) -> int:
    if data:
        raise UsageError(f"{MNIST1D} makes its own data; leave {printable(data)} out")
    from cnncli.train.mnist1d import EPOCHS, experiment

    epochs = EPOCHS if learning["epochs"] is None else learning["epochs"]
    result = experiment(run["out"] or RUNS / MNIST1D, epochs, learning["seed"], run["overwrite"], _voice(quiet))
    print_out(json.dumps(result))
    return 0


def _voice(quiet: bool) -> Any:
    """What takes the lines for the user."""
    return (lambda message: None) if quiet else say


def _name(data: str) -> str:
    path = Path(data).resolve()
    return path.stem if path.is_file() else path.name
