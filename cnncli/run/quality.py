"""What is measured and shown of a denoised photo: likeness to a clean one, and before beside after."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.imaging.filters import white_level
from cnncli.imaging.noise import psnr, ssim
from cnncli.io.images import Photo, read_file
from cnncli.io.pictures import Picture
from cnncli.io.sources import Sources
from cnncli.io.stored import decode_stored
from cnncli.results.denoise import Denoised
from cnncli.run.items import Item
from cnncli.run.outputs import common_folder, relative_path

GAP_PART = 0.01  # of the picture's width, white, between before and after


class Reference:
    """PSNR and SSIM of each result, and of its input, against the clean picture that --reference names.

    A file is the clean picture of the one input; in a folder it lies where the input lies below its own.
    """

    def __init__(self, path: Path, sources: Sources, max_pixels: int):
        if not path.exists():
            raise UsageError(f"--reference {path}: no such file or folder")
        inputs = [source for _, source in zip(range(2), sources, strict=False)]
        if path.is_file() and len(inputs) > 1:
            raise UsageError(f"--reference {path}: is the clean picture of one input; name a folder for several")
        self._path = path
        self._root = common_folder(sources)
        self._max_pixels = max_pixels

    def write(self, item: Item, photo: Photo, result: Denoised) -> Mapping[str, Any]:
        path = self._path if self._path.is_file() else self._path / relative_path(item.source, self._root)
        clean = self._clean(path, photo.pixels)
        return likeness(clean, result.pixels) | {
            f"{name}_before": value for name, value in likeness(clean, photo.pixels).items()
        }

    def _clean(self, path: Path, pixels: np.ndarray) -> np.ndarray:
        try:
            clean = decode_stored(read_file(os.fspath(path), self._max_pixels), self._max_pixels).pixels
        except InputError as error:
            raise InputError(f"its reference {path}: {error}") from error
        if clean.shape[:2] != pixels.shape[:2]:
            sizes = "{1} x {0}, not {3} x {2}".format(*clean.shape[:2], *pixels.shape[:2])
            raise InputError(f"its reference {path} is {sizes}")
        return _like(clean, pixels)


def likeness(clean: np.ndarray, other: np.ndarray) -> dict[str, float | None]:
    """PSNR in dB (None for equal pictures) and SSIM."""
    white = white_level(clean.dtype)
    decibels = psnr(clean, other, white)
    return {
        "psnr": None if math.isinf(decibels) else round(decibels, 4),
        "ssim": round(ssim(clean, other, white), 6),
    }


def _like(clean: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The clean picture in the number type and channels of another."""
    if clean.ndim != pixels.ndim:
        clean = np.repeat(clean[..., None], 3, axis=2) if pixels.ndim == 3 else clean.mean(axis=2).astype(clean.dtype)
    if clean.dtype == pixels.dtype:
        return clean
    scaled = clean.astype(np.float32) * np.float32(white_level(pixels.dtype) / white_level(clean.dtype))
    return scaled.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(scaled).astype(pixels.dtype)


def side_by_side(photo: Photo, result: Denoised, suffix: str) -> Picture:
    """Before and after, in the photo's own depth."""
    before, after = photo.pixels, result.pixels
    gap = max(2, round(before.shape[1] * GAP_PART))
    between = np.full((before.shape[0], gap, *before.shape[2:]), white_level(before.dtype), before.dtype)
    return Picture(np.concatenate([before, between, after], axis=1), icc=photo.icc)
