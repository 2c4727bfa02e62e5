"""Photos with boxes: read from COCO's layout, looked through, divided, and made into a detector's examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision import tv_tensors

from cnncli.errors import UsageError
from cnncli.imaging.geometry import letterbox
from cnncli.train import augment
from cnncli.train.coco import LAYOUT, CocoFiles, CocoPhoto, CocoSet, find_coco, inside, read_coco
from cnncli.train.config import TrainConfig
from cnncli.train.photos import Look, check_apart, divided, look_through, read_photo
from cnncli.train.recipe import Examples, Notify


@dataclass(frozen=True)
class Marked:
    """Photos to train and to measure on, with the classes of their labels and COCO's numbers for these."""

    train: tuple[CocoPhoto, ...]
    val: tuple[CocoPhoto, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]


def read_marked(config: TrainConfig, notify: Notify) -> Marked:
    """What DATA and --val hold. UsageError, showing the layout, where that is not right."""
    files, own_val = find_coco(Path(config.data))
    val_files = find_coco(Path(config.val))[0] if isinstance(config.val, str) else own_val
    found, looks = _read(files, config, notify)
    if val_files is None:
        train, val = _divided(found.photos, looks, config)
    else:
        other, val_looks = _read(val_files, config, notify)
        if (other.classes, other.category_ids) != (found.classes, found.category_ids):
            raise UsageError(f"{val_files.annotations}: its categories are not those of {files.annotations}")
        check_apart(looks, val_looks)
        train, val = found.photos, other.photos
    for part, name in ((train, "train"), (val, "measure")):
        if not any(len(photo.boxes) for photo in part):
            raise UsageError(f"{files.annotations}: no photo to {name} on has a box; {LAYOUT}")
    return Marked(train, val, found.classes, found.category_ids)


def _read(files: CocoFiles, config: TrainConfig, notify: Notify) -> tuple[CocoSet, dict[str, Look]]:
    """An annotation file and its photos that can be read, boxes cut to their true size."""
    found = read_coco(files.annotations, files.images)
    looks = look_through([photo.path for photo in found.photos], config, notify)
    photos = [_measured(photo, looks[photo.path], files.annotations) for photo in found.photos if photo.path in looks]
    kept = tuple(inside(photo) for photo in photos)
    dropped = found.dropped + sum(len(a.boxes) - len(b.boxes) for a, b in zip(photos, kept, strict=True))
    if dropped:
        notify(f"{files.annotations}: {dropped} boxes left out, empty or outside their photo")
    return replace(found, photos=kept), looks


def _measured(photo: CocoPhoto, look: Look, annotations: Path) -> CocoPhoto:
    if all(photo.size) and photo.size != look.size:
        own, stated = (f"{size[1]} x {size[0]}" for size in (look.size, photo.size))
        raise UsageError(
            f"{photo.path}: is {own}, but {annotations.name} says {stated}; its boxes would lie elsewhere (photos that "
            "are turned by their EXIF data are read upright)"
        )
    return replace(photo, size=look.size)


def _divided(
    photos: Sequence[CocoPhoto], looks: dict[str, Look], config: TrainConfig
) -> tuple[tuple[CocoPhoto, ...], tuple[CocoPhoto, ...]]:
    """A part of the photos to measure on, with boxes and without in the same ratio."""
    groups = ["marked" if len(photo.boxes) else "empty" for photo in photos]
    keys = [looks[photo.path].digest for photo in photos]
    train, val = divided(keys, groups, config.val, config.seed)
    return tuple(photos[place] for place in train), tuple(photos[place] for place in val)


class MarkedExamples(Examples):
    """Letterboxed photos: "images" uint8 (size, size, 3), "boxes" (M, 4) x1, y1, x2, y2 in its pixels, "labels" (M,).

    "inner": height and width of what the photo takes of the input; the rest is filled. "crowd_boxes" and
    "crowd_labels", of photos as they are: where many objects have not been told apart.
    """

    def __init__(self, photos: Sequence[CocoPhoto], recipe: dict[str, Any], level: str, max_pixels: int):
        self.photos = photos
        self.size, self.fill = recipe["input"][0], recipe["fill"]
        self.augment = None if level == "none" else augment.for_boxes(level)
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        photo = self.photos[index]
        pixels, boxes, labels = read_photo(photo.path, self.max_pixels), photo.boxes, photo.labels
        crowds, crowd_labels = photo.crowd_boxes, photo.crowd_labels
        if self.augment is not None:
            pixels, boxes, labels = self._augmented(pixels, boxes, labels)
            crowds, crowd_labels = crowds[:0], crowd_labels[:0]
        image, geometry = letterbox(pixels, self.size, self.fill)
        scale = np.array([geometry.scale_x, geometry.scale_y] * 2, np.float32)
        inner = round(pixels.shape[0] * geometry.scale_y), round(pixels.shape[1] * geometry.scale_x)
        return {
            "images": torch.from_numpy(image),
            "boxes": torch.from_numpy(boxes * scale),
            "labels": torch.from_numpy(labels),
            "inner": torch.tensor(inner),
            "crowd_boxes": torch.from_numpy(crowds * scale),
            "crowd_labels": torch.from_numpy(crowd_labels),
        }

    def _augmented(
        self, pixels: np.ndarray, boxes: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = tv_tensors.Image(torch.tensor(pixels).permute(2, 0, 1))
        marks = tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=pixels.shape[:2])
        changed, target = self.augment(image, {"boxes": marks, "labels": torch.from_numpy(labels)})
        own = (part.as_subclass(Tensor) for part in (changed.permute(1, 2, 0), target["boxes"], target["labels"]))
        shown, placed, kinds = (part.contiguous().numpy() for part in own)
        return shown, placed.astype(np.float32), kinds


def padded(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch: as many boxes of each photo as the most marked one has (at least one), those added with label -1."""
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in ("images", "inner")}
    for name in ("boxes", "crowd_boxes"):
        parts = [torch.zeros(1, 4), *(sample[name] for sample in samples)]
        batch[name] = pad_sequence(parts, batch_first=True)[1:]
    for name in ("labels", "crowd_labels"):
        parts = [torch.full((1,), -1), *(sample[name] for sample in samples)]
        batch[name] = pad_sequence(parts, batch_first=True, padding_value=-1)[1:]
    return batch
