"""What `classify` finds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Label:
    label: str
    index: int
    score: float

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label, "index": self.index, "score": round(self.score, 7)}


@dataclass(frozen=True)
class Classification:
    """The best labels, best first."""

    classes: tuple[Label, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"classes": [entry.as_dict() for entry in self.classes]}


@dataclass(frozen=True)
class Embedding:
    """Pooled features of a photo: float32 (F,)."""

    features: "np.ndarray"

    def as_dict(self) -> dict[str, Any]:
        return {"features": [round(float(value), 6) for value in self.features]}


_LABEL = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "index": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["label", "index", "score"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "classes": {"type": ["array", "null"], "items": _LABEL, "description": "best first; null on failure"},
    "features": {"type": ["array", "null"], "items": {"type": "number"}, "description": "with --embed"},
}
EITHER = [{"required": ["classes"]}, {"required": ["features"]}]
