"""How much noise a denoiser takes away, and how much of the photo with it: PSNR and SSIM on seeded noise."""

import math
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import UsageError
from cnncli.imaging.noise import add_noise, psnr, ssim
from cnncli.io.images import Photo, decode, read_file
from cnncli.io.sources import Input, SourceOptions, Sources
from cnncli.results.denoise import Denoised
from cnncli.run.items import Item

FLOAT, EIGHT_BIT = "float", "8-bit"  # noise as in the literature, and what a file can hold: clipped and rounded
DEPTHS = (FLOAT, EIGHT_BIT)
NLM_STRENGTH = 0.5  # of sigma: h and hColor at which OpenCV's non-local means does best on these figures


def find_photos(folder: Path) -> list[str]:
    """The clean photos of a folder. UsageError where there is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name a folder of clean photos")
    files = [source.file for source in Sources([str(folder)], SourceOptions())]
    if not files:
        raise UsageError(f"{folder}: has no photos")
    return files


def noise_seed(file: str, seed: int) -> int:
    """The seed of a photo's noise: the number that it is named by, or the checksum of its name; `seed` shifts it."""
    stem = Path(file).stem
    return (int(stem) if stem.isascii() and stem.isdigit() else zlib.crc32(stem.encode())) + seed


@dataclass(frozen=True)
class Trial:
    """One kind of noise on all photos: gives the noisy ones to a run, and takes the measure of what comes back.

    Figures are those of pictures clipped to 0..1, and with 8-bit noise rounded to 8 bits as a file would.
    """

    sigma: float
    depth: str
    seed: int
    max_pixels: int
    beside: bool  # also measure OpenCV's non-local means, on 8-bit noise
    scores: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def items(self, files: list[str]) -> Iterator[Item]:
        return (Item(index, Input(file, ""), self._loader(file)) for index, file in enumerate(files))

    def _loader(self, file: str) -> Callable[[], Photo]:
        return lambda: Photo(self._noisy(self._clean(file), file))

    def _clean(self, file: str) -> np.ndarray:
        """RGB float32 in 0..1."""
        pixels = decode(read_file(file, self.max_pixels), self.max_pixels).pixels
        return pixels.astype(np.float32) / np.float32(255)

    def _noisy(self, clean: np.ndarray, file: str) -> np.ndarray:
        noisy = add_noise(clean, self.sigma, noise_seed(file, self.seed))
        return noisy if self.depth == FLOAT else _eight_bit(noisy)

    def write(self, item: Item, photo: Photo, result: Denoised) -> Mapping[str, Any]:
        clean = self._clean(item.file)
        self._add("noisy", clean, photo.pixels)
        self._add("denoised", clean, np.clip(result.pixels, 0, 1))
        if self.beside and self.depth == EIGHT_BIT:
            self._add("non_local_means", clean, non_local_means(photo.pixels, self.sigma))
        return {}

    def _add(self, name: str, clean: np.ndarray, other: np.ndarray) -> None:
        if self.depth == EIGHT_BIT:
            clean, other = _eight_bit(clean), _eight_bit(other)
        score = psnr(clean, other, 1.0), ssim(clean, other, 1.0)
        with self.lock:
            self.scores.setdefault(name, []).append(score)

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Mean PSNR in dB and mean SSIM over the photos, for each kind of picture."""
        return {name: _means(scores) for name, scores in self.scores.items()}


def non_local_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """OpenCV's non-local means (Buades et al. 2005, in its colour version) of float RGB in 0..1."""
    import cv2

    pixels = np.rint(noisy * 255).astype(np.uint8)
    strength = NLM_STRENGTH * sigma
    return cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength).astype(np.float32) / np.float32(255)


def _eight_bit(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.float32) / np.float32(255)


def _means(scores: list[tuple[float, float]]) -> dict[str, float | None]:
    decibels, likeness = (sum(values) / len(values) for values in zip(*sorted(scores), strict=True))
    return {"psnr": None if math.isinf(decibels) else round(decibels, 3), "ssim": round(likeness, 5)}
