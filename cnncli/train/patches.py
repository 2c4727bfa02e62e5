"""Clean photos to train denoisers on: kept in memory where they fit, cut into patches, made noisy."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnncli.imaging.noise import SIGMA_UNIT
from cnncli.train import augment
from cnncli.train.photos import read_photo
from cnncli.train.recipe import Examples

MEMORY_LIMIT = 1_000_000_000  # bytes of decoded photos; larger sets are decoded anew for every patch
WHITE = 255


class Photos:
    """Decoded photos by number, uint8 (H, W, 3); those with a side below `least` are mirrored at their edges up to it.

    `sizes` are the heights and widths of the files, which decide whether all are kept in memory.
    """

    def __init__(self, paths: Sequence[str], sizes: Sequence[tuple[int, int]], least: int, max_pixels: int):
        self.paths, self.least, self.max_pixels = list(paths), least, max_pixels
        self._kept: list[np.ndarray] | None = None
        if sum(3 * max(height, least) * max(width, least) for height, width in sizes) <= MEMORY_LIMIT:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                self._kept = list(pool.map(self._read, self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._read(self.paths[index]) if self._kept is None else self._kept[index]

    def _read(self, path: str) -> np.ndarray:
        pixels = np.require(read_photo(path, self.max_pixels), requirements="W")  # torch warns of others
        missing = [max(0, self.least - side) for side in pixels.shape[:2]]
        if any(missing):
            pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        return pixels


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of a level drawn from `sigma` (of 255); `rounded`: clipped and rounded to 8 bits, as in a file.

    A part `grey` of the coloured patches is made grey. What is grey gets grey noise, the same in all channels: so are
    photos of that kind made.
    """

    sigma: tuple[float, float]
    rounded: bool
    grey: float

    def model_input(self, clean: Tensor, sigma: Tensor | float, unit: Tensor) -> Tensor:
        """Photos (..., H, W, 3) in 0..1 with `unit` noise of deviation `sigma`, and the level: (..., H, W, 4)."""
        level = torch.as_tensor(sigma, dtype=clean.dtype, device=clean.device) / SIGMA_UNIT
        noisy = clean + level * unit
        if self.rounded:
            noisy = noisy.clamp(0, 1).mul(WHITE).round().div(WHITE)
        return torch.cat([noisy, level.expand(*noisy.shape[:-1], 1)], dim=-1)


class NoisyPatches(Examples):
    """Patches of clean photos: "clean" uint8 (size, size, 3), and a denoiser's input "images" float32 (size, size, 4).

    Example `index` is a patch of photo `index` modulo their number, another one each time.
    """

    def __init__(self, photos: Photos, patches: int, size: int, level: str, noise: Noise):
        self.photos, self.patches, self.noise = photos, patches, noise
        self.augment = augment.for_patches(level, size)

    def __len__(self) -> int:
        return len(self.photos) * self.patches

    def example(self, index: int) -> dict[str, Any]:
        photo = torch.from_numpy(self.photos[index % len(self.photos)])
        clean = self.augment(photo.permute(2, 0, 1)).permute(1, 2, 0)
        if torch.rand(()) < self.noise.grey:
            clean = clean.float().mean(dim=2, keepdim=True).round().to(torch.uint8).expand_as(clean)
        clean = clean.contiguous()
        low, high = self.noise.sigma
        sigma = low + (high - low) * float(torch.rand(()))
        unit = torch.randn(*clean.shape[:2], 1 if is_grey(clean) else 3)
        return {"images": self.noise.model_input(clean / WHITE, sigma, unit), "clean": clean}


class CentreCrops(Examples):
    """The middle of clean photos: "clean" uint8 (side, side, 3), and float32 unit "noise" for it, always the same."""

    def __init__(self, photos: Photos, side: int):
        self.photos, self.side = photos, side

    def __len__(self) -> int:
        return len(self.photos)

    def example(self, index: int) -> dict[str, Any]:
        photo = self.photos[index]
        top, left = ((length - self.side) // 2 for length in photo.shape[:2])
        clean = torch.from_numpy(photo[top : top + self.side, left : left + self.side].copy())
        channels = 1 if is_grey(clean) else 3
        unit = np.random.default_rng(index).standard_normal((self.side, self.side, channels), dtype=np.float32)
        return {"clean": clean, "noise": torch.from_numpy(unit).expand(-1, -1, 3).contiguous()}


def is_grey(image: Tensor) -> bool:
    """Whether the channels of an image (H, W, 3) are the same."""
    return torch.equal(image[..., 0], image[..., 1]) and torch.equal(image[..., 0], image[..., 2])
