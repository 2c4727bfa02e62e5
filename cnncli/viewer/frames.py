"""Single frames of videos and animations, asked for in the order in which they come."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io.frames import Frame, picture_frames, video_frames
from cnncli.io.images import read_file
from cnncli.io.sources import VIDEO_SUFFIXES


class FrameCursor:
    """Holds the last file open: the frames of a run follow one another, and a video is decoded once.

    A frame before the last one begins the file again.
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._frames: Iterator[Frame] = iter(())
        self._last: Frame | None = None
        self._failure: str | None = None

    def pixels(self, path: str, number: int) -> np.ndarray:
        """Frame `number` (from 0) of a file, (H, W, 3). InputError where it has no such frame."""
        if path != self._path or (self._last is not None and number < self._last.number):
            self._path, self._frames, self._last, self._failure = path, _frames_of(path), None, None
        while self._last is None or self._last.number < number:
            self._advance()
        return self._last.photo.pixels

    def _advance(self) -> None:
        if self._failure is None:
            try:
                self._last = next(self._frames)
                return
            except StopIteration:
                self._failure = "has no such frame"
            except InputError as error:
                self._failure = str(error)
        raise InputError(self._failure)


def _frames_of(path: str) -> Iterator[Frame]:
    if Path(path).suffix.lower() in VIDEO_SUFFIXES:
        yield from video_frames(path)
    else:
        yield from picture_frames(path, read_file(path, DEFAULT_MAX_PIXELS))
