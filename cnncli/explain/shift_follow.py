"""What is followed while a photo moves: a label's score, an object's box (masks and pictures: shift_dense)."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from cnncli.errors import InputError
from cnncli.explain import shift_measures as measures
from cnncli.explain.shift_windows import Shift, Travel, covering
from cnncli.io.weights import ModelInfo
from cnncli.results.classify import Classification
from cnncli.results.detect import Detection, Detections

FOUND_FROM = 0.5  # overlap from which a box counts as the same object's, as in PASCAL VOC (Everingham et al. 2010)
UNIT_DIGITS, PIXEL_DIGITS = 7, 3  # of the record


@dataclass(frozen=True)
class Trace:
    """What became of one model's answer: `entries` of the record, and the `curve` over the shifts (None: infinite).

    `changes` are the shifts at which the label is another; `words` say the numbers. For the picture: `boxes` (N, 4)
    of the object in pixels of the photo, and `unsteady` (h, w), how much each pixel of the shared part changed.
    """

    entries: dict[str, Any]
    curve: list[float | None]
    words: list[str]
    changes: list[int] = field(default_factory=list)
    boxes: np.ndarray | None = None
    unsteady: np.ndarray | None = None


class Follower(ABC):
    """`quantity`: what its curve shows; `limits` of that; `figure`: the entry that sums it up, and its `meaning`."""

    quantity: ClassVar[str]
    limits: ClassVar[tuple[float, float] | None] = (0, 1)
    figure: ClassVar[str]
    meaning: ClassVar[str]
    unsteady: ClassVar[str] = ""  # what Trace.unsteady shows
    resizes: ClassVar[bool] = True  # photos, to the network's input

    def __init__(self, info: ModelInfo, name: str):
        self.info = info
        self.name = name

    @abstractmethod
    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        """The windows, such that the network's own resizing leaves them as they are. InputError: no room for them."""

    @abstractmethod
    def trace(self, travel: Travel, results: Sequence[Any]) -> Trace:
        """What is found in the windows, compared. InputError where there is nothing to follow."""


class FollowLabel(Follower):
    """The score of the first window's label.

    Entries: `label` and `index` of the first window's best class, the best `labels` of all windows, the `scores` of
    `label` in them with their `score_spread` (largest less smallest) and `score_deviation`; `consistency` and
    `consistency_all_pairs`, see shift_measures.
    """

    quantity = "score of the unmoved photo's label"
    figure = "consistency"
    meaning = "part of the steps of one pixel that keep the label"

    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        side = self.info.recipe["resize"]
        rows, columns = (max(0, side - crop) / 2 for crop in self.info.recipe["input"])
        return replace(covering(image, (side, side), shift, self.info.recipe["filter"]), inset=(rows, columns))

    def trace(self, travel: Travel, results: Sequence[Classification]) -> Trace:
        best = [result.classes[0] for result in results]
        label, index = best[0].label, best[0].index
        scores = [next(entry.score for entry in result.classes if entry.index == index) for result in results]
        numbers = [entry.index for entry in best]
        neighbours, pairs = measures.neighbour_consistency(numbers), measures.pair_consistency(numbers)
        low, high, deviation = min(scores), max(scores), float(np.std(scores))
        entries = {
            "label": label,
            "index": index,
            "labels": [entry.label for entry in best],
            "scores": [round(score, UNIT_DIGITS) for score in scores],
            "consistency": round(neighbours, UNIT_DIGITS),
            "consistency_all_pairs": round(pairs, UNIT_DIGITS),
            "score_spread": round(high - low, UNIT_DIGITS),
            "score_deviation": round(deviation, UNIT_DIGITS),
        }
        counts = Counter(entry.label for entry in best).most_common()
        words = [
            f"consistency {neighbours:.1%} of steps, {pairs:.1%} of all pairs",
            f"score {low:.1%} to {high:.1%}, standard deviation {deviation:.3f}",
            "; ".join(f"{count} x {name}" for name, count in counts[:3]) + ("; ..." if counts[3:] else ""),
        ]
        return Trace(entries, [*scores], words, measures.changes(numbers))


