"""Frames of videos and of animated or multi-page pictures, read one after the other."""

import io
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from cnncli.errors import InputError
from cnncli.io import png, tiff
from cnncli.io.images import (
    DEFAULT_MAX_PIXELS,
    Photo,
    decode,
    load_photo,
    open_image,
    reason,
    reported_as_input_errors,
)

SHORT = 0.9  # of the length that a video states: past it, the statement may be a guess of the format
ONE_PICTURE = {"PSD", "MPO"}  # what Pillow counts as frames are layers; previews and gain maps of phones
GIF_END = b";"


@dataclass(frozen=True)
class Frame:
    """Picture number `number` (from 0) of a file; `seconds` since its start, None for pages."""

    number: int
    seconds: float | None
    photo: Photo


def video_frames(path: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Frame]:
    """Every frame of a video as the decoder turns it (upright). InputError where it opens no frame or is cut short."""
    try:
        with open(path, "rb") as file:
            yield from _video_frames(_name_for_opencv(path, file.fileno()), max_pixels)
    except OSError as error:
        raise InputError(reason(error)) from error
    except ValueError as error:  # a NUL in the name
        raise InputError("no such file") from error


def _name_for_opencv(path: str, descriptor: int) -> str:
    """An absolute path, which is never taken for a URL; OpenCV crashes on names that are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{descriptor}"
    return os.path.abspath(path)


def _video_frames(path: str, max_pixels: int) -> Iterator[Frame]:
    import cv2

    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)  # other readers take a name with digits for a series of pictures
    try:
        _check_frame_size(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT), max_pixels)
        number, seconds = 0, 0.0
        while True:
            read, pixels = capture.read()
            if not read:
                break
            _check_frame_size(pixels.shape[0] * pixels.shape[1], max_pixels)
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield Frame(number, seconds, Photo(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
            number += 1
        _check_end(number, seconds, capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()


def _check_frame_size(pixels: float, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise InputError(f"its frames are over the limit of {max_pixels:,} pixels; see --max-pixels")


def _check_end(count: int, seconds: float, stated: float, rate: float) -> None:
    """InputError where the frames end well before the video should, by their number and by their time."""
    if count == 0:
        raise InputError("not a video that can be decoded")
    if rate > 0 and count < SHORT * stated and seconds + 1 / rate < SHORT * stated / rate:
        raise InputError(f"damaged (the video ends after {count} of about {stated:.0f} frames)")


def picture_frames(path: str, content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Frame]:
    """Every frame of an animation, or page of a document, in `content`; one for an ordinary picture.

    InputError where one is damaged, after the frames before it.
    """
    yield Frame(0, None, decode(content, max_pixels))
    image = open_image(io.BytesIO(content), max_pixels)
    if image.format in ONE_PICTURE:
        return
    damaged = png.damaged_frame(content) if image.format == "PNG" else None
    count = _count(content, max_pixels)
    for number in itertools.count(1) if count is None else range(1, count):
        if number == damaged:
            raise InputError(f"frame {number}: damaged (the checksum of its pixels is wrong)")
        photo = _page(image, number, max_pixels)
        if photo is None:
            break
        yield Frame(number, None, photo)
    _check_end_mark(image, content)


def _count(content: bytes, max_pixels: int) -> int | None:
    """The number of frames; None where damage hides it. Counted apart: a count that fails leaves Pillow lost."""
    with suppress(Exception):
        return getattr(open_image(io.BytesIO(content), max_pixels), "n_frames", 1)
    return None


def _page(image: Image.Image, number: int, max_pixels: int) -> Photo | None:
    """Frame `number`, None past the last."""
    try:
        with reported_as_input_errors():
            try:
                image.seek(number)
            except EOFError:
                return None
        return load_photo(image, max_pixels)
    except InputError as error:
        raise InputError(f"frame {number}: {error}") from error


def _check_end_mark(image: Image.Image, content: bytes) -> None:
    """InputError where Pillow takes the end of a file that is cut short for the end of the frames."""
    cut_gif = image.format == "GIF" and not content.rstrip(b"\0\r\n").endswith(GIF_END)
    if cut_gif or (image.format == "TIFF" and tiff.leads_out(content)):
        raise InputError("damaged (cut short, frames are lost)")
