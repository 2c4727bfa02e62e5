"""Edges by Sobel's and Scharr's filters: computed by OpenCV, or on a device by a convolution of the same weights."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from cnncli.errors import UsageError
from cnncli.imaging.colour import grey_of
from cnncli.imaging.filters import (
    BORDERS,
    KERNELS,
    QUANTITIES,
    SIGNED,
    derivatives,
    displayed,
    displayed_angle,
    gradient,
    padded,
    response_bound,
    strongest_channel,
    thin,
    white_level,
)
from cnncli.io.images import Photo
from cnncli.io.pictures import WRITTEN_FORMATS, Picture, holds_numbers
from cnncli.io.stored import decode_stored
from cnncli.io.weights import ModelInfo, Weights
from cnncli.results.sobel import Gradient
from cnncli.tasks.base import BaseTask, Options, Outputs, Request

CHANNELS = ("gray", "per-channel", "max-channel")
AUTO = "auto"
WHITE = 255


@dataclass(frozen=True)
class SobelOptions(Options):
    """`gradient` is one of QUANTITIES, `kernel` of KERNELS, `border` of BORDERS, `channels` of CHANNELS.

    `blur` is the sigma in px of a Gaussian before. `thin` keeps the crests of the edges alone (Canny 1986);
    `threshold` makes the answer black and white: white from this value on, "auto" for Otsu's. `stretch` shows the
    largest value as white.
    """

    gradient: str = "magnitude"
    kernel: str = "3"
    border: str = "reflect101"
    channels: str = "gray"
    blur: float = 0.0
    thin: bool = False
    threshold: float | str | None = None
    stretch: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        return ()

    def __post_init__(self) -> None:
        choices = {"gradient": QUANTITIES, "kernel": KERNELS, "border": BORDERS, "channels": CHANNELS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"--{name} {getattr(self, name)}: choose {', '.join(known)}")
        if not 0 <= self.blur <= 100:
            raise UsageError(f"--blur {self.blur:g}: give a sigma from 0 to 100 pixels")
        if isinstance(self.threshold, str) and self.threshold != AUTO:
            raise UsageError(f"--threshold {self.threshold}: give a number or auto")
        if isinstance(self.threshold, (int, float)) and not self.threshold > 0:
            raise UsageError(f"--threshold {self.threshold:g}: give a value above 0")
        if self.gradient == "angle" and self.threshold is not None:
            raise UsageError("--threshold is for the size of a gradient, not its angle; use --gradient magnitude")


class Sobel(BaseTask):
    """The derivatives of a photo in one of their forms: signed and whole in files of numbers, else shown as grey."""

    name: ClassVar[str] = "sobel"
    picture_suffix: ClassVar[str] = ".png"
    picture_endings: ClassVar[tuple[str, ...]] = (*WRITTEN_FORMATS, ".npy")
    array_types: ClassVar[tuple[str, ...]] = ("uint8", "uint16", "float32")
    own_engine: ClassVar[str] = "opencv"
    decode = staticmethod(decode_stored)
    result_key = "output"
    columns = ("output", "min", "max", "mean")

    def __init__(self, models: Mapping[str, ModelInfo], options: SobelOptions):
        self.options = options
        self.on_device = "sobel" in models

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Gradient]:
        """`image`: (H, W) or (H, W, 3) of uint8, uint16, int32 or floats."""
        planes = self._planes(image)
        if self.on_device:
            gx, gy = yield from self._on_device(planes)
        else:
            gx, gy = derivatives(planes, self.options.kernel, self.options.border)
        if self.options.channels == "max-channel" and gx.ndim == 3:
            gx, gy = strongest_channel(gx, gy)
        return self._gradient(gx, gy, response_bound(self.options.kernel, white_level(planes.dtype)))

    def _planes(self, image: np.ndarray) -> np.ndarray:
        """What is filtered: grey or the channels, smoothed where that is asked for."""
        if image.dtype.name not in ("uint8", "uint16", "float32"):
            image = image.astype(np.float64)
        if image.ndim == 3 and self.options.channels == "gray":
            image = grey_of(image)
        if not self.options.blur:
            return image
        import cv2

        return cv2.GaussianBlur(image, (0, 0), self.options.blur)

    def _on_device(self, planes: np.ndarray) -> Generator[Request, Outputs, tuple[np.ndarray, np.ndarray]]:
        around = padded(planes, self.options.kernel, self.options.border)
        outputs = yield Request("sobel", around.reshape(*around.shape[:2], -1))
        return outputs["gx"].reshape(planes.shape), outputs["gy"].reshape(planes.shape)

    def _gradient(self, gx: np.ndarray, gy: np.ndarray, bound: float) -> Gradient:
        quantity = self.options.gradient
        values = gradient(gx, gy, quantity, bound)
        magnitude = None
        if quantity == "angle" or self.options.thin:
            magnitude = values if quantity == "magnitude" else gradient(gx, gy, "magnitude", bound)
        if self.options.thin:
            crest = thin(gx, gy, magnitude)
            values = np.where(crest > 0, values, 0).astype(values.dtype, copy=False)
            magnitude = crest
        if self.options.threshold is not None:
            values = self._black_and_white(values)
        least, most, mean = _range(values)
        return Gradient(least, most, mean, values, magnitude if quantity == "angle" else None)

    def _black_and_white(self, values: np.ndarray) -> np.ndarray:
        """White where the size of a value reaches the threshold: uint8 0 or 255."""
        size = np.abs(values)
        threshold = _otsu(size) if self.options.threshold == AUTO else self.options.threshold
        return np.where((size >= threshold) & (size > 0), WHITE, 0).astype(np.uint8)

    def draw(self, photo: Photo, result: Gradient, suffix: str) -> Picture:
        """The values themselves for a file of numbers (.npy, .tif), else a picture of them."""
        if holds_numbers(suffix) or self.options.threshold is not None:
            return Picture(result.values)
        white = _white(photo.pixels)
        kernel, quantity = self.options.kernel, self.options.gradient
        if quantity == "angle":
            return Picture(displayed_angle(*_strongest(result.values, result.magnitude), kernel, white))
        if self.options.stretch:
            return Picture(_stretched(result.values, quantity))
        return Picture(displayed(result.values, quantity, kernel, white))

    def release(self, result: Gradient) -> Gradient:
        return replace(result, values=None, magnitude=None)


def fixed_weights(options: SobelOptions) -> Weights:
    """The filter as a model whose weights are known: torch computes it on whatever device."""
    info = ModelInfo(
        name="", task="sobel", backbone="sobel", head={"kernel": options.kernel}, classes=(), recipe={"raw": True},
        mean=(), std=(), outputs=("gx", "gy"), licence="", source={},
    )  # fmt: skip
    return Weights(Path("sobel"), info, "", {}, None)


def _white(pixels: np.ndarray) -> float:
    """The value that a picture of the responses takes for white."""
    if pixels.dtype in (np.uint8, np.uint16):
        return white_level(pixels.dtype)
    most = float(np.abs(pixels, dtype=np.float64).max())
    return next((white for white in (1, WHITE) if most <= white), most)


def _strongest(angle: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of three hues at a pixel one can be shown: that of the largest magnitude."""
    if angle.ndim == 2:
        return angle, magnitude
    channel = magnitude.argmax(axis=2)[..., None]
    angle, magnitude = (np.take_along_axis(part, channel, 2)[..., 0] for part in (angle, magnitude))
    return angle, magnitude


def _range(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.min()), float(values.max()), float(values.mean(dtype=np.float64))


def _otsu(size: np.ndarray) -> float:
    """The value that parts sizes best in two (Otsu 1979), over 256 steps up to the largest."""
    import cv2

    most = float(size.max())
    if not most:
        return 1.0
    steps = cv2.convertScaleAbs(size.reshape(size.shape[0], -1), alpha=WHITE / most)
    step, _ = cv2.threshold(steps, 0, WHITE, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (step + 0.5) * most / WHITE


def _stretched(values: np.ndarray, quantity: str) -> np.ndarray:
    """Grey levels over the range of the values: their largest size is white, and where signed its opposite black."""
    most = max(float(np.abs(values).max()), 1e-12)
    if quantity in SIGNED:
        return np.rint(values * (127 / most) + 128).astype(np.uint8)
    return np.rint(values * (WHITE / most)).astype(np.uint8)
