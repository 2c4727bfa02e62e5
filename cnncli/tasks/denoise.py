"""Denoising: a network over the whole photo or its tiles, at a noise level that is given or estimated."""

import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.imaging.blend import Tile, add_tile, tile_grid
from cnncli.imaging.filters import white_level
from cnncli.imaging.noise import add_noise, add_noise_to_samples, estimate_sigma
from cnncli.io.images import Photo
from cnncli.io.pictures import Picture
from cnncli.io.stored import decode_stored
from cnncli.io.weights import ModelInfo
from cnncli.results.denoise import Denoised
from cnncli.tasks.base import BaseTask, Options, Outputs, Request, finite

WHOLE_UP_TO = 1_500_000  # pixels: of a larger photo the network's maps, 100 bytes a pixel each, would fill the memory
TILE, OVERLAP = 1024, 64  # px; FFDNet sees 24 px around a pixel, so tiles agree in the middle of the overlap
PASSAGE = 16  # px in the middle of an overlap, beyond what networks see from its ends, where tiles pass into each other
LEAST_TILE = 64
BLOCK = 2  # px: the step of `tile_grid`
# FFDNet learned noise that differs between channels. Where it is the same in all, as in a grey photo, a level higher by
# this factor removes it: on 6 photos of CBSD68 28.5 dB in place of 23.3 at 25 of 255, 25.3 in place of 17.9 at 50.
GREY_FACTOR = 1.6
LEAST_REAL, MOST_REAL = -3, 4  # of images in real numbers: 0 to 1 and any noise, but not 0 to 255
SAMPLE_TYPES = ("uint8", "uint16", "float32", "float64")


@dataclass(frozen=True)
class DenoiseOptions(Options):
    """`sigma` is the noise level of 255, None: estimated. `strength` is the part of the noise that is removed.

    `tile` and `tile_overlap` (None: 64 or what the network needs, at most half of the tile) are in px; without `tile`
    photos of over 1.5 megapixels are done in tiles of 1024.
    `add_noise` makes a noisy copy instead, the same for the same photo and `seed`.
    """

    sigma: float | None = None
    strength: float = 1.0
    tile: int | None = None
    tile_overlap: int | None = None
    add_noise: float | None = None
    seed: int = 0

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.add_noise is not None else ("denoise",)

    @property
    def overlap(self) -> int:
        return min(OVERLAP, (self.tile or TILE) // 2) if self.tile_overlap is None else self.tile_overlap

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength {self.strength:g}: give a part from 0 to 1")
        if self.tile is not None and self.tile < LEAST_TILE:
            raise UsageError(f"--tile {self.tile}: give at least {LEAST_TILE} pixels")
        if not 0 <= self.overlap <= (self.tile or TILE) // 2:
            raise UsageError(f"--tile-overlap {self.tile_overlap}: give 0 to half of the tile's side, in pixels")
        for option, sigma in (("--sigma", self.sigma), ("--add-noise", self.add_noise)):
            if sigma is not None and not 0 <= sigma <= 255:
                raise UsageError(f"{option} {sigma:g}: give a noise level from 0 to 255")
        if self.add_noise is not None and (self.sigma is not None or self.strength != 1 or self.tile is not None):
            raise UsageError("--add-noise makes a noisy copy; leave --sigma, --strength and --tile out")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed}: give a number from 0 to 4294967295")


