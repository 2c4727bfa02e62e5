"""Derivatives equal OpenCV's, thinning equals its Canny, and what is shown equals its conversions."""

import colorsys
import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.imaging.filters import (
    BORDERS,
    KERNELS,
    QUANTITIES,
    derivatives,
    displayed,
    displayed_angle,
    gradient,
    kernel_gain,
    kernel_taps,
    padded,
    response_bound,
    response_type,
    row_bands,
    strongest_channel,
    thin,
    white_level,
)
from tests.conftest import PHOTOS

# numpy's names of the same borders
PAD_MODES = {
    "reflect101": "reflect",
    "reflect": "symmetric",
    "replicate": "edge",
    "constant": "constant",
    "wrap": "wrap",
}
# positive weights, from the tables of OpenCV's documentation
GAINS = {"3": 4, "5": 48, "7": 640, "scharr": 16}
MARGINS = {"3": 1, "5": 2, "7": 3, "scharr": 1}
TYPES = (np.uint8, np.uint16)
SIZES = ((1, 1), (1, 2), (1, 9), (9, 1), (2, 2), (2, 7), (3, 4), (23, 37))


def noise(shape: tuple[int, ...], sample_type: type, seed: int = 0) -> np.ndarray:
    """Black, white and everything between."""
    generator = np.random.default_rng(seed)
    if np.dtype(sample_type).kind == "f":
        return generator.random(shape).astype(sample_type)
    white = np.iinfo(sample_type).max
    extremes = generator.integers(0, 2, shape) * white
    return np.where(generator.random(shape) < 0.5, extremes, generator.integers(0, white + 1, shape)).astype(
        sample_type
    )


def opencv_derivatives(image: np.ndarray, kernel: str, border: str) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's own functions in float64, on a frame made by numpy."""
    margin = MARGINS[kernel]
    frame = [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2)
    around = np.pad(image.astype(np.float64), frame, mode=PAD_MODES[border])  # type: ignore[call-overload]
    inner = slice(margin, -margin)

    def response(dx: int, dy: int) -> np.ndarray:
        if kernel == "scharr":
            filtered = cv2.Scharr(around, cv2.CV_64F, dx, dy)
        else:
            filtered = cv2.Sobel(around, cv2.CV_64F, dx, dy, ksize=int(kernel))
        return filtered[inner, inner].reshape(image.shape)

    return response(1, 0), response(0, 1)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", TYPES)
def test_matches_opencv_to_the_last_bit(sample_type: type, kernel: str, border: str) -> None:
    for height, width in SIZES:
        for shape in ((height, width), (height, width, 1), (height, width, 3)):
            image = noise(shape, sample_type)
            for ours, expected in zip(
                derivatives(image, kernel, border), opencv_derivatives(image, kernel, border), strict=True
            ):
                assert ours.dtype == response_type(kernel, sample_type) and ours.flags.c_contiguous
                assert ours.shape == shape and np.array_equal(ours, expected)


@pytest.mark.parametrize("border", sorted(set(BORDERS) - {"wrap"}))
def test_borders_are_those_of_opencv(border: str) -> None:
    """Sobel itself with the flag of that name, on the type of the image."""
    image = noise((13, 17), np.uint8)
    flag = getattr(cv2, f"BORDER_{border.upper()}")
    expected = cv2.Sobel(image, cv2.CV_16S, 1, 0, borderType=flag), cv2.Sobel(image, cv2.CV_16S, 0, 1, borderType=flag)
    assert np.array_equal(derivatives(image, "3", border), expected)


@pytest.mark.parametrize("sample_type", [np.float32, np.float64])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_matches_opencv_on_floats(kernel: str, border: str, sample_type: type) -> None:
    for shape in ((1, 1), (2, 2), (19, 31), (19, 31, 3)):
        image = noise(shape, sample_type)
        for ours, expected in zip(
            derivatives(image, kernel, border), opencv_derivatives(image, kernel, border), strict=True
        ):
            assert ours.dtype == np.float64
            np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float32, np.float64])
def test_pads_as_numpy(sample_type: type, kernel: str, border: str) -> None:
    for shape in ((1, 1), (1, 5), (2, 2), (9, 4, 1), (9, 4, 3)):
        image, margin = noise(shape, sample_type), MARGINS[kernel]
        frame = [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2)
        expected = np.pad(image, frame, mode=PAD_MODES[border])  # type: ignore[call-overload]
        assert np.array_equal(padded(image, kernel, border), expected)


