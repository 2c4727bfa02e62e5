"""Data sets in COCO's layout: photos, and one JSON of their boxes, outlines or points.

Source: Lin et al. 2014, "Microsoft COCO"; https://cocodataset.org/#format-data. Boxes there are x, y, width, height;
here they are corners x1, y1, x2, y2, in pixels of the photo.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import UsageError

LAYOUT = """expected COCO's layout:
  DATA/instances_train.json   images, annotations (bbox, category_id), categories; also annotations.json,
                              or in DATA/annotations/
  DATA/train/*.jpg            its photos; also in DATA/images/, or beside the JSON
  DATA/instances_val.json, DATA/val/*.jpg   the photos to measure on; without them, --val says which"""
NAMES = ("annotations", "instances", "person_keypoints", "keypoints")  # what such files' names begin with
PARTS = {
    "images": {"id", "file_name"},
    "annotations": {"image_id", "category_id", "bbox"},
    "categories": {"id", "name"},
}
NAMED = 3  # files that an error names


@dataclass(frozen=True)
class CocoPhoto:
    """A photo and its M objects: `boxes` float32 (M, 4), x1, y1, x2, y2 in pixels; `labels` (M,) number the classes.

    `size`: height and width as the JSON states them, (0, 0) where it does not. `segmentations`: of each object
    its polygons, its RLE or None. `keypoints` float32 (M, K, 3): x, y and COCO's 0 (unknown), 1 (hidden) or 2.
    Crowds, areas of many objects that nobody has told apart, are beside them: nothing is learned or found amiss there.
    """

    path: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    segmentations: tuple[Any, ...]
    keypoints: np.ndarray
    crowd_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    crowd_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class CocoSet:
    """Photos in the JSON's order; classes in that of its categories, with their own numbers.

    `dropped` counts boxes that are empty or lie outside their photo.
    """

    photos: tuple[CocoPhoto, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    dropped: int = 0


@dataclass(frozen=True)
class CocoFiles:
    """An annotation file and the folder of its photos."""

    annotations: Path
    images: Path


def find_coco(data: Path) -> tuple[CocoFiles, CocoFiles | None]:
    """What a folder holds to train on and, where it brings that itself, to measure on. UsageError for other layouts."""
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; {LAYOUT}")
    found = [path for folder in (data, data / "annotations") for path in sorted(folder.glob("*.json"))]
    known = [path for path in found if path.stem.lower().startswith(NAMES) and "test" not in path.stem.lower()]
    val = [path for path in known if "val" in path.stem.lower()]
    train = [path for path in known if path not in val] or val
    stated = [path for path in train if "train" in path.stem.lower()] or train
    chosen = _kind_first(stated, data)
    own = [path for path in val if path is not chosen and path.stem.startswith(chosen.stem.split("_")[0])]
    return _with_images(chosen, data), _with_images(own[0], data) if len(own) == 1 else None


def _kind_first(files: list[Path], data: Path) -> Path:
    """The file of boxes where there are those of points too."""
    for name in NAMES:
        members = [path for path in files if path.stem.lower().startswith(name)]
        if len(members) == 1:
            return members[0]
        if members:
            listed = ", ".join(path.name for path in members[:NAMED])
            raise UsageError(f"{data}: {len(members)} files of annotations ({listed}), one is needed; {LAYOUT}")
    raise UsageError(f"{data}: no JSON of annotations; {LAYOUT}")


def _with_images(annotations: Path, data: Path) -> CocoFiles:
    """An annotation file with the first folder that holds any of its photos."""
    part = annotations.stem.rpartition("_")[2]
    places = [data / "images" / part, data / part, data / "images", annotations.parent, data]
    names = [entry["file_name"] for entry in _content(annotations)["images"]]
    for place in places:
        if place.is_dir() and any((place / name).is_file() for name in names):
            return CocoFiles(annotations, place)
    shown = ", ".join(names[:NAMED])
    raise UsageError(f"{annotations}: its {len(names)} photos ({shown} …) are in no folder beside it; {LAYOUT}")


def read_coco(annotations: Path, images: Path) -> CocoSet:
    """The photos of an annotation file in a folder. UsageError where it is no COCO file, or names missing photos."""
    content = _content(annotations)
    _check_photos(annotations, images, content)
    ids = tuple(entry["id"] for entry in content["categories"])
    numbers = {category: number for number, category in enumerate(ids)}
    marks: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
    for number, mark in enumerate(content["annotations"]):
        _check_mark(f"{annotations}: annotations[{number}]", mark, marks, numbers)
        marks[mark["image_id"]].append(mark)
    points = max((len(mark.get("keypoints") or ()) // 3 for mark in content["annotations"]), default=0)
    photos = [_photo(entry, images, marks[entry["id"]], numbers, points) for entry in content["images"]]
    kept = tuple(inside(photo) for photo in photos)
    dropped = sum(len(before.boxes) - len(after.boxes) for before, after in zip(photos, kept, strict=True))
    return CocoSet(kept, tuple(str(entry["name"]) for entry in content["categories"]), ids, dropped)


def inside(photo: CocoPhoto) -> CocoPhoto:
    """The photo with its boxes cut to its size, where that is stated, and without those that are then empty."""
    height, width = photo.size if all(photo.size) else (np.inf, np.inf)
    boxes = np.clip(photo.boxes, 0, np.array([width, height, width, height], np.float32))
    (kept,) = np.nonzero(((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1))
    segmentations = tuple(photo.segmentations[index] for index in kept)
    return replace(
        photo,
        boxes=boxes[kept],
        labels=photo.labels[kept],
        segmentations=segmentations,
        keypoints=photo.keypoints[kept],
    )


def _photo(
    entry: Mapping[str, Any], images: Path, marks: list[Mapping[str, Any]], numbers: Mapping[Any, int], points: int
) -> CocoPhoto:
    crowds = [mark for mark in marks if mark.get("iscrowd")]
    marks = [mark for mark in marks if not mark.get("iscrowd")]
    return CocoPhoto(
        os.path.join(images, entry["file_name"]),
        (int(entry.get("height") or 0), int(entry.get("width") or 0)),
        _corners(marks),
        np.array([numbers[mark["category_id"]] for mark in marks], np.int64),
        tuple(mark.get("segmentation") for mark in marks),
        np.array([_points(mark, points) for mark in marks], np.float32).reshape(len(marks), points, 3),
        _corners(crowds),
        np.array([numbers[mark["category_id"]] for mark in crowds], np.int64),
    )


def _corners(marks: list[Mapping[str, Any]]) -> np.ndarray:
    corners = np.array([mark["bbox"] for mark in marks], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def _points(mark: Mapping[str, Any], count: int) -> list[float]:
    """An object's points, unknown ones in the place of those that it lacks."""
    own = mark.get("keypoints") or []
    return [*own, *[0] * (3 * count - len(own))]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read ({error}); {LAYOUT}") from error
    for part, keys in PARTS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise UsageError(f"{path}: has no {part}; {LAYOUT}")
        for number, entry in enumerate(entries):
            lacking = sorted(keys - set(entry)) if isinstance(entry, dict) else sorted(keys)
            if lacking:
                raise UsageError(f"{path}: {part}[{number}] has no {lacking[0]}; {LAYOUT}")
    return content


def _check_photos(annotations: Path, images: Path, content: dict[str, Any]) -> None:
    names = [entry["file_name"] for entry in content["images"]]
    missing = [name for name in names if not (images / name).is_file()]
    if missing:
        shown = ", ".join(missing[:NAMED])
        raise UsageError(
            f"{annotations}: {len(missing)} of its {len(names)} photos are not in {images} ({shown}); add them, or "
            "take them out of the JSON"
        )


def _check_mark(place: str, mark: Mapping[str, Any], images: Mapping[Any, Any], categories: Mapping[Any, int]) -> None:
    if mark["image_id"] not in images:
        raise UsageError(f"{place} is of image {mark['image_id']}, which the file does not list; {LAYOUT}")
    if mark["category_id"] not in categories:
        raise UsageError(f"{place} is of category {mark['category_id']}, which the file does not list; {LAYOUT}")
    box = mark["bbox"]
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(value, (int, float)) for value in box)
    if not numbers or not np.isfinite(box).all():
        raise UsageError(f"{place} has the bbox {box}; expected [x, y, width, height] in pixels")
    points = mark.get("keypoints") or []
    if len(points) % 3:
        raise UsageError(f"{place} has {len(points)} numbers as keypoints; expected x, y and visibility of each")
