"""Records: one per input, whatever happened, with the same head for every task.

`schema(task)` gives the JSON Schema of a task's record; tests validate every record against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

INSTANCES_FROM = "boxes of a detector and the class mask"  # what instances are, as long as no network has learned them


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

    def as_dict(self) -> dict[str, Any]:
        entries: dict[str, Any] = {"segments": [entry.as_dict() for entry in self.segments]}
        if self.instances is not None:
            entries["instances"] = [entry.as_dict() for entry in self.instances]
            entries["instances_from"] = INSTANCES_FROM
        return entries


@dataclass(frozen=True)
class Denoised:
    """A photo without its noise. `sigma` (of 255) is the noise level it was cleaned of, or that was added to it.

    `pixels` are those of the photo's own type and channels; None once they are written.
    """

    sigma: float
    tiles: int
    pixels: "np.ndarray | None" = None

    def as_dict(self) -> dict[str, Any]:
        return {"output": None, "sigma": round(self.sigma, 4), "tiles": self.tiles}


@dataclass(frozen=True)
class Gradient:
    """What a derivative filter gave: the range and mean of its values.

    `values` (H, W) or (H, W, 3), and beside an angle the magnitude; None once they are written.
    """

    least: float
    most: float
    mean: float
    values: "np.ndarray | None" = None
    magnitude: "np.ndarray | None" = None

    def as_dict(self) -> dict[str, Any]:
        numbers = {"min": self.least, "max": self.most, "mean": self.mean}
        return {"output": None, **{name: round(value, 6) for name, value in numbers.items()}}


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


@dataclass(frozen=True)
class Run:
    """What all records of a run share. `options_digest` names the options that change an answer.

    A task that is computed without a network has no `model`; `further` are the name and SHA-256 of the second model
    and so on, under what each is made for.
    """

    task: str
    model: str | None
    weights_sha256: str | None
    engine: str
    device: str
    options_digest: str
    result_key: str
    further: Mapping[str, tuple[str, str]] = field(default_factory=dict)


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
            **self._further(),
            **self.extra,
        }

    def _further(self) -> dict[str, Any]:
        entries = {role: {"model": name, "weights_sha256": sha256} for role, (name, sha256) in self.run.further.items()}
        return {"further_models": entries} if entries else {}


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
    "model": {"type": ["string", "null"], "description": "null where no network is needed"},
    "weights_sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    "engine": {"enum": ["onnx", "torch", "opencv", "numpy"]},
    "device": {"type": "string"},
    "run": {"type": "string", "description": "digest of the options that change an answer"},
}
_OPTIONAL: dict[str, Any] = {
    "further_models": {"type": "object", "description": "models beside the main one, by what they are made for"},
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
        "bbox": _DETECTION["properties"]["bbox"],
        "area": {"type": "integer", "minimum": 1, "description": "pixels"},
        "rle": _RLE,
    },
    "required": ["label", "index", "score", "bbox", "area", "rle"],
    "additionalProperties": False,
}
_WRITTEN = {
    "type": ["string", "null"],
    "description": "the picture written; null on failure, or where none was asked for",
}
_QUALITY = {
    "psnr": {"type": ["number", "null"], "description": "dB against --reference; null where both are equal"},
    "ssim": {"type": "number", "maximum": 1, "description": "against --reference"},
    "psnr_before": {"type": ["number", "null"], "description": "dB of the input itself"},
    "ssim_before": {"type": "number", "maximum": 1, "description": "of the input itself"},
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
_RESULTS: dict[str, dict[str, Any]] = {
    "classify": {
        "classes": {"type": ["array", "null"], "items": _LABEL, "description": "best first; null on failure"},
        "features": {"type": ["array", "null"], "items": {"type": "number"}, "description": "with --embed"},
    },
    "detect": {
        "detections": {"type": ["array", "null"], "items": _DETECTION, "description": "best first; null on failure"},
    },
    "segment": {
        "segments": {"type": ["array", "null"], "items": _SEGMENT, "description": "largest first; null on failure"},
        "mask": {"type": "string", "description": "the mask or matte written for this input"},
        "overlay": {"type": "string", "description": "the photo with its segments coloured"},
        "cutout": {"type": "string", "description": "the picture of what was cut out"},
        "instances": {"type": "array", "items": _INSTANCE, "description": "with --instances: best first"},
        "instances_from": {"const": INSTANCES_FROM},
    },
    "denoise": {
        "output": _WRITTEN,
        "sigma": {"type": "number", "minimum": 0, "description": "noise level, of 255"},
        "tiles": {"type": "integer", "minimum": 0, "description": "parts that the photo was cleaned in"},
        "compare": {"type": "string", "description": "the picture of before and after"},
        **_QUALITY,
    },
    "sobel": {
        "output": _WRITTEN,
        **{name: {"type": "number", "description": "of the values"} for name in ("min", "max", "mean")},
    },
    "verify-face": {
        "verified": {"type": ["boolean", "null"], "description": "the same person; null on failure"},
        "file2": {"type": "string", "description": "the second photo of the pair"},
        "distance": {"type": "number", "minimum": 0},
        "threshold": {"type": "number", "description": "the largest distance that counts as the same person"},
        "similarity_metric": {"enum": ["cosine", "euclidean", "euclidean_l2"]},
        "facial_areas": {
            "type": "object",
            "properties": {"img1": _AREA, "img2": _AREA},
            "required": ["img1", "img2"],
            "additionalProperties": False,
        },
        "faces": {"type": ["array", "null"], "items": _FACE, "description": "with --landmarks or --embed, best first"},
        "matches": {"type": ["array", "null"], "items": _CANDIDATE, "description": "with --gallery, nearest first"},
        "facial_area": _AREA,
    },
}
_EITHER = {
    "classify": [{"required": ["classes"]}, {"required": ["features"]}],
    "detect": [{"required": ["detections"]}],
    "segment": [{"required": ["segments"]}],
    "denoise": [{"required": ["output"]}],
    "sobel": [{"required": ["output"]}],
    "verify-face": [{"required": ["faces"]}, {"required": ["verified", "file2"]}, {"required": ["matches"]}],
}


def schema(task: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the record of a task, every optional key included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cnncli.{task}/1",
        "type": "object",
        "properties": {**_HEAD, "schema": {"const": f"cnncli.{task}/1"}, **_OPTIONAL, **_RESULTS[task]},
        "required": list(_HEAD),
        "anyOf": _EITHER[task],
        "additionalProperties": False,
    }
