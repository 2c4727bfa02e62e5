"""Augmentation by torchvision's transforms v2, which turn boxes and masks together with their photo.

All draw from torch's global generator. Photos are uint8 tensors (3, H, W).
"""

import torch
from torchvision.transforms import InterpolationMode, v2

INTERPOLATIONS = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}
JITTER = {"light": (0.2, 0.2, 0.2, 0.02), "strong": (0.4, 0.4, 0.4, 0.05)}  # brightness, contrast, saturation, hue
LEAST_AREA = {"light": 0.5, "strong": 0.2}  # of the photo, in a random crop: Szegedy et al. 2015 take 0.08
MOST_ZOOM_OUT = 2.0  # times the side; Liu et al. 2016, "SSD", sec. 3.6, go up to 4


def for_classes(level: str, size: tuple[int, int], resampling: str) -> v2.Transform:
    """Of a photo to `size` (height, width): random resized crop, mirror image, colours; strong also TrivialAugment."""
    steps: list[v2.Transform] = [
        v2.RandomResizedCrop(
            size, scale=(LEAST_AREA[level], 1), interpolation=INTERPOLATIONS[resampling], antialias=True
        ),
        v2.RandomHorizontalFlip(),
    ]
    if level == "strong":
        steps += [v2.TrivialAugmentWide(), v2.RandomErasing(0.25)]
    return v2.Compose([*steps, v2.ColorJitter(*JITTER[level])])


def for_boxes(level: str) -> v2.Transform:
    """Of a photo with boxes: mirror image, colours, a crop that keeps objects or a larger canvas; size changes."""
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.ColorJitter(*JITTER[level])]
    if level == "strong":
        steps.append(v2.RandomZoomOut(fill=127, side_range=(1, MOST_ZOOM_OUT), p=0.3))
    steps += [v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()]
    return v2.Compose(steps)


def for_masks(level: str, size: tuple[int, int]) -> v2.Transform:
    """Of a photo with its mask to `size`: random resized crop (nearest for the mask), mirror image, colours."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, (LEAST_AREA[level], 1), _ratios(size), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(*JITTER[level]),
        ]
    )


def _ratios(size: tuple[int, int]) -> tuple[float, float]:
    """Widths over heights of crops: from 3/4 to 4/3 times that of the result, which stretches them by so much."""
    ratio = size[1] / size[0]
    return 0.75 * ratio, ratio / 0.75


def for_patches(level: str, size: int) -> v2.Transform:
    """Of a clean photo to a patch whose pixels are its own: random crop, mirror image, quarter turns."""
    steps: list[v2.Transform] = [v2.RandomCrop(size, pad_if_needed=True, padding_mode="reflect")]
    if level != "none":
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.RandomApply([QuarterTurn()], p=0.5)]
    return v2.Compose(steps)


class QuarterTurn(v2.Transform):
    """A photo turned by 90 degrees."""

    def transform(self, inpt: torch.Tensor, params: dict) -> torch.Tensor:
        return inpt.rot90(1, (-2, -1))
