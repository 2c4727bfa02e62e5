"""Derivatives of images by Sobel's and Scharr's kernels, what is computed from them, and how it is shown.

Images are (H, W) or (H, W, C) of uint8, uint16, float32 or float64; channels are filtered apart. Responses to whole
numbers are whole and exact: the work is done in the narrowest type of OpenCV that holds every partial sum.
Sources: Sobel & Feldman 1968; Scharr 2000; Canny 1986; OpenCV's `Sobel`, `Canny` and `convertScaleAbs`.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

KERNELS = {"3": 3, "5": 5, "7": 7, "scharr": -1}  # sizes as OpenCV takes them; -1 is FILTER_SCHARR, 3 x 3
BORDERS = {"constant": 0, "replicate": 1, "reflect": 2, "wrap": 3, "reflect101": 4}  # OpenCV's BorderTypes
QUANTITIES = ("gx", "gy", "magnitude", "angle", "sum", "mean", "abs")
SIGNED = ("gx", "gy", "sum", "mean")

FLOAT32_WHOLE = 2**24  # up to here float32 holds every whole number
INT16_HALF = 2**14  # responses in int16 leave room for the sum of two
MID_GREY = 128
TAN_22_5 = 2**0.5 - 1  # between directions along an axis and along a diagonal
BAND = 2**15  # values worked on at a time, which stay in the processor's cache


def row_bands(shape: tuple[int, ...], values: int = BAND) -> Iterator[slice]:
    """Slices of rows of an array (H, ...) that hold about so many values each, at least one row."""
    rows = max(1, values * shape[0] // max(1, int(np.prod(shape))))
    return (slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows))


@cache
def kernel_taps(kernel: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smoothing and the derivative taps; their outer product correlates with an image to give gx."""
    import cv2

    derivative, smoothing = cv2.getDerivKernels(1, 0, KERNELS[kernel])
    return tuple(int(tap) for tap in smoothing.ravel()), tuple(int(tap) for tap in derivative.ravel())


def kernel_gain(kernel: str) -> int:
    """Sum of a kernel's positive weights: the response to a step of 1."""
    smoothing, derivative = kernel_taps(kernel)
    return sum(smoothing) * sum(tap for tap in derivative if tap > 0)


def white_level(sample_type: DTypeLike) -> float:
    """The value of white: 255, 65535, or 1 for floats."""
    return 1.0 if np.dtype(sample_type).kind == "f" else float(np.iinfo(sample_type).max)


def response_bound(kernel: str, white: float) -> float:
    """No response to an image of values between 0 and `white` is larger than this, in either direction."""
    return kernel_gain(kernel) * white


def response_type(kernel: str, sample_type: DTypeLike) -> np.dtype:
    """The type of responses: int16 or int32, whichever also holds the sum of two; float64 for floats."""
    if np.dtype(sample_type).kind == "f":
        return np.dtype(np.float64)
    bound = response_bound(kernel, white_level(sample_type))
    return np.dtype(np.int16 if bound < INT16_HALF else np.int32)


def padded(image: np.ndarray, kernel: str, border: str) -> np.ndarray:
    """The image with as many pixels around it as the kernel reads beyond an edge; "constant" is black.

    Sides shorter than that are reflected or wrapped repeatedly.
    """
    import cv2

    margin = len(kernel_taps(kernel)[0]) // 2
    around = cv2.copyMakeBorder(image, margin, margin, margin, margin, BORDERS[border], value=0)
    return around.reshape(*around.shape[:2], *image.shape[2:])  # OpenCV drops a last axis of one channel


def derivatives(image: np.ndarray, kernel: str, border: str) -> tuple[np.ndarray, np.ndarray]:
    """gx and gy in the image's shape: growing to the right and downwards, int16, int32 or float64 (`response_type`).

    Whole numbers equal those of OpenCV's Sobel in float64.
    """
    if border == "wrap":  # cv2.Sobel refuses it
        margin = len(kernel_taps(kernel)[0]) // 2
        inner = slice(margin, -margin)
        gx, gy = derivatives(padded(image, kernel, border), kernel, "constant")
        return np.ascontiguousarray(gx[inner, inner]), np.ascontiguousarray(gy[inner, inner])
    return _response(image, kernel, border, 1, 0), _response(image, kernel, border, 0, 1)


