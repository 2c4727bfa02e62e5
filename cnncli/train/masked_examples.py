"""Photos and masks in the sizes that a segmenter is trained and measured at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors

from cnncli.imaging.geometry import resize, stepped_size
from cnncli.imaging.masks import IGNORE
from cnncli.tasks.masks import read_mask
from cnncli.train import augment
from cnncli.train.masked import Masked
from cnncli.train.photos import read_photo
from cnncli.train.recipe import Batch, Examples

MOST_SIDE = 1024  # px of a mask that answers are compared with; a larger one is reduced


class TrainingExamples(Examples):
    """All in one size, that of the recipe's input: "images" uint8 (H, W, 3), "masks" uint8 (H, W)."""

    def __init__(
        self, photos: Sequence[Masked], table: np.ndarray, recipe: Mapping[str, Any], level: str, max_pixels: int
    ):
        self.photos, self.table, self.recipe, self.max_pixels = photos, table, dict(recipe), max_pixels
        self.augment = None if level == "none" else augment.for_masks(level, tuple(recipe["input"]))

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        pixels, numbers = read_both(self.photos[index], self.table, self.max_pixels)
        if self.augment is None:
            size = self.recipe["input"]
            image, mask = resize(pixels, *size, self.recipe["filter"])[0], resize(numbers, *size, "nearest")[0]
            return {"images": torch.from_numpy(np.array(image)), "masks": torch.from_numpy(np.array(mask))}
        image = tv_tensors.Image(torch.from_numpy(np.array(pixels)).permute(2, 0, 1))  # decoders' arrays are read-only
        image, mask = self.augment(image, tv_tensors.Mask(torch.from_numpy(numbers)))
        return {
            "images": image.as_subclass(Tensor).permute(1, 2, 0).contiguous(),
            "masks": mask.as_subclass(Tensor).contiguous(),
        }


class ValidationExamples(Examples):
    """Each photo in the size that `cnncli segment` gives it, each mask in its own."""

    def __init__(self, photos: Sequence[Masked], table: np.ndarray, recipe: Mapping[str, Any], max_pixels: int):
        self.photos, self.table, self.recipe, self.max_pixels = photos, table, dict(recipe), max_pixels

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        pixels, numbers = read_both(self.photos[index], self.table, self.max_pixels)
        image = resize(pixels, *input_size(pixels.shape[:2], self.recipe), self.recipe["filter"])[0]
        factor = MOST_SIDE / max(numbers.shape)
        if factor < 1:
            numbers = resize(numbers, *(max(1, round(side * factor)) for side in numbers.shape), "nearest")[0]
        return {"images": torch.from_numpy(np.array(image)), "masks": torch.from_numpy(np.array(numbers))}


def read_both(entry: Masked, table: np.ndarray, max_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (H, W, 3) and class numbers uint8 (H, W), 255 where left open."""
    return read_photo(entry.photo, max_pixels), table[read_mask(entry.mask, entry.size)]


def input_size(size: tuple[int, int], recipe: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a network's input for a photo, as `tasks.segment` has it."""
    if "sizes" not in recipe:
        return tuple(recipe["input"])
    return stepped_size(size[1], size[0], recipe["long_side"], *recipe["sizes"])[::-1]


def padded(samples: Sequence[dict[str, Any]]) -> Batch:
    """A batch of any sizes: images filled up with zeros, masks with 255, to the largest of them.

    "sizes" (N, 4): the true height and width of each image, then of each mask.
    """
    sizes = torch.tensor([[*sample["images"].shape[:2], *sample["masks"].shape] for sample in samples])
    height, width, rows, columns = sizes.amax(dim=0).tolist()
    images = [grown(sample["images"].permute(2, 0, 1), height, width, 0).permute(1, 2, 0) for sample in samples]
    masks = [grown(sample["masks"], rows, columns, IGNORE) for sample in samples]
    return {"images": torch.stack(images).contiguous(), "masks": torch.stack(masks), "sizes": sizes}


def grown(values: Tensor, height: int, width: int, fill: int) -> Tensor:
    return F.pad(values, (0, width - values.shape[-1], 0, height - values.shape[-2]), value=fill)
