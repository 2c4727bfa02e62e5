"""The options of `train`, by what they are about: network, data, learning and run.

Each provider gives fields of `train.config.TrainConfig`, which checks their values.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cnncli.catalog import BACKBONES, HEADS, RECIPES
from cnncli.cli.options import PROVIDERS, count_or_auto, options
from cnncli.errors import UsageError

_network, _data = options("Network"), options("Data")
_learning, _run = options("Learning"), options("Run")
ROLES = {"verify-face": "embed-face"}  # of tasks whose models are made for something of another name
KNOWN_HEADS = "; ".join(f"{task}: {', '.join(HEADS[ROLES.get(task, task)])}" for task in RECIPES)


def complete(names: list[str]) -> Any:
    """Completion of a choice among names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


class NetworkChoice(dict[str, Any]):
    """Which network, from what, in which form."""


class DataChoice(dict[str, Any]):
    """What is held back, and how examples are varied."""


class LearningChoice(dict[str, Any]):
    """How it learns, for how long."""


class RunChoice(dict[str, Any]):
    """Where a run is kept, and on what it runs."""


@dataclass(frozen=True)
class Talk:
    """How a run talks on standard error."""

    quiet: bool
    no_progress: bool


def network_options(
    backbone: Annotated[
        str | None,
        _network(help="Network that the features come from, e.g. resnet18.", autocompletion=complete(list(BACKBONES))),
    ] = None,
    head: Annotated[
        str | None,
        _network(help=f"{KNOWN_HEADS}."),
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
    choices: Annotated[
        list[str] | None,
        _network(
            "--set",
            metavar="NAME=VALUE",
            help="What one head alone knows, such as sigma=0:55 or margin=0.3; a wrong name lists them.",
        ),
    ] = None,
) -> NetworkChoice:
    return NetworkChoice(
        backbone=_known(backbone), head=head, pretrained=pretrained, norm=norm, antialias=antialias,
        output_stride=output_stride, dropout=dropout, size=size,
        options=tuple(_choice(text) for text in choices or ()),
    )  # fmt: skip


def data_options(
    val: Annotated[str, _data(help="Held back for validation: a part (default: 0.2) or a folder.")] = "0.2",
    augment: Annotated[str, _data(help="none, light (default) or strong.")] = "light",
    mixup: Annotated[
        float, _data(help="Mix pairs of photos (classify): alpha of the beta distribution, e.g. 0.2.")
    ] = 0.0,
    skip_bad: Annotated[bool, _data("--skip-bad", help="Leave out photos that can't be read.")] = False,
) -> DataChoice:
    return DataChoice(val=_part_or_folder(val), augment=augment, mixup=mixup, skip_bad=skip_bad)


def learning_options(
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
) -> LearningChoice:
    """`epochs` is None where it is not given."""
    return LearningChoice(
        epochs=epochs, batch_size=count_or_auto("--batch-size", batch_size), accumulate=accumulate, lr=lr,
        backbone_rate=backbone_rate, schedule=schedule, warmup=warmup, optimizer=optimizer, weight_decay=weight_decay,
        clip=clip, label_smoothing=label_smoothing, ema=ema, update_statistics=update_statistics, freeze=freeze,
        unfreeze_at=unfreeze_at, patience=patience, seed=seed,
    )  # fmt: skip


def run_options(
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
) -> RunChoice:
    """`out` is None where it is not given."""
    return RunChoice(
        out=out, deterministic=deterministic, resume=resume, overwrite=overwrite, device=device, precision=precision,
        compile=compile, workers=count_or_auto("--workers", workers), threads=count_or_auto("--threads", threads),
        tensorboard=tensorboard,
    )  # fmt: skip


def talk_options(
    quiet: Annotated[bool, _run("--quiet", "-q", help="Nothing on standard error but errors.")] = False,
    no_progress: Annotated[bool, _run("--no-progress", help="No progress bar.")] = False,
) -> Talk:
    return Talk(quiet, no_progress)


PROVIDERS.update(
    {
        NetworkChoice: network_options,
        DataChoice: data_options,
        LearningChoice: learning_options,
        RunChoice: run_options,
        Talk: talk_options,
    }
)


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
