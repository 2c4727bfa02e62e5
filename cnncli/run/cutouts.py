"""What can be made of a segmentation: cut-outs, on a background of the user's choice."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError, UsageError
from cnncli.imaging.cutout import blurred_background, colour_of, composed, filling, with_alpha
from cnncli.io.images import Photo, decode, read_file
from cnncli.io.pictures import Picture
from cnncli.results.segment import Segmentation
from cnncli.tasks.segment import Segmenter

NONE, BLUR = "none", "blur"

Background = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of a photo (H, W, 3) and its alpha (H, W)


@dataclass(frozen=True)
class Cutout:
    """Draws what a mask or matte holds: transparent around it, or on a background."""

    task: Segmenter
    background: Background | None

    def __call__(self, photo: Photo, result: Segmentation, suffix: str) -> Picture:
        alpha = self.task.alpha(result)
        if self.background is None:
            return Picture(with_alpha(photo.pixels, alpha))
        return Picture(composed(photo.pixels, alpha, self.background(photo.pixels, alpha)))


def background_of(text: str) -> Background | None:
    """What --background names: none, #rrggbb, blur, or a picture. UsageError for anything else."""
    if text == NONE:
        return None
    if text == BLUR:
        return blurred_background
    colour = colour_of(text)
    if colour is not None:
        return lambda image, alpha: np.broadcast_to(np.array(colour, np.uint8), image.shape)
    if not Path(text).exists():
        raise UsageError(f"--background {text}: no such picture; give none, #rrggbb, blur or an image file")
    try:
        picture = decode(read_file(text, DEFAULT_MAX_PIXELS)).pixels
    except InputError as error:
        raise UsageError(f"--background {text}: {error}") from error
    return lambda image, alpha: filling(picture, *image.shape[:2])
