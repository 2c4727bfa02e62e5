"""Noise is numpy's, its estimate finds what was added, and both measures match scikit-image."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cnncli.imaging.noise import add_noise, add_noise_to_samples, estimate_sigma, psnr, ssim
from tests.conftest import PHOTOS


def photo(name: str) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(PHOTOS / name))[:200, :301, ::-1])


def scikit_image(module: str) -> Any:
    return pytest.importorskip(f"skimage.{module}", reason="scikit-image computes the figures to compare with")


@pytest.mark.parametrize("shape", [(1, 1), (300, 457), (211, 307, 3), (5, 4, 1)])
@pytest.mark.parametrize("sample_type", [np.float32, np.float64])
def test_adds_the_noise_of_numpy(sample_type: type, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).random(shape).astype(sample_type)
    before = image.copy()
    noisy = add_noise(image, 25, seed=7)
    expected = image + np.random.default_rng(7).normal(0, 25 / 255, shape)
    assert np.array_equal(noisy, expected.astype(sample_type)) and np.array_equal(image, before)
    assert noisy.dtype == sample_type
    assert not np.array_equal(noisy, add_noise(image, 25, seed=8))


def test_does_not_clip_floats() -> None:
    noisy = add_noise(np.zeros((50, 50)), 50, seed=0)
    assert noisy.min() < 0 and np.array_equal(add_noise(noisy, 0, seed=0), noisy)


@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16])
def test_stored_samples_are_clipped_and_rounded(sample_type: type) -> None:
    white = np.iinfo(sample_type).max
    image = np.random.default_rng(1).integers(0, white + 1, (200, 300, 3)).astype(sample_type)
    noisy = add_noise_to_samples(image, 50, seed=3)
    expected = np.round(
        np.clip(image / white + np.random.default_rng(3).normal(0, 50 / 255, image.shape), 0, 1) * white
    )
    assert noisy.dtype == sample_type and np.array_equal(noisy, expected)
    assert noisy.min() == 0 and noisy.max() == white
    assert np.array_equal(add_noise_to_samples(image, 0, seed=3), image)


def haar_by_hand(image: np.ndarray) -> float:
    """One 2 x 2 block after another, image in 0..1."""
    estimates = []
    for channel in np.moveaxis(np.atleast_3d(image), -1, 0):
        blocks = [
            abs(channel[y, x] - channel[y, x + 1] - channel[y + 1, x] + channel[y + 1, x + 1]) / 2
            for y in range(0, image.shape[0] - 1, 2)
            for x in range(0, image.shape[1] - 1, 2)
        ]
        estimates.append(np.median(blocks) / 0.6745)
    return float(np.mean(estimates)) * 255


@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 2), (9, 7), (20, 31, 3), (31, 20, 1)])
def test_estimate_matches_the_definition(shape: tuple[int, ...], sample_type: type) -> None:
    values = np.random.default_rng(5).random(shape)
    white = 1 if np.dtype(sample_type).kind == "f" else np.iinfo(sample_type).max
    image = (values * white).astype(sample_type)
    assert estimate_sigma(image) == pytest.approx(haar_by_hand(image / np.float64(white)), rel=1e-5)


@pytest.mark.parametrize("sigma", [2, 5, 15, 25, 50, 75])
def test_estimate_finds_what_was_added(sigma: float) -> None:
    image = np.full((600, 800, 3), 0.5)
    assert estimate_sigma(add_noise(image, sigma, seed=sigma)) == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_estimate_is_near_that_of_scikit_image(sigma: float) -> None:
    """Which takes a longer wavelet; texture counts as noise in either."""
    restoration = scikit_image("restoration")
    pytest.importorskip("pywt", reason="scikit-image estimates by PyWavelets")
    noisy = add_noise(photo("coffee.png") / 255, sigma, seed=1)
    assert estimate_sigma(noisy) == pytest.approx(
        255 * restoration.estimate_sigma(noisy, True, channel_axis=-1), rel=0.05
    )


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_estimate_on_photos(name: str, sigma: float) -> None:
    noisy = add_noise(photo(name) / 255, sigma, seed=1)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (1, 9, 3)])
def test_no_block_no_noise(shape: tuple[int, ...]) -> None:
    assert estimate_sigma(np.random.default_rng(0).random(shape)) == 0
    assert estimate_sigma(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)) == 0


def test_a_smooth_slope_is_not_noise() -> None:
    rows, columns = np.mgrid[:64, :64]
    assert estimate_sigma((rows + 2 * columns).astype(np.uint8)) == 0


def pairs() -> list[Any]:
    """A photo and its noisy copy: type, colour, size."""
    sources = [(photo("coffee.png"), 20), (photo("chelsea.png")[..., 1], 50), (photo("astronaut.png")[:33, :12], 5)]
    return [
        pytest.param((image / 255 * white).astype(kind), sigma, white, id=f"{np.dtype(kind)}-{image.shape}")
        for image, sigma in sources
        for kind, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1))
    ]


def with_noise(image: np.ndarray, sigma: float) -> np.ndarray:
    return (add_noise if image.dtype.kind == "f" else add_noise_to_samples)(image, sigma, seed=2)


@pytest.mark.parametrize(("image", "sigma", "white"), pairs())
def test_ssim_matches_scikit_image(image: np.ndarray, sigma: float, white: float) -> None:
    noisy = with_noise(image, sigma)
    expected = scikit_image("metrics").structural_similarity(
        image.astype(np.float64),
        noisy.astype(np.float64),
        data_range=white,
        channel_axis=-1 if image.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(image, noisy, white) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("image", "sigma", "white"), pairs())
def test_psnr_matches_scikit_image(image: np.ndarray, sigma: float, white: float) -> None:
    noisy = with_noise(image, sigma)
    expected = scikit_image("metrics").peak_signal_noise_ratio(
        image.astype(np.float64), noisy.astype(np.float64), data_range=white
    )
    assert psnr(image, noisy, white) == pytest.approx(expected, abs=1e-6)


def test_psnr_by_hand() -> None:
    black, grey = np.zeros((4, 5), np.uint8), np.full((4, 5), 51, np.uint8)
    assert psnr(black, grey, 255) == pytest.approx(20 * math.log10(5))
    assert psnr(black, black + np.uint8(255), 255) == 0


def test_ssim_by_hand() -> None:
    """Even surfaces have no variance: (2 ab + C1) / (a² + b² + C1) is left."""
    a, b, c1 = 0.25, 0.75, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert ssim(np.full((20, 30), a), np.full((20, 30), b), 1) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (40, 50), (40, 50, 3), (3, 90), (11, 11), (12, 1, 3)])
@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float32, np.float64])
def test_equal_images(sample_type: type, shape: tuple[int, ...]) -> None:
    white = 1 if np.dtype(sample_type).kind == "f" else np.iinfo(sample_type).max
    image = (np.random.default_rng(0).random(shape) * white).astype(sample_type)
    assert psnr(image, image.copy(), white) == math.inf and ssim(image, image.copy(), white) == 1


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (10, 40), (40, 10, 3), (1, 30, 1)])
def test_small_images_are_mirrored_to_the_window(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(shape), generator.random(shape)
    frame = [(max(0, 11 - side) // 2, -(-max(0, 11 - side) // 2)) for side in shape[:2]] + [(0, 0)] * (len(shape) - 2)
    expected = scikit_image("metrics").structural_similarity(
        np.pad(a, frame, "symmetric"),
        np.pad(b, frame, "symmetric"),
        data_range=1,
        channel_axis=-1 if a.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b, 1) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_many_bands_matches_scikit_image() -> None:
    """Taller than what is worked on at a time; some row of every band differs."""
    generator = np.random.default_rng(0)
    a = generator.random((1500, 700))
    b = a + generator.normal(0, 0.2, a.shape) * np.linspace(0, 1, 1500)[:, None]
    expected = scikit_image("metrics").structural_similarity(
        a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, b, 1) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("sigma", "expected"), [(15, 24.90), (25, 20.61), (50, 15.08)])
def test_noisy_photos_of_the_benchmark(data_set: Callable[[str], Path], sigma: float, expected: float) -> None:
    """PSNR of the noisy input in 8 bits, which the FFDNet comparison states for twelve images of CBSD68."""
    figures = []
    for path in sorted(data_set("cbsd68_12").rglob("*.png")):
        image = cv2.imread(str(path))[..., ::-1]
        figures.append(psnr(np.ascontiguousarray(image), add_noise_to_samples(image, sigma, int(path.stem)), 255))
    assert len(figures) == 12 and np.mean(figures) == pytest.approx(expected, abs=0.006)
