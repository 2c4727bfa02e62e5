"""What can be written of detections: crops, YOLO and COCO files, annotated videos."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cnncli.errors import OutputError
from cnncli.io.atomic import output_file
from cnncli.io.images import Photo
from cnncli.io.pictures import Picture, encode
from cnncli.results.detect import Detection, Detections
from cnncli.results.record import Record
from cnncli.run.items import Item
from cnncli.run.outputs import MirroredFolder, SingleFile, write_below
from cnncli.run.pipeline import Outcome
from cnncli.tasks.detect import Detect

UNSAFE = re.compile(r"[^\w-]+")  # in a label that becomes part of a file's name


class Crops:
    """Every object as a JPEG: `a/1.jpg` gives `CROPS/a/1/00-dog.jpg`, best first."""

    def __init__(self, folder: MirroredFolder):
        self._folder = folder

    def write(self, item: Item, photo: Photo, result: Detections) -> Mapping[str, Any]:
        paths = []
        below = self._folder.path_of(item)
        for number, detection in enumerate(result.detections):
            path = below / f"{number:02d}-{UNSAFE.sub('_', detection.label)}.jpg"
            write_below(path, encode(Picture(crop(photo.pixels, detection)), ".jpg"))
            paths.append(str(path))
        return {"crops": paths}


def crop(pixels: np.ndarray, detection: Detection) -> np.ndarray:
    """The pixels that a box touches, at least one."""
    x, y, width, height = detection.bbox
    left, top = min(int(x), pixels.shape[1] - 1), min(int(y), pixels.shape[0] - 1)
    right, bottom = max(left + 1, int(np.ceil(x + width))), max(top + 1, int(np.ceil(y + height)))
    return np.ascontiguousarray(pixels[top:bottom, left:right])


class YoloFile:
    """A text file of lines `class x y width height score`: class numbers from 0, centre and size as parts of the photo.

    Classes are numbered in the model's order, those without a name left out, as in YOLO's own COCO files.
    """

    def __init__(self, place: SingleFile | MirroredFolder, task: Detect):
        self._place = place
        named = [
            category for name, category in zip(task.labels, task.model.recipe["category_ids"], strict=True) if name
        ]
        self._numbers = {category: number for number, category in enumerate(named)}

    def write(self, item: Item, photo: Photo, result: Detections) -> Mapping[str, Any]:
        height, width = photo.pixels.shape[:2]
        lines = "".join(self._line(detection, width, height) for detection in result.detections)
        return {"output": self._place.write(item, lines.encode())}

    def _line(self, detection: Detection, width: int, height: int) -> str:
        x, y, w, h = detection.bbox
        values = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height, detection.score)
        return f"{self._numbers[detection.category_id]} " + " ".join(f"{value:.6f}" for value in values) + "\n"


class ImagesFile:
    """COCO's list of images, for the results' image ids: [{"id", "file_name", "width", "height"}, ...]."""

    def __init__(self, path: Path):
        self._path = path
        self._images: list[dict[str, Any]] = []

    def __enter__(self) -> "ImagesFile":
        return self

    def __call__(self, record: Record, outcome: Outcome) -> None:
        entry = {"id": record.index, "file_name": record.file, "width": record.width, "height": record.height}
        self._images.append(entry)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            return
        with output_file(self._path) as file:
            file.write(json.dumps({"images": self._images}).encode())


class VideoFrames:
    """Draws each frame in a worker; the picture travels with its outcome to the video file."""

    def __init__(self, task: Detect):
        self._task = task

    def write(self, item: Item, photo: Photo, result: Detections) -> Mapping[str, Any]:
        return {"picture": self._task.draw(photo, result, ".png").pixels}


class VideoFile:
    """Frames in their order as a video of the source's rate, whole or not at all."""

    def __init__(self, path: Path, source: str):
        import cv2

        capture = cv2.VideoCapture(source)
        self._rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        capture.release()
        self._path = path
        self._temporary = path.with_name(f".cnncli-{os.getpid()}-{os.urandom(4).hex()}{path.suffix}")
        self._writer: Any = None
        self._failed = False

    def __enter__(self) -> "VideoFile":
        return self

    def __call__(self, record: Record, outcome: Outcome) -> None:
        picture = outcome.extra.get("picture")
        if picture is None:
            self._failed = True
            return
        import cv2

        if self._writer is None:
            code = "mp4v" if self._path.suffix.lower() in (".mp4", ".m4v", ".mov") else "MJPG"
            size = picture.shape[1], picture.shape[0]
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter_fourcc(*code), self._rate, size)
            if not self._writer.isOpened():
                raise OutputError(f"{self._path}: this kind of video can't be written; use .mp4 or .avi")
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None and not self._failed:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
