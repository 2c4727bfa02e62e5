"""What the answer loses where a patch covers the photo.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sec. 4.2.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.explain.answers import Target
from cnncli.explain.frames import view_of
from cnncli.explain.layout import Panel, heat_figure
from cnncli.explain.method import Arrays, Method
from cnncli.explain.subject import Size, Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

FILLS = ("mean", "black", "grey", "blur")
AUTO_PLACES = 20  # along the longer side
# pixels of the covered inputs that are computed at once; a CPU is fastest where their maps fit its cache
BATCH_PIXELS = {"cpu": 4 * 224 * 224}
BATCH_PIXELS_ELSEWHERE = 64 * 224 * 224


@dataclass(frozen=True)
class Occlusion(Method):
    """The drop of the score of `label` (or the network's own answer) for each place of a `patch` of pixels.

    `step` pixels lie between two places; None: as many as make at most 20 places along a side.
    """

    label: str | None = None
    patch: int = 32
    step: int | None = None
    fill: str = "mean"
    name: ClassVar[str] = "occlusion"

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise UsageError(f"--fill {self.fill}: choose {', '.join(FILLS)}")
        for option, value in (("--patch", self.patch), ("--step", self.step)):
            if value is not None and value < 1:
                raise UsageError(f"{option} {value}: give a number of pixels, 1 or more")

    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        """`drops` (rows, columns) of the places, and their `heat` (h, w): the mean drop of what covers a pixel."""
        images = subject.normalised(pixels)
        size = images.shape[2], images.shape[3]
        if self.patch >= max(size):
            raise UsageError(
                f"--patch {self.patch}: covers all of what {subject.info.name} sees, {size[1]} x {size[0]} pixels"
            )
        target = subject.target(images, self.label)
        tops, lefts = places(size, self.patch, self._step(size))
        cover = cover_of(self.fill, subject, images, self.patch)
        drops = target.score - self._scores(subject, images, cover, target, [(y, x) for y in tops for x in lefts])
        drops = drops.reshape(len(tops), len(lefts))
        return {
            "heat": spread(drops, tops, lefts, self.patch, size),
            "drops": drops,
            "tops": np.array(tops),
            "lefts": np.array(lefts),
            "index": np.array(target.index),
            "score": np.array(target.score),
        }

    def _step(self, size: Size) -> int:
        return self.step or max(1, math.ceil((max(size) - self.patch) / (AUTO_PLACES - 1)))

    def _scores(
        self, subject: Subject, images: Tensor, cover: Tensor, target: Target, corners: list[tuple[int, int]]
    ) -> np.ndarray:
        """Scores (P,) with the patch at each corner (top, left)."""
        pixels = BATCH_PIXELS.get(images.device.type, BATCH_PIXELS_ELSEWHERE)
        count = max(1, pixels // (images.shape[2] * images.shape[3]))
        scores = []
        for start in range(0, len(corners), count):
            covered = images.repeat(len(corners[start : start + count]), 1, 1, 1)
            for image, (top, left) in zip(covered, corners[start:], strict=False):
                rows, columns = slice(top, top + self.patch), slice(left, left + self.patch)
                image[:, rows, columns] = cover[0, :, rows, columns]
            with torch.no_grad():
                scores.append(subject.score(covered, target).cpu().numpy())
        return np.concatenate(scores)

    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        label, score = subject.answer.label_of(int(arrays["index"])), float(arrays["score"])
        size, drops = arrays["heat"].shape, arrays["drops"]
        row, column = np.unravel_index(int(drops.argmax()), drops.shape)
        top, left = int(arrays["tops"][row]), int(arrays["lefts"][column])
        middle = _middle(left, self.patch, size[1]), _middle(top, self.patch, size[0])
        half = half_area(arrays["heat"])
        entries = {
            "label": label,
            "index": int(arrays["index"]),
            "score": round(score, 7),
            "patch": self.patch,
            "step": self._step(size),
            "fill": self.fill,
            "places": list(drops.shape),
            "largest_drop": round(float(drops.max()), 7),
            "peak": [round(middle[0], 4), round(middle[1], 4)] if drops[row, column] > 0 else None,
            "half_area": None if half is None else round(half, 4),
        }
        return entries, f"{label} {score:.1%}, {score - drops.max():.1%} where covering costs most"

    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        view, part = view_of(subject.info, photo.pixels, found.seen)
        entries, heat = found.entries, found.arrays["heat"]
        most = max(float(np.abs(heat).max()), 1e-6)  # a scale needs a length
        panel = Panel(
            f"{entries['label']} {entries['score']:.1%}: what it loses where it is covered (blue: gains)",
            view.laid(heat[part]),
            (-most, most),
            "drop of the score, mean of the patches over a pixel",
            "RdBu_r",
        )
        title = f"{subject.info.name}: patch of {self.patch} pixels, step {entries['step']}, fill {self.fill}"
        return heat_figure(title, "photo", view, [panel])


def places(size: Size, patch: int, step: int) -> tuple[list[int], list[int]]:
    """First rows and columns of the patches; the last ones end with the input, so that all of it is covered."""
    tops, lefts = (
        [*range(0, max(0, length - patch), step), max(0, length - patch)] for length in size
    )  # where the patch is longer than one side, one place covers that
    return tops, lefts


def cover_of(fill: str, subject: Subject, images: Tensor, patch: int) -> Tensor:
    """What patches show, (1, C, H, W) as `images`: their mean colour, black, middle grey, or themselves blurred."""
    if fill == "blur":
        return blurred(images, patch / 2)
    black, white = subject.limits
    colours = {"mean": images.mean((2, 3), keepdim=True), "black": black, "grey": (black + white) / 2}
    return colours[fill].expand_as(images)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur (1, C, H, W) of `sigma` pixels; the border's pixels go on outside."""
    import cv2

    pixels = images[0].permute(1, 2, 0).cpu().numpy()
    soft = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).reshape(pixels.shape)
    return torch.from_numpy(soft).permute(2, 0, 1)[None].to(images.device)


def spread(drops: np.ndarray, tops: list[int], lefts: list[int], patch: int, size: Size) -> np.ndarray:
    """The mean drop (h, w) of the patches that cover a pixel; 0 where none does, between steps longer than a patch."""
    total, count = np.zeros(size), np.zeros(size)
    for top, row in zip(tops, drops, strict=True):
        for left, drop in zip(lefts, row, strict=True):
            total[top : top + patch, left : left + patch] += drop
            count[top : top + patch, left : left + patch] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)


def half_area(heat: np.ndarray) -> float | None:
    """The least share of the area that holds half of what is above 0 in a map (h, w); None where nothing is."""
    strongest = np.sort(heat.clip(0).ravel().astype(np.float64))[::-1].cumsum()
    if strongest[-1] <= 0:
        return None
    return (int(np.searchsorted(strongest, strongest[-1] / 2)) + 1) / heat.size


def _middle(first: int, patch: int, length: int) -> float:
    """The middle of a patch, as a share of a side."""
    return (first + min(first + patch, length)) / 2 / length
