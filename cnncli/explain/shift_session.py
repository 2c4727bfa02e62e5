"""Opens one or two models for a photo that moves. Without torch, where their engines need none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnncli.catalog import DEFAULT_MODELS, TASKS
from cnncli.config import EngineConfig, options_digest
from cnncli.errors import UsageError, WeightsError
from cnncli.explain.shift import Mover, ShiftTask
from cnncli.explain.shift_dense import FollowMask, FollowPicture
from cnncli.explain.shift_follow import Follower, FollowLabel, FollowObject
from cnncli.explain.shift_windows import Shift
from cnncli.io.store import SUFFIX, model_path
from cnncli.io.weights import ModelInfo, read_info
from cnncli.run.session import Notify, Session, open_session
from cnncli.tasks.classify import ClassifyOptions
from cnncli.tasks.denoise import DenoiseOptions
from cnncli.tasks.detect import DetectOptions
from cnncli.tasks.segment import SegmentOptions
from cnncli.tasks.sobel import SobelOptions, fixed_weights

LEVEL = 25  # of 255, the noise that is taken away: one level for all windows, since estimates would differ
AGAINST = "against"
SOBEL = "sobel"
FOLLOWED = ("classify", "detect", "segment", "denoise", SOBEL)

# By what a model is made for: its task, what is followed, and the task's options.
FOLLOWERS: dict[str, tuple[str, type[Follower], Callable[[ModelInfo], Any]]] = {
    "classify": ("classify", FollowLabel, lambda info: ClassifyOptions(top_k=len(info.classes))),
    "detect": ("detect", FollowObject, lambda info: DetectOptions()),
    "segment": ("segment", FollowMask, lambda info: SegmentOptions()),
    "foreground": ("segment", FollowMask, lambda info: SegmentOptions(foreground=True)),
    "denoise": ("denoise", FollowPicture, lambda info: DenoiseOptions(sigma=min(LEVEL, info.recipe["sigma_range"][1]))),
    SOBEL: (SOBEL, FollowPicture, lambda info: SobelOptions()),
}


def open_shift(
    shift: Shift, task: str | None, config: EngineConfig, against: str | None, expected_inputs: int, notify: Notify
) -> Session:
    """A session that follows the answer of a model, and of a second one where `against` names it.

    `task` None: what the model is made for. UsageError for what has no answer that moves with a photo.
    """
    role = _role(task, config)
    if against is not None and role == SOBEL:
        raise UsageError(f"--against {against}: {SOBEL} runs no model to compare with another; leave it out")
    first, mover = _opened(role, config, "", expected_inputs, notify)
    if against is None:
        return _session(shift, [mover], first, {}, first.engines)
    second, other = _opened(role, _named(config, against), f"{AGAINST} ", expected_inputs, lambda message: None)
    if other.follower.name == mover.follower.name:
        other.follower.name += " (--against)"
    engines = {**first.engines, **{other.prefix + name: engine for name, engine in second.engines.items()}}
    further = {AGAINST: (second.run.model, second.run.weights_sha256)}
    return _session(shift, [mover, other], first, further, engines)


def _session(
    shift: Shift, movers: list[Mover], first: Session, further: dict[str, Any], engines: dict[str, Any]
) -> Session:
    digest = options_digest(shift, followed=first.run.options_digest, further=further)
    key = ShiftTask.result_key
    run = replace(first.run, task="explain-shift", options_digest=digest, result_key=key, further=further)
    return Session(ShiftTask(movers, shift), engines, run, first.precision)


def _role(task: str | None, config: EngineConfig) -> str:
    """What the models are made for that are run."""
    if task is not None and task not in FOLLOWED:
        known = f"{', '.join(FOLLOWED[:-1])} or {FOLLOWED[-1]}"
        why = "looks for faces first, and what it answers is no place or label; " if task in TASKS else ""
        raise UsageError(f"--task {task}: {why}choose {known}")
    if not (config.model or config.weights):
        return task or "classify"
    if task == SOBEL:
        return SOBEL  # whose session refuses the model
    info = read_info(_path(config))
    if task is None and info.task not in FOLLOWERS:
        raise UsageError(f"{info.name} is made for faces, which have no answer to follow; choose another model")
    return info.task if task is None or (task, info.task) == ("segment", "foreground") else task


def _opened(
    role: str, config: EngineConfig, prefix: str, expected_inputs: int, notify: Notify
) -> tuple[Session, Mover]:
    name, follower, options = FOLLOWERS[role]
    info = fixed_weights(SobelOptions()).info if role == SOBEL else _checked(role, config)
    session = open_session(name, options(info), config, expected_inputs, notify)
    return session, Mover(session.task, follower(info, info.name or name), prefix)


def _checked(role: str, config: EngineConfig) -> ModelInfo:
    """What a model says of itself. WeightsError where it is made for something else."""
    path = _path(config) if config.model or config.weights else model_path(DEFAULT_MODELS[role])
    info = read_info(path)
    if info.task != role:
        raise WeightsError(f"{path}: made for {info.task}, not {role}; see 'cnncli weights list'")
    return info


def _path(config: EngineConfig) -> Path:
    return config.weights or model_path(str(config.model))


def _named(config: EngineConfig, against: str) -> EngineConfig:
    """The engine's options with the second model: a file, or a model by name."""
    path = Path(against)
    if path.is_file() or path.suffix == SUFFIX or path.name != against:
        return replace(config, model=None, weights=path)
    return replace(config, model=against, weights=None)
