"""Masks that say which class each pixel of a photo is: PNG files, 255 where that is left open."""

import numpy as np
from PIL import Image

from cnncli.errors import InputError
from cnncli.imaging.masks import palette
from cnncli.io.images import reported_as_input_errors

MASK_SUFFIX = ".png"


def read_mask(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Class numbers (H, W) of a mask, indexed, grey or in VOC's colours. InputError where it has another shape."""
    with reported_as_input_errors(), Image.open(path) as image:
        if image.mode in ("1", "L", "P"):
            numbers = np.asarray(image).astype(np.uint8)
        else:
            numbers = _numbers_of_colours(np.asarray(image.convert("RGB")))
    if numbers.shape != shape:
        sizes = "{1} x {0}, not {3} x {2}".format(*numbers.shape, *shape)
        raise InputError(f"its mask {path} is {sizes}")
    return numbers


def _numbers_of_colours(pixels: np.ndarray) -> np.ndarray:
    """Class numbers of VOC's colours."""
    colours = np.array(palette(), np.int64).reshape(-1, 3) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(colours)
    flat = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    place = np.searchsorted(colours[order], flat).clip(max=len(order) - 1)
    if (colours[order][place] != flat).any():
        raise InputError("its mask has colours that are not PASCAL VOC's; store class numbers as an indexed PNG")
    return order[place].astype(np.uint8)
