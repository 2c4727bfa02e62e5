"""What tests of all tasks need to know of each: its models, its engines, the key of its picture."""

from dataclasses import replace
from typing import Any

from cnncli.catalog import DEFAULT_MODELS, MODELS, TASKS, resolve
from cnncli.io.store import SUFFIX, model_path, pulled_folder
from cnncli.io.weights import load_weights, save_weights
from cnncli.results.schema import schema

# models of another name than their task, and the options with which it runs them
OPTIONS_OF_ROLES = {"foreground": ("segment", ["--foreground"]), "find-face": ("verify-face", [])}


BATCH_FORMS = {"verify-face": ("--landmarks",)}  # of a command that otherwise takes two photos


def form(task: str) -> tuple[str, ...]:
    """The words of a task's command that takes any number of inputs and gives a record for each."""
    return (task, *BATCH_FORMS.get(task, ()))


def roles(task: str) -> tuple[str, ...]:
    """What the models of a task's plain run are made for."""
    return resolve(TASKS[task].options)().roles


def analyser(task: str) -> Any:
    return resolve(TASKS[task].analyser)


def result_key(task: str) -> str:
    """Of the record, for what a plain run finds."""
    return schema(task)["anyOf"][0]["required"][0]


WITH_MODELS = [task for task in TASKS if roles(task)]


def engines(task: str) -> tuple[str, str]:
    """The engine of a run without a GPU, and torch."""
    return ("onnx" if roles(task) else analyser(task).own_engine), "torch"


def default_model(task: str) -> str:
    return DEFAULT_MODELS[roles(task)[0]]


def shipped_models(task: str) -> list[tuple[str, list[str]]]:
    """Every shipped model that a task can run, and the options that make it do so."""
    uses = {name: OPTIONS_OF_ROLES.get(entry.task, (entry.task, [])) for name, entry in MODELS.items()}
    return [(name, options) for name, (user, options) in uses.items() if user == task]


def second_model(task: str) -> str:
    """The name of another model for a task: its own under that name, among those that were pulled."""
    weights = load_weights(model_path(default_model(task)))
    pulled_folder().mkdir(parents=True, exist_ok=True)
    path = pulled_folder() / f"second{SUFFIX}"
    save_weights(path, replace(weights.info, name="second"), weights.tensors, weights.graph)
    return "second"
