"""Photos with points: read from a CSV or COCO's keypoints, divided, and made into a landmark finder's examples."""

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cnncli.errors import UsageError
from cnncli.imaging.geometry import letterbox
from cnncli.train.augment import JITTER
from cnncli.train.coco import CocoPhoto, find_coco, read_coco
from cnncli.train.config import TrainConfig
from cnncli.train.photos import check_apart, divided, look_through, read_photo
from cnncli.train.recipe import Examples, Notify

LAYOUT = """expected points of one object a photo:
  DATA/landmarks.csv    file,x1,y1,x2,y2,...  in pixels of the photo; a point that can't be seen is left empty
  DATA/*.jpg            the photos that it names; also in DATA/images/
  or COCO's layout with keypoints: DATA/person_keypoints_train.json, DATA/train/*.jpg"""
TURN, SHIFT, ZOOM = {"light": 10, "strong": 25}, 0.05, {"light": 0.1, "strong": 0.25}  # degrees, parts of the side
CLASS = "landmarks"  # what the answer is called


@dataclass(frozen=True)
class PointedPhoto:
    """A photo and its points float32 (K, 2), x and y in pixels; NaN where one is unknown."""

    path: str
    points: np.ndarray


@dataclass(frozen=True)
class Pointed:
    """Photos to train and to measure on, with as many points each, and what the object is called."""

    train: tuple[PointedPhoto, ...]
    val: tuple[PointedPhoto, ...]
    name: str

    @property
    def count(self) -> int:
        return len(self.train[0].points)


def read_pointed(config: TrainConfig, notify: Notify) -> Pointed:
    """What DATA and --val hold. UsageError, showing the layout, where that is not right."""
    data = Path(config.data)
    photos, others, name = _read(data)
    if isinstance(config.val, str):
        others = _read(Path(config.val))[0]
    looks = look_through([photo.path for photo in photos], config, notify)
    photos = [photo for photo in photos if photo.path in looks]
    if others is None:
        keys = [looks[photo.path].digest for photo in photos]
        train, val = divided(keys, [""] * len(photos), config.val, config.seed)
        photos, others = [photos[place] for place in train], [photos[place] for place in val]
    else:
        val_looks = look_through([photo.path for photo in others], config, notify)
        others = [photo for photo in others if photo.path in val_looks]
        check_apart(looks, val_looks)
    if not photos or not others:
        raise UsageError(f"{data}: one photo to train on and one to measure on are needed; {LAYOUT}")
    counts = {len(photo.points) for photo in [*photos, *others]}
    if len(counts) > 1:
        raise UsageError(f"{data}: photos have {' and '.join(map(str, sorted(counts)))} points; {LAYOUT}")
    return Pointed(tuple(photos), tuple(others), name)


def _read(data: Path) -> tuple[list[PointedPhoto], list[PointedPhoto] | None, str]:
    """Photos of a folder, those that it brings to measure on, and the object's name."""
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; {LAYOUT}")
    tables = sorted(data.glob("*.csv"))
    val = [path for path in tables if "val" in path.stem.lower()]
    train = [path for path in tables if path not in val] or val
    if len(train) > 1:
        raise UsageError(
            f"{data}: {len(train)} CSV files ({train[0].name}, {train[1].name} …), one is needed; {LAYOUT}"
        )
    if train:
        return _table(train[0]), _table(val[0]) if val and val[0] != train[0] else None, CLASS
    if not any(data.rglob("*.json")):
        raise UsageError(f"{data}: no CSV or JSON of points; {LAYOUT}")
    return _from_coco(data)


