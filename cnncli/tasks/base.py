"""What a task is: a generator of model requests over one image. NumPy only, no files, no devices.

The runner drives it: it collects the requests of all images in flight, puts equal shapes into one batch, and
sends each generator its own rows of the outputs. A task may ask once (classify) or many times (a detector, then
an embedder per face), and never knows the size of a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from cnncli.errors import InputError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import Photo, decode
from cnncli.io.pictures import WRITTEN_FORMATS, Picture
from cnncli.io.weights import ModelInfo

Outputs = Mapping[str, np.ndarray]
DECODING = ("auto", "full", "device")  # see ClassifyOptions and DetectOptions


@dataclass(frozen=True)
class Request:
    """One array for one model: `array` without the batch axis, `model` a key of the task's models.

    An EncodedPhoto in its place becomes the array on the device, by the task's `device_front` (see catalog).
    """

    model: str
    array: np.ndarray | EncodedPhoto

    @property
    def kind(self) -> tuple:
        """Requests of one kind fit into one batch."""
        if isinstance(self.array, EncodedPhoto):
            return self.model, "encoded"
        return self.model, self.array.shape, self.array.dtype.str


class Result(Protocol):
    """What a task found in one image; `as_dict()` gives the task's keys of the record."""

    def as_dict(self) -> dict[str, Any]: ...


class Options(ABC):
    """A task's options; dataclasses whose values JSON can hold."""

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """What the task's models are made for; --model and --weights name the first one's."""

    @property
    def for_one_photo(self) -> bool:
        """Whether a single photo has an answer."""
        return True


class Task(Protocol):
    """Built from the metadata of its models and its options; UsageError where these don't fit together."""

    name: ClassVar[str]
    result_key: str  # of the record, null on failure
    columns: tuple[str, ...]  # of the result in CSV, lists numbered from 1

    def __init__(self, models: Mapping[str, ModelInfo], options: Any): ...

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Result]:
        """Analyse an upright image, uint8 (H, W, 3) or as `decode` gives it, asking for models' outputs on the way."""
        ...

    def draw(self, photo: Photo, result: Result, suffix: str) -> Picture:
        """The task's picture: what `--out` writes, for a file that ends in `suffix`."""
        ...


class BaseTask:
    """What most tasks have in common."""

    picture_suffix: ClassVar[str] = ".jpg"  # of the files in --out-dir
    picture_endings: ClassVar[tuple[str, ...]] = tuple(WRITTEN_FORMATS)  # that can hold the task's picture
    picture_key: ClassVar[str] = "output"  # of the record, for the picture's path
    written: ClassVar[tuple[str, ...]] = ("output",)  # columns of CSV for what products add
    array_types: ClassVar[tuple[str, ...]] = ("uint8",)  # of images that come as arrays
    own_engine: ClassVar[str] = ""  # what computes it where no network is needed
    decode = staticmethod(decode)  # bytes and the most pixels -> Photo

    def working_bytes(self, image: np.ndarray) -> int:
        """Memory that an image of this kind takes between its first request and its result, if that is much."""
        return 0

    def release(self, result: Any) -> Any:
        """The result without its pixels, for when its pictures are written: many results wait for their turn."""
        return result


def finite(values: np.ndarray) -> np.ndarray:
    """A network's answer. InputError where it is none: half precision overflows on some photos."""
    if not np.isfinite(values).all():
        raise InputError("the network's answer is not finite; try --precision fp32")
    return values
