"""The library's door: the records of the command line for images in memory or on disk."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

import numpy as np
from PIL import Image

from cnncli.catalog import TASKS, resolve
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import InputError, UsageError
from cnncli.io.images import Photo, read_file
from cnncli.io.modes import to_rgb
from cnncli.io.sources import Input
from cnncli.results.record import Record
from cnncli.run.items import Item
from cnncli.run.pairs import Pair, pair_items
from cnncli.run.pairs import verify as verify_pairs
from cnncli.run.pipeline import Outcome
from cnncli.run.runner import run_items
from cnncli.run.session import Session, open_session
from cnncli.tasks.base import Result, Task
from cnncli.tasks.verify_face import PAIR, FaceOptions

ARRAY = ".npy"  # the ending of files that hold any array
MANY = 1 << 20  # inputs expected by a Predictor, which does not know: it is set up for long runs

ImageLike = Any  # a path, bytes of an image file, a PIL image, or uint8 (H, W, 3) RGB or (H, W) grey


class Predictor:
    """`Predictor("classify")(images_or_paths)` gives a list of records, one per image, in the same order.

    Options are those of the command: `model`, `weights`, `device`, `engine`, `precision`, `threads`; `batch_size`,
    `workers`, `max_pixels`, `decode_timeout`; and the task's own, such as `top_k`. The model is loaded at the first
    call. A bad image becomes a record with "ok": false, never an exception; a wrong option raises a CnncliError.
    Instances can be pickled; a copy loads its own model.
    """

    def __init__(self, task: str, **options: Any):
        if task not in TASKS:
            raise UsageError(f"there is no task '{task}'; choose from {', '.join(TASKS)}")
        self.task = task
        self._engine_config = EngineConfig(**_take(options, EngineConfig))
        self._engine_config.need_one_device("a Predictor")
        self._run_config = RunConfig(**_take(options, RunConfig))
        self._options = resolve(TASKS[task].options)
        fields = self._options.__dataclass_fields__
        unknown = set(options) - set(fields)
        if unknown:
            raise UsageError(f"{task} has no option {', '.join(sorted(unknown))}")
        self._task_options = self._options(
            **{name: _typed(value, fields[name].type) for name, value in options.items()}
        )
        if not self._task_options.for_one_photo:
            raise UsageError(f"{task}: this compares photos with others; a Predictor looks at each alone")
        self._session: Session | None = None

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> list[dict[str, Any]]:
        return [record.as_dict() for record, _ in self._run(images, [])]

    def pictures(self, images: ImageLike | Sequence[ImageLike]) -> list[np.ndarray | None]:
        """What the command's `--out` would hold, as arrays; None for an image that failed.

        segment: class numbers or a matte (H, W); denoise: the photo; sobel: numbers; else the annotated photo, RGB.
        """
        task = self._opened().task
        drawing = _Drawn(lambda photo, result: task.draw(photo, result, ARRAY).pixels)
        return [outcome.extra.get("picture") for _, outcome in self._run(images, [drawing])]

    def _opened(self) -> Session:
        if self._session is None:
            self._session = open_session(self.task, self._task_options, self._engine_config, MANY)
        return self._session

    def _run(self, images: ImageLike | Sequence[ImageLike], products: list[Any]) -> Iterator[tuple[Record, Outcome]]:
        if isinstance(images, (str, os.PathLike, bytes, Image.Image)) or getattr(images, "ndim", 0) in (2, 3):
            images = [images]
        session = self._opened()
        items = (_item(index, image, self._run_config.max_pixels, session.task) for index, image in enumerate(images))
        return run_items(session, items, self._run_config, products)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def __repr__(self) -> str:
        return f"Predictor({self.task!r}, model={self._engine_config.model!r})"


def verify(first: str | os.PathLike, second: str | os.PathLike, **options: Any) -> dict[str, Any]:
    """The record of `cnncli verify-face FIRST SECOND`; options as of a Predictor. Loads the models at each call."""
    engine, run = EngineConfig(**_take(options, EngineConfig)), RunConfig(**_take(options, RunConfig))
    session = open_session("verify-face", FaceOptions(**{"mode": PAIR, **options}), engine, expected_inputs=2)
    items = pair_items([Pair(os.fspath(first), os.fspath(second))])
    ((record, _),) = verify_pairs(session, items, run)
    return record.as_dict()


def _typed(value: Any, kind: Any) -> Any:
    """A value as an option of a type holds it: names may come as "dog,cat", as on the command line, or as any list."""
    if isinstance(value, str) and get_origin(kind) is tuple:
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list) else value


def _take(options: dict[str, Any], config: type) -> dict[str, Any]:
    """Move the options of a config out of all options."""
    return {name: options.pop(name) for name in list(options) if name in config.__dataclass_fields__}


@dataclass(frozen=True)
class _Drawn:
    """Hands a picture on beside the record."""

    draw: Callable[[Photo, Result], np.ndarray]

    def write(self, item: Item, photo: Photo, result: Result) -> Mapping[str, Any]:
        return {"picture": self.draw(photo, result)}


def _item(index: int, image: ImageLike, max_pixels: int, task: Task) -> Item:
    name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"#{index}"
    return Item(index, Input(name, ""), _loader(image, max_pixels, task))


def _loader(image: ImageLike, max_pixels: int, task: Task) -> Callable[[], Photo]:
    def load() -> Photo:
        if isinstance(image, (str, os.PathLike)):
            return task.decode(read_file(image, max_pixels), max_pixels)
        if isinstance(image, (bytes, bytearray, memoryview)):
            return task.decode(bytes(image), max_pixels)
        if isinstance(image, Image.Image):
            return Photo(np.ascontiguousarray(to_rgb(image)))
        return Photo(_checked(np.asarray(image), task.array_types))

    return load


def _checked(pixels: np.ndarray, types: tuple[str, ...]) -> np.ndarray:
    if pixels.dtype == object:
        raise InputError(f"is no image: give a path, bytes of an image file, a Pillow image or a {types[0]} array")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.dtype.name not in types or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"an array image is {' or '.join(types)} (H, W, 3) RGB, not {pixels.dtype} {pixels.shape}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("holds NaN or infinite values, which are no picture")
    return np.ascontiguousarray(pixels)
