"""Opens a task: finds its weights, picks engine and device, and says what it chose."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cnncli.catalog import DEFAULT_MODELS, HALF_PRECISION, TASKS, resolve
from cnncli.config import ALL_GPUS, EngineConfig, options_digest
from cnncli.engine import kept
from cnncli.engine.base import Engine
from cnncli.engine.device import accelerator, available_cpus, cuda_device_count_apart, part_of
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
    """A task ready to run: its generator, one engine per model, and what its records will say.

    With several `devices` a process for each is to run it (see run.processes). Then this one has no engines, and
    `open_on(number)` opens the session of a device, with its part of the cores.
    """

    task: Task
    engines: dict[str, Engine]
    run: Run
    precision: str
    devices: tuple[str, ...] = ()
    open_on: Callable[[int], "Session"] | None = None


@dataclass(frozen=True)
class _Place:
    engine: str
    device: str
    precision: str


def open_session(
    name: str,
    options: Any,
    config: EngineConfig,
    expected_inputs: int,
    notify: Notify = lambda message: None,
    several: bool = False,
) -> Session:
    """Load a task for a run over some `expected_inputs` (what `--device auto` and the use of cores go by).

    `several`: the caller leaves the session to run.runner, so that it may be one of several devices.
    """
    if config.names_several:
        devices = _devices(config, several)
        if len(devices) > 1:
            return _open_several(name, options, config, devices, expected_inputs)
        config = replace(config, device=devices[0])
    weights = _checked_weights(name, options, config)
    task = _task(name, options, weights)
    if not weights:
        return _without_models(name, task, options, config)
    place, engines = _start(weights, config, expected_inputs, notify, _device_modules(name, task))
    _check_decoder(options, place)
    engine = next(iter(engines.values()))
    return Session(task, engines, _run_of(task, options, weights, place, engine.device), place.precision)


def _run_of(task: Task, options: Any, weights: dict[str, Weights], place: "_Place", device: str) -> Run:
    """What the records of a run will say."""
    main, *others = weights.values()
    further = {model.info.task: (model.info.name, model.sha256) for model in others}
    digest = options_digest(options, engine=place.engine, precision=place.precision, further=further)
    model, sha256 = (main.info.name, main.sha256) if main.sha256 else (None, None)
    return Run(task.name, model, sha256, place.engine, device, digest, task.result_key, further)


def _devices(config: EngineConfig, several: bool) -> tuple[str, ...]:
    """The devices that a list names, or all GPUs. UsageError where there may be but one."""
    if not several:
        config.need_one_device()
    if not hasattr(os, "fork"):
        raise DeviceError(
            f"--device {config.device}: this system can't fork a process for each device; start a run for each, with "
            "--device cuda:N and --shard I/N, and join them with 'cnncli merge'"
        )
    if config.device != ALL_GPUS:
        return tuple(config.device.split(","))
    count = cuda_device_count_apart()
    if not count:
        raise DeviceError(f"--device {ALL_GPUS}: no GPU was found; use --device cpu")
    return tuple(f"cuda:{number}" for number in range(count))


def _open_several(
    name: str, options: Any, config: EngineConfig, devices: tuple[str, ...], expected_inputs: int
) -> Session:
    """A session of several devices. Nothing is started here: what a fork would not survive belongs to the forks."""
    like_first = replace(config, device=devices[0])
    weights = _checked_weights(name, options, like_first)
    task = _task(name, options, weights)
    if not weights:
        return _without_models(name, task, options, config)
    place = _place(like_first, expected_inputs, *_abilities(weights))
    _check_decoder(options, place)
    count = len(devices)

    def open_on(number: int) -> Session:
        threads = part_of(config.threads or available_cpus(), count, number)
        own = replace(config, device=devices[number], threads=threads)
        return open_session(name, options, own, -(-expected_inputs // count))

    run = _run_of(task, options, weights, place, config.device)
    return Session(task, {}, run, place.precision, devices, open_on)


def _checked_weights(name: str, options: Any, config: EngineConfig) -> dict[str, Weights]:
    if options.roles and config.engine == "opencv":
        raise UsageError(f"--engine opencv: {name} runs a network; choose auto, onnx or torch")
    return _weights_of(name, options, config)


def _task(name: str, options: Any, weights: dict[str, Weights]) -> Task:
    return resolve(TASKS[name].analyser)({role: model.info for role, model in weights.items()}, options)


def _check_decoder(options: Any, place: "_Place") -> None:
    if getattr(options, "decode", None) == "device" and place.engine != "torch":
        raise UsageError("--decode device: photos are decoded where torch computes; give --engine torch, or a GPU")


def _abilities(weights: dict[str, Weights]) -> tuple[bool, bool]:
    """Whether all models have a graph for the onnx engine, and whether all keep their answers in half precision."""
    has_graph = all(model.graph is not None for model in weights.values())
    return has_graph, all(role in HALF_PRECISION for role in weights)


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
        raise UsageError(
            f"--device {config.device}: {name} is computed by {task.own_engine} on the CPU here; use --device cpu"
        )
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
    has_graph, halves = _abilities(weights)

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
