"""Geometry of faces against scikit-image, OpenCV, loops and arithmetic."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.imaging.faces import (
    DISTANCES,
    Faces,
    align,
    cell_grid,
    decode_faces,
    normalised,
    pad_to_step,
    similarity_transform,
)
from tests.conftest import PHOTOS

TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
SIZE = 64, 96  # height and width of an input
CELLS = 8 * 12 + 4 * 6 + 2 * 3
BOTTOM = 8 * 12 + 4 * 6  # the first cell of stride 32


def answers(faces: dict[int, float]) -> list[np.ndarray]:
    """YuNet's outputs with the given class scores by cell, faces as large as their cells, points at their corners."""
    class_scores = np.zeros((CELLS, 1), np.float32)
    for cell, score in faces.items():
        class_scores[cell] = score
    zeros = [np.zeros((CELLS, width), np.float32) for width in (4, 10)]
    return [class_scores, np.ones((CELLS, 1), np.float32), *zeros]


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = math.radians(degrees)
    rotation = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return points @ rotation.T + shift


@pytest.mark.parametrize(("size", "padded"), [((64, 96), (64, 96)), ((65, 95), (96, 96)), ((1, 33), (32, 64))])
def test_pads_with_black_to_multiples_of_32(size: tuple[int, int], padded: tuple[int, int]) -> None:
    result = pad_to_step(np.full((*size, 3), 7, np.uint8))
    assert result.shape == (*padded, 3)
    assert (result[: size[0], : size[1]] == 7).all()
    assert result.sum() == 7 * 3 * size[0] * size[1]