def _table(path: Path) -> list[PointedPhoto]:
    """The rows of a CSV file."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read ({error}); {LAYOUT}") from error
    head, *entries = rows or [[]]
    if not head or head[0].strip() != "file" or len(head) < 3 or not len(head) % 2:
        raise UsageError(f"{path}: begins with {','.join(head[:5]) or 'nothing'}; {LAYOUT}")
    return [_row(f"{path}, line {number}", path, row, len(head)) for number, row in enumerate(entries, 2) if row]


def _row(place: str, table: Path, row: list[str], length: int) -> PointedPhoto:
    if len(row) != length:
        raise UsageError(f"{place}: {len(row)} values, its head has {length}; {LAYOUT}")
    try:
        values = [float(word) if word.strip() else math.nan for word in row[1:]]
    except ValueError as error:
        raise UsageError(f"{place}: {error}; give pixels, or nothing for an unknown point") from error
    candidates = [table.parent / row[0], table.parent / "images" / row[0]]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UsageError(f"{place}: {row[0]} is neither in {table.parent} nor in its folder images; {LAYOUT}")
    return PointedPhoto(os.fspath(found), np.array(values, np.float32).reshape(-1, 2))


def _from_coco(data: Path) -> tuple[list[PointedPhoto], list[PointedPhoto] | None, str]:
    files, own_val = find_coco(data)
    found = read_coco(files.annotations, files.images)
    photos = _largest_objects(found.photos)
    if not photos:
        raise UsageError(f"{files.annotations}: no object has keypoints; {LAYOUT}")
    val = _largest_objects(read_coco(own_val.annotations, own_val.images).photos) if own_val else None
    return photos, val, found.classes[0] if len(found.classes) == 1 else CLASS


def _largest_objects(photos: Sequence[CocoPhoto]) -> list[PointedPhoto]:
    """Of each photo the points of its largest object that has any."""
    chosen = []
    for photo in photos:
        seen = photo.keypoints[..., 2] > 0
        sides = photo.boxes[:, 2:] - photo.boxes[:, :2]
        areas = np.where(seen.any(axis=1), sides[:, 0] * sides[:, 1], 0)
        if areas.any():
            best = int(areas.argmax())
            points = np.where(seen[best, :, None], photo.keypoints[best, :, :2], np.float32(np.nan))
            chosen.append(PointedPhoto(photo.path, points))
    return chosen


def for_points(level: str) -> v2.Transform:
    """Augmentation of a photo with points: turned, moved and zoomed a little, other colours.

    No mirror image: in that a left eye would be a right one.
    """
    zoom = ZOOM[level]
    affine = v2.RandomAffine(
        TURN[level], (SHIFT, SHIFT), (1 - zoom, 1 + zoom), interpolation=v2.InterpolationMode.BILINEAR, fill=127
    )
    return v2.Compose([affine, v2.ColorJitter(*JITTER[level])])


class PointedExamples(Examples):
    """Letterboxed photos: "images" uint8 (size, size, 3), "points" (K, 2) in parts of its side and "known" (K,).

    "inner": height and width of what the photo takes of the input; the rest is filled.
    """

    def __init__(self, photos: Sequence[PointedPhoto], recipe: dict[str, Any], level: str, max_pixels: int):
        self.photos = photos
        self.size, self.fill = recipe["input"][0], recipe["fill"]
        self.augment = None if level == "none" else for_points(level)
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        photo = self.photos[index]
        pixels, points = read_photo(photo.path, self.max_pixels), np.nan_to_num(photo.points)
        if self.augment is not None:
            pixels, points = self._augmented(pixels, points)
        image, geometry = letterbox(pixels, self.size, self.fill)
        inner = round(pixels.shape[0] * geometry.scale_y), round(pixels.shape[1] * geometry.scale_x)
        placed = points * np.array([geometry.scale_x, geometry.scale_y], np.float32) / self.size
        return {
            "images": torch.from_numpy(image),
            "points": torch.from_numpy(placed),
            "known": torch.from_numpy(np.isfinite(photo.points).all(axis=1)),
            "inner": torch.tensor(inner),
        }

    def _augmented(self, pixels: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image = tv_tensors.Image(torch.tensor(pixels).permute(2, 0, 1))
        marks = tv_tensors.KeyPoints(torch.from_numpy(points), canvas_size=pixels.shape[:2])
        changed, moved = self.augment(image, marks)
        return changed.as_subclass(Tensor).permute(1, 2, 0).contiguous().numpy(), moved.as_subclass(Tensor).numpy()
