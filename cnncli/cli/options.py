"""The options that commands share, declared once. Nothing here imports NumPy."""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.catalog import MODELS
from cnncli.config import EngineConfig, RunConfig, Shard
from cnncli.errors import UsageError

MODEL, DEVICE, INPUT, OUTPUT, RUN = "Model and device", "Device", "Input", "Output", "Run"
FORMATS = ("auto", "table", "jsonl", "json", "csv")
DETECTION_FORMATS = ("coco", "yolo")
SHARD_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUTS...",
        help="Images, videos, folders, quoted globs, @list.txt (@- reads the list from standard input), or - for "
        "an image on standard input (meant too when no input is named and something is piped in).",
        show_default=False,
    ),
]


def complete_model(incomplete: str) -> list[str]:
    return [name for name in MODELS if name.startswith(incomplete)]


def options(panel: str) -> Callable[..., Any]:
    return functools.partial(typer.Option, rich_help_panel=panel, show_default=False)


_model, _device = options(MODEL), options(DEVICE)
_input, _output, _run = options(INPUT), options(OUTPUT), options(RUN)


def engine_options(
    model: Annotated[
        str | None,
        _model("--model", "-m", help="Model by name; see 'cnncli weights list'.", autocompletion=complete_model),
    ] = None,
    weights: Annotated[Path | None, _model(help="Weights file to use instead of a model by name.")] = None,
    device: Annotated[
        str,
        _model(
            "--device",
            "-d",
            help="auto, cpu, cuda, cuda:N or mps; cuda:all or a list such as cuda:0,cuda:1: a process on each. auto: "
            "a GPU for over 64 inputs, else the CPU.",
        ),
    ] = "auto",
    engine: Annotated[str, _model(help="auto, onnx (CPU) or torch (any device).")] = "auto",
    precision: Annotated[
        str, _model(help="auto, fp32, fp16 or bf16. auto: fp32; on CUDA fp16, where answers stay.")
    ] = "auto",
    threads: Annotated[str, _model(help="Threads of inference; auto: all cores.")] = "auto",
) -> EngineConfig:
    return EngineConfig(model, weights, device, engine, precision, count_or_auto("--threads", threads))


@dataclass(frozen=True)
class FilterConfig(EngineConfig):
    """Where a filter without a model runs."""


def filter_options(
    device: Annotated[
        str,
        _device(
            "--device",
            "-d",
            help="auto, cpu, cuda, cuda:N or mps; cuda:all or a list such as cuda:0,cuda:1: a process on each. auto: "
            "the CPU, which is rarely the slower.",
        ),
    ] = "auto",
    engine: Annotated[str, _device(help="auto, opencv (CPU) or torch (any device); both give the same.")] = "auto",
    threads: Annotated[str, _device(help="Threads of torch; auto: all cores.")] = "auto",
) -> FilterConfig:
    if engine == "onnx":
        raise UsageError("--engine onnx: runs networks; choose auto, opencv or torch")
    return FilterConfig(device=device, engine=engine, threads=count_or_auto("--threads", threads))


@dataclass(frozen=True)
class InputOptions:
    recursive: bool
    all_files: bool
    null_separated: bool


def input_options(
    recursive: Annotated[bool, _input("--recursive", "-r", help="Search the subfolders of folders too.")] = False,
    all_files: Annotated[bool, _input("--all-files", help="Take files of folders by content, not by ending.")] = False,
    null: Annotated[bool, _input("--null", "-0", help="Lists are separated by NUL, as from 'find -print0'.")] = False,
) -> InputOptions:
    return InputOptions(recursive, all_files, null)


def run_config(
    batch_size: Annotated[
        str, _run("--batch-size", "-b", help="Images in one call of the network; auto: what is fastest here.")
    ] = "auto",
    workers: Annotated[str, _run("--workers", "-j", help="Threads that read and decode; auto: one per core.")] = "auto",
    max_pixels: Annotated[
        int, _input(help="Refuse larger images, as decompression bombs (default: 178956970).")
    ] = RunConfig.max_pixels,
    decode_timeout: Annotated[
        float, _input(help="Seconds after which reading an image is given up (default: 30).")
    ] = RunConfig.decode_timeout,
    frames: Annotated[str, _input(help="Of animations and multi-page files: first (default) or all.")] = "first",
    shard: Annotated[
        str,
        _run(help="I/N: only every N-th input, from the I-th (0 first); join with 'merge'. auto: from RANK or Slurm."),
    ] = "0/1",
) -> RunConfig:
    return RunConfig(
        count_or_auto("--batch-size", batch_size),
        count_or_auto("--workers", workers),
        max_pixels,
        decode_timeout,
        _shard(shard),
        frames,
    )


@dataclass(frozen=True)
class OutputOptions:
    out: Path | None
    out_dir: Path | None
    suffix: str | None
    overwrite: bool
    skip_existing: bool
    format: str
    records: Path | None
    resume: bool
    timings: bool

    def __post_init__(self) -> None:
        if self.out and self.out_dir:
            raise UsageError("--out and --out-dir both say where pictures go; give one of them")
        if self.suffix is not None and not self.out_dir:
            raise UsageError("--suffix is for the files in --out-dir; give that too")
        if self.suffix is not None and not self.suffix.startswith("."):
            raise UsageError(f"--suffix {self.suffix}: write an ending such as .png")
        if self.resume and not self.records:
            raise UsageError("--resume goes on with the file that --records names; give that too")
        if self.format not in FORMATS + DETECTION_FORMATS:
            known = FORMATS + DETECTION_FORMATS
            raise UsageError(f"--format {self.format}: choose {', '.join(known[:-1])} or {known[-1]}")
        if str(self.records) == "-":
            raise UsageError("--records - : records go to standard output without it; name a file")


