"""Photos with outlined objects in COCO's layout, as examples for a network that gives each object a mask."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cnncli.errors import UsageError
from cnncli.imaging.geometry import resize
from cnncli.imaging.masks import filled
from cnncli.train.augment import JITTER
from cnncli.train.coco import LAYOUT, CocoPhoto
from cnncli.train.config import TrainConfig
from cnncli.train.marked import Marked, read_marked
from cnncli.train.masked_examples import grown, input_size
from cnncli.train.photos import read_photo
from cnncli.train.recipe import Batch, Examples, Notify

LEAST_SIDE = 1.0  # px of a box in the network's input; a smaller object can't be learned from


def read_outlined(config: TrainConfig, notify: Notify) -> Marked:
    """What DATA and --val hold, without objects that have no outline. UsageError where none has one."""
    found = read_marked(config, notify)
    train, val = (tuple(_outlined(photo) for photo in part) for part in (found.train, found.val))
    for part, name in ((train, "train"), (val, "measure")):
        if not any(len(photo.boxes) for photo in part):
            raise UsageError(f"{config.data}: no object to {name} on has an outline ('segmentation'); {LAYOUT}")
    before, after = (sum(len(photo.boxes) for photo in part) for part in ((*found.train, *found.val), (*train, *val)))
    if after < before:
        notify(f"{config.data}: {before - after} objects left out, they have no outline")
    return replace(found, train=train, val=val)


def _outlined(photo: CocoPhoto) -> CocoPhoto:
    kept = [number for number, outline in enumerate(photo.segmentations) if outline]
    return replace(
        photo,
        boxes=photo.boxes[kept],
        labels=photo.labels[kept],
        segmentations=tuple(photo.segmentations[number] for number in kept),
        keypoints=photo.keypoints[kept],
    )


def outline_mask(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """The mask uint8 (H, W) of COCO's polygons or run lengths, compressed or not."""
    if not isinstance(outline, Mapping):
        encoded = coco.merge(coco.frPyObjects([list(polygon) for polygon in outline], *size))
    else:
        encoded = coco.frPyObjects(dict(outline), *size) if isinstance(outline["counts"], list) else outline
    counts = encoded["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return filled({"size": encoded["size"], "counts": text}).astype(np.uint8)


class OutlinedExamples(Examples):
    """Photos in the size that `cnncli segment` gives them: "images" uint8 (H, W, 3), and of each of M objects
    "boxes" (M, 4) x1, y1, x2, y2 around its mask, "labels" (M,) from 1, "masks" uint8 (M, H, W)."""

    def __init__(self, photos: Sequence[CocoPhoto], recipe: Mapping[str, Any], level: str, max_pixels: int):
        self.photos, self.recipe, self.max_pixels = photos, dict(recipe), max_pixels
        steps = [v2.RandomHorizontalFlip(), v2.ColorJitter(*JITTER[level])] if level != "none" else []
        self.augment = v2.Compose(steps) if steps else None

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        photo = self.photos[index]
        pixels = read_photo(photo.path, self.max_pixels)
        size = input_size(pixels.shape[:2], self.recipe)
        image = torch.from_numpy(np.array(resize(pixels, *size, self.recipe["filter"])[0])).permute(2, 0, 1)
        masks = [resize(outline_mask(outline, photo.size), *size, "nearest")[0] for outline in photo.segmentations]
        stacked = torch.from_numpy(np.array(masks, np.uint8).reshape(-1, *size))
        if self.augment is not None:
            image, stacked = self.augment(tv_tensors.Image(image), tv_tensors.Mask(stacked))
            image, stacked = image.as_subclass(Tensor), stacked.as_subclass(Tensor)
        boxes = mask_boxes(stacked)
        kept = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(dim=1)
        labels = torch.from_numpy(photo.labels) + 1
        return {
            "images": image.permute(1, 2, 0).contiguous(),
            "boxes": boxes[kept], "labels": labels[kept], "masks": stacked[kept].contiguous(),
        }  # fmt: skip


def mask_boxes(masks: Tensor) -> Tensor:
    """Corners (M, 4) of the pixels of masks (M, H, W), the outer edges; zeros of an empty one."""
    boxes = torch.zeros(len(masks), 4)
    for number, mask in enumerate(masks):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        if len(rows):
            edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            boxes[number] = torch.cat(edges).float()
    return boxes


def with_objects(samples: Sequence[dict[str, Any]]) -> Batch:
    """A batch of any sizes: images filled up with zeros to the largest, their "sizes" (N, 2), and a list of objects."""
    sizes = torch.tensor([sample["images"].shape[:2] for sample in samples])
    height, width = sizes.amax(dim=0).tolist()
    images = [grown(sample["images"].permute(2, 0, 1), height, width, 0).permute(1, 2, 0) for sample in samples]
    objects = [
        {"boxes": sample["boxes"], "labels": sample["labels"], "masks": grown(sample["masks"], height, width, 0)}
        for sample in samples
    ]
    return {"images": torch.stack(images).contiguous(), "sizes": sizes, "objects": objects}
