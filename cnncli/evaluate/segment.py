"""How well masks of classes agree with what people have drawn: intersection over union, as PASCAL VOC counts it."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.imaging.masks import IGNORE
from cnncli.io.images import Photo
from cnncli.io.sources import SourceOptions, Sources
from cnncli.results.segment import Segmentation
from cnncli.run.items import Item
from cnncli.tasks.masks import MASK_SUFFIX, read_mask

LAYOUT = "a folder of images and a folder of masks of the same names in .png, whose pixels are class numbers"


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

    def __init__(self, pairs: Sequence[Pair], classes: Sequence[str], ignored: Sequence[int] = ()):
        """`ignored`: class numbers of masks that are left open, as 255 is."""
        self._masks = {pair.photo: pair.mask for pair in pairs}
        self._classes = classes
        self._ignored = [IGNORE, *ignored]
        self._lock = threading.Lock()  # workers write at the same time
        self.counts = np.zeros((len(classes), len(classes)), np.int64)

    def write(self, item: Item, photo: Photo, result: Segmentation) -> Mapping[str, Any]:
        truth = read_mask(self._masks[item.file], result.pixels.shape)
        known = ~np.isin(truth, self._ignored)
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
