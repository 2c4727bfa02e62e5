"""Class maps: from a network's coarse logits to the pixels of the photo, their areas, run lengths and colours.

A class map is uint8 (H, W), each pixel the number of its class. Logits (C, h, w) stand at the corners of a grid:
cell (i, j) is pixel (i * stride, j * stride) of the network's input, whose sides are stride * k + 1 (the
align_corners convention of DeepLab). With a stride of 1 these are the pixels of a picture of h x w that is stretched
over the photo: so are read logits of the centres of equal cells, whatever the network's input (the convention of
torch's F.interpolate without align_corners).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

IGNORE = 255  # in truth masks: counted neither right nor wrong (PASCAL VOC)
ROUNDING = 1e-5  # of logits, softmax and sums in float32; within it a class still counts as able to win
UNDERFLOW = -80.0  # of exp in float32, nearly
BLOCK = 256  # px: a larger block of pixels is worked on in parts, whose scores take some megabytes


@dataclass(frozen=True)
class _Axis:
    """For every pixel of one axis: the grid cell before it (int), and how far it is to the next (0..1)."""

    cell: np.ndarray
    part: np.ndarray


@dataclass(frozen=True)
class _View:
    """Logits float32 (C, h, w), and where the photo's rows and columns lie among them."""

    logits: np.ndarray
    rows: _Axis
    columns: _Axis


def class_map(views: Sequence[np.ndarray], height: int, width: int, stride: int) -> np.ndarray:
    """The class of every pixel of a photo, from the logits (C, h, w) of one or more views of the whole of it.

    One view: the logits are interpolated (bilinear) to the photo, and the largest wins. Several (scales, mirrored
    ones flipped back): their softmax is averaged, as in Chen et al. 2017, "Rethinking atrous convolution", sec. 4.
    Between the four corners of a cell logits stay between theirs. Where that leaves a single class that can win there
    is nothing to compute, which is nearly everywhere but along the borders of things.
    """
    placed = [_placed(logits, height, width, stride) for logits in views]
    rows, columns = _blocks([view.rows for view in placed]), _blocks([view.columns for view in placed])
    able = _able(placed, rows[:-1], columns[:-1])
    labels = able.argmax(axis=0).astype(np.uint8).repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)
    for row, column in zip(*np.nonzero(np.count_nonzero(able, axis=0) > 1), strict=True):
        place = slice(rows[row], rows[row + 1]), slice(columns[column], columns[column + 1])
        classes = np.flatnonzero(able[:, row, column]).astype(np.uint8)
        labels[place] = classes[_best(placed, classes, *place)]
    return labels


def _placed(logits: np.ndarray, height: int, width: int, stride: int) -> _View:
    rows, columns = _axis(height, logits.shape[1], stride), _axis(width, logits.shape[2], stride)
    return _View(logits.astype(np.float32, copy=False), rows, columns)


def _axis(length: int, cells: int, stride: int) -> _Axis:
    """Pixel centres of `length` pixels on a grid of `cells` over an input of stride * (cells - 1) + 1."""
    inner = stride * (cells - 1) + 1
    place = np.clip((np.arange(length) + 0.5) * (inner / length) - 0.5, 0, inner - 1) / stride
    cell = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    return _Axis(cell, (place - cell).astype(np.float32))


def _blocks(axes: Sequence[_Axis]) -> np.ndarray:
    """Edges of the blocks of pixels, in order, that lie within one cell of every view; the last is the length."""
    length = len(axes[0].cell)
    changes = [np.flatnonzero(np.diff(axis.cell)) + 1 for axis in axes]
    return np.unique(np.concatenate([*changes, np.arange(0, length, BLOCK), [length]]))


