"""What `detect` finds."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Detection:
    """One object; `bbox` is x, y, width, height in pixels of the upright photo, `points` are x and y there."""

    label: str
    category_id: int
    score: float
    bbox: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        entries = {
            "label": self.label,
            "category_id": self.category_id,
            "score": round(self.score, 7),
            "bbox": [round(value, 3) for value in self.bbox],
        }
        if self.points:
            entries["points"] = [[round(x, 3), round(y, 3)] for x, y in self.points]
        return entries


@dataclass(frozen=True)
class Detections:
    """The objects of a photo, best first."""

    detections: tuple[Detection, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"detections": [entry.as_dict() for entry in self.detections]}


BBOX = {
    "type": "array",
    "items": {"type": "number", "minimum": 0},
    "minItems": 4,
    "maxItems": 4,
    "description": "x, y, width, height in pixels of the upright photo",
}
_POINT = {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2}
_DETECTION = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "category_id": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "bbox": BBOX,
        "points": {
            "type": "array",
            "items": _POINT,
            "description": "x, y of each landmark, from models that find them",
        },
    },
    "required": ["label", "category_id", "score", "bbox"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "detections": {"type": ["array", "null"], "items": _DETECTION, "description": "best first; null on failure"},
}
EITHER = [{"required": ["detections"]}]