@pytest.mark.parametrize(
    ("kernel", "smoothing", "derivative"),
    [
        ("3", (1, 2, 1), (-1, 0, 1)),
        ("5", (1, 4, 6, 4, 1), (-1, -2, 0, 2, 1)),
        ("7", (1, 6, 15, 20, 15, 6, 1), (-1, -4, -5, 0, 5, 4, 1)),
        ("scharr", (3, 10, 3), (-1, 0, 1)),
    ],
)
def test_taps_are_the_published_ones(kernel: str, smoothing: tuple[int, ...], derivative: tuple[int, ...]) -> None:
    assert kernel_taps(kernel) == (smoothing, derivative)
    assert kernel_gain(kernel) == GAINS[kernel]


@pytest.mark.parametrize(
    ("kernel", "sample_type", "bound", "expected"),
    [
        ("3", np.uint8, 1020, np.int16),
        ("5", np.uint8, 12240, np.int16),
        ("scharr", np.uint8, 4080, np.int16),
        ("7", np.uint8, 163_200, np.int32),
        ("3", np.uint16, 262_140, np.int32),
        ("5", np.uint16, 3_145_680, np.int32),
        ("scharr", np.uint16, 1_048_560, np.int32),
        ("7", np.uint16, 41_942_400, np.int32),
    ],
)
def test_a_step_from_black_to_white_reaches_the_bound(
    kernel: str, sample_type: type, bound: int, expected: type
) -> None:
    white = white_level(sample_type)
    assert response_bound(kernel, white) == bound
    step = np.zeros((16, 16), sample_type)
    step[:, 8:] = np.iinfo(sample_type).max
    for sign, image in ((1, step), (-1, step[:, ::-1])):
        gx, gy = derivatives(image, kernel, "reflect101")
        assert gx.dtype == gy.dtype == expected
        assert sign * gx[8, 8].item() == bound == np.abs(gx.astype(np.int64)).max() and not gy.any()
        down, up = derivatives(np.ascontiguousarray(image.T), kernel, "reflect101")
        assert np.array_equal(up, gx.T) and not down.any()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", TYPES)
def test_no_image_exceeds_the_bound(sample_type: type, kernel: str) -> None:
    """White where a weight is positive, black elsewhere: for gx, and for the sum of both, whose type must hold it."""
    smoothing, derivative = kernel_taps(kernel)
    across = np.outer(smoothing, derivative)
    for weights, factor in ((across, 1), (across + across.T, 2)):
        image = np.where(weights > 0, np.iinfo(sample_type).max, 0).astype(sample_type)
        gx, gy = derivatives(image, kernel, "constant")
        response = gx if factor == 1 else gradient(gx, gy, "sum")
        middle = MARGINS[kernel]
        expected = int((weights * image.astype(np.int64)).sum())
        assert response[middle, middle] == expected <= factor * response_bound(kernel, white_level(sample_type))


images = st.tuples(
    st.integers(1, 12), st.integers(1, 12), st.sampled_from(TYPES), st.integers(0, 99), st.sampled_from(sorted(KERNELS))
)


@settings(max_examples=60, deadline=None)
@given(images, st.integers(-12, 12), st.integers(-12, 12))
def test_shifts_with_the_image(image: tuple, down: int, right: int) -> None:
    height, width, sample_type, seed, kernel = image
    pixels = noise((height, width), sample_type, seed)
    shifted = derivatives(np.roll(pixels, (down, right), (0, 1)), kernel, "wrap")
    for ours, expected in zip(shifted, derivatives(pixels, kernel, "wrap"), strict=True):
        assert np.array_equal(ours, np.roll(expected, (down, right), (0, 1)))


@settings(max_examples=60, deadline=None)
@given(images, st.sampled_from(sorted(BORDERS)))
def test_transposing_swaps_and_mirroring_negates(image: tuple, border: str) -> None:
    height, width, sample_type, seed, kernel = image
    pixels = noise((height, width), sample_type, seed)
    gx, gy = derivatives(pixels, kernel, border)
    assert np.array_equal(derivatives(pixels.T, kernel, border), (gy.T, gx.T))
    assert np.array_equal(derivatives(pixels[:, ::-1], kernel, border), (-gx[:, ::-1], gy[:, ::-1]))
    assert np.array_equal(derivatives(pixels[::-1], kernel, border), (gx[::-1], -gy[::-1]))


