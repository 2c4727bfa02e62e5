"""Opens a method for a run: finds its weights, picks a device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnncli.catalog import DEFAULT_MODELS, TASKS, resolve
from cnncli.config import EngineConfig, options_digest
from cnncli.engine.device import accelerator, available_cpus
from cnncli.engine.torch_engine import usable_device
from cnncli.errors import DeviceError, UsageError
from cnncli.explain.method import Method, MethodEngine
from cnncli.explain.subject import Subject
from cnncli.explain.task import LOOK, RESULT_KEY, ExplainTask
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, load_weights
from cnncli.results.record import Run
from cnncli.run.session import Notify, Session, open_session
from cnncli.tasks.classify import ClassifyOptions
from cnncli.tasks.denoise import DenoiseOptions
from cnncli.tasks.detect import DetectOptions
from cnncli.tasks.segment import SegmentOptions
from cnncli.tasks.verify_face import EMBED, LANDMARKS, FaceOptions

# The task, with its options, that asks a model first, by what the model is made for.
ASKED_BY: dict[str, tuple[str, Any]] = {
    "classify": ("classify", ClassifyOptions()),
    "detect": ("detect", DetectOptions()),
    "segment": ("segment", SegmentOptions()),
    "foreground": ("segment", SegmentOptions(foreground=True)),
    "denoise": ("denoise", DenoiseOptions()),
    "find-face": ("verify-face", FaceOptions(mode=LANDMARKS)),
    "embed-face": ("verify-face", FaceOptions(mode=EMBED)),
}


def open_subject(config: EngineConfig, notify: Notify = lambda message: None) -> Subject:
    """The network that --model or --weights names (the default of classify) on the device that is asked for."""
    config.need_one_device("looking inside a network")
    if config.engine not in ("auto", "torch"):
        raise UsageError(f"--engine {config.engine}: looking inside a network takes torch; leave --engine out")
    if config.precision not in ("auto", "fp32"):
        raise UsageError(f"--precision {config.precision}: networks are looked into in fp32; leave it out")
    weights = load_weights(weights_path(config))
    if weights.info.recipe.get("raw"):
        raise UsageError(f"{weights.path}: holds a filter; see 'cnncli explain conv'")
    return Subject(weights, _device(config, notify))


def weights_path(config: EngineConfig) -> Path:
    return config.weights or model_path(config.model or DEFAULT_MODELS["classify"])


def _device(config: EngineConfig, notify: Notify) -> torch.device:
    torch.set_num_threads(config.threads or available_cpus())
    if config.device != "auto":
        return usable_device(config.device)
    chosen = accelerator() or "cpu"
    try:
        device = usable_device(chosen)
    except DeviceError as error:
        notify(f"{error}; going on with the CPU")
        return torch.device("cpu")
    if chosen != "cpu":
        notify(f"device: {device}; --device cpu chooses the CPU")
    return device


def open_explanation(method: Method, config: EngineConfig, notify: Notify, subject: Subject | None = None) -> Session:
    """A session that gives an Explanation of each photo. UsageError where the method can't explain the model."""
    subject = subject or open_subject(config, notify)
    inner, engines, further = asking(subject.weights, config)
    task = ExplainTask(inner, subject.info.task, method, subject)
    digest = options_digest(method, further=further)
    run = run_of(f"explain-{method.name}", subject, digest, further)
    return Session(task, {**engines, LOOK: MethodEngine(subject, method.look)}, run, "fp32")


def run_of(name: str, subject: Subject, digest: str, further: dict[str, tuple[str, str]]) -> Run:
    """What all records of a way of looking share."""
    model, sha256 = subject.info.name, subject.weights.sha256
    return Run(name, model, sha256, "torch", str(subject.device), digest, RESULT_KEY, further)


def asking(weights: Weights, config: EngineConfig) -> tuple[Any, dict[str, Any], dict[str, tuple[str, str]]]:
    """The task that makes the network's input, and the engines and names of models that it asks before."""
    role = weights.info.task
    name, options = ASKED_BY[role]
    if len(options.roles) == 1:
        return resolve(TASKS[name].analyser)({role: weights.info}, options), {}, {}
    plain = replace(config, model=None, weights=weights.path, engine="auto", device="cpu")
    session = open_session(name, options, plain, expected_inputs=1)
    engines = {other: engine for other, engine in session.engines.items() if other != role}
    return session.task, engines, dict(session.run.further)
