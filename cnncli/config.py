"""Options of a run, checked once where they enter."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnncli.errors import UsageError

DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit for an error: half a gigabyte of RGB
ENGINES = ("auto", "onnx", "torch", "opencv")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
ALL_GPUS = "cuda:all"
DEVICES = re.compile(rf"{ALL_GPUS}|cpu(,cpu)+|cuda(:\d+)?(,cuda(:\d+)?)+")  # of one kind: all give the same answers
SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 0) of `count`: the inputs whose index leaves `number` when divided by `count`."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise UsageError(
                f"--shard {self}: shards of {self.count} are 0/{self.count} to {self.count - 1}/{self.count}"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, index: int) -> bool:
        return index % self.count == self.number

    @classmethod
    def parse(cls, text: str) -> "Shard":
        match = SHARD.fullmatch(text)
        if match is None or int(match[2]) == 0:
            raise UsageError(f"--shard {text}: write it as I/N, such as 0/4, or auto")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class EngineConfig:
    """Where and how a model runs. `weights` is a file; otherwise `model` names one (None: the task's default).

    `device` may name several, as "cuda:0,cuda:2", or "cuda:all": what runs on one alone asks for `need_one_device`.
    """

    model: str | None = None
    weights: Path | None = None
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.model and self.weights:
            raise UsageError("--model and --weights both name a model; give one of them")
        _check_device(self.device)
        check_choice("--engine", self.engine, ENGINES)
        check_choice("--precision", self.precision, PRECISIONS)
        if self.engine == "onnx" and self.precision in ("fp16", "bf16"):
            raise UsageError(f"--precision {self.precision} needs --engine torch; the onnx engine computes in fp32")
        on_cpu = set(self.device.split(",")) <= {"auto", "cpu"}
        if self.engine == "opencv" and not on_cpu:
            raise UsageError(f"--device {self.device} needs --engine torch; OpenCV runs on the CPU")
        if self.engine == "onnx" and not on_cpu:
            raise UsageError(f"--device {self.device} needs --engine torch; the onnx engine runs on the CPU")
        _at_least("--threads", self.threads, 1)

    @property
    def names_several(self) -> bool:
        """Whether `device` names several, or all there are."""
        return DEVICE.fullmatch(self.device) is None

    def need_one_device(self, what: str = "this") -> None:
        """UsageError where several are named."""
        if self.names_several:
            kind = "cpu" if self.device.startswith("cpu") else "cuda:0"
            raise UsageError(f"--device {self.device}: {what} runs on one device; name one, such as {kind}")


@dataclass(frozen=True)
class RunConfig:
    """How inputs stream through: batching, workers, limits. None of it changes an answer."""

    batch_size: int | None = None  # None: what the engine prefers
    workers: int | None = None  # None: one per core
    max_pixels: int = DEFAULT_MAX_PIXELS
    decode_timeout: float = 30.0  # seconds
    shard: Shard = Shard()
    frames: str = "first"

    def __post_init__(self) -> None:
        _at_least("--batch-size", self.batch_size, 1)
        _at_least("--workers", self.workers, 1)
        _at_least("--max-pixels", self.max_pixels, 1)
        check_choice("--frames", self.frames, ("first", "all"))
        if self.decode_timeout <= 0:
            raise UsageError(f"--decode-timeout {self.decode_timeout:g}: give a time above 0 seconds")


def options_digest(task_options: Any, **choices: Any) -> str:
    """Twelve hex digits that change when an option changes that an answer depends on."""
    import hashlib  # here, because help pages need no hashes and this takes as long as all of this module

    entries = {**asdict(task_options), **choices}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:12]


def _check_device(text: str) -> None:
    """UsageError for what names no device, or several that would not give the same answers."""
    if DEVICE.fullmatch(text) or DEVICES.fullmatch(text):
        return
    names = text.split(",")
    if len(names) > 1 and all(DEVICE.fullmatch(name) or name == ALL_GPUS for name in names):
        raise UsageError(f"--device {text}: a list is of GPUs alone, such as cuda:0,cuda:1, or of cpu alone")
    raise UsageError(
        f"--device {text}: choose auto, cpu, cuda, cuda:N, {ALL_GPUS}, a list such as cuda:0,cuda:1, or mps"
    )


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """UsageError for a value that is none of the choices."""
    if value not in choices:
        raise UsageError(f"{option} {value}: choose {', '.join(choices[:-1])} or {choices[-1]}")


def _at_least(option: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UsageError(f"{option} {value}: give at least {least}")
