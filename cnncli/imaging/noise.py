"""Gaussian noise: adding it, estimating it, and measuring how far two images differ.

Images are (H, W) or (H, W, C), floats in 0..1 or stored samples of uint8 or uint16. Sigma is in units of 1/255 of
white at any depth, as in the literature of denoising.
"""

import math
from collections.abc import Iterator

import numpy as np

from cnncli.imaging.filters import row_bands, white_level

SIGMA_UNIT = 255
MEDIAN_OF_NORMAL = 0.6745  # of |x| with deviation 1: Donoho & Johnstone 1994, "Ideal spatial adaptation", sec. 4

WINDOW, WINDOW_SIGMA = 11, 1.5  # Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment", sec. III-C
K1, K2 = 0.01, 0.03  # ibid.
SSIM_BAND = 2**19  # values of a band: more rows than the window overlaps


def add_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """A float image plus `numpy.random.default_rng(seed).normal(0, sigma / 255, shape)`, not clipped."""
    noisy = np.empty_like(image)
    for rows, part in _noisy_bands(image, sigma, seed):
        noisy[rows] = part
    return noisy


def add_noise_to_samples(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """The same noise on an image of uint8 or uint16, clipped to black and white and rounded, as a file holds it."""
    white = white_level(image.dtype)
    noisy = np.empty_like(image)
    for rows, part in _noisy_bands(image, sigma, seed):
        noisy[rows] = np.rint(np.clip(part, 0, 1) * white)
    return noisy


def _noisy_bands(image: np.ndarray, sigma: float, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows in 0..1 with noise, in float64; a generator draws the same values in parts as at once."""
    generator = np.random.default_rng(seed)
    white = white_level(image.dtype)
    for rows in row_bands(image.shape):
        clean = image[rows] / white
        yield rows, clean + generator.normal(0, sigma / SIGMA_UNIT, clean.shape)


def estimate_sigma(image: np.ndarray) -> float:
    """Deviation of the noise, of 255: median |diagonal Haar band| / 0.6745, the mean over channels.

    The band is (a - b - c + d) / 2 of 2 x 2 blocks, in which edges are rare; 0 for an image that has no such block.
    """
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    if not height or not width:
        return 0.0
    even, odd = image[:height:2, :width], image[1:height:2, :width]
    diagonal = np.subtract(even[:, ::2], even[:, 1::2], dtype=np.result_type(image.dtype, np.float32))
    diagonal -= odd[:, ::2]
    diagonal += odd[:, 1::2]
    medians = np.median(np.abs(diagonal, out=diagonal), axis=(0, 1), overwrite_input=True)
    return float(np.mean(medians)) / 2 / MEDIAN_OF_NORMAL * SIGMA_UNIT / white_level(image.dtype)


def psnr(a: np.ndarray, b: np.ndarray, white: float) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(white² / mean squared error), of images of one type.

    Infinite for equal images.
    """
    import cv2

    squared_error = cv2.norm(a, b, cv2.NORM_L2SQR)
    return 10 * math.log10(white**2 * a.size / squared_error) if squared_error else math.inf


def ssim(a: np.ndarray, b: np.ndarray, white: float) -> float:
    """Mean structural similarity (Wang et al. 2004) over every place where the whole window fits, and over channels.

    Sides shorter than the window are first extended to its 11 pixels, mirrored at the edges.
    """
    a, b = _as_large_as_window(a), _as_large_as_window(b)
    overlap = WINDOW - 1
    inner = a.shape[0] - overlap
    total, places = 0.0, 0
    for rows in row_bands((inner, *a.shape[1:]), SSIM_BAND):
        part = slice(rows.start, rows.stop + overlap)
        similarity = _similarity(a[part].astype(np.float64), b[part].astype(np.float64), white)
        total += float(similarity.sum())
        places += similarity.size
    return total / places


def _as_large_as_window(image: np.ndarray) -> np.ndarray:
    import cv2

    missing = [max(0, WINDOW - side) for side in image.shape[:2]]
    if not any(missing):
        return image
    (top, left), (bottom, right) = [n // 2 for n in missing], [n - n // 2 for n in missing]
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT)


def _similarity(a: np.ndarray, b: np.ndarray, white: float) -> np.ndarray:
    """The map of SSIM (ibid., eq. 13), WINDOW - 1 pixels smaller in both directions; images in float64."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = _window_mean(a * b) - product, _window_mean(a * a + b * b) - squares
    c1, c2 = (K1 * white) ** 2, (K2 * white) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _window_mean(values: np.ndarray) -> np.ndarray:
    """Gaussian-weighted means where the whole window fits."""
    import cv2

    half = WINDOW // 2
    return cv2.GaussianBlur(values, (WINDOW, WINDOW), WINDOW_SIGMA)[half:-half, half:-half]
