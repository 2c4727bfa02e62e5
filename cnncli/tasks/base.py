"""What a task is: a generator of model requests over one image. NumPy only, no files, no devices.

The runner drives it: it collects the requests of all images in flight, puts equal shapes into one batch, and
sends each generator its own rows of the outputs. A task may ask once (classify) or many times (a detector, then
an embedder per face), and never knows the size of a batch.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from cnncli.io.weights import ModelInfo

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Request:
    """One array for one model: `array` without the batch axis, `model` a key of the task's models."""

    model: str
    array: np.ndarray


class Result(Protocol):
    """What a task found in one image; `as_dict()` gives the task's keys of the record."""

    def as_dict(self) -> dict[str, Any]: ...


class Task(Protocol):
    """Built from the metadata of its models and its options; UsageError where these don't fit together."""

    name: ClassVar[str]
    picture_suffix: ClassVar[str]  # of the files in --out-dir
    result_key: str  # of the record, null on failure
    columns: tuple[str, ...]  # of the result in CSV, lists numbered from 1

    def __init__(self, models: Mapping[str, ModelInfo], options: Any): ...

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Result]:
        """Analyse an upright uint8 image (H, W, 3), asking for the models' outputs on the way."""
        ...

    def draw(self, image: np.ndarray, result: Result) -> np.ndarray:
        """The task's picture: what `--out` writes."""
        ...
