"""Options of a task from the text of an HTTP query, typed as the task's options are."""

import math
import re
import types
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Union, get_args, get_origin

from cnncli.catalog import TASKS, resolve
from cnncli.errors import UsageError

NOT_SERVED = ("gallery",)  # names a folder of this machine
MODEL_NAME = re.compile(r"\w[\w.-]*")  # and no path
TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def options_of(task: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """For a Predictor: `model`, and the options of the task. UsageError for one that is unknown, wrong or repeated."""
    kinds = {field.name: field.type for field in fields(resolve(TASKS[task].options)) if field.name not in NOT_SERVED}
    options: dict[str, Any] = {}
    for written, text in pairs:
        name = written.replace("-", "_")
        if name in options:
            raise UsageError(f"{written}: is given twice; give it once")
        if name == "model":
            options[name] = _model(text)
        elif name in kinds:
            options[name] = _typed(written, text, kinds[name])
        else:
            raise UsageError(f"{task} has no option {written}; choose from {', '.join(sorted(['model', *kinds]))}")
    return options


def _model(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise UsageError(f"model={text}: give the name of a model, as 'cnncli weights list' shows it")
    return text


def _typed(name: str, text: str, kind: Any) -> Any:
    """A value of a type, or of the first type of a union that it fits."""
    if get_origin(kind) is tuple:
        return tuple(_typed(name, part.strip(), get_args(kind)[0]) for part in text.split(","))
    choices = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for choice in (choice for choice in choices if choice is not type(None)):
        try:
            return _value(text, choice)
        except ValueError:
            continue
    wanted = " or ".join(choice.__name__ for choice in choices if choice is not type(None))
    raise UsageError(f"{name}={text}: give a value of type {wanted}")


def _value(text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in TRUTHS:
            raise ValueError
        return TRUTHS[text.lower()]
    value = kind(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return value
