"""What `verify-face` finds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

POINTS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")  # their own right, image's left


@dataclass(frozen=True)
class Face:
    """`bbox` x, y, width, height and five `points` (see POINTS) in pixels of the upright photo; `embedding` (F,)."""

    score: float
    bbox: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    embedding: "np.ndarray | None" = None

    def as_dict(self) -> dict[str, Any]:
        entries = {"score": round(self.score, 7), **self.area()}
        if self.embedding is not None:
            entries["embedding"] = [round(float(value), 6) for value in self.embedding]
        return entries

    def as_area(self) -> dict[str, Any]:
        return {**self.area(), "score": round(self.score, 7)}

    def area(self) -> dict[str, Any]:
        """Box and points, with the keys of deepface's facial_areas."""
        box = {key: round(value, 3) for key, value in zip("xywh", self.bbox, strict=True)}
        marks = {name: [round(x, 3), round(y, 3)] for name, (x, y) in zip(POINTS, self.points, strict=True)}
        return {**box, **marks}


@dataclass(frozen=True)
class PhotoFaces:
    """The faces of a photo, best first, and those of them that count, with their embeddings."""

    found: tuple[Face, ...]
    chosen: tuple[Face, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"faces": [face.as_dict() for face in self.chosen or self.found]}


@dataclass(frozen=True)
class FaceMatch:
    """Two faces, how far apart they are, and whether that makes them one person's."""

    verified: bool
    distance: float
    first: Face
    second: Face


@dataclass(frozen=True)
class Verification:
    """Whether two photos show the same person, in deepface's terms."""

    match: FaceMatch
    threshold: float
    metric: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "verified": self.match.verified,
            "distance": round(self.match.distance, 7),
            "threshold": self.threshold,
            "similarity_metric": self.metric,
            "facial_areas": {"img1": self.match.first.as_area(), "img2": self.match.second.as_area()},
        }


@dataclass(frozen=True)
class Candidate:
    """Someone of a gallery: who, by which file, at what distance."""

    identity: str
    file: str
    distance: float
    verified: bool

    def as_dict(self) -> dict[str, Any]:
        entries = {"identity": self.identity, "file": self.file}
        return {**entries, "distance": round(self.distance, 7), "verified": self.verified}


@dataclass(frozen=True)
class Recognition:
    """Who of a gallery a photo's face is like, nearest first."""

    matches: tuple[Candidate, ...]
    face: Face
    threshold: float
    metric: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "matches": [candidate.as_dict() for candidate in self.matches],
            "threshold": self.threshold,
            "similarity_metric": self.metric,
            "facial_area": self.face.as_area(),
        }


_POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_AREA_PROPERTIES = {**{key: {"type": "number"} for key in "xywh"}, **dict.fromkeys(POINTS, _POINT)}
_SCORE = {"type": "number", "minimum": 0, "maximum": 1, "description": "how sure it is that this is a face"}
_AREA = {
    "type": "object",
    "properties": {**_AREA_PROPERTIES, "score": _SCORE},
    "required": [*_AREA_PROPERTIES, "score"],
    "additionalProperties": False,
    "description": "box and five points in pixels of the upright photo; right and left are the person's own",
}
_FACE = {
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        **_AREA_PROPERTIES,
        "embedding": {"type": "array", "items": {"type": "number"}, "description": "with --embed"},
    },
    "required": ["score", *_AREA_PROPERTIES],
    "additionalProperties": False,
}
_CANDIDATE = {
    "type": "object",
    "properties": {
        "identity": {"type": "string"},
        "file": {"type": "string"},
        "distance": {"type": "number", "minimum": 0},
        "verified": {"type": "boolean"},
    },
    "required": ["identity", "file", "distance", "verified"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "verified": {"type": ["boolean", "null"], "description": "the same person; null on failure"},
    "file2": {"type": "string", "description": "the second photo of the pair"},
    "distance": {"type": "number", "minimum": 0},
    "threshold": {"type": "number", "description": "the largest distance that counts as the same person"},
    "similarity_metric": {"enum": ["cosine", "euclidean", "euclidean_l2", "manhattan"]},
    "facial_areas": {
        "type": "object",
        "properties": {"img1": _AREA, "img2": _AREA},
        "required": ["img1", "img2"],
        "additionalProperties": False,
    },
    "faces": {"type": ["array", "null"], "items": _FACE, "description": "with --landmarks or --embed, best first"},
    "matches": {"type": ["array", "null"], "items": _CANDIDATE, "description": "with --gallery, nearest first"},
    "facial_area": _AREA,
}
EITHER = [
    {"required": ["faces"]},
    {"required": ["verified", "file2"]},
    {"required": ["matches"]},
]
