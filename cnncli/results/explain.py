"""What the ways of looking inside a network find in a photo; each has its own entries."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Explanation:
    """`entries` of the record, a `summary` of one line for people, and what its picture is drawn from.

    `seen` is the network's input, uint8 (H, W, 3); `arrays` are the method's; both are empty once they are drawn.
    """

    entries: dict[str, Any]
    summary: str
    seen: "np.ndarray | None" = None
    arrays: "dict[str, np.ndarray]" = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"explanation": self.entries}


_LABEL = {
    "label": {"type": "string", "description": "the answer that is explained"},
    "index": {"type": "integer", "minimum": 0},
    "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "of the unchanged photo"},
}
_LAYER = {"layer": {"type": "string", "description": "its path, as in 'cnncli models show'"}}
_PEAK = {
    "type": ["array", "null"],
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 2,
    "maxItems": 2,
    "description": "x and y of the strongest place, in parts of what the network sees",
}
_PART = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_CHANNELS = {"type": "array", "items": {"type": "object", "required": ["channel"]}, "description": "strongest first"}
_COUNT = {"type": "integer", "minimum": 1}

# What each way of looking finds in a photo, by the name of its command.
FOUND: dict[str, dict[str, Any]] = {
    "cam": {
        **_LABEL,
        **_LAYER,
        "variant": {"enum": ["grad-cam", "grad-cam++"]},
        "cells": {"type": "array", "items": _COUNT, "description": "rows and columns of the layer's maps"},
        "peak": _PEAK,
    },
    "occlusion": {
        **_LABEL,
        "patch": {**_COUNT, "description": "pixels of the network's input"},
        "step": {**_COUNT, "description": "pixels of the network's input"},
        "fill": {"enum": ["mean", "black", "grey", "blur"]},
        "places": {"type": "array", "items": _COUNT, "description": "rows and columns of them"},
        "largest_drop": {"type": "number", "description": "of the score, for one patch"},
        "peak": _PEAK,
        "half_area": {**_PART, "description": "part of the input that holds half of the drop"},
    },
    "saliency": {
        **_LABEL,
        "methods": {"type": "array", "items": {"enum": ["gradient", "guided", "integrated"]}},
    },
    "activations": {**_LAYER, "shape": {"type": "array", "items": _COUNT}, "channels": _CHANNELS},
    "deconv": {**_LAYER, "input": {"type": "array", "items": _COUNT}, "channels": _CHANNELS},
    "shift": {
        "direction": {"enum": ["right", "down", "diagonal"]},
        "range": {**_COUNT, "description": "pixels of the network's input"},
        "task": {"type": "string"},
    },
}


def schema_of(way: str) -> dict[str, Any]:
    """The record's part for one way of looking; further entries depend on its options and on the model."""
    found = {"type": ["object", "null"], "properties": FOUND[way], "required": list(FOUND[way])}
    return {"explanation": {**found, "description": "what was found; null on failure"}}


EITHER = [{"required": ["explanation"]}]
