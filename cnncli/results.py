"""Records: one per input, whatever happened, with the same head for every task.

`schema(task)` gives the JSON Schema of a task's record; tests validate every record against it.
"""

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Detection:
    """One object; `bbox` is x, y, width, height in pixels of the upright photo."""

    label: str
    category_id: int
    score: float
    bbox: tuple[float, float, float, float]

    def as_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "category_id": self.category_id,
            "score": round(self.score, 7),
            "bbox": [round(value, 3) for value in self.bbox],
        }


@dataclass(frozen=True)
class Detections:
    """The objects of a photo, best first."""

    detections: tuple[Detection, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"detections": [entry.as_dict() for entry in self.detections]}


@dataclass(frozen=True)
class Run:
    """What all records of a run share. `options_digest` names the options that change an answer."""

    task: str
    model: str
    weights_sha256: str
    engine: str
    device: str
    options_digest: str
    result_key: str


@dataclass(frozen=True)
class Record:
    """One input's outcome; `result` is the task's part (None on failure), `extra` optional keys of the head."""

    run: Run
    file: str
    index: int
    failure: str | None
    width: int | None
    height: int | None
    orientation: int | None
    result: dict[str, Any] | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.failure is None

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": f"cnncli.{self.run.task}/1",
            "file": self.file,
            "index": self.index,
            "ok": self.ok,
            "failure": self.failure,
            "width": self.width,
            "height": self.height,
            "exif_orientation": self.orientation,
            **({self.run.result_key: None} if self.result is None else self.result),
            "model": self.run.model,
            "weights_sha256": self.run.weights_sha256,
            "engine": self.run.engine,
            "device": self.run.device,
            "run": self.run.options_digest,
            **self.extra,
        }


_NULLABLE_SIZE = {"type": ["integer", "null"], "minimum": 1}
_HEAD: dict[str, Any] = {
    "schema": {"type": "string", "description": "name and version of this schema"},
    "file": {"type": "string", "description": "the input as it was named or found; '-' is standard input"},
    "index": {"type": "integer", "minimum": 0, "description": "position of the input in the run, over all shards"},
    "ok": {"type": "boolean", "description": "whether the input was read and analysed"},
    "failure": {"type": ["string", "null"], "description": "one sentence where ok is false"},
    "width": {**_NULLABLE_SIZE, "description": "pixels, after the EXIF orientation"},
    "height": {**_NULLABLE_SIZE, "description": "pixels, after the EXIF orientation"},
    "exif_orientation": {"type": ["integer", "null"], "minimum": 1, "maximum": 8},
    "model": {"type": "string"},
    "weights_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "engine": {"enum": ["onnx", "torch"]},
    "device": {"type": "string"},
    "run": {"type": "string", "description": "digest of the options that change an answer"},
}
_OPTIONAL: dict[str, Any] = {
    "output": {"type": "string", "description": "the picture written for this input"},
    "crops": {"type": "array", "items": {"type": "string"}, "description": "pictures of the objects, in their order"},
    "skipped": {"const": True, "description": "with --skip-existing: the output was there, nothing was computed"},
    "frame": {"type": "integer", "minimum": 0, "description": "number of the video frame or page"},
    "seconds": {"type": ["number", "null"], "description": "time of the video frame"},
    "shard": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
    "inputs": {"type": "integer", "minimum": 1, "description": "inputs of all shards together"},
    "ms": {"type": "object", "additionalProperties": {"type": "number"}, "description": "with --timings"},
}
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
_DETECTION = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "category_id": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "bbox": {
            "type": "array",
            "items": {"type": "number", "minimum": 0},
            "minItems": 4,
            "maxItems": 4,
            "description": "x, y, width, height in pixels of the upright photo",
        },
    },
    "required": ["label", "category_id", "score", "bbox"],
    "additionalProperties": False,
}
_RESULTS: dict[str, dict[str, Any]] = {
    "classify": {
        "classes": {"type": ["array", "null"], "items": _LABEL, "description": "best first; null on failure"},
        "features": {"type": ["array", "null"], "items": {"type": "number"}, "description": "with --embed"},
    },
    "detect": {
        "detections": {"type": ["array", "null"], "items": _DETECTION, "description": "best first; null on failure"},
    },
}
_EITHER = {
    "classify": [{"required": ["classes"]}, {"required": ["features"]}],
    "detect": [{"required": ["detections"]}],
}


def schema(task: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the record of a task, every optional key included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cnncli.{task}/1",
        "type": "object",
        "properties": {**_HEAD, "schema": {"const": f"cnncli.{task}/1"}, **_RESULTS[task], **_OPTIONAL},
        "required": list(_HEAD),
        "anyOf": _EITHER[task],
        "additionalProperties": False,
    }