def output_options(
    out: Annotated[
        Path | None, _output("--out", "-o", help="Write the picture of the one input here; - is standard output (PNG).")
    ] = None,
    out_dir: Annotated[Path | None, _output(help="Write every input's picture below this folder.")] = None,
    suffix: Annotated[
        str | None, _output(help="Ending, and so format, of the pictures in --out-dir, such as .png.")
    ] = None,
    overwrite: Annotated[
        bool, _output("--overwrite", help="Replace outputs that exist, a --records file too.")
    ] = False,
    skip_existing: Annotated[bool, _output("--skip-existing", help="Leave inputs whose pictures all exist.")] = False,
    format: Annotated[
        str,
        _output(help="table, jsonl, json or csv; detect also coco or yolo. auto: a table on a terminal, else jsonl."),
    ] = "auto",
    records: Annotated[
        Path | None, _output(help="Write the records (JSONL) to this new file, not to standard output.")
    ] = None,
    resume: Annotated[bool, _output("--resume", help="Go on with a --records file where its run stopped.")] = False,
    timings: Annotated[bool, _output("--timings", help="Add milliseconds per stage to the records.")] = False,
) -> OutputOptions:
    return OutputOptions(out, out_dir, suffix, overwrite, skip_existing, format, records, resume, timings)


@dataclass(frozen=True)
class Manners:
    """How a run talks and when it gives up."""

    on_error: str
    max_errors: int | None
    quiet: bool
    verbose: bool
    progress: bool

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other; give one of them")
        if self.on_error not in ("skip", "fail"):
            raise UsageError(f"--on-error {self.on_error}: choose skip or fail")
        if self.max_errors is not None and self.max_errors < 1:
            raise UsageError(f"--max-errors {self.max_errors}: give at least 1")

    @property
    def error_limit(self) -> int | None:
        return 1 if self.on_error == "fail" else self.max_errors


def manners(
    on_error: Annotated[str, _run(help="skip (default): a failed input is a record; fail: it ends the run.")] = "skip",
    max_errors: Annotated[int | None, _run(help="End the run after this many failed inputs.")] = None,
    quiet: Annotated[
        bool, _run("--quiet", "-q", help="Nothing on standard error but errors that end the run.")
    ] = False,
    verbose: Annotated[bool, _run("--verbose", "-v", help="Say which model, engine and device run.")] = False,
    no_progress: Annotated[bool, _run("--no-progress", help="No progress bar.")] = False,
) -> Manners:
    return Manners(on_error, max_errors, quiet, verbose, not no_progress)


PROVIDERS: dict[type, Callable[..., Any]] = {
    EngineConfig: engine_options,
    FilterConfig: filter_options,
    InputOptions: input_options,
    RunConfig: run_config,
    OutputOptions: output_options,
    Manners: manners,
}


def with_shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter whose type has a provider by the provider's own parameters.

    `def classify(inputs: Inputs, engine: EngineConfig)` becomes a command with --model, --device and so on, and
    is called with the EngineConfig that they make.
    """
    own = inspect.signature(command).parameters
    shared = {name: PROVIDERS[p.annotation] for name, p in own.items() if p.annotation in PROVIDERS}
    parameters = [p for name, p in own.items() if name not in shared]
    for provider in shared.values():
        parameters += inspect.signature(provider).parameters.values()
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        made = {
            name: provider(**{key: values.pop(key) for key in inspect.signature(provider).parameters})
            for name, provider in shared.items()
        }
        return command(**values, **made)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__  # or Typer would look at the command's own signature
    return wrapper


def count_or_auto(option: str, text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option} {text}: give a number or auto") from None


def _shard(text: str) -> Shard:
    if text != "auto":
        return Shard.parse(text)
    for number, count in SHARD_VARIABLES:
        if number in os.environ and count in os.environ:
            return _launched(number, count)
    raise UsageError("--shard auto: neither RANK and WORLD_SIZE nor Slurm's variables are set; write I/N")


def _launched(number: str, count: str) -> Shard:
    """The part that a launcher's variables give to this process; a Slurm array may start and step anywhere."""
    first, step = "0", "1"
    if number == "SLURM_ARRAY_TASK_ID":
        first, step = os.environ.get("SLURM_ARRAY_TASK_MIN", "0"), os.environ.get("SLURM_ARRAY_TASK_STEP", "1")
    try:
        position, left = divmod(int(os.environ[number]) - int(first), int(step))
        if left:
            raise ValueError
        return Shard(position, int(os.environ[count]))
    except (ValueError, ZeroDivisionError, UsageError) as error:
        values = f"{number}={os.environ[number]} and {count}={os.environ[count]}"
        raise UsageError(f"--shard auto: {values} name no part of a run; write I/N") from error
