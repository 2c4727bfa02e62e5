"""Only the crop is resized, and equals the crop of the resized whole."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode

from cnncli.imaging.geometry import FILTERS, Geometry, resize_and_crop, short_side_size
from tests.conftest import PHOTOS

MODES = {name: InterpolationMode(name) for name in FILTERS}


def resized_then_cropped(image: np.ndarray, short: int, crop: tuple[int, int], resampling: str) -> np.ndarray:
    """As torchvision prepares a photo for a network, in Pillow's order until version 12: across, then down."""
    height, width = reference.resize(torch.zeros(1, *image.shape[:2], dtype=torch.uint8), [short]).shape[1:]
    across = Image.fromarray(image).resize((width, image.shape[0]), FILTERS[resampling])
    resized = reference.resize(across, [height, width], MODES[resampling], antialias=True)
    return np.asarray(reference.center_crop(resized, list(crop)))


def differs(image: np.ndarray, short: int, crop: tuple[int, int], resampling: str) -> int:
    """The largest difference to torchvision, in grey levels."""
    pixels, _ = resize_and_crop(image, short, crop, resampling)
    expected = resized_then_cropped(image, short, crop, resampling)
    assert pixels.shape == expected.shape == (*crop, 3) and pixels.dtype == np.uint8
    return int(np.abs(pixels.astype(int) - expected).max())


@pytest.mark.parametrize("resampling", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("short", "crop"), [(256, (224, 224)), (297, (260, 260)), (64, (64, 64)), (300, (100, 201))])
@pytest.mark.parametrize("photo", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
def test_matches_torchvision(photo: str, short: int, crop: tuple[int, int], resampling: str) -> None:
    image = np.asarray(Image.open(PHOTOS / photo).convert("RGB"))
    assert differs(image, short, crop, resampling) <= 1


@pytest.mark.parametrize("photo", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
def test_matches_torchvision_in_either_order(photo: str) -> None:
    """From version 13 on, Pillow may go down first; the rounding of a few pixels between differs."""
    image = np.asarray(Image.open(PHOTOS / photo).convert("RGB"))
    pixels, _ = resize_and_crop(image, 297, (260, 260), "bicubic")
    resized = reference.resize(Image.fromarray(image), [297], MODES["bicubic"], antialias=True)
    difference = np.abs(pixels.astype(int) - np.asarray(reference.center_crop(resized, [260, 260])))
    assert difference.max() <= 3 and difference.mean() < 0.1


@pytest.mark.parametrize(("rows", "columns"), [((0, 300), (0, 37)), ((0, 41), (0, 400)), ((100, 107), (3, 320))])
def test_matches_torchvision_on_slivers_of_a_photo(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    image = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))[slice(*rows), slice(*columns)]
    assert differs(np.ascontiguousarray(image), 128, (112, 112), "bicubic") <= 1


sides = st.integers(1, 90)


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.integers(1, 60), st.floats(0.1, 1), st.floats(0.1, 1), st.sampled_from(sorted(FILTERS)))
def test_matches_torchvision_at_any_size(
    width: int, height: int, short: int, part_x: float, part_y: float, resampling: str
) -> None:
    image = np.random.default_rng(width * 97 + height).integers(0, 256, (height, width, 3), np.uint8)
    crop = (max(1, round(short * part_y)), max(1, round(short * part_x)))
    difference = differs(image, short, crop, resampling)
    assert resampling == "nearest" or difference <= 2  # on noise, both passes may round a tie the other way


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 2), (2, 20000), (1, 5000), (3, 1)])
def test_takes_extreme_shapes(width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pixels, geometry = resize_and_crop(image, 224, (224, 224), "bicubic")
    assert pixels.shape == (224, 224, 3)
    # the middle of the crop is the middle of the image
    assert geometry.undo_points(np.array([112, 112])) == pytest.approx([width / 2, height / 2], abs=0.5)


def test_matches_torchvision_on_a_long_strip() -> None:
    """As long as the whole can still be resized; the pixels that are read are the same for longer ones."""
    image = np.random.default_rng(0).integers(0, 256, (2, 600, 3), np.uint8)
    assert differs(image, 64, (64, 64), "bicubic") <= 1
    assert differs(np.ascontiguousarray(image.transpose(1, 0, 2)), 64, (64, 64), "bicubic") <= 1


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (33, 33)])
@pytest.mark.parametrize("crop", [(80, 80), (41, 90), (90, 41), (51, 51)])
def test_is_black_around_an_image_smaller_than_the_crop(width: int, height: int, crop: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)
    assert differs(image, 50, crop, "bicubic") <= 1


@pytest.mark.parametrize("resampling", FILTERS)
def test_leaves_a_fitting_image_as_it_is(resampling: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    pixels, geometry = resize_and_crop(image, 32, (32, 32), resampling)
    assert np.array_equal(pixels, image[:, 8:40]) and geometry == Geometry(1, 1, 8, 0)


@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 600))
def test_rounds_the_long_side_as_torchvision(width: int, height: int, short: int) -> None:
    from torchvision.transforms.functional import _compute_resized_output_size

    expected_height, expected_width = _compute_resized_output_size((height, width), [short])
    assert short_side_size(width, height, short) == (expected_width, expected_height)


@pytest.mark.parametrize(("width", "height"), [(400, 300), (300, 400), (1234, 777)])
def test_undoes_points(width: int, height: int) -> None:
    """A bright square is found where it was drawn."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y, side = width * 5 // 9, height * 4 // 9, 24
    image[y : y + side, x : x + side] = 255
    pixels, geometry = resize_and_crop(image, 256, (224, 224), "bilinear")
    weights = pixels[..., 0] / pixels[..., 0].sum()
    rows, columns = np.mgrid[:224, :224] + 0.5  # centres of pixels
    centre = geometry.undo_points(np.array([(weights * columns).sum(), (weights * rows).sum()]))
    assert centre == pytest.approx([x + side / 2, y + side / 2], abs=0.3)


@given(
    st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=5),
)
def test_undoes_what_its_formula_does(scale: tuple, offset: tuple, points: list) -> None:
    geometry = Geometry(*scale, *offset)
    forward = np.array(points) * scale - offset
    assert geometry.undo_points(forward) == pytest.approx(np.array(points), abs=1e-6, rel=1e-9)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (4, 5, 2)])
def test_undoes_points_of_any_shape(shape: tuple[int, ...]) -> None:
    points = np.arange(np.prod(shape), dtype=float).reshape(shape)
    assert np.array_equal(Geometry(2, 4, 1, 3).undo_points(points), np.add(points, (1, 3)) / (2, 4))


def test_takes_a_view(monkeypatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    turned = image.transpose(1, 0, 2)[::-1]
    pixels, _ = resize_and_crop(turned, 32, (32, 32), "bicubic")
    assert np.array_equal(pixels, resize_and_crop(np.ascontiguousarray(turned), 32, (32, 32), "bicubic")[0])
    assert torch.from_numpy(pixels.copy()).shape == (32, 32, 3)
