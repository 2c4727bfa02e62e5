"""`cnncli train`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.catalog import BACKBONES, HEADS, RECIPES
from cnncli.cli.options import count_or_auto, options
from cnncli.cli.streams import print_out, printable, say
from cnncli.errors import InterruptedRunError, UsageError

_network, _data = options("Network"), options("Data")
_learning, _run = options("Learning"), options("Run")
MNIST1D = "mnist1d"
ROLES = {"verify-face": "embed-face"}  # of tasks whose models are made for something of another name


def _complete(names: list[str]) -> Any:
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def train(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help=f"{', '.join(RECIPES)}; or {MNIST1D}, the course's experiment, which needs no data.",
            autocompletion=_complete([*RECIPES, MNIST1D]),
        ),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Folder of examples, see above.", show_default=False)
    ] = "",
    backbone: Annotated[
        str | None,
        _network(help="Network that the features come from, e.g. resnet18.", autocompletion=_complete(list(BACKBONES))),
    ] = None,
    head: Annotated[
        str | None,
        _network(
            help="; ".join(f"{task}: {', '.join(HEADS.get(ROLES.get(task, task), {}))}" for task in RECIPES) + "."
        ),
    ] = None,
    pretrained: Annotated[
        str,
        _network(
            help="Start from a model by name or a weights file; auto (default): what is here for the backbone; "
            "none: from random numbers."
        ),
    ] = "auto",
    norm: Annotated[str | None, _network(help="Normalisation: batch, group, instance or none.")] = None,
    antialias: Annotated[bool, _network("--antialias", help="Blur before each subsampling.")] = False,
    output_stride: Annotated[
        int | None, _network(help="Largest stride, 8, 16 or 32; dilation in place of the rest.")
    ] = None,
    dropout: Annotated[float | None, _network(help="Part of the features dropped before the last layer.")] = None,
    size: Annotated[int | None, _network(help="Side of the network's input in pixels.")] = None,
    val: Annotated[str, _data(help="Held back for validation: a part (default: 0.2) or a folder.")] = "0.2",
    augment: Annotated[str, _data(help="none, light (default) or strong.")] = "light",
    mixup: Annotated[
        float, _data(help="Mix pairs of photos (classify): alpha of the beta distribution, e.g. 0.2.")
    ] = 0.0,
    skip_bad: Annotated[bool, _data("--skip-bad", help="Leave out photos that can't be read.")] = False,
    choices: Annotated[
        list[str] | None,
        _network(
            "--set",
            metavar="NAME=VALUE",
            help="What one head alone knows, such as sigma=0:55 or margin=0.3; a wrong name lists them.",
        ),
    ] = None,
    epochs: Annotated[int | None, _learning("--epochs", "-e", help="Times through the data (default: 20).")] = None,
    batch_size: Annotated[
        str, _learning("--batch-size", "-b", help="Examples of a batch, over all processes; auto: the task's own.")
    ] = "auto",
    accumulate: Annotated[int, _learning(help="Batches of a step, for what does not fit at once.")] = 1,
    lr: Annotated[float | None, _learning(help="Learning rate at its highest (default: the task's own).")] = None,
    backbone_rate: Annotated[
        float | None, _learning(help="Factor of it for a pretrained backbone (default: 0.1).")
    ] = None,
    schedule: Annotated[str, _learning(help="cosine (default), step or constant.")] = "cosine",
    warmup: Annotated[float, _learning(help="Part of the run in which the rate rises (default: 0.05).")] = 0.05,
    optimizer: Annotated[str, _learning(help="adamw (default), adam or sgd.")] = "adamw",
    weight_decay: Annotated[float | None, _learning(help="Weight decay (default: the optimizer's own).")] = None,
    clip: Annotated[float | None, _learning(help="Largest norm of the gradient.")] = None,
    label_smoothing: Annotated[float, _learning(help="Part of the truth given to the other classes.")] = 0.0,
    ema: Annotated[float, _learning(help="Keep a running mean of the parameters, e.g. 0.999.")] = 0.0,
    update_statistics: Annotated[
        bool,
        _learning("--update-statistics", help="Of batch norm in a pretrained backbone too, which else keeps them."),
    ] = False,
    freeze: Annotated[
        str, _learning(help="What does not learn: all of the backbone, its first N stages, or names' beginnings.")
    ] = "",
    unfreeze_at: Annotated[int | None, _learning(help="Epoch from which all learns.")] = None,
    patience: Annotated[int | None, _learning(help="Stop after so many epochs without a better one.")] = None,
    seed: Annotated[int, _learning(help="Of everything random (default: 0).")] = 0,
    out: Annotated[Path | None, _run("--out", "-o", help="Folder of the run (default: runs/NAME-OF-DATA).")] = None,
    deterministic: Annotated[
        bool, _run("--deterministic", help="The same result again to the last bit, if more slowly.")
    ] = False,
    resume: Annotated[bool, _run("--resume", help="Go on after the last whole epoch.")] = False,
    overwrite: Annotated[bool, _run("--overwrite", help="Begin again in a folder that holds a run.")] = False,
    device: Annotated[
        str, _run("--device", "-d", help="auto (a GPU if there is one), cpu, cuda, cuda:N or mps.")
    ] = "auto",
    precision: Annotated[str, _run(help="fp32 (default), bf16 or fp16 (mixed).")] = "fp32",
    compile: Annotated[bool, _run("--compile", help="Compile the network: slow to start, then faster.")] = False,
    workers: Annotated[
        str, _run("--workers", "-j", help="Processes that load photos; auto: cores with a GPU, else 0.")
    ] = "auto",
    threads: Annotated[str, _run(help="Threads of the CPU; auto: all cores.")] = "auto",
    tensorboard: Annotated[bool, _run("--tensorboard", help="Write figures for TensorBoard too.")] = False,
    quiet: Annotated[bool, _run("--quiet", "-q", help="Nothing on standard error but errors.")] = False,
    no_progress: Annotated[bool, _run("--no-progress", help="No progress bar.")] = False,
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
        return _mnist1d(out or Path("runs") / MNIST1D, data, epochs, seed, overwrite, quiet)
    if task not in RECIPES:
        raise UsageError(f"{task}: is not a task to train; choose {', '.join([*RECIPES, MNIST1D])}")
    if not data:
        raise UsageError(f"train {task}: name the folder of examples; see 'cnncli train --help'")
    config = TrainConfig(
        task=task, data=str(Path(data)), out=out or Path("runs") / _name(data), backbone=_known(backbone), head=head,
        pretrained=pretrained, update_statistics=update_statistics, freeze=freeze, unfreeze_at=unfreeze_at,
        epochs=20 if epochs is None else epochs, lr=lr,
        backbone_rate=backbone_rate, schedule=schedule, warmup=warmup, optimizer=optimizer, weight_decay=weight_decay,
        clip=clip, batch_size=count_or_auto("--batch-size", batch_size), accumulate=accumulate, ema=ema,
        label_smoothing=label_smoothing, mixup=mixup, augment=augment, val=_part_or_folder(val), patience=patience,
        seed=seed, deterministic=deterministic, resume=resume, overwrite=overwrite, device=device,
        precision=precision, threads=count_or_auto("--threads", threads), workers=count_or_auto("--workers", workers),
        compile=compile, tensorboard=tensorboard, skip_bad=skip_bad, size=size, norm=norm, antialias=antialias,
        output_stride=output_stride, dropout=dropout, options=tuple(_choice(text) for text in choices or ()),
    )  # fmt: skip
    return _train(config, quiet, no_progress)


def _train(config: Any, quiet: bool, no_progress: bool) -> int:
    notify = (lambda message: None) if quiet else say
    try:
        with _bar(quiet or no_progress) as bar:
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


def _mnist1d(out: Path, data: str, epochs: int | None, seed: int, overwrite: bool, quiet: bool) -> int:
    if data:
        raise UsageError(f"{MNIST1D} makes its own data; leave {printable(data)} out")
    from cnncli.train.mnist1d import EPOCHS, experiment

    result = experiment(
        out, EPOCHS if epochs is None else epochs, seed, overwrite, (lambda message: None) if quiet else say
    )
    print_out(json.dumps(result))
    return 0


def _name(data: str) -> str:
    path = Path(data).resolve()
    return path.stem if path.is_file() else path.name


def _known(backbone: str | None) -> str | None:
    if backbone is not None and backbone not in BACKBONES:
        import difflib

        close = difflib.get_close_matches(backbone, BACKBONES, 3)
        choices = f"perhaps {' or '.join(close)}" if close else f"there are {', '.join(BACKBONES)}"
        raise UsageError(f"--backbone {backbone}: is not in the catalog; {choices}")
    return backbone


def _part_or_folder(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _choice(text: str) -> tuple[str, Any]:
    """NAME=VALUE; values are numbers and true or false where they look like it."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise UsageError(f"--set {text}: write it as NAME=VALUE")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value