def _response(image: np.ndarray, kernel: str, border: str, dx: int, dy: int) -> np.ndarray:
    import cv2

    depth = _working_depth(image.dtype, kernel)
    response = cv2.Sobel(image, depth, dx, dy, ksize=KERNELS[kernel], borderType=BORDERS[border])
    return response.reshape(image.shape).astype(response_type(kernel, image.dtype), copy=False)


def _working_depth(sample_type: DTypeLike, kernel: str) -> int:
    """OpenCV's narrowest depth in which every partial sum is exact."""
    import cv2

    if response_type(kernel, sample_type) == np.int16:
        return cv2.CV_16S
    exact = np.dtype(sample_type).kind != "f" and response_bound(kernel, white_level(sample_type)) < FLOAT32_WHOLE
    return cv2.CV_32F if exact else cv2.CV_64F


def gradient(gx: np.ndarray, gy: np.ndarray, quantity: str, bound: float | None = None) -> np.ndarray:
    """One of QUANTITIES of two derivatives, in their shape; `bound` as of `response_bound`, else read off the arrays.

    "sum" gx + gy and "abs" |gx| + |gy| keep the type of `derivatives`; "mean" (gx + gy) / 2, "magnitude" and "angle"
    are float32, or float64 where the components are floats or float32 does not hold the sum of two. The angle is
    atan2(gy, gx) in degrees, in (-180, 180], clockwise from the right as rows grow downwards; 0 where there is none.
    """
    match quantity:
        case "gx":
            return gx
        case "gy":
            return gy
        case "sum":
            return gx + gy
        case "abs":
            total = np.abs(gx)
            return np.add(total, np.abs(gy), out=total)
        case "mean":
            total = np.add(gx, gy, dtype=_real_type(gx, gy, bound))
            return np.multiply(total, 0.5, out=total)
        case "magnitude":
            return _by_bands(_magnitude, gx, gy, _real_type(gx, gy, bound))
        case "angle":
            return _by_bands(_angle, gx, gy, _real_type(gx, gy, bound))
    raise ValueError(f"{quantity}: not one of {', '.join(QUANTITIES)}")


def _real_type(gx: np.ndarray, gy: np.ndarray, bound: float | None) -> type[np.floating]:
    if gx.dtype.kind == "f":
        return np.float64
    if bound is None:
        bound = max(abs(int(limit(values))) for values in (gx, gy) for limit in (np.min, np.max))
    return np.float32 if 2 * bound < FLOAT32_WHOLE else np.float64


def _by_bands(
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], object],
    gx: np.ndarray,
    gy: np.ndarray,
    real: type[np.floating],
) -> np.ndarray:
    """`function(x, y, out)` of float rows: by bands, converted copies never leave the cache, at twice the speed."""
    result = np.empty((gx.shape[0], gx[:1].size), real)
    x, y = gx.reshape(result.shape), gy.reshape(result.shape)
    for rows in row_bands(result.shape):
        function(x[rows].astype(real), y[rows].astype(real), result[rows])
    return result.reshape(gx.shape)