def test_grid_goes_level_row_column() -> None:
    expected = [
        (column, row, stride)
        for stride in (8, 16, 32)
        for row in range(SIZE[0] // stride)
        for column in range(SIZE[1] // stride)
    ]
    np.testing.assert_array_equal(np.hstack(cell_grid(SIZE)), expected)


def test_decodes_by_the_formulas() -> None:
    random = np.random.default_rng(0)
    outputs = [random.uniform(0, 1, (CELLS, 1)) for _ in range(2)] + [random.normal(0, 1, (CELLS, n)) for n in (4, 10)]
    outputs = [output.astype(np.float32) for output in outputs]
    faces = decode_faces(*outputs, size=SIZE, threshold=0.0, overlap=1.0)  # all cells stay, best first
    class_scores, object_scores, boxes, points = outputs
    scores = [math.sqrt(c * o) for (c,), (o,) in zip(class_scores, object_scores, strict=True)]
    for place, cell in enumerate(np.argsort(scores)[::-1]):
        column, row, stride = np.hstack(cell_grid(SIZE))[cell]
        dx, dy, log_width, log_height = boxes[cell]
        width, height = math.exp(log_width) * stride, math.exp(log_height) * stride
        box = (column + dx) * stride - width / 2, (row + dy) * stride - height / 2, width, height
        marks = [((column + x) * stride, (row + y) * stride) for x, y in zip(*[iter(points[cell])] * 2, strict=True)]
        assert faces.scores[place] == pytest.approx(scores[cell])
        np.testing.assert_allclose(faces.boxes[place], box, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(faces.points[place], marks, rtol=1e-4, atol=1e-3)


def test_keeps_scores_over_the_threshold() -> None:
    faces = decode_faces(*answers({0: 0.3, 50: 0.36, 90: 0.49}), size=SIZE, threshold=0.6)
    np.testing.assert_allclose(faces.scores, [0.7])  # 0.6 itself, the root of 0.36, is not over it
    np.testing.assert_allclose(faces.boxes, [[6 * 8 - 4, 7 * 8 - 4, 8, 8]])  # cell 90: row 7, column 6
    assert (faces.points == (48, 56)).all()


@pytest.mark.parametrize(("overlap", "count"), [(0.2, 1), (0.3, 2)])
def test_drops_faces_that_overlap_a_better_one(overlap: float, count: int) -> None:
    outputs = answers({BOTTOM: 0.9, BOTTOM + 1: 0.8})
    outputs[2][BOTTOM, 0] = 0.4  # 0.6 cells from the other: overlap 0.4 / 1.6 = 0.25
    faces = decode_faces(*outputs, size=SIZE, threshold=0.5, overlap=overlap)
    np.testing.assert_allclose(faces.scores**2, [0.9, 0.8][:count], rtol=1e-6)


def test_finds_nothing_in_empty_answers() -> None:
    faces = decode_faces(*answers({}), size=SIZE, threshold=0.5)
    assert isinstance(faces, Faces)
    assert (faces.scores.shape, faces.boxes.shape, faces.points.shape) == ((0,), (0, 4), (0, 5, 2))


@pytest.mark.parametrize("seed", range(5))
def test_transform_matches_scikit_image(seed: int) -> None:
    transform = pytest.importorskip("skimage.transform")
    random = np.random.default_rng(seed)
    points = turned(TEMPLATE, random.uniform(0, 360), random.uniform(0.2, 5), (random.uniform(-300, 300), 40))
    points += random.normal(0, 4, points.shape)
    expected = transform.SimilarityTransform.from_estimate(points, TEMPLATE)
    np.testing.assert_allclose(similarity_transform(points, TEMPLATE), expected.params[:2], atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_transform_matches_least_squares(seed: int) -> None:
    """x' = a x - b y + c, y' = b x + a y + d: ten equations in four unknowns."""
    points = np.random.default_rng(seed).uniform(0, 300, (5, 2))
    rows = [row for x, y in points for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, c, d = np.linalg.lstsq(np.array(rows), TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity_transform(points, TEMPLATE), [[a, -b, c], [b, a, d]], atol=1e-8)


def test_transform_matches_opencv_where_all_points_fit() -> None:
    points = turned(TEMPLATE, -25, 2.3, (120, 40)).astype(np.float32)
    expected, _ = cv2.estimateAffinePartial2D(points, TEMPLATE.astype(np.float32))
    np.testing.assert_allclose(similarity_transform(points, TEMPLATE), expected, atol=1e-3)


def test_transform_never_mirrors() -> None:
    mirrored = (TEMPLATE - (0, 5)) * (-1, 1)
    assert np.linalg.det(similarity_transform(mirrored, TEMPLATE)[:, :2]) > 0


def test_rejects_points_that_coincide() -> None:
    with pytest.raises(ValueError, match="are they all the same"):
        similarity_transform(np.full((5, 2), 3.0), TEMPLATE)


def photo() -> np.ndarray:
    return np.asarray(Image.open(PHOTOS / "astronaut.png").convert("RGB"))


def test_cuts_out_what_lies_in_place() -> None:
    face = align(photo(), turned(TEMPLATE, 0, 1, (100, 30)), TEMPLATE, (112, 112))
    np.testing.assert_array_equal(face, photo()[30:142, 100:212])


@pytest.mark.parametrize("shift", [(150, 60), (-60, 440), (460, -70)])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.4), (31, 0.6), (-140, 2.7)])
def test_warps_as_opencv_warps_the_whole_image(degrees: float, scale: float, shift: tuple[int, int]) -> None:
    points = turned(TEMPLATE, degrees, scale, shift)
    expected = cv2.warpAffine(photo(), similarity_transform(points, TEMPLATE), (96, 112))
    face = align(photo(), points, TEMPLATE, (112, 96))
    assert face.dtype == np.uint8
    assert np.abs(face.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("place", [(0, 39_800), (39_800, 0)])
def test_cuts_faces_out_of_images_of_any_length(place: tuple[int, int]) -> None:
    image = np.zeros((place[1] + 120, place[0] + 120, 3), np.uint8)
    image[place[1] :, place[0] :] = 200
    assert (align(image, TEMPLATE + place, TEMPLATE, (112, 112)) == 200).all()


def test_is_black_outside_the_image() -> None:
    face = align(np.full((20, 20, 3), 255, np.uint8), TEMPLATE + 500, TEMPLATE, (112, 90))
    assert face.shape == (112, 90, 3)
    assert not face.any()


@pytest.mark.parametrize(
    ("metric", "expected"), [("cosine", 0.04), ("euclidean", math.sqrt(29)), ("euclidean_l2", math.sqrt(0.08))]
)
def test_measures_distances(metric: str, expected: float) -> None:
    """(3, 4) and (8, 6) have the lengths 5 and 10, the cosine 48 / 50, the difference (5, 2)."""
    first, second = np.array([3, 4], np.float32), np.array([8, 6], np.float32)
    assert DISTANCES[metric](first, second) == pytest.approx(expected)
    distances = DISTANCES[metric](np.stack([first, first]), np.stack([second, first]))
    assert distances == pytest.approx([expected, 0], abs=1e-7)


def test_zeros_have_no_direction() -> None:
    np.testing.assert_array_equal(normalised(np.array([[0.0, 0.0], [3.0, 4.0]])), [[0, 0], [0.6, 0.8]])
