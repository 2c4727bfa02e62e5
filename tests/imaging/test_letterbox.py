"""Letterbox against OpenCV, and tiles that leave nothing out."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from cnncli.imaging.geometry import letterbox, tiles

SHAPES = [(640, 480), (480, 640), (448, 448), (451, 300), (100, 30), (1, 1), (20_000, 2), (2, 20_000), (447, 449)]


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def inner_size(width: int, height: int, size: int) -> tuple[int, int]:
    scale = min(size / width, size / height)
    return max(1, int(width * scale)), max(1, int(height * scale))


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_puts_what_opencv_gives_in_the_top_left(width: int, height: int) -> None:
    image = noise(width, height)
    canvas, _ = letterbox(image, 448, 127)
    across, down = inner_size(width, height, 448)
    assert canvas.shape == (448, 448, 3)
    assert canvas.dtype == np.uint8
    assert max(across, down) == 448
    expected = cv2.resize(image, (across, down), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(canvas[:down, :across], expected)
    assert (canvas[down:] == 127).all()
    assert (canvas[:, across:] == 127).all()


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_undoes_corners_exactly(width: int, height: int) -> None:
    _, geometry = letterbox(noise(width, height), 448, 127)
    across, down = inner_size(width, height, 448)
    corners = geometry.undo_points(np.array([(0, 0), (across, down)]))
    np.testing.assert_allclose(corners, [(0, 0), (width, height)], rtol=1e-12)


def test_undoes_where_a_mark_went() -> None:
    image = np.zeros((300, 900, 3), np.uint8)
    image[120:180, 600:660] = 255
    canvas, geometry = letterbox(image, 320, 0)
    rows, columns = np.nonzero(canvas[..., 0] > 127)
    corners = geometry.undo_points(np.array([(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]))
    assert np.abs(corners - [(600, 120), (660, 180)]).max() < 900 / 320  # a pixel of the input


@pytest.mark.parametrize("overlap", [0, 0.2, 0.5])
@pytest.mark.parametrize(
    ("width", "height", "side"), [(3000, 2000, 448), (897, 896, 896), (448, 1000, 448), (449, 1, 448), (1000, 333, 100)]
)
def test_tiles_cover_an_image_and_share_enough(width: int, height: int, side: int, overlap: float) -> None:
    found = tiles(width, height, side, overlap)
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(side, width), min(side, height))
        covered[top:bottom, left:right] = True
    assert covered.all()
    for low, high in ((0, 2), (1, 3)):
        spans = sorted({(tile[low], tile[high]) for tile in found})
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= side * overlap - 1  # starts are rounded


def test_tiles_are_no_more_than_needed() -> None:
    assert len(tiles(896, 448, 448, 0)) == 2
    assert len(tiles(897, 448, 448, 0)) == 3
    assert len(tiles(1000, 1000, 500, 0.2)) == 9  # a second tile at 400 would end at 900


@pytest.mark.parametrize(("width", "height"), [(1, 1), (448, 448), (300, 448)])
def test_small_image_is_one_tile(width: int, height: int) -> None:
    assert tiles(width, height, 448, 0.2) == [(0, 0, width, height)]
