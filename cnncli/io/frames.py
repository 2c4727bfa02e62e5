"""Frames of videos and of animated or multi-page pictures, read one after the other."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageSequence

from cnncli.errors import InputError
from cnncli.io.images import DEFAULT_MAX_PIXELS, Photo, decode, to_rgb


@dataclass(frozen=True)
class Frame:
    """Picture number `number` (from 0) of a file; `seconds` since its start, None for pages."""

    number: int
    seconds: float | None
    photo: Photo


def video_frames(path: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Frame]:
    """Every frame of a video as the decoder turns it (upright). InputError where it opens no frame."""
    import cv2

    if not os.path.exists(path):
        raise InputError("no such file")
    capture = cv2.VideoCapture(os.fspath(path))
    try:
        number = 0
        while True:
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            read, pixels = capture.read()
            if not read:
                break
            if pixels.shape[0] * pixels.shape[1] > max_pixels:
                raise InputError(f"its frames are over the limit of {max_pixels:,} pixels; see --max-pixels")
            yield Frame(number, seconds, Photo(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
            number += 1
        if number == 0:
            raise InputError("not a video that can be decoded")
    finally:
        capture.release()


def picture_frames(path: str, content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Frame]:
    """Every frame of an animation, or page of a document, in `content`; one for an ordinary picture."""
    first = decode(content, max_pixels)
    yield Frame(0, None, first)
    import io

    image = Image.open(io.BytesIO(content))
    if getattr(image, "n_frames", 1) == 1:
        return
    for number, page in enumerate(ImageSequence.Iterator(image)):
        if number > 0:
            yield Frame(number, None, Photo(_pixels(page, number)))


def _pixels(page: Image.Image, number: int) -> np.ndarray:
    try:
        return to_rgb(page)
    except Exception as error:
        raise InputError(f"frame {number} is damaged ({error})") from error
