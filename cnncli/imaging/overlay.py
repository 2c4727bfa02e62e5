"""Regions of a photo in colour, with an outline and a label each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from cnncli.imaging.draw import DARK, PALETTE, Plates, font, legible, text_size
from cnncli.imaging.masks import anchor_point

OPACITY = 0.5  # of the colour: the photo still shows through
WASHED_OUT = 0.35  # what is left of the colours outside of a soft matte


@dataclass(frozen=True)
class Region:
    """A labelled part of a photo: `mask` (H, W) is true inside."""

    label: str
    mask: np.ndarray
    colour: tuple[int, int, int]


def numbered_colour(number: int) -> tuple[int, int, int]:
    return PALETTE[number % len(PALETTE)]


def draw_regions(image: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """A copy of the picture (H, W, 3) with its regions coloured, outlined and named; small pictures are enlarged."""
    ground = np.array(legible(Image.fromarray(image)))
    factor = ground.shape[1] // image.shape[1]
    enlarged = [replace(region, mask=region.mask.repeat(factor, 0).repeat(factor, 1)) for region in regions]
    painted = ground.copy()
    for region in enlarged:
        tint = np.array(region.colour, np.float32) * OPACITY
        painted[region.mask] = np.rint(ground[region.mask] * (1 - OPACITY) + tint).astype(np.uint8)
    for region in enlarged:
        _outline(painted, region)
    return _named(painted, enlarged)


def _outline(painted: np.ndarray, region: Region) -> None:
    """Lines in the region's colour between dark ones, so that they show on any photo."""
    import cv2

    thickness = max(1, round(min(painted.shape[:2]) / 300))
    outlines, _ = cv2.findContours(region.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, outlines, -1, DARK, thickness + 2)
    cv2.drawContours(painted, outlines, -1, region.colour, thickness)


def _named(painted: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    picture = Image.fromarray(painted)
    plates = Plates(ImageDraw.Draw(picture), picture.size, font(max(11, text_size(*picture.size) * 3 // 4)))
    for region in regions:
        plates.write_centred(region.label, anchor_point(region.mask), region.colour)
    return np.asarray(picture)


def draw_matte(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """A copy of the picture (H, W, 3): what the matte (H, W) uint8 leaves out is grey and pale."""
    part = matte[..., None].astype(np.float32) / 255
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    pale = 255 - (255 - grey) * WASHED_OUT
    return np.rint(image * part + pale * (1 - part)).astype(np.uint8)
