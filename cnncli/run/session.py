"""Opens a task: finds its weights, picks engine and device, and says what it chose."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cnncli.catalog import DEFAULT_MODELS, HALF_PRECISION, TASKS, resolve
from cnncli.config import EngineConfig, options_digest
from cnncli.engine import kept
from cnncli.engine.base import Engine
from cnncli.engine.device import accelerator, available_cpus
from cnncli.errors import DeviceError, UsageError, WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import Weights
from cnncli.results.record import Run
from cnncli.tasks.base import Task

GPU_PAYS_FROM = 64  # inputs: below, importing torch and starting CUDA takes longer than the CPU's whole run

USED_BY = {"foreground": "segment --foreground", "find-face": "verify-face", "embed-face": "verify-face"}  # commands

Notify = Callable[[str], None]
Modules = Callable[[], dict[str, Any]]  # makes what the task adds to its network on the device; imports torch


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
    if options.roles and config.engine == "opencv":
        raise UsageError(f"--engine opencv: {name} runs a network; choose auto, onnx or torch")
    weights = _weights_of(name, options, config)
    task = resolve(TASKS[name].analyser)({role: model.info for role, model in weights.items()}, options)
    if not weights:
        return _without_models(name, task, options, config)
    place, engines = _start(weights, config, expected_inputs, notify, _device_modules(name, task))
    if getattr(options, "decode", None) == "device" and place.engine != "torch":
        raise UsageError("--decode device: photos are decoded where torch computes; give --engine torch, or a GPU")
    main, *others = weights.values()
    further = {model.info.task: (model.info.name, model.sha256) for model in others}
    digest = options_digest(options, engine=place.engine, precision=place.precision, further=further)
    engine = next(iter(engines.values()))
    model, sha256 = (main.info.name, main.sha256) if main.sha256 else (None, None)
    run = Run(name, model, sha256, engine.name, engine.device, digest, task.result_key, further)
    return Session(task, engines, run, place.precision)


def _weights_of(name: str, options: Any, config: EngineConfig) -> dict[str, Weights]:
    """The weights of every role that the options ask for; of fixed filters where torch is to compute them."""
    fixed = TASKS[name].fixed_weights
    if fixed is not None:
        if config.device == "mps":
            raise UsageError(f"--device mps: {name} is computed in float64, which Metal lacks; use --device cpu")
        _refuse_models(name, config)
        on_device = config.engine == "torch" or config.device not in ("auto", "cpu")
        return {name: resolve(fixed)(options)} if on_device else {}
    return {role: _weights(role, config if number == 0 else None) for number, role in enumerate(options.roles)}


def _weights(role: str, config: EngineConfig | None) -> Weights:
    """The weights for a role: what the user names, or the default."""
    named = (config.weights or (model_path(config.model) if config.model else None)) if config else None
    path = named or model_path(DEFAULT_MODELS[role])
    weights = kept.weights(path)
    if weights.info.task != role:
        made_for = weights.info.task + (f" ({USED_BY[weights.info.task]})" if weights.info.task in USED_BY else "")
        raise WeightsError(f"{path}: made for {made_for}, not {role}; see 'cnncli weights list'")
    return weights


def _without_models(name: str, task: Task, options: Any, config: EngineConfig) -> Session:
    """A task that is computed without a network, on the CPU."""
    _refuse_models(name, config)
    if config.device not in ("auto", "cpu"):
        raise UsageError(f"--device {config.device}: {name} is computed by {task.own_engine} on the CPU here")
    if config.engine not in ("auto", task.own_engine) or config.precision not in ("auto", "fp32"):
        raise UsageError(f"{name} is computed by {task.own_engine} on the CPU here; leave --engine and --precision out")
    digest = options_digest(options, engine=task.own_engine)
    return Session(task, {}, Run(name, None, None, task.own_engine, "cpu", digest, task.result_key), "exact")


def _refuse_models(name: str, config: EngineConfig) -> None:
    if config.model or config.weights:
        raise UsageError(f"{name} runs no model here; leave --model and --weights out")


def _device_modules(name: str, task: Task) -> Modules:
    entry = TASKS[name]
    references = {"front": entry.device_front, "step": entry.device_step}
    return lambda: {key: resolve(reference)(task) for key, reference in references.items() if reference}


def _start(
    weights: dict[str, Weights], config: EngineConfig, expected: int, notify: Notify, modules: Modules
) -> tuple[_Place, dict[str, Engine]]:
    """Engines for all models in one place; what the task adds on the device belongs to the first model."""
    has_graph = all(model.graph is not None for model in weights.values())
    halves = all(role in HALF_PRECISION for role in weights)

    def engines(place: _Place) -> dict[str, Engine]:
        first = next(iter(weights))
        return {
            role: _engine(model, place, config.threads, expected, modules if role == first else dict)
            for role, model in weights.items()
        }

    place = _place(config, expected, has_graph, halves)
    try:
        started = engines(place)
    except DeviceError as error:
        if config.device != "auto" or place.device == "cpu":
            raise
        notify(f"{error}; going on with the CPU")
        place = _place(replace(config, device="cpu"), expected, has_graph, halves)
        started = engines(place)
    else:
        if config.device == "auto" and place.device != "cpu":
            notify(f"device: {place.device} ({place.precision}); --device cpu chooses the CPU")
    return place, started


def _place(config: EngineConfig, expected: int, has_graph: bool, halves: bool) -> _Place:
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
        precision = "fp16" if halves and device.startswith("cuda") else "fp32"
    return _Place(engine, device, precision)


def _engine(weights: Weights, place: _Place, threads: int | None, expected: int, modules: Modules) -> Engine:
    cores = threads or available_cpus()
    if place.engine == "onnx":
        from cnncli.engine.onnx_engine import OnnxEngine

        calls = min(cores, max(expected, 1))
        return OnnxEngine(weights, threads=cores // calls, parallel_calls=calls)
    if importlib.util.find_spec("torch") is None:
        raise DeviceError("the torch engine needs torch, which is not installed; install it, or use --engine onnx")
    from cnncli.engine.torch_engine import TorchEngine

    return TorchEngine(weights, place.device, place.precision, cores, **modules())
