"""Faces: decoding what YuNet answers, bringing a face into the position that embedders know, comparing embeddings.

Boxes of faces are (N, 4): x, y, width, height. Points are (..., 5, 2), x and y in pixels: the eye at the left of the
image, the eye at its right, nose tip, left and right corner of the mouth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnncli.imaging.boxes import suppress

STRIDES = (8, 16, 32)  # px of YuNet's input per cell, in the order of its outputs
SIDE_STEP = 32  # sides of YuNet's input are multiples of this
NMS_OVERLAP = 0.3  # the default of OpenCV's FaceDetectorYN


@dataclass(frozen=True)
class Faces:
    """Faces of one image, best first: scores (N,), boxes (N, 4), points (N, 5, 2), float32, in pixels of the input."""

    scores: np.ndarray
    boxes: np.ndarray
    points: np.ndarray


def pad_to_step(image: np.ndarray) -> np.ndarray:
    """The image (H, W, C) with black at its right and bottom, its sides multiples of 32."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % SIDE_STEP), (0, -width % SIDE_STEP), (0, 0)))


def decode_faces(
    class_scores: np.ndarray,
    object_scores: np.ndarray,
    boxes: np.ndarray,
    points: np.ndarray,
    size: tuple[int, int],
    threshold: float,
    overlap: float = NMS_OVERLAP,
) -> Faces:
    """Faces with a score over the threshold in what YuNet answers for one image of `size` (height, width).

    The outputs are (cells, 1), (cells, 1), (cells, 4) and (cells, 10). Score: the geometric mean of the two. Of
    faces that overlap by more than `overlap` (intersection over union), the best one stays.
    """
    scores = np.sqrt(class_scores[:, 0] * object_scores[:, 0])
    (likely,) = np.nonzero(scores > np.float32(threshold))
    scores, (origins, strides) = scores[likely], (grid[likely] for grid in cell_grid(size))
    decoded = decode_boxes(boxes[likely], origins, strides)
    kept = suppress(_corners(decoded), scores, overlap)
    return Faces(scores[kept], decoded[kept], decode_points(points[likely], origins, strides)[kept])


def cell_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (cells, 2) and stride (cells, 1) of all cells of an input of `size`: by level, then row-major."""
    origins, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride].astype(np.float32)
        origins.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride, np.float32))
    return np.concatenate(origins), np.concatenate(strides)


def decode_boxes(codes: np.ndarray, origins: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of codes dx, dy, log width, log height: the centre from the cell's corner, all in cells."""
    centres = (origins + codes[:, :2]) * strides
    sides = np.exp(codes[:, 2:]) * strides
    return np.concatenate([centres - sides / 2, sides], axis=1)


def decode_points(codes: np.ndarray, origins: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Points (N, 5, 2) of codes (N, 10), x and y from the cell's corner in cells."""
    return (codes.reshape(-1, 5, 2) + origins[:, None]) * strides[:, None]


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def similarity_transform(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) of the rotation, scale and shift that bring points (N, 2) nearest to a template (N, 2).

    Least squares, without reflection, as in Umeyama 1991. In the plane, where a point is a complex number and a
    rotation with scale a factor, that factor is a regression coefficient. ValueError where none is better than 0.
    """
    start, end = _complex(points), _complex(template)
    offsets = start - start.mean()
    spread = np.vdot(offsets, offsets).real
    factor = np.vdot(offsets, end - end.mean()) / spread if spread else 0
    if factor == 0:
        raise ValueError("these points are like the template in no position: are they all the same?")
    shift = end.mean() - factor * start.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _complex(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[:, 0] + 1j * points[:, 1]


def align(image: np.ndarray, points: np.ndarray, template: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The face at `points` (5, 2) of an image uint8 (H, W, 3), moved to where an embedder expects them.

    `template` (5, 2): where the points lie in the result of `size` (height, width). Bilinear, black outside.
    """
    import cv2

    matrix = similarity_transform(points, template)
    left, top, right, bottom = _seen_part(matrix, size, image.shape)
    if left >= right or top >= bottom:
        return np.zeros((*size, image.shape[2]), np.uint8)
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    part = image[top:bottom, left:right]  # OpenCV 4 refuses images with a side over 32,766 px
    return cv2.warpAffine(part, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _seen_part(matrix: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that a warp to `size` reads from an image of `shape`."""
    ends = np.array([[x, y] for y in (0, size[0] - 1) for x in (0, size[1] - 1)])
    sources = np.linalg.solve(matrix[:, :2], (ends - matrix[:, 2]).T).T
    limits = shape[1], shape[0]
    # beside the two pixels that bilinear interpolation reads, one for OpenCV's rounding of positions
    left, top = np.clip(np.floor(sources.min(axis=0)) - 1, 0, limits).astype(int)
    right, bottom = np.clip(np.floor(sources.max(axis=0)) + 3, 0, limits).astype(int)
    return int(left), int(top), int(right), int(bottom)


def cosine_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle between embeddings (..., F): 0 for the same direction, 2 for the opposite one."""
    return 1 - np.sum(normalised(first) * normalised(second), axis=-1)


def euclidean_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Length of the difference of embeddings (..., F)."""
    return np.linalg.norm(np.subtract(first, second, dtype=np.float64), axis=-1)


def euclidean_l2_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Length of the difference of embeddings (..., F) that were scaled to length 1: 0 to 2."""
    return euclidean_distance(normalised(first), normalised(second))


def manhattan_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum of |differences| of embeddings (..., F)."""
    return np.abs(np.subtract(first, second, dtype=np.float64)).sum(axis=-1)


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (..., F) of length 1; one of zeros has no direction and stays."""
    embeddings = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.divide(embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0)


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": cosine_distance,
    "euclidean": euclidean_distance,
    "euclidean_l2": euclidean_l2_distance,
    "manhattan": manhattan_distance,
}
