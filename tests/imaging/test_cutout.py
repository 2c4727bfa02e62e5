"""Cut-outs by arithmetic; a background out of focus that keeps no light of what stood before it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.imaging.cutout import blurred_background, colour_of, composed, filling, with_alpha

SIZES = [(1, 1), (1, 50), (50, 1), (3, 2), (120, 200), (601, 401)]


def noise(height: int, width: int, channels: int | None = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def disc(height: int, width: int, soft: float = 1.0) -> np.ndarray:
    """Alpha of a round object in the middle, its edge `soft` px wide."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2) - min(height, width) / 4
    return np.rint(np.clip(0.5 - distance / soft, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_alpha_is_the_fourth_channel(height: int, width: int) -> None:
    image, alpha = noise(height, width), noise(height, width, None)
    rgba = with_alpha(image, alpha)
    assert rgba.dtype == np.uint8
    np.testing.assert_array_equal(rgba[..., :3], image)
    np.testing.assert_array_equal(rgba[..., 3], alpha)


def test_composes_by_arithmetic() -> None:
    image, background = np.full((1, 4, 3), 200, np.uint8), np.full((1, 4, 3), 100, np.uint8)
    alpha = np.array([[0, 51, 128, 255]], np.uint8)
    assert composed(image, alpha, background)[0, :, 0].tolist() == [100, 120, 150, 200]


def test_composes_as_pillow_does() -> None:
    image, background, alpha = noise(40, 60), noise(40, 60, seed=1), noise(40, 60, None)
    expected = Image.composite(Image.fromarray(image), Image.fromarray(background), Image.fromarray(alpha))
    assert np.abs(composed(image, alpha, background).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#ff8000", (255, 128, 0)),
        ("#FF8000", (255, 128, 0)),
        ("#f80", (255, 136, 0)),
        ("#000", (0, 0, 0)),
        ("white", None),
        ("ff8000", None),
        ("#ff80", None),
        ("#ff80001", None),
        ("#gg0000", None),
        ("#ff8000\n", None),
        ("", None),
    ],
)
def test_reads_colours(text: str, colour: tuple[int, int, int] | None) -> None:
    assert colour_of(text) == colour


def even(level: int, height: int = 400, width: int = 600) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("soft", [1, 10, 60])
@pytest.mark.parametrize(("object_level", "level"), [(255, 20), (0, 230)])
def test_background_keeps_no_light_of_the_object(object_level: int, level: int, soft: float) -> None:
    """An even background stays as it is, right up to an object of another brightness and within its soft edge."""
    alpha = disc(400, 600, soft)
    uncovered = np.where(alpha[..., None] == 255, even(object_level), even(level))
    blurred = blurred_background(uncovered, alpha)
    assert np.abs(blurred[alpha < 255].astype(int) - level).max() <= 1


@pytest.mark.parametrize(("soft", "halo"), [(1, 0.01), (10, 0.05), (60, 0.17)])
def test_background_keeps_little_light_of_a_soft_edge(soft: float, halo: float) -> None:
    """Half of the edge's light is the object's; beside it at most a sixth of that brightness is left, on average."""
    alpha = disc(400, 600, soft)
    blurred = blurred_background(composed(even(255), alpha, even(0)), alpha)
    assert blurred[alpha == 0].max() / 255 <= halo


def test_background_is_a_gaussian_where_nothing_stands() -> None:
    """A thirtieth of the long side, nearly, in place of the whole kernel over all pixels."""
    image = np.asarray(Image.fromarray(noise(6, 9)).resize((600, 400), Image.Resampling.BICUBIC))
    expected = cv2.GaussianBlur(image, (0, 0), 18)
    blurred = blurred_background(image, np.zeros((400, 600), np.uint8))
    assert np.abs(blurred.astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("value", [0, 255])
def test_background_of_any_size(height: int, width: int, value: int) -> None:
    blurred = blurred_background(noise(height, width), np.full((height, width), value, np.uint8))
    assert blurred.shape == (height, width, 3) and blurred.dtype == np.uint8


@pytest.mark.parametrize("target", [(40, 40), (30, 80), (80, 30), (300, 20)])
@pytest.mark.parametrize("source", [(40, 40), (20, 100), (100, 20), (1, 1), (1, 500)])
def test_fills_a_size(source: tuple[int, int], target: tuple[int, int]) -> None:
    filled = filling(noise(*source), *target)
    assert filled.shape == (*target, 3)


def test_fills_with_the_centre_undistorted() -> None:
    """A gradient across keeps its slope, and its middle stays in the middle."""
    gradient = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None] * 2, (50, 100, 3))
    filled = filling(np.ascontiguousarray(gradient), 100, 100)  # twice as large, 50 columns of it seen
    expected = 2 * ((np.arange(100) + 0.5) / 2 + 25 - 0.5)
    assert np.abs(filled[50, 2:-2, 0] - expected[2:-2]).max() <= 1


def test_fills_with_the_same_picture_where_it_fits() -> None:
    picture = noise(40, 60)
    np.testing.assert_array_equal(filling(picture, 40, 60), picture)


def test_fills_from_a_line_without_making_it_all() -> None:
    assert filling(noise(1, 20_000), 3000, 10).shape == (3000, 10, 3)