class Denoise(BaseTask):
    """The photo without its noise, in its own depth, with its transparency, colour profile and EXIF block."""

    name: ClassVar[str] = "denoise"
    picture_suffix: ClassVar[str] = ".png"
    array_types: ClassVar[tuple[str, ...]] = ("uint8", "uint16", "float32")
    own_engine: ClassVar[str] = "numpy"
    decode = staticmethod(decode_stored)
    written: ClassVar[tuple[str, ...]] = ("compare", "psnr", "ssim", "psnr_before", "ssim_before")
    result_key = "output"
    columns = ("output", "sigma", "tiles")

    def __init__(self, models: Mapping[str, ModelInfo], options: DenoiseOptions):
        self.options = options
        self.model = models.get("denoise")
        if self.model is not None:
            self.most = self.model.recipe["sigma_range"][1]
            self.step = self.model.recipe["sizes"][0]
            if options.sigma is not None and options.sigma > self.most:
                raise UsageError(f"--sigma {options.sigma:g}: {self.model.name} knows noise levels up to {self.most:g}")

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Denoised]:
        """`image`: uint8 or uint16, or floats in 0..1 and noise, (H, W) or (H, W, 3)."""
        _check_samples(image)
        if self.options.add_noise is not None:
            return self._noisy(image)
        sigma = self.options.sigma
        if sigma is None:
            sigma = min(estimate_sigma(image), self.most)
        if sigma == 0 or self.options.strength == 0:
            return Denoised(sigma, 0, image)
        clean = yield from self._clean(image, sigma)
        return clean

    def _noisy(self, image: np.ndarray) -> Denoised:
        """A noisy copy; the noise depends on the photo too, so that two photos of a folder do not share theirs."""
        seed = zlib.crc32(np.ascontiguousarray(image).data, self.options.seed)
        add = add_noise if image.dtype.kind == "f" else add_noise_to_samples
        return Denoised(self.options.add_noise, 0, add(image, self.options.add_noise, seed))

    def _clean(self, image: np.ndarray, sigma: float) -> Generator[Request, Outputs, Denoised]:
        tiles = self._tiles(*image.shape[:2])
        level = sigma * self.model.recipe.get("grey_factor", GREY_FACTOR) if _is_grey(image) else sigma
        canvas = None
        for tile in tiles:
            outputs = yield Request("denoise", network_input(image, tile.place, level, self.step))
            values = finite(outputs["denoised"]).transpose(1, 2, 0)
            if canvas is None:  # made with the first result: an image that waits for its turn takes no memory
                canvas = np.zeros((*image.shape[:2], 3), np.float32)
            add_tile(canvas, tile, values)
        return Denoised(sigma, len(tiles), self._as_stored(canvas, image))

    def _tiles(self, height: int, width: int) -> list[Tile]:
        stepped = padded(height, self.step), padded(width, self.step)
        radius = self.model.recipe["radius"]
        if self.options.tile is None and height * width <= WHOLE_UP_TO:
            return stepped_grid(*stepped, max(stepped), 0, radius, self.step)
        side = (self.options.tile or TILE) // self.step * self.step
        overlap = self.options.overlap
        if self.options.tile_overlap is None:
            overlap = max(overlap, 2 * radius + PASSAGE)
        return stepped_grid(*stepped, side, min(overlap, side // 2), radius, self.step)

    def _as_stored(self, canvas: np.ndarray, image: np.ndarray) -> np.ndarray:
        """The canvas (H, W, 3) in 0..1 as samples of the image's type and channels. Changes the canvas."""
        values = canvas if image.ndim == 3 else canvas.mean(axis=2)
        white = np.float32(white_level(image.dtype))
        if self.options.strength < 1:
            values *= np.float32(self.options.strength)
            values += image * np.float32((1 - self.options.strength) / white)
        np.clip(values, 0, 1, out=values)
        if image.dtype.kind == "f":
            return values.astype(image.dtype, copy=False)
        values *= white
        return np.rint(values, out=values).astype(image.dtype)

    def working_bytes(self, image: np.ndarray) -> int:
        """The canvas and the result; the maps of the network belong to its engine."""
        return 0 if self.model is None else image.shape[0] * image.shape[1] * 16

    def draw(self, photo: Photo, result: Denoised, suffix: str) -> Picture:
        """The clean photo with all that its file held."""
        return stored_picture(photo, result.pixels)

    def release(self, result: Denoised) -> Denoised:
        return replace(result, pixels=None)


def padded(length: int, step: int) -> int:
    """A length in px, up to the next multiple of `step`."""
    return -(-length // step) * step


def stepped_grid(height: int, width: int, side: int, overlap: int, radius: int, step: int) -> list[Tile]:
    """Tiles as `tile_grid` lays them, with all starts at multiples of `step`; so are height, width and side.

    Tiles then meet the cells of a network that halves its maps as the whole image does. It is the grid of an image
    of cells, so that the two of `tile_grid` are a step.
    """
    cell = step // BLOCK
    grid = tile_grid(height // cell, width // cell, side // cell, padded(overlap, step) // cell, -(-radius // cell))
    return [
        Tile(tile.top * cell, tile.left * cell, tile.row_weights.repeat(cell), tile.column_weights.repeat(cell))
        for tile in grid
    ]


def network_input(image: np.ndarray, place: tuple[slice, slice], sigma: float, step: int = BLOCK) -> np.ndarray:
    """A part of an image as float32 (h, w, 4): RGB in 0..1 and the noise level.

    Its sides are made multiples of `step` by repeating the last row and column.
    """
    part = image[place]
    height, width = part.shape[:2]
    values = np.empty((padded(height, step), padded(width, step), 4), np.float32)
    colours = part if part.ndim == 3 else part[..., None]
    np.divide(colours, np.float32(white_level(image.dtype)), out=values[:height, :width, :3], casting="unsafe")
    values[height:, :width, :3] = values[height - 1 : height, :width, :3]
    values[:, width:, :3] = values[:, width - 1 : width, :3]
    values[..., 3] = sigma / 255
    return values


def _is_grey(image: np.ndarray) -> bool:
    return image.ndim == 2 or all(np.array_equal(image[..., 0], image[..., channel]) for channel in (1, 2))


def stored_picture(photo: Photo, pixels: np.ndarray) -> Picture:
    """Pixels in the place of a photo's own, with its transparency, profile and EXIF block."""
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    return Picture(pixels, icc=photo.icc, exif=photo.exif)


def _check_samples(image: np.ndarray) -> None:
    if image.dtype.name not in SAMPLE_TYPES:
        raise InputError(f"holds numbers of type {image.dtype}, which are no brightness of 8 or 16 bits; convert it")
    if image.dtype.kind == "f" and (image.min() < LEAST_REAL or image.max() > MOST_REAL):
        raise InputError(f"its values go from {image.min():g} to {image.max():g}; real numbers are black 0, white 1")
