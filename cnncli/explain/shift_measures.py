"""How well answers hold while a photo moves: numbers of lists of answers, the unmoved photo's first."""

import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np

from cnncli.imaging.boxes import areas, overlaps


def neighbour_consistency(labels: Sequence[Hashable]) -> float:
    """Part of the steps of one pixel, 0 to 1, after which the label is the same (Zhang 2019, sec. 4.2)."""
    return _part_equal(list(itertools.pairwise(labels)))


def pair_consistency(labels: Sequence[Hashable]) -> float:
    """Part of all pairs of shifts with the same label: Zhang's measure, whose pairs are drawn at random."""
    return _part_equal(list(itertools.combinations(labels, 2)))


def _part_equal(pairs: list[tuple[Hashable, Hashable]]) -> float:
    return sum(first == second for first, second in pairs) / len(pairs)


def changes(labels: Sequence[Hashable]) -> list[int]:
    """The shifts at which the label is another than one pixel before."""
    return [number for number, (before, now) in enumerate(itertools.pairwise(labels), 1) if before != now]


def moved_back(boxes: np.ndarray, offset: tuple[int, int], limits: tuple[float, float, float, float]) -> np.ndarray:
    """Corner boxes (N, 4) of a window that begins at x, y `offset`, in the first window, cut at corners `limits`."""
    low, high = (np.array(half * 2, np.float32) for half in (limits[:2], limits[2:]))
    return np.clip(boxes.astype(np.float32) + np.array(offset * 2, np.float32), low, high)


def best_match(box: np.ndarray, boxes: np.ndarray) -> tuple[int, float] | None:
    """Number and overlap of the box among (N, 4) that overlaps most; None where none does."""
    found = overlaps(box, boxes) if len(boxes) else np.zeros(0)
    if not found.any():
        return None
    best = int(found.argmax())
    return best, float(found[best])


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Pixels between the middles of two corner boxes (4,)."""
    middles = [(box[:2] + box[2:]) / 2 for box in (first, second)]
    return math.dist(*(middle.tolist() for middle in middles))


def has_area(boxes: np.ndarray) -> np.ndarray:
    """Whether each corner box (N, 4) has an inside."""
    return areas(boxes) > 0


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Part of the pixels of two masks (H, W) with the same class."""
    return float(np.mean(first == second))


def mean_overlap(first: np.ndarray, second: np.ndarray, background: int) -> float | None:
    """Mean intersection over union of the classes of two masks (H, W); None where both are background alone."""
    present = [index for index in np.union1d(first, second) if index != background]
    if not present:
        return None
    parts = [((first == index), (second == index)) for index in present]
    return float(np.mean([np.count_nonzero(a & b) / np.count_nonzero(a | b) for a, b in parts]))
