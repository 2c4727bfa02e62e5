"""What `segment` finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.results.detect import BBOX

if TYPE_CHECKING:
    import numpy as np

# What instances are, with a network of classes alone, and with one that tells objects apart.
SHARED_OUT, LEARNED = "boxes of a detector and the class mask", "masks that the network has learned"


@dataclass(frozen=True)
class Segment:
    """The pixels of one class: their number, their part of the photo, and COCO's run-length encoding of them."""

    label: str
    index: int
    area: int
    fraction: float
    rle: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        entries = {"label": self.label, "index": self.index, "area": self.area}
        return {**entries, "fraction": round(self.fraction, 7), "rle": dict(self.rle)}


@dataclass(frozen=True)
class Instance:
    """One object, with the box of a detector and those pixels of its class that are nearest to it."""

    label: str
    index: int
    score: float
    bbox: tuple[float, float, float, float]
    area: int
    rle: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        entries = {"label": self.label, "index": self.index, "score": round(self.score, 7)}
        return {**entries, "bbox": [round(v, 3) for v in self.bbox], "area": self.area, "rle": dict(self.rle)}


@dataclass(frozen=True)
class Segmentation:
    """The segments of a photo, largest first, and with instances those, best first.

    `pixels` uint8 (H, W): the class of each, or the matte of the foreground (0..255); None once it is written.
    """

    segments: tuple[Segment, ...]
    instances: tuple[Instance, ...] | None = None
    pixels: "np.ndarray | None" = None
    instances_from: str = SHARED_OUT

    def as_dict(self) -> dict[str, Any]:
        entries: dict[str, Any] = {"segments": [entry.as_dict() for entry in self.segments]}
        if self.instances is not None:
            entries["instances"] = [entry.as_dict() for entry in self.instances]
            entries["instances_from"] = self.instances_from
        return entries


_RLE = {
    "type": "object",
    "properties": {
        "size": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "counts": {"type": "string"},
    },
    "required": ["size", "counts"],
    "additionalProperties": False,
    "description": "COCO's compressed run-length encoding, height and width first",
}
_SEGMENT = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "index": {"type": "integer", "minimum": 0},
        "area": {"type": "integer", "minimum": 1, "description": "pixels"},
        "fraction": {"type": "number", "minimum": 0, "maximum": 1},
        "rle": _RLE,
    },
    "required": ["label", "index", "area", "fraction", "rle"],
    "additionalProperties": False,
}
_INSTANCE = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "index": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "bbox": BBOX,
        "area": {"type": "integer", "minimum": 1, "description": "pixels"},
        "rle": _RLE,
    },
    "required": ["label", "index", "score", "bbox", "area", "rle"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "segments": {"type": ["array", "null"], "items": _SEGMENT, "description": "largest first; null on failure"},
    "mask": {"type": "string", "description": "the mask or matte written for this input"},
    "overlay": {"type": "string", "description": "the photo with its segments coloured"},
    "cutout": {"type": "string", "description": "the picture of what was cut out"},
    "instances": {"type": "array", "items": _INSTANCE, "description": "with --instances: best first"},
    "instances_from": {"enum": [SHARED_OUT, LEARNED]},
}
EITHER = [{"required": ["segments"]}]
