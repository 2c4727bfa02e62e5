"""Options of a task in words, such as "top_k=3", as a Predictor takes them."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from cnncli.catalog import TASKS, resolve
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

OWN = ("shard", "frames", "batch_size", "workers")  # said by the command, or not for a cluster
BOOLEANS = {"true": True, "false": False}


def settings(task: str, words: Iterable[str]) -> dict[str, Any]:
    """{"top_k": 3} for "top_k=3". UsageError for a task, a name or a value that is not known."""
    if task not in TASKS:
        raise UsageError(f"there is no task '{task}'; choose from {', '.join(TASKS)}")
    kinds = _kinds(task)
    chosen = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {word}: write it as NAME=VALUE, such as top_k=3")
        if name not in kinds:
            raise UsageError(f"--set {word}: {task} has no option {name}; choose from {', '.join(sorted(kinds))}")
        try:
            chosen[name] = _value(text, kinds[name])
        except ValueError as error:
            raise UsageError(f"--set {word}: {error}") from error
    return chosen


def _kinds(task: str) -> dict[str, Any]:
    configs = (EngineConfig, RunConfig, resolve(TASKS[task].options))
    fields = [field for config in configs for field in config.__dataclass_fields__.values()]
    return {field.name: field.type for field in fields if field.name not in OWN}


def _value(text: str, kind: Any) -> Any:
    """A text as the first of a kind's alternatives that takes it. ValueError where none does."""
    if get_origin(kind) is tuple:
        return tuple(_value(part.strip(), get_args(kind)[0]) for part in text.split(",") if part.strip())
    alternatives = get_args(kind) or (kind,)
    if NoneType in alternatives and text == "none":
        return None
    for alternative in alternatives:
        if alternative is NoneType:
            continue
        try:
            return _of_type(text, alternative)
        except ValueError:
            continue
    raise ValueError(f"give {' or '.join(one.__name__ for one in alternatives if one is not NoneType)}")


def _of_type(text: str, kind: type) -> Any:
    if kind is bool:
        if text not in BOOLEANS:
            raise ValueError(text)
        return BOOLEANS[text]
    if kind is Path:
        return Path(os.path.abspath(text))  # workers have other folders
    return kind(text)
