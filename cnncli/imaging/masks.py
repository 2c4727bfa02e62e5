"""Class maps: from a network's coarse logits to the pixels of the photo, their areas, run lengths and colours.

A class map is uint8 (H, W), each pixel the number of its class. Logits (C, h, w) stand at the corners of a grid:
cell (i, j) is pixel (i * stride, j * stride) of the network's input, whose sides are stride * k + 1 (the
align_corners convention of DeepLab).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

IGNORE = 255  # in truth masks: counted neither right nor wrong (PASCAL VOC)
PIXELS_AT_ONCE = 1 << 17  # whose logits are interpolated together: some megabytes


@dataclass(frozen=True)
class _Axis:
    """For every pixel of one axis: the grid cell before it (int), and how far it is to the next (0..1)."""

    cell: np.ndarray
    part: np.ndarray


def class_map(views: Sequence[np.ndarray], height: int, width: int, stride: int) -> np.ndarray:
    """The class of every pixel of a photo, from the logits (C, h, w) of one or more views of the whole of it.

    One view: the logits are interpolated (bilinear) to the photo, and the largest wins. Several (scales, mirrored
    ones flipped back): their softmax is averaged, as in Chen et al. 2017, "Rethinking atrous convolution", sec. 4.
    Where a class leads at all four corners of a cell of all views it leads between them too, so only the
    other cells, along the borders of things, are computed.
    """
    grids = [(_axis(height, view.shape[1], stride), _axis(width, view.shape[2], stride), view) for view in views]
    labels, certain = _leaders(*grids[0])
    for grid in grids[1:]:
        others, sure = _leaders(*grid)
        certain &= sure & (others == labels)
    rows, columns = np.nonzero(~certain)
    for start in range(0, len(rows), PIXELS_AT_ONCE):
        part = slice(start, start + PIXELS_AT_ONCE)
        labels[rows[part], columns[part]] = _best(grids, rows[part], columns[part])
    return labels


def _axis(length: int, cells: int, stride: int) -> _Axis:
    """Pixel centres of `length` pixels on a grid of `cells` over an input of stride * (cells - 1) + 1."""
    inner = stride * (cells - 1) + 1
    place = np.clip((np.arange(length) + 0.5) * (inner / length) - 0.5, 0, inner - 1) / stride
    cell = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    return _Axis(cell, (place - cell).astype(np.float32))


def _leaders(rows: _Axis, columns: _Axis, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class that leads at the corner before each pixel (H, W), and whether it leads at all four around it."""
    leading = logits.argmax(axis=0).astype(np.uint8)
    below = np.concatenate([leading[1:], leading[-1:]])
    same = leading == below
    beside = np.concatenate([leading[:, 1:], leading[:, -1:]], axis=1)
    same &= leading == beside
    same &= leading == np.concatenate([beside[1:], beside[-1:]])
    return leading[rows.cell][:, columns.cell], same[rows.cell][:, columns.cell]


def _best(grids: Sequence[tuple[_Axis, _Axis, np.ndarray]], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The class of some pixels (P,) by interpolation."""
    scores = [_interpolated(logits, *axes, rows, columns) for *axes, logits in grids]
    if len(scores) == 1:
        return scores[0].argmax(axis=1).astype(np.uint8)
    return sum(_softmax(values) for values in scores).argmax(axis=1).astype(np.uint8)


def _interpolated(
    logits: np.ndarray, y_axis: _Axis, x_axis: _Axis, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Logits (P, C) of some pixels."""
    height, width = logits.shape[1:]
    table = np.ascontiguousarray(logits.reshape(len(logits), -1).T)
    top, left = y_axis.cell[rows], x_axis.cell[columns]
    bottom, right = np.minimum(top + 1, height - 1) * width, np.minimum(left + 1, width - 1)
    top *= width
    y, x = y_axis.part[rows][:, None], x_axis.part[columns][:, None]
    above = table[top + left] * (1 - x) + table[top + right] * x
    below = table[bottom + left] * (1 - x) + table[bottom + right] * x
    return above * (1 - y) + below * y


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def palette(classes: int = 256) -> tuple[int, ...]:
    """PASCAL VOC's colours R, G, B, R, ...: bits 0, 3, 6 of a class's number are red's highest ones, and so on.

    Source: the VOC development kit (Everingham et al. 2010), whose masks store these colours.
    """
    colours = np.zeros((classes, 3), np.int64)
    for channel in range(3):
        for bit in range(8):
            colours[:, channel] |= (np.arange(classes) >> (3 * bit + channel) & 1) << (7 - bit)
    return tuple(int(value) for value in colours.reshape(-1))


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length encoding of a mask (H, W), true where the object is."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def filled(rle: Mapping[str, Any]) -> np.ndarray:
    """The mask (H, W), true inside, of a run-length encoding."""
    from pycocotools import mask as coco

    return coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}).astype(bool)


def share_out(inside: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Each pixel of a class's mask (H, W) to one of its boxes (N, 4), x, y, width, height: int (H, W), -1 for none.

    A pixel in several boxes goes to the one whose centre is nearest, measured in halves of the box's own sides.
    """
    owner = np.full(inside.shape, -1, np.int32)
    nearest = np.full(inside.shape, np.inf, np.float32)
    for number, (x, y, width, height) in enumerate(boxes):
        top, left = int(max(y, 0)), int(max(x, 0))
        bottom, right = int(np.ceil(y + height)), int(np.ceil(x + width))
        place = (slice(top, bottom), slice(left, right))
        rows, columns = np.ogrid[top : min(bottom, inside.shape[0]), left : min(right, inside.shape[1])]
        across = (columns + 0.5 - x - width / 2) / (width / 2)
        down = (rows + 0.5 - y - height / 2) / (height / 2)
        distance = (across**2 + down**2).astype(np.float32)
        closer = inside[place] & (distance < nearest[place])
        owner[place][closer] = number
        nearest[place][closer] = distance[closer]
    return owner


def anchor_point(mask: np.ndarray) -> tuple[float, float]:
    """x and y of the point of a mask (H, W) that lies deepest inside it: where a label belongs."""
    import cv2

    framed = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(x - 1), float(y - 1)