@settings(max_examples=60, deadline=None)
@given(images, st.sampled_from(sorted(set(BORDERS) - {"constant"})), st.integers(0, 255))
def test_an_even_surface_has_no_gradient(image: tuple, border: str, value: int) -> None:
    height, width, sample_type, _, kernel = image
    for derivative in derivatives(np.full((height, width), value, sample_type), kernel, border):
        assert not derivative.any()


@settings(max_examples=40, deadline=None)
@given(images, st.sampled_from(sorted(BORDERS)))
def test_is_linear(image: tuple, border: str) -> None:
    """The negative of an image has the negative of its gradient, but where the black beyond its edges stays black."""
    height, width, sample_type, seed, kernel = image
    pixels = noise((height, width), sample_type, seed)
    negative = np.iinfo(sample_type).max - pixels
    inner = slice(MARGINS[kernel], -MARGINS[kernel]) if border == "constant" else slice(None)
    for ours, expected in zip(derivatives(negative, kernel, border), derivatives(pixels, kernel, border), strict=True):
        assert np.array_equal(ours[inner, inner], -expected[inner, inner])


def photo(name: str = "coffee.png") -> np.ndarray:
    return cv2.imread(str(PHOTOS / name))[:160, :200, ::-1]


FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "gx": lambda x, y: x,
    "gy": lambda x, y: y,
    "magnitude": np.hypot,
    "angle": lambda x, y: np.degrees(np.arctan2(y, x)),
    "sum": lambda x, y: x + y,
    "mean": lambda x, y: (x + y) / 2,
    "abs": lambda x, y: np.abs(x) + np.abs(y),
}


@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_match_their_formulas(quantity: str, kernel: str, sample_type: type) -> None:
    """In float64, of the photo and of noise: whole and half numbers exactly, roots and angles to their rounding."""
    white = white_level(sample_type)
    coloured = (photo() / 255 * white).astype(sample_type)
    for image in (coloured, coloured[..., 1], noise((31, 45), sample_type)):
        gx, gy = derivatives(image, kernel, "reflect101")
        before = gx.copy(), gy.copy()
        ours = gradient(gx, gy, quantity, response_bound(kernel, white))
        expected = FORMULAS[quantity](gx.astype(np.float64), gy.astype(np.float64))
        assert np.array_equal((gx, gy), before) and ours.shape == image.shape
        if quantity == "magnitude":
            np.testing.assert_allclose(ours, expected, rtol=2e-7)
        elif quantity == "angle":
            turned = (ours - expected + 180) % 360 - 180  # the shorter way round
            assert np.abs(turned).max() <= 180 * 1e-7 and ours.min() > -180 and ours.max() <= 180
        else:
            assert np.array_equal(ours, expected)


@pytest.mark.parametrize(
    ("kernel", "sample_type", "whole", "real"),
    [
        ("3", np.uint8, np.int16, np.float32),
        ("7", np.uint8, np.int32, np.float32),
        ("5", np.uint16, np.int32, np.float32),
        ("7", np.uint16, np.int32, np.float64),
        ("3", np.float32, np.float64, np.float64),
    ],
)
def test_types_of_quantities(kernel: str, sample_type: type, whole: type, real: type) -> None:
    """They follow from the type of the image, not from what it shows."""
    black, white = np.zeros((8, 8), sample_type), white_level(sample_type)
    gx, gy = derivatives(black, kernel, "reflect101")
    for quantity in QUANTITIES:
        expected = real if quantity in ("magnitude", "angle", "mean") else whole
        assert gradient(gx, gy, quantity, response_bound(kernel, white)).dtype == expected


