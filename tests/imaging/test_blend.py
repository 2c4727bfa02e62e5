"""Tiles cover an image, their weights sum to one, and what they say alike is what comes out."""

from itertools import pairwise

import numpy as np
import pytest

from cnncli.imaging.blend import Tile, add_tile, tile_grid

RADIUS = 24
LENGTHS = [2, 30, 64, 66, 96, 98, 100, 126, 128, 130, 192, 250, 1000]


def weight_of_all(height: int, width: int, grid: list[Tile]) -> np.ndarray:
    total = np.zeros((height, width), np.float64)
    for tile in grid:
        total[tile.place] += np.outer(tile.row_weights, tile.column_weights)
    return total


@pytest.mark.parametrize("radius", [0, 1, RADIUS, 100])
@pytest.mark.parametrize("overlap", [0, 2, 8, 15, 31, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_weights_sum_to_one_everywhere(length: int, overlap: int, radius: int) -> None:
    for height, width in ((length, 6), (70, length)):
        total = weight_of_all(height, width, tile_grid(height, width, 64, overlap, radius))
        np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("overlap", [0, 2, 8, 15, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_tiles_start_even_and_stay_inside(length: int, overlap: int) -> None:
    grid = tile_grid(length, length, 64, overlap, RADIUS)
    starts = sorted({tile.left for tile in grid})
    assert starts == sorted({tile.top for tile in grid}) and starts[0] == 0
    assert all(start % 2 == 0 for start in starts)
    side = min(length, 64)
    assert {len(tile.row_weights) for tile in grid} == {side} == {len(tile.column_weights) for tile in grid}
    assert starts[-1] + side == length
    shared = [before + side - after for before, after in pairwise(starts)]
    assert all(part >= overlap - overlap % 2 for part in shared)  # an odd one rounded down, as places are even


def test_an_image_within_one_tile_is_one_tile() -> None:
    (tile,) = tile_grid(40, 64, 64, 8, RADIUS)
    assert tile.place == (slice(0, 40), slice(0, 64))
    assert (tile.row_weights == 1).all() and (tile.column_weights == 1).all()


def test_leaves_out_what_lies_near_an_inner_edge() -> None:
    left, right = tile_grid(64, 192, 128, 64, RADIUS)
    assert right.left == 64
    assert not left.column_weights[128 - RADIUS :].any() and not right.column_weights[:RADIUS].any()
    assert (left.column_weights[: 64 + RADIUS] == 1).all() and (right.column_weights[64 - RADIUS :] == 1).all()
    assert (np.diff(left.column_weights[64 + RADIUS - 1 : 128 - RADIUS + 1]) < 0).all()


@pytest.mark.parametrize("overlap", [0, 8, 32])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (66, 200), (250, 98), (251, 99), (1, 1), (1, 131)])
def test_puts_together_what_it_took_apart(height: int, width: int, overlap: int) -> None:
    image = np.random.default_rng(0).random((height, width, 3)).astype(np.float32)
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    canvas = np.zeros_like(image)
    for tile in tile_grid(*even.shape[:2], 64, overlap, RADIUS):
        add_tile(canvas, tile, even[tile.place])
    np.testing.assert_allclose(canvas, image, atol=1e-6)