class FollowObject(Follower):
    """The box of the first window's best object: among boxes of its label the one that overlaps most.

    Entries: `label` and `bbox` (pixels of the photo) of the object; in each window its `scores`, the `ious` of its
    box, moved back, with that of the first window, and its `position_errors` (px of the network's input between their
    middles; null where it is lost). Of the moved windows: `equivariance`, the mean overlap; the mean `position_error`;
    and `found`, the part of them where the object is found again.
    """

    quantity = "overlap (IoU) with the box of the unmoved photo"
    figure = "equivariance"
    meaning = "overlap of the object's box with that of the unmoved photo"

    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        side, (height, width) = self.info.recipe["input"][0], image.shape[:2]
        scale = min(side / width, side / height)
        size = max(1, int(height * scale)), max(1, int(width * scale))  # as letterbox makes it
        return covering(image, size, shift, "bilinear")

    def trace(self, travel: Travel, results: Sequence[Detections]) -> Trace:
        boxes = [self._boxes(travel, number, result.detections) for number, result in enumerate(results)]
        inside = np.flatnonzero(measures.has_area(boxes[0]))
        if not len(inside):
            raise InputError(f"{self.name} finds no object in the part that all windows show: there is none to follow")
        chosen, box = results[0].detections[inside[0]], boxes[0][inside[0]]
        same = [self._same(box, chosen.label, *found) for found in zip(boxes, results, strict=True)]
        ious = [overlap for overlap, _, _ in same]
        errors = [None if place is None else measures.distance(box, place) for _, place, _ in same]
        return self._trace(travel, chosen, ious, errors, same)

    def _boxes(self, travel: Travel, number: int, detections: Sequence[Detection]) -> np.ndarray:
        """Corner boxes (N, 4) in pixels of the first window, cut to what all windows show."""
        corners = np.array([_corners(entry.bbox) for entry in detections], np.float32).reshape(-1, 4)
        rows, columns = travel.shared(0)
        top, left = travel.start(number)
        return measures.moved_back(corners, (left, top), (columns.start, rows.start, columns.stop, rows.stop))

    def _same(
        self, box: np.ndarray, label: str, boxes: np.ndarray, result: Detections
    ) -> tuple[float, np.ndarray | None, float | None]:
        """Overlap, place and score of the object in a window; the latter None where it is not found again."""
        numbers = [number for number, entry in enumerate(result.detections) if entry.label == label]
        match = measures.best_match(box, boxes[numbers])
        if match is None or match[1] < FOUND_FROM:
            return (match[1] if match else 0.0), None, None
        number = numbers[match[0]]
        return match[1], boxes[number], result.detections[number].score

    def _trace(
        self, travel: Travel, chosen: Detection, ious: list[float], errors: list[float | None], same: list[Any]
    ) -> Trace:
        known = [error for error in errors[1:] if error is not None]
        mean, found = float(np.mean(ious[1:])), len(known) / (len(ious) - 1)
        entries = {
            "label": chosen.label,
            "bbox": [round(float(value), PIXEL_DIGITS) for value in _sized(travel.undo(_corners(chosen.bbox))[0])],
            "scores": [None if score is None else round(score, UNIT_DIGITS) for *_, score in same],
            "ious": [round(overlap, UNIT_DIGITS) for overlap in ious],
            "position_errors": [None if error is None else round(error, PIXEL_DIGITS) for error in errors],
            "equivariance": round(mean, UNIT_DIGITS),
            "position_error": round(float(np.mean(known)), PIXEL_DIGITS) if known else None,
            "found": round(found, UNIT_DIGITS),
        }
        scores = [score for *_, score in same if score is not None]
        off = f", its middle {np.mean(known):.2f} px off" if known else ""
        words = [
            f"{chosen.label}: found again at {found:.0%} of shifts",
            f"overlap {mean:.1%} on average{off}",
            f"score {min(scores):.1%} to {max(scores):.1%}",
        ]
        placed = [place for _, place, _ in same if place is not None]
        return Trace(entries, [*ious], words, boxes=travel.undo(np.array(placed)))


def _corners(bbox: Sequence[float]) -> np.ndarray:
    """Corners of a box x, y, width, height."""
    x, y, width, height = bbox
    return np.array([x, y, x + width, y + height])


def _sized(corners: np.ndarray) -> tuple[float, float, float, float]:
    """Box x, y, width, height of corners."""
    left, top, right, bottom = corners
    return left, top, right - left, bottom - top
