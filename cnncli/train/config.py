"""What a training run is asked for, checked once where it enters. Imports no torch."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cnncli.config import DEFAULT_MAX_PIXELS, DEVICE
from cnncli.errors import UsageError

SCHEDULES = ("cosine", "step", "constant")
OPTIMIZERS = ("sgd", "adam", "adamw")
AUGMENTATIONS = ("none", "light", "strong")
NORMS = ("batch", "group", "instance", "none")
OUTPUT_STRIDES = (8, 16, 32)
PRECISIONS = ("fp32", "fp16", "bf16")
FROM_SCRATCH, FROM_HERE = "none", "auto"  # of --pretrained

# what may change between a run and its continuation without changing its result
FREE_ON_RESUME = ("out", "device", "workers", "threads", "tensorboard", "compile", "patience", "skip_bad")


@dataclass(frozen=True)
class TrainConfig:
    """One run. None means the recipe's own default, which it states in its first line of output.

    `batch_size` counts the examples of one step over all processes; with `accumulate` a step takes so many batches.
    `val` is a part of the data in 0..1, or a folder of the same layout. `freeze`: a number of the backbone's first
    stages, "all" of them, or prefixes of parameters' names, until epoch `unfreeze_at`. `ema`: the share of the old
    mean that a step keeps, 0 for no mean. `update_statistics`: of a pretrained backbone's
    batch norm too, which else keeps them. `backbone_rate`: factor of the learning rate for a
    pretrained backbone. `size`: side of the network's input in px. `options`: what only some heads
    know, by name (`sigma`, `margin`, …), checked by their recipe.
    """

    task: str
    data: str
    out: Path
    backbone: str | None = None
    head: str | None = None
    pretrained: str = FROM_HERE
    update_statistics: bool = False
    freeze: str = ""
    unfreeze_at: int | None = None
    epochs: int = 20
    lr: float | None = None
    schedule: str = "cosine"
    warmup: float = 0.05
    backbone_rate: float | None = None
    optimizer: str = "adamw"
    weight_decay: float | None = None
    clip: float | None = None
    batch_size: int | None = None
    accumulate: int = 1
    ema: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    augment: str = "light"
    val: float | str = 0.2
    patience: int | None = None
    seed: int = 0
    deterministic: bool = False
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    workers: int | None = None
    compile: bool = False
    tensorboard: bool = False
    skip_bad: bool = False
    size: int | None = None
    norm: str | None = None
    antialias: bool = False
    output_stride: int | None = None
    dropout: float | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        _one_of("--schedule", self.schedule, SCHEDULES)
        _one_of("--optimizer", self.optimizer, OPTIMIZERS)
        _one_of("--augment", self.augment, AUGMENTATIONS)
        _one_of("--precision", self.precision, PRECISIONS)
        if self.norm is not None:
            _one_of("--norm", self.norm, NORMS)
        if self.output_stride is not None:
            _one_of("--output-stride", self.output_stride, OUTPUT_STRIDES)
        if not DEVICE.fullmatch(self.device):
            raise UsageError(f"--device {self.device}: choose auto, cpu, cuda, cuda:N or mps")
        for option, count in (
            ("--epochs", self.epochs), ("--batch-size", self.batch_size), ("--accumulate", self.accumulate),
            ("--patience", self.patience), ("--threads", self.threads), ("--size", self.size),
            ("--unfreeze-at", self.unfreeze_at),
        ):  # fmt: skip
            if count is not None and count < 1:
                raise UsageError(f"{option} {count}: give at least 1")
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"--workers {self.workers}: give 0 (in the process itself) or more")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed}: give a number from 0 to 4294967295")
        self._check_reals()
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite contradict each other; give one of them")
        if self.unfreeze_at is not None and not self.freeze:
            raise UsageError("--unfreeze-at ends what --freeze begins; give that too")

    def _check_reals(self) -> None:
        parts = (("--ema", self.ema), ("--label-smoothing", self.label_smoothing), ("--warmup", self.warmup))
        for option, value in (*parts, ("--dropout", self.dropout)):
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"{option} {value:g}: give a part from 0 to below 1")
        if isinstance(self.val, float) and not 0 < self.val < 1:
            raise UsageError(f"--val {self.val:g}: give a part of the data between 0 and 1, or a folder")
        for option, value in (("--lr", self.lr), ("--clip", self.clip), ("--backbone-rate", self.backbone_rate)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{option} {value:g}: give a number above 0")
        for option, value in (("--weight-decay", self.weight_decay), ("--mixup", self.mixup)):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{option} {value:g}: give 0 or more")

    @property
    def backbone_options(self) -> dict[str, Any]:
        """What the backbone is built with, where it is not its usual self."""
        chosen = {"norm": self.norm, "antialias": self.antialias or None, "output_stride": self.output_stride}
        return {name: value for name, value in chosen.items() if value is not None}

    def option(self, name: str, default: Any) -> Any:
        """What `options` say, or the default of the recipe that asks."""
        return dict(self.options).get(name, default)

    def check_options(self, known: tuple[str, ...], head: str) -> None:
        """UsageError for an option that a head does not know."""
        for name, _ in self.options:
            if name not in known:
                choices = f"; it has {', '.join(known)}" if known else ""
                raise UsageError(f"--set {name}: {self.task} with head {head} has no such choice{choices}")

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, as JSON."""
        entries = {name: value for name, value in asdict(self).items() if name not in ("resume", "overwrite")}
        return {**entries, "out": str(self.out), "options": [list(entry) for entry in self.options]}

    def conflicts(self, earlier: dict[str, Any]) -> list[str]:
        """Options whose values differ from those of an earlier run, and would change its result."""
        own = self.as_dict()
        names = [field.name for field in fields(self) if field.name in own and field.name not in FREE_ON_RESUME]
        return [f"--{name.replace('_', '-')}" for name in names if own[name] != earlier.get(name)]


def _one_of(option: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        *most, last = (str(choice) for choice in choices)
        raise UsageError(f"{option} {value}: choose {', '.join(most)} or {last}")
