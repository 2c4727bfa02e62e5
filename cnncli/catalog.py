"""The one table of tasks, backbones and models: plain data, so that help and completion import nothing heavy.

Adding a backbone: one file in `nn/backbones/` and one line here. Adding a task: `tasks/x.py`, `cli/x.py`,
a record in `results.py` and one line here. Code is named as "module:attribute" and imported when used.
"""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TaskEntry:
    summary: str
    analyser: str  # class in `tasks/`, see tasks.base.Task
    options: str  # dataclass of the options that change its answers
    default_model: str
    device_step: str | None = None  # function in `nn`: task -> module that shrinks the outputs before they leave a GPU


@dataclass(frozen=True)
class ModelEntry:
    """A model whose weights are in the repository; the rest is in the header of its file."""

    task: str
    summary: str


TASKS: dict[str, TaskEntry] = {
    "classify": TaskEntry(
        "What is in the photo: the best labels of a list of classes.",
        analyser="cnncli.tasks.classify:Classify",
        options="cnncli.tasks.classify:ClassifyOptions",
        default_model="efficientnet_lite2",
    ),
    "detect": TaskEntry(
        "Where things are in the photo: a label, a score and a box for each.",
        analyser="cnncli.tasks.detect:Detect",
        options="cnncli.tasks.detect:DetectOptions",
        default_model="efficientdet_lite2",
        device_step="cnncli.nn.candidates:detection_candidates",
    ),
}

# What a model can be made for, and the function that builds its network: backbone, head, number of classes -> module.
NETWORKS: dict[str, str] = {
    "classify": "cnncli.nn.assemble:classifier",
    "detect": "cnncli.nn.assemble:detector",
    "segment": "cnncli.nn.segmenters:deeplab",
    "foreground": "cnncli.nn.segmenters:u2net",
    "denoise": "cnncli.nn.denoisers:ffdnet",
    "find-face": "cnncli.nn.faces:yunet",
    "embed-face": "cnncli.nn.faces:embedder",
}

BACKBONES: dict[str, str] = {
    "efficientnet_lite0": "cnncli.nn.backbones.efficientnet_lite:lite0",
    "efficientnet_lite2": "cnncli.nn.backbones.efficientnet_lite:lite2",
}

MODELS: dict[str, ModelEntry] = {
    "efficientnet_lite2": ModelEntry("classify", "EfficientNet-Lite2, 260 px, 1000 ImageNet classes (default)"),
    "efficientnet_lite0": ModelEntry("classify", "EfficientNet-Lite0, 224 px, 1000 ImageNet classes (fast)"),
    "efficientdet_lite2": ModelEntry("detect", "EfficientDet-Lite2, 448 px, 80 COCO classes (default)"),
    "efficientdet_lite0": ModelEntry("detect", "EfficientDet-Lite0, 320 px, 80 COCO classes (fast)"),
}


def resolve(reference: str) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
