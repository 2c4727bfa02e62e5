"""Keeps the best of the patches that a search through photos finds, and draws them."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnncli.explain.channels import Box
from cnncli.explain.frames import as_rgb
from cnncli.explain.layout import plain
from cnncli.explain.patch_figure import box_in, cut
from cnncli.explain.patches import PeakEngine, Peaks
from cnncli.explain.subject import Size
from cnncli.imaging.figures import figure_of, pixels_of
from cnncli.run.pipeline import Outcome

A_LINE = 9  # patches
PATCH = (1.9, 2.35)  # inches, with its caption
HEADING = 0.4
LONGEST_NAME = 24  # letters of a caption
PADDING = 205  # grey of what a patch at a border lacks


@dataclass(frozen=True)
class FoundPatch:
    """Where a channel answers most in a photo: a part `pixels` of the network's input, of `size`.

    `window` is in pixels of the input, `box` in those of the photo, or of the face that was turned upright.
    """

    file: str
    channel: int
    activation: float
    cell: tuple[int, int]
    window: Box
    size: Size
    box: Box
    pixels: np.ndarray = field(repr=False)
    further: dict[str, Any] = field(default_factory=dict)  # which frame of a video

    def as_dict(self, rank: int) -> dict[str, Any]:
        return {
            "file": self.file,
            **self.further,
            "channel": self.channel,
            "rank": rank,
            "activation": float(f"{self.activation:.6g}"),
            "cell": list(self.cell),
            "box": list(self.box),
        }


class Best:
    """The `count` patches with the strongest activations of each channel, one of a photo."""

    def __init__(self, engine: PeakEngine, count: int):
        self.engine, self.count = engine, count
        self._kept: list[list[tuple[float, int, FoundPatch]]] = [[] for _ in engine.channels]

    def add(self, outcome: Outcome) -> None:
        """Keep the patches of a photo that are among the best; of equal ones those of the first photos stay."""
        peaks: Any = outcome.result
        for place, kept in enumerate(self._kept):
            if not peaks.activations[place]:  # a photo whose whole map a ReLU has closed excites nothing
                continue
            order = float(peaks.activations[place]), -outcome.item.index
            if len(kept) < self.count:
                heapq.heappush(kept, (*order, self._patch(outcome, peaks, place)))
            elif order > kept[0][:2]:
                heapq.heapreplace(kept, (*order, self._patch(outcome, peaks, place)))

    def _patch(self, outcome: Outcome, peaks: Peaks, place: int) -> FoundPatch:
        size = peaks.seen.shape[0], peaks.seen.shape[1]
        cell = int(peaks.cells[place][0]), int(peaks.cells[place][1])
        window = self.engine.maps(size).seen(cell)
        return FoundPatch(
            outcome.item.file, self.engine.channels[place], float(peaks.activations[place]), cell, window, size,
            box_in(peaks.region, peaks.part, size, window), cut(peaks.seen, window).copy(), outcome.item.extra,
        )  # fmt: skip

    def rows(self) -> list[list[FoundPatch]]:
        """Of each channel, the strongest first."""
        return [[entry[2] for entry in sorted(kept, key=_order, reverse=True)] for kept in self._kept]


def _order(entry: tuple[float, int, FoundPatch]) -> tuple[float, int]:
    return entry[:2]


def patches_figure(title: str, rows: Sequence[Sequence[FoundPatch]]) -> np.ndarray:
    """Lines of patches, each channel under its own heading: uint8 RGB."""
    columns = min(A_LINE, max(map(len, rows)))
    lines = [-(-len(row) // columns) for row in rows]
    heights = [count * PATCH[1] + HEADING for count in lines]
    figure = figure_of(max(columns * PATCH[0], 5), sum(heights) + HEADING)
    figure.suptitle(plain(title))
    blocks = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, count, row in zip(blocks, lines, rows, strict=True):
        block.suptitle(f"channel {row[0].channel}", fontsize="medium", x=0.01, ha="left", weight="bold")
        places = block.subplots(count, columns, squeeze=False).flatten()
        for place in places:
            place.set_axis_off()
        for rank, (place, patch, pixels) in enumerate(zip(places, row, equal_sized(row), strict=False), 1):
            _show(place, patch, pixels, rank)
    return pixels_of(figure)


def _show(place: Any, patch: FoundPatch, pixels: np.ndarray, rank: int) -> None:
    place.imshow(pixels)
    x, y, width, height = patch.box
    name = patch.file.rstrip("/").rpartition("/")[2]
    name = name if len(name) <= LONGEST_NAME else f"{name[:9]}…{name[-14:]}"
    lines = f"{rank}  {name}", f"{patch.activation:.4g} at {x + width // 2}, {y + height // 2}"
    place.set_title(plain(lines[0]) + "\n" + plain(lines[1]), fontsize="x-small")


def equal_sized(patches: Sequence[FoundPatch]) -> list[np.ndarray]:
    """Patches as uint8 RGB of one size: what the input's border cut off is grey."""
    height, width = (max(patch.pixels.shape[axis] for patch in patches) for axis in (0, 1))
    return [_padded(patch, height, width) for patch in patches]


def _padded(patch: FoundPatch, height: int, width: int) -> np.ndarray:
    pixels = as_rgb(patch.pixels)
    x, y, wide, high = patch.window
    top, left = _before(y, high, patch.size[0], height), _before(x, wide, patch.size[1], width)
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[top : top + high, left : left + wide] = pixels
    return canvas


def _before(start: int, length: int, size: int, wanted: int) -> int:
    """Pixels to add before a patch: all that it lacks where it begins at the border, half where it ends there too."""
    lacking = wanted - length
    if start > 0:
        return 0
    return lacking if start + length < size else lacking // 2
