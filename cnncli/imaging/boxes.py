"""Boxes: overlap, non-maximum suppression, anchors. All in float32, so that every device decides alike.

Corner boxes are (N, 4): x1, y1, x2, y2 in pixels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) of corner boxes in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of one corner box (4,) with others (N, 4); 0 where both are empty."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, 0] * sides[:, 1]
    union = areas(box) + areas(boxes) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes that stay, best first.

    A box goes when its overlap with a better one is over the threshold (not when equal); of equal scores the
    first in the input is the better.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best], boxes[order]) <= np.float32(threshold)]
    return np.array(kept, dtype=np.int64)


def suppress_per_class(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
    """Suppression among the boxes of each class (N,); indices over all classes, best first."""
    kept = []
    for number in np.unique(classes):
        (members,) = np.nonzero(classes == number)
        kept.append(members[suppress(boxes[members], scores[members], threshold)])
    together = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
    return together[np.argsort(-scores[together], kind="stable")]


def lies_in_larger(box: np.ndarray, boxes: np.ndarray, threshold: float) -> bool:
    """Whether a part of a corner box (4,) over the threshold lies in a larger one of others (N, 4)."""
    sides = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0)
    shared = sides[:, 0] * sides[:, 1]
    return bool(((shared > np.float32(threshold) * areas(box)) & (areas(boxes) > areas(box))).any())


def anchor_boxes(size: int, levels: tuple[int, ...] = (3, 4, 5, 6, 7), scale: float = 3.0) -> np.ndarray:
    """EfficientDet's anchors for a square input of `size` px: (N, 4) y centre, x centre, height, width.

    Order: level, row, column, octave 2^(0, 1/3, 2/3), aspect (1, 2, 1/2). Source: Tan et al. 2020 and its code's
    defaults; a level's map has ceil(size / 2^level) cells, so strides need not be whole.
    """
    cells = size
    anchors = []
    for level in range(1, max(levels) + 1):
        cells = (cells - 1) // 2 + 1
        if level in levels:
            anchors.append(_level_anchors(cells, size / cells, scale))
    return np.concatenate(anchors).astype(np.float32)


def _level_anchors(cells: int, stride: float, scale: float) -> np.ndarray:
    octaves, aspects = 2.0 ** (np.arange(3) / 3), np.array([1.0, 2.0, 0.5])
    side = scale * stride * octaves[:, None]
    sizes = np.stack([side / np.sqrt(aspects), side * np.sqrt(aspects)], axis=-1).reshape(-1, 2)
    centres = (np.arange(cells) + 0.5) * stride
    grid = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    shape = (cells * cells, len(sizes), 2)
    return np.concatenate([np.broadcast_to(grid, shape), np.broadcast_to(sizes, shape)], axis=-1).reshape(-1, 4)


def whole_anchors(size: int, count: int) -> np.ndarray:
    """Anchors (count, 4), y centre, x centre, height, width, each the whole of a square input of `size` px."""
    return np.tile(np.array([size / 2, size / 2, size, size], np.float32), (count, 1))


def stated_anchors(recipe: Mapping[str, Any]) -> np.ndarray:
    """Anchors (N, 4) of a detector's recipe: `anchors` of the whole input, or EfficientDet's where that is absent."""
    size = recipe["input"][0]
    return whole_anchors(size, recipe["anchors"]) if "anchors" in recipe else anchor_boxes(size)


def decode_boxes(codes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Corner boxes of codes (N, 4) ty, tx, th, tw relative to anchors; pixels of the network's input."""
    centres = codes[:, :2] * anchors[:, 2:] + anchors[:, :2]
    halves = np.exp(codes[:, 2:]) * anchors[:, 2:] / 2
    low, high = centres - halves, centres + halves
    return np.stack([low[:, 1], low[:, 0], high[:, 1], high[:, 0]], axis=1)