def _able(views: Sequence[_View], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether a class may win in a block, given by its first row and column: booleans (C, rows, columns)."""
    bounds = [_bounds(view, rows, columns) for view in views]
    if len(views) > 1:
        bounds = [_bounds_of_softmax(*pair) for pair in bounds]
    least, most = (reduce(np.add, part) for part in zip(*bounds, strict=True))
    return most >= least.max(axis=0) - ROUNDING * len(views)


def _bounds(view: _View, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest logit of the four corners around each block: (C, rows, columns)."""
    framed = np.pad(view.logits, ((0, 0), (0, 1), (0, 1)), mode="edge")
    four = [framed[:, y : y + view.logits.shape[1], x : x + view.logits.shape[2]] for y in (0, 1) for x in (0, 1)]
    places = (slice(None), *np.ix_(view.rows.cell[rows], view.columns.cell[columns]))
    return np.minimum.reduce(four)[places], np.maximum.reduce(four)[places]


def _bounds_of_softmax(least: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A class has its least part where its own logit is the least and all others are the largest.

    Rounding makes the bounds wider, never narrower: a difference of sums may lose all of its digits.
    """
    top = most.max(axis=0)
    least, most = np.exp(least - top), np.exp(np.maximum(most - top, UNDERFLOW))
    others_most = most.sum(axis=0) * (1 + ROUNDING) - most
    others_least = np.maximum(least.sum(axis=0) * (1 - ROUNDING) - least, 0)
    return least / (least + others_most), most / (most + others_least)


def _best(views: Sequence[_View], classes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Which of some classes wins at each pixel of a block, by interpolation."""
    if len(views) == 1:
        return _argmax(_interpolated(_corners(views[0], rows.start, columns.start)[classes], views[0], rows, columns))
    every = (_interpolated(_corners(view, rows.start, columns.start), view, rows, columns) for view in views)
    return _argmax(reduce(np.add, (_softmax(logits, classes) for logits in every)))


def _corners(view: _View, row: int, column: int) -> np.ndarray:
    """Logits (C, 2, 2) around a pixel."""
    top, left = view.rows.cell[row], view.columns.cell[column]
    bottom, right = (min(first + 1, count - 1) for first, count in zip((top, left), view.logits.shape[1:], strict=True))
    return view.logits[:, [[top, top], [bottom, bottom]], [[left, right], [left, right]]]


def _interpolated(corners: np.ndarray, view: _View, rows: slice, columns: slice) -> np.ndarray:
    """Logits (C, rows, columns) of a block."""
    y, x = view.rows.part[rows][:, None], view.columns.part[columns]
    edges = corners[:, None, 0] * (1 - y) + corners[:, None, 1] * y
    return edges[..., :1] * (1 - x) + edges[..., 1:] * x


def _argmax(scores: np.ndarray) -> np.ndarray:
    """Positions (rows, columns) of the largest of scores (C, rows, columns), the first of equal ones: uint8."""
    best, winners = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
    for position, values in enumerate(scores[1:], 1):
        winners[values > best] = position  # C is the slow axis, along which NumPy's argmax is slower
        np.maximum(best, values, out=best)
    return winners


def _softmax(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The part (K, rows, columns) that some classes have among all of (C, rows, columns). Changes the logits."""
    logits -= logits.max(axis=0)
    exponentials = np.exp(logits, out=logits)
    return exponentials[classes] / exponentials.sum(axis=0)


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
    lengths = _run_lengths_of(rle["counts"])
    inside = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(inside.repeat(lengths).reshape(rle["size"][::-1]).T)


def _run_lengths_of(counts: str) -> list[int]:
    """Lengths of the runs outside and inside by turns, down the columns.

    COCO's compressed form: five bits a character, counted from "0", the lowest first; bit 5 says that more follow,
    bit 4 of the last one is the sign. From the fourth number on it is the difference to the last but one.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii"):
        bits = character - ord("0")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return lengths


def pasted(part: np.ndarray, corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """How likely each pixel (height, width) is inside, of a grid of cells (h, w) over a box x1, y1, x2, y2: float32.

    Bilinear between the centres of cells, fading to zero beyond those of the border, as torchvision pastes masks.
    """
    left, top, right, bottom = (float(value) for value in corners)
    rows = _shares(height, top, bottom, part.shape[0])
    columns = _shares(width, left, right, part.shape[1])
    return rows @ part.astype(np.float32) @ columns.T


def _shares(length: int, first: float, last: float, cells: int) -> np.ndarray:
    """How much each of `cells` between two edges counts at the centre of each pixel: (length, cells)."""
    place = (np.arange(length) + 0.5 - first) * (cells / max(last - first, 1e-6)) - 0.5
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)


def share_out(inside: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Each pixel of a class's mask (H, W) to one of its boxes (N, 4), x, y, width, height: int (H, W), -1 for none.

    A pixel in several boxes goes to the one whose centre is nearest, measured in halves of the box's own sides.
    """
    owner = np.full(inside.shape, -1, np.int32)
    nearest = np.full(inside.shape, np.inf, np.float32)
    for number, (x, y, width, height) in enumerate(boxes):
        top, left, bottom, right = _pixels_of((x, y, width, height), inside.shape)
        if top >= bottom or left >= right:
            continue
        place = (slice(top, bottom), slice(left, right))
        rows, columns = np.ogrid[place]
        across = (columns + 0.5 - x - width / 2) / (width / 2)
        down = (rows + 0.5 - y - height / 2) / (height / 2)
        distance = (across**2 + down**2).astype(np.float32)
        closer = inside[place] & (distance < nearest[place])
        owner[place][closer] = number
        nearest[place][closer] = distance[closer]
    return owner


def _pixels_of(box: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the pixels that a box touches; nothing of a box without an area."""
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return 0, 0, 0, 0
    bottom, right = min(math.ceil(y + height), shape[0]), min(math.ceil(x + width), shape[1])
    return max(math.floor(y), 0), max(math.floor(x), 0), bottom, right


def anchor_point(mask: np.ndarray) -> tuple[float, float]:
    """x and y of the point of a mask (H, W) that lies deepest inside it: where a label belongs."""
    import cv2

    framed = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(x - 1), float(y - 1)
