"""Opens a task: finds its weights, picks engine and device, and says what it chose."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cnncli.catalog import TASKS, resolve
from cnncli.config import EngineConfig, options_digest
from cnncli.engine.base import Engine
from cnncli.engine.device import accelerator, available_cpus
from cnncli.errors import DeviceError, WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, load_weights
from cnncli.results import Run
from cnncli.tasks.base import Task

GPU_PAYS_FROM = 64  # inputs: below, importing torch and starting CUDA takes longer than the CPU's whole run
DEFAULT_PRECISION = {"cpu": "fp32", "cuda": "fp16", "mps": "fp32"}

Notify = Callable[[str], None]
Step = Callable[[], Any]  # makes the task's device step, which imports torch, or None


@dataclass(frozen=True)
class Session:
    """A task ready to run: its generator, one engine per model, and what its records will say."""

    task: Task
    engines: dict[str, Engine]
    run: Run
    precision: str


@dataclass(frozen=True)
class _Place:
    engine: str
    device: str
    precision: str


def open_session(
    name: str, options: Any, config: EngineConfig, expected_inputs: int, notify: Notify = lambda message: None
) -> Session:
    """Load a task for a run over some `expected_inputs` (what `--device auto` and the use of cores go by)."""
    path = config.weights or model_path(config.model or TASKS[name].default_model)
    weights = load_weights(path)
    if weights.info.task != name:
        raise WeightsError(f"{path}: made for {weights.info.task}, not {name}; see 'cnncli weights list'")
    task = resolve(TASKS[name].analyser)({name: weights.info}, options)
    step = _device_step(name, task)
    place, engine = _start(weights, config, expected_inputs, notify, step)
    digest = options_digest(options, engine=place.engine, precision=place.precision)
    run = Run(name, weights.info.name, weights.sha256, engine.name, engine.device, digest, task.result_key)
    return Session(task, {name: engine}, run, place.precision)


def _device_step(name: str, task: Task) -> Step:
    reference = TASKS[name].device_step
    return (lambda: resolve(reference)(task)) if reference else lambda: None


def _start(weights: Weights, config: EngineConfig, expected: int, notify: Notify, step: Step) -> tuple[_Place, Engine]:
    has_graph = weights.graph is not None
    place = _place(config, expected, has_graph)
    try:
        engine = _engine(weights, place, config.threads, expected, step)
    except DeviceError as error:
        if config.device != "auto" or place.device == "cpu":
            raise
        notify(f"{error}; going on with the CPU")
        place = _place(replace(config, device="cpu"), expected, has_graph)
        engine = _engine(weights, place, config.threads, expected, step)
    else:
        if config.device == "auto" and place.device != "cpu":
            notify(f"device: {place.device} ({place.precision}); --device cpu chooses the CPU")
    return place, engine


def _place(config: EngineConfig, expected: int, has_graph: bool) -> _Place:
    device = config.device
    if device == "auto":
        device = "cpu"
        if config.engine != "onnx" and expected > GPU_PAYS_FROM:
            device = accelerator() or "cpu"
    engine = config.engine
    if engine == "auto":
        plain = device == "cpu" and config.precision in ("auto", "fp32")
        engine = "onnx" if plain and has_graph else "torch"  # a network that can't be exported has no graph
    precision = config.precision
    if precision == "auto":
        precision = DEFAULT_PRECISION[device.partition(":")[0]]
    return _Place(engine, device, precision)


def _engine(weights: Weights, place: _Place, threads: int | None, expected: int, step: Step) -> Engine:
    cores = threads or available_cpus()
    if place.engine == "onnx":
        from cnncli.engine.onnx_engine import OnnxEngine

        calls = min(cores, max(expected, 1))
        return OnnxEngine(weights, threads=cores // calls, parallel_calls=calls)
    if importlib.util.find_spec("torch") is None:
        raise DeviceError("the torch engine needs torch, which is not installed; install it, or use --engine onnx")
    from cnncli.engine.torch_engine import TorchEngine

    return TorchEngine(weights, place.device, place.precision, cores, step())