def test_reads_the_bound_off_the_arrays() -> None:
    gx = np.array([[2**25 + 1, -(2**25) - 1]], np.int32)
    assert gradient(gx, np.zeros_like(gx), "mean").tolist() == [[2**24 + 0.5, -(2**24) - 0.5]]
    assert gradient(gx // 8, gx * 0, "magnitude").dtype == np.float32


def test_rejects_another_quantity() -> None:
    with pytest.raises(ValueError, match="phase: not one of gx"):
        gradient(np.zeros((2, 2)), np.zeros((2, 2)), "phase")


@pytest.mark.parametrize("component_type", [np.int16, np.int32, np.float64])
def test_angles_lie_on_the_circle_once(component_type: type) -> None:
    gx = np.array([[1, 1, 0, -1, -1, -1, 0, 1, 0]], component_type)
    gy = np.array([[0, 1, 1, 1, 0, -1, -1, -1, 0]], component_type)
    assert gradient(gx, gy, "angle").tolist() == [[0, 45, 90, 135, 180, -135, -90, -45, 0]]


def test_angles_of_negative_zero_and_near_the_seam() -> None:
    assert gradient(np.array([[-1.0, -0.0, -0.0]]), np.array([[-0.0, 0.0, -0.0]]), "angle").tolist() == [[180, 0, 0]]
    seam = np.array([[-(2**22), -(2**22)]], np.int32), np.array([[-1, 1]], np.int32)
    assert np.all(gradient(*seam, "angle") > -180) and np.all(gradient(*seam, "angle") <= 180)
    assert gradient(np.array([[-1e300]]), np.array([[-1e-300]]), "angle").tolist() == [[180]]


@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("kernel", KERNELS)
def test_strongest_channel_matches_a_loop(kernel: str, sample_type: type) -> None:
    image = noise((12, 9, 3), sample_type)
    image[3:5] = image[3:5, :, :1]  # grey: the channels are equal
    image[6, :, 1:] = image[6, :, 2:]
    gx, gy = derivatives(image, kernel, "reflect101")
    strong_x, strong_y = strongest_channel(gx, gy)
    assert strong_x.dtype == strong_y.dtype == gx.dtype and strong_x.shape == strong_y.shape == (12, 9)
    for row, column in np.ndindex(12, 9):
        pairs = list(zip(gx[row, column].tolist(), gy[row, column].tolist(), strict=True))
        strongest = max(pairs, key=lambda pair: pair[0] ** 2 + pair[1] ** 2)  # whole numbers of Python; the first max
        assert (strong_x[row, column], strong_y[row, column]) == strongest


@pytest.mark.parametrize("component_type", [np.int16, np.int32, np.float64])
def test_strongest_channel_is_the_first_of_equals(component_type: type) -> None:
    gx = np.array([[[3, -4, 5], [1, -3, 4], [0, 0, 0]]], component_type)
    gy = np.array([[[4, 3, 0], [1, 4, -3], [0, 0, 0]]], component_type)
    strong_x, strong_y = strongest_channel(gx, gy)
    assert strong_x.tolist() == [[3, -3, 0]] and strong_y.tolist() == [[4, 4, 0]]


@pytest.mark.parametrize(("component_type", "largest"), [(np.int16, 12_240), (np.int32, 41_942_400)])
def test_strongest_channel_tells_the_slightest_difference(component_type: type, largest: int) -> None:
    gx = np.array([[[largest, largest, largest]]], component_type)
    gy = np.array([[[0, 1, -1]]], component_type)
    assert strongest_channel(gx, gy)[1].item() == 1


def test_strongest_of_one_channel_is_that_channel() -> None:
    gx, gy = derivatives(noise((7, 5, 1), np.uint8), "3", "reflect101")
    assert np.array_equal(strongest_channel(gx, gy), (gx[..., 0], gy[..., 0]))


@pytest.mark.parametrize("kernel", ["3", "scharr"])
@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
def test_thinning_keeps_the_pixels_of_opencv_canny(name: str, kernel: str) -> None:
    """Canny without thresholds is its non-maximum suppression; whole magnitudes squared there, roots here."""
    gx, gy = derivatives(cv2.imread(str(PHOTOS / name), cv2.IMREAD_GRAYSCALE), kernel, "replicate")
    magnitude = gradient(gx, gy, "magnitude")
    thinned = thin(gx, gy, magnitude)
    assert np.array_equal(thinned > 0, cv2.Canny(gx, gy, 0, 0, L2gradient=True) > 0)
    assert np.array_equal(thinned[thinned > 0], magnitude[thinned > 0]) and thinned.dtype == magnitude.dtype


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (8, 1), (2, 2), (40, 50)])
def test_thinning_matches_opencv_canny_on_noise(shape: tuple[int, int]) -> None:
    for seed in range(20):
        gx, gy = derivatives(noise(shape, np.uint8, seed), "3", "reflect101")
        kept = thin(gx, gy, gradient(gx, gy, "magnitude")) > 0
        assert np.array_equal(kept, cv2.Canny(gx, gy, 0, 0, L2gradient=True) > 0)


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_thinning_leaves_one_line_along_a_blurred_step(degrees: int) -> None:
    """Across the edge at any angle there is one maximum, where the step is, within a pixel."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    distance = columns * math.cos(math.radians(degrees)) + rows * math.sin(math.radians(degrees))
    gx, gy = derivatives(1 / (1 + np.exp(-distance / 1.5)), "3", "reflect101")
    inside = np.hypot(rows, columns) < 25
    kept = (thin(gx, gy, gradient(gx, gy, "magnitude")) > 0) & inside
    assert np.abs(distance[kept]).max() < 1
    longer = max(abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees))))
    assert 50 * longer - 3 <= kept.sum() <= 2 * 50 * longer  # at least 8-connected, at most a staircase


def test_thins_channels_apart() -> None:
    gx, gy = derivatives(photo(), "3", "reflect101")
    magnitude = gradient(gx, gy, "magnitude")
    apart = [thin(gx[..., c], gy[..., c], magnitude[..., c]) for c in range(3)]
    assert np.array_equal(thin(gx, gy, magnitude), np.stack(apart, axis=-1))


@pytest.mark.parametrize("quantity", ["magnitude", "abs"])
def test_shows_magnitudes_as_opencv_does(quantity: str) -> None:
    gx, gy = derivatives(photo(), "3", "reflect101")
    values = gradient(gx, gy, quantity)
    shown = displayed(values, quantity, "3", 255)
    assert shown.dtype == np.uint8 and np.array_equal(shown, cv2.convertScaleAbs(values))


@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("quantity", sorted(set(QUANTITIES) - {"angle"}))
def test_shows_by_the_stated_scale(quantity: str, kernel: str, sample_type: type) -> None:
    """In float64; a level off where single precision moves a value across a tie."""
    white = white_level(sample_type)
    for shape in ((40, 50), (40, 50, 1), (40, 50, 3)):
        gx, gy = derivatives(noise(shape, sample_type), kernel, "reflect101")
        values = gradient(gx, gy, quantity)
        scaled = values.astype(np.float64) * (4 / GAINS[kernel]) * 255 / white
        level = np.abs(scaled) if quantity in ("magnitude", "abs") else 128 + scaled / 2
        shown = displayed(values, quantity, kernel, white)
        assert shown.shape == shape and shown.dtype == np.uint8
        assert np.abs(shown - np.clip(level, 0, 255)).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("value", "level"), [(0, 128), (1, 128), (2, 129), (3, 130), (-2, 127), (300, 255), (-300, 0)])
def test_shows_signs_around_mid_grey(value: int, level: int) -> None:
    assert displayed(np.full((2, 3), value, np.int16), "gx", "3", 255).tolist() == [[level] * 3] * 2


def test_shows_angles_on_the_hue_circle() -> None:
    angle = np.arange(-179, 181, dtype=np.float32).reshape(20, 18)
    magnitude = np.linspace(0, 400, 360, dtype=np.float32).reshape(20, 18)
    shown = displayed_angle(angle, magnitude, "3", 255)
    brightness = cv2.convertScaleAbs(magnitude)
    for row, column in np.ndindex(angle.shape):
        colour = colorsys.hsv_to_rgb(float(angle[row, column]) % 360 / 360, 1, int(brightness[row, column]))
        assert np.abs(shown[row, column] - np.array(colour)).max() <= 0.5 + 1e-3
    primaries = displayed_angle(np.array([[0.0, 120.0, -120.0]]), np.full((1, 3), 255.0), "3", 255)
    assert primaries.tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (100, 5, 3), (3, 1000), (1000, 2)])
@pytest.mark.parametrize("values", [1, 64, 10**6])
def test_bands_cover_every_row_once(shape: tuple[int, ...], values: int) -> None:
    rows = [row for band in row_bands(shape, values) for row in range(*band.indices(shape[0]))]
    assert rows == list(range(shape[0]))
