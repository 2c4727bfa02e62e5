"""Weights files: one `.safetensors` holds tensors, metadata and the ONNX graph of a model.

Layout: 8-byte little-endian header length, JSON header, raw tensors. Three keys of the header's metadata are ours:
`cnncli` (JSON: task, backbone, classes, input recipe, licence, source, SHA-256 of the tensors), `graph` (base64) and
`check` (SHA-256 of the header itself: a damaged label or graph would be believed).
Nothing here unpickles anything.
"""

import base64
import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.errors import WeightsError
from cnncli.io.atomic import output_file

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1  # of the metadata; a file from a later format is refused with a clear sentence
CHECK = re.compile(rb'"check":"([^"]{64})"')  # SHA-256 of the header with zeros in this place
STATISTICS = ("running_mean", "running_var")  # of batch norm: gathered, not learned
HEADER_STEP = 8  # bytes: tensors start at a multiple, as in the safetensors library
HEADER_LIMIT = 100_000_000  # bytes, as in the safetensors library


@dataclass(frozen=True)
class ModelInfo:
    """What a weights file says of itself. `recipe` holds the geometry of preprocessing (see its task).

    `mean` and `std` (in 0..255) are inside the graph already; they are kept for people and for training.
    """

    name: str
    task: str
    backbone: str
    head: Mapping[str, Any]
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[str, ...]
    licence: str
    source: Mapping[str, Any]
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "ModelInfo":
        values = {name: entries[name] for name in cls.__dataclass_fields__}
        for name in ("classes", "mean", "std", "outputs"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Weights:
    """A weights file whose tensors have been checked against the hash in its header."""

    path: Path
    info: ModelInfo
    sha256: str  # of the whole file, as sha256sum prints it
    tensors: Mapping[str, "np.ndarray"]  # as stored, mostly float16
    graph: bytes | None


def read_info(path: Path) -> ModelInfo:
    """The metadata alone: reads the header, never the tensors."""
    return _parse_info(path, _read_header(path))


def load_weights(path: Path) -> Weights:
    """Read and check a weights file. WeightsError where it is missing, damaged or not one of ours."""
    header = _read_header(path)
    info = _parse_info(path, header)
    stated = json.loads(header["cnncli"]).get("tensors_sha256")
    graph = _parse_graph(path, header)
    with ThreadPoolExecutor(1) as pool:  # hashing releases the GIL: it overlaps with reading the tensors
        hashes = pool.submit(file_hashes, path)
        tensors = _read_tensors(path)
        whole, payload = hashes.result()
    if payload != stated:
        raise WeightsError(f"{path}: damaged, its tensors don't match the hash in its header; copy or pull it again")
    return Weights(path, info, whole, tensors, graph)


def parameter_count(path: Path) -> int:
    """How many numbers of a weights file were learned: all but the statistics of batch norm. Reads the header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = [name for name in file.keys() if not name.endswith(STATISTICS)]  # noqa: SIM118 (no mapping)
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def file_hashes(path: Path) -> tuple[str, str]:
    """SHA-256 of the whole file and of its tensors alone (what follows the header)."""
    whole, payload = hashlib.sha256(), hashlib.sha256()
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            head += file.read(struct.unpack("<Q", head)[0])
            whole.update(head)
            while chunk := file.read(1 << 20):
                whole.update(chunk)
                payload.update(chunk)
    except (OSError, struct.error) as error:
        raise WeightsError(f"{path}: can't be read ({error})") from error
    return whole.hexdigest(), payload.hexdigest()


def save_weights(path: Path, info: ModelInfo, tensors: Mapping[str, "np.ndarray"], graph: bytes | None) -> None:
    """Write a weights file atomically; `tensors` are stored in the precision they come in."""
    from safetensors.numpy import save

    payload = save(dict(tensors))
    (length,) = struct.unpack("<Q", payload[:8])
    entries = {name: getattr(info, name) for name in ModelInfo.__dataclass_fields__}
    entries |= {"format": FORMAT, "tensors_sha256": hashlib.sha256(payload[8 + length :]).hexdigest()}
    metadata = {"cnncli": json.dumps(entries, ensure_ascii=False), "check": "0" * 64}
    if graph is not None:
        metadata["graph"] = base64.b64encode(graph).decode()
    with output_file(path) as file:
        file.writelines(_with_check(save(dict(tensors), metadata)))


def _with_check(content: bytes) -> tuple[bytes, bytes, memoryview]:
    """A file's parts, the header with its own hash in it; its keys in order, so that equal weights give equal files."""
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % HEADER_STEP)
    checked = CHECK.sub(b'"check":"%s"' % hashlib.sha256(header).hexdigest().encode(), header)
    return struct.pack("<Q", len(checked)), checked, memoryview(content)[8 + length :]


def _is_intact(header: bytes) -> bool:
    """Whether a header has the hash that it states; those of other programs state none."""
    stated = CHECK.search(header)
    blank = CHECK.sub(b'"check":"%s"' % (b"0" * 64), header)
    return stated is None or hashlib.sha256(blank).hexdigest().encode() == stated[1]


def _read_header(path: Path) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(HEADER_LIMIT, os.fstat(file.fileno()).st_size):
                raise WeightsError(f"{path}: not a safetensors file (its header would be {length} bytes long)")
            content = file.read(length)
            metadata = json.loads(content).get("__metadata__", {})
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such weights file; see 'cnncli weights list'") from error
    except OSError as error:
        raise WeightsError(f"{path}: can't be read ({error.strerror})") from error
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or cut short") from error
    if not _is_intact(content):
        raise WeightsError(f"{path}: damaged, its header doesn't match its hash; copy or pull it again")
    return metadata if isinstance(metadata, dict) else {}


def _parse_info(path: Path, metadata: Mapping[str, str]) -> ModelInfo:
    if "cnncli" not in metadata:
        raise WeightsError(f"{path}: a safetensors file without cnncli's metadata; see weights/README.md")
    try:
        entries = json.loads(metadata["cnncli"])
        if entries["format"] > FORMAT:
            raise WeightsError(f"{path}: written by a later cnncli (format {entries['format']}); update cnncli")
        return ModelInfo.from_dict(entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: its metadata is incomplete ({error})") from error


def _parse_graph(path: Path, metadata: Mapping[str, str]) -> bytes | None:
    if "graph" not in metadata:
        return None
    try:
        return base64.b64decode(metadata["graph"], validate=True)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged, its graph can't be read ({error}); copy or pull it again") from error


def _read_tensors(path: Path) -> dict[str, "np.ndarray"]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        foreign = [array.dtype for array in tensors.values() if array.dtype.isbuiltin != 1]
        if foreign:  # known to NumPy only where another package has taught it
            raise TypeError(f"{foreign[0]}")
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged ({error}); copy or pull it again") from error
    except (TypeError, AttributeError) as error:  # bfloat16, float8: numbers that NumPy lacks
        raise WeightsError(f"{path}: numbers of a kind that is not read ({error}); store them as float16") from error
