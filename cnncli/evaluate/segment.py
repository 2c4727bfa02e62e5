"""How well masks of classes agree with what people have drawn: intersection over union, as PASCAL VOC counts it."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnncli.errors import InputError, UsageError
from cnncli.imaging.masks import IGNORE, palette
from cnncli.io.images import Photo, reported_as_input_errors
from cnncli.io.sources import SourceOptions, Sources
from cnncli.results.segment import Segmentation
from cnncli.run.items import Item

LAYOUT = "a folder of images and a folder of masks of the same names in .png, whose pixels are class numbers"
MASK_SUFFIX = ".png"


@dataclass(frozen=True)
class Pair:
    """A photo and the mask that says which class each pixel is, 255 where that is left open."""

    photo: str
    mask: str


def find_pairs(images: Path, masks: Path) -> tuple[list[Pair], int]:
    """The photos of a folder that have a mask in the other, and how many have none. UsageError where no photo has."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected {LAYOUT}")
    files = [source.file for source in Sources([str(images)], SourceOptions())]
    named = [Pair(file, str(masks / Path(os.path.basename(file)).with_suffix(MASK_SUFFIX))) for file in files]
    pairs = [pair for pair in named if os.path.exists(pair.mask)]
    if not pairs:
        raise UsageError(f"{masks}: has no mask for any of the {len(files)} images in {images}; expected {LAYOUT}")
    return pairs, len(named) - len(pairs)


class Agreement:
    """Counts, over all photos, how many pixels of each true class were given each class (run.runner.Product)."""

    def __init__(self, pairs: Sequence[Pair], classes: Sequence[str]):
        self._masks = {pair.photo: pair.mask for pair in pairs}
        self._classes = classes
        self._lock = threading.Lock()  # workers write at the same time
        self.counts = np.zeros((len(classes), len(classes)), np.int64)

    def write(self, item: Item, photo: Photo, result: Segmentation) -> Mapping[str, Any]:
        truth = read_mask(self._masks[item.file], result.pixels.shape)
        known = truth != IGNORE
        count = len(self._classes)
        if known.any() and int(truth[known].max()) >= count:
            raise InputError(f"its mask has class {int(truth[known].max())}, the model's go up to {count - 1}")
        pairs = truth[known].astype(np.int64) * count + result.pixels[known]
        with self._lock:
            self.counts += np.bincount(pairs, minlength=count * count).reshape(count, count)
        return {}

    def figures(self) -> dict[str, Any]:
        """Mean intersection over union, pixel accuracy, and the intersection over union of each class, in percent.

        The mean is over the classes that occur in the truth; one that is only ever answered lowers those it was
        taken for.
        """
        right = self.counts.diagonal()
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - right
        present = np.flatnonzero(union)
        parts = {int(index): 100 * right[index] / union[index] for index in present}
        true = [part for index, part in parts.items() if self.counts[index].any()]
        return {
            "mIoU": round(float(np.mean(true)), 2) if true else None,
            "pixel_accuracy": round(100 * float(right.sum() / max(self.counts.sum(), 1)), 2),
            "pixels": int(self.counts.sum()),
            "classes": [
                {"label": self._classes[index], "index": index, "IoU": round(float(part), 2),
                 "pixels": int(self.counts[index].sum())}
                for index, part in parts.items()
            ],
        }  # fmt: skip


def read_mask(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Class numbers (H, W) of a mask, indexed, grey or in VOC's colours. InputError where it has another shape."""
    with reported_as_input_errors(), Image.open(path) as image:
        numbers = (
            np.asarray(image) if image.mode in ("P", "L") else _numbers_of_colours(np.asarray(image.convert("RGB")))
        )
    if numbers.shape != shape:
        sizes = "{1} x {0}, not {3} x {2}".format(*numbers.shape, *shape)
        raise InputError(f"its mask {path} is {sizes}")
    return numbers


def _numbers_of_colours(pixels: np.ndarray) -> np.ndarray:
    """Class numbers of VOC's colours."""
    colours = np.array(palette(), np.int64).reshape(-1, 3) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(colours)
    flat = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    place = np.searchsorted(colours[order], flat).clip(max=len(order) - 1)
    if (colours[order][place] != flat).any():
        raise InputError("its mask has colours that are not PASCAL VOC's; store class numbers as an indexed PNG")
    return order[place].astype(np.uint8)
