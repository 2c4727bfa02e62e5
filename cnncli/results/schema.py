"""The JSON Schema of a task's record; tests validate every record against it."""

import importlib
from typing import Any

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


def schema(task: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the record of a task, every optional key included.

    The task's part stands beside its results, in the module of its name; ways of looking ("explain-cam") share one.
    """
    name, _, way = task.partition("explain-")
    own = importlib.import_module(f"cnncli.results.{'explain' if way else name.replace('-', '_')}")
    part = own.schema_of(way) if way else own.SCHEMA
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cnncli.{task}/1",
        "type": "object",
        "properties": {**_HEAD, "schema": {"const": f"cnncli.{task}/1"}, **_OPTIONAL, **part},
        "required": list(_HEAD),
        "anyOf": own.EITHER,
        "additionalProperties": False,
    }