def _magnitude(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Of two fresh copies, which it changes. cv2.magnitude rounds equal pairs differently at the end of a row."""
    x *= x
    y *= y
    x += y
    np.sqrt(x, out=out)


def _angle(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Of two fresh copies, which it changes: atan2 tells -0.0 from 0.0, an angle does not."""
    x += 0.0
    y += 0.0
    out[:] = np.degrees(np.arctan2(y, x, dtype=np.float64))  # in float32, a diagonal is not quite 45
    out[out == -180] = 180  # rounded from just above


def strongest_channel(gx: np.ndarray, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, C) to (H, W): each pixel's pair of the largest magnitude, of equals that of the first channel."""
    strong_x, strong_y = gx[..., 0].copy(), gy[..., 0].copy()
    for rows in row_bands(strong_x.shape):
        strongest = _squared(gx[rows, :, 0], gy[rows, :, 0])
        for channel in range(1, gx.shape[2]):
            strength = _squared(gx[rows, :, channel], gy[rows, :, channel])
            stronger = strength > strongest
            np.copyto(strong_x[rows], gx[rows, :, channel], where=stronger)
            np.copyto(strong_y[rows], gy[rows, :, channel], where=stronger)
            np.maximum(strongest, strength, out=strongest)
    return strong_x, strong_y


def _squared(gx: np.ndarray, gy: np.ndarray) -> np.ndarray:
    """gx² + gy², exact for responses to whole numbers."""
    exact = np.int32 if gx.dtype == np.int16 else np.float64
    return np.square(gx, dtype=exact) + np.square(gy, dtype=exact)


def thin(gx: np.ndarray, gy: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """The magnitude where it is a local maximum along the gradient, else 0 (Canny 1986, non-maximum suppression).

    The direction is the nearest of four, with OpenCV's Canny: one of the two neighbours along an axis may be equal,
    so that of a pair the right or the lower one stays; both along a diagonal must be smaller, because between two
    equal ones lies a pixel of its own. Beyond the edges the magnitude is 0.
    """
    around = np.pad(magnitude, [(1, 1), (1, 1)] + [(0, 0)] * (magnitude.ndim - 2))
    thinned = np.zeros_like(magnitude)
    for rows in row_bands(magnitude.shape):
        peaks = _local_maxima(gx[rows], gy[rows], around[rows.start : rows.stop + 2])
        np.copyto(thinned[rows], magnitude[rows], where=peaks)
    return thinned


def _local_maxima(gx: np.ndarray, gy: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Booleans in the shape of `gx`; `around` is the magnitude with one more pixel on each side."""
    centre, middle, before, after = around[1:-1, 1:-1], slice(1, -1), slice(None, -2), slice(2, None)
    horizontal = (centre > around[middle, before]) & (centre >= around[middle, after])
    vertical = (centre > around[before, middle]) & (centre >= around[after, middle])
    falling = (centre > around[before, before]) & (centre > around[after, after])
    rising = (centre > around[before, after]) & (centre > around[after, before])
    width, height = np.abs(gx, dtype=np.float64), np.abs(gy, dtype=np.float64)
    diagonal = np.where((gx < 0) == (gy < 0), falling, rising)
    steep = np.where(width < TAN_22_5 * height, vertical, diagonal)
    return np.where(height < TAN_22_5 * width, horizontal, steep)


def displayed(values: np.ndarray, quantity: str, kernel: str, white: float) -> np.ndarray:
    """Responses in grey levels (uint8) for viewing; `white` is that of the image: 255, 65535 or 1.

    A step from black to white gives a response of gain * white. Magnitudes show a quarter of it as white and clip
    what is above (for 3 x 3 on 8 bits, OpenCV's convertScaleAbs); signed quantities rise from mid-grey, half as steep.
    Ties round to even.
    """
    import cv2

    slope = 4 / kernel_gain(kernel) * 255 / white
    if quantity in SIGNED:  # halved twice, for OpenCV adds two weighted images
        levels = cv2.addWeighted(values, slope / 4, values, slope / 4, MID_GREY, dtype=cv2.CV_8U)
    else:
        levels = cv2.convertScaleAbs(values, alpha=slope)
    return levels.reshape(values.shape)


def displayed_angle(angle: np.ndarray, magnitude: np.ndarray, kernel: str, white: float) -> np.ndarray:
    """RGB (H, W, 3) of angles (H, W) in degrees: 0 is red, 120 green, -120 blue, as bright as `displayed` magnitude."""
    import cv2

    picture = np.empty((*angle.shape, 3), np.uint8)
    for rows in row_bands(angle.shape):
        levels = displayed(magnitude[rows], "magnitude", kernel, white)
        hue = np.mod(angle[rows], 360).astype(np.float32)
        colour = np.stack([hue, np.ones_like(hue), levels.astype(np.float32)], axis=-1)
        picture[rows] = np.rint(cv2.cvtColor(colour, cv2.COLOR_HSV2RGB))
    return picture
