"""Moves a photo pixel by pixel and follows the answer: invariance of labels, equivariance of places.

Sources: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", sec. 4.2; Azulay & Weiss 2019, "Why do
deep convolutional networks generalize so poorly to small image transformations?".
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cnncli.explain.frames import as_rgb
from cnncli.explain.shift_figure import draw_shift
from cnncli.explain.shift_follow import Follower, Trace
from cnncli.explain.shift_windows import Shift, Travel
from cnncli.io.images import Photo
from cnncli.io.pictures import Picture
from cnncli.results.explain import Explanation
from cnncli.tasks.base import BaseTask, Outputs, Request


@dataclass(frozen=True)
class Mover:
    """A task whose answers are followed; `prefix` before the names of its engines tells them from another's."""

    inner: Any
    follower: Follower
    prefix: str = ""

    def results(self, travel: Travel) -> Generator[Request, Outputs, list[Any]]:
        """What the task finds in every window."""
        found = []
        for number in range(travel.count):
            found.append((yield from self._analysed(travel.window(number))))
        return found

    def _analysed(self, window: np.ndarray) -> Generator[Request, Outputs, Any]:
        asking = self.inner.analyse(window)
        try:
            request = next(asking)
            while True:
                request = asking.send((yield replace(request, model=self.prefix + request.model)))
        except StopIteration as end:
            return end.value


@dataclass(frozen=True)
class Track:
    """One model's answers to one photo that moves; the first and last window's corners in pixels of the photo."""

    follower: Follower
    trace: Trace
    frames: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Moved(Explanation):
    """Beside the record's entries the tracks that its picture is drawn from, none once it is."""

    tracks: tuple[Track, ...] = ()


class ShiftTask(BaseTask):
    """Answers of a task, or of two models to compare, to a photo that moves by single pixels of the network's input."""

    name: ClassVar[str] = "shift"
    result_key = "explanation"
    columns = ("explanation",)
    picture_suffix: ClassVar[str] = ".png"

    def __init__(self, movers: Sequence[Mover], shift: Shift):
        self.movers = tuple(movers)
        self.shift = shift
        self.decode = movers[0].inner.decode

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Moved]:
        tracks = []
        for mover in self.movers:
            travel = mover.follower.travel(image, self.shift)
            results = yield from mover.results(travel)
            trace = mover.follower.trace(travel, results)
            tracks.append(Track(mover.follower, trace, (travel.frame(0), travel.frame(self.shift.reach))))
        entries, *others = [_with_window(track, mover) for track, mover in zip(tracks, self.movers, strict=True)]
        entries = {"direction": self.shift.direction, "range": self.shift.reach, **entries}
        if others:
            entries["against"] = {"model": tracks[1].follower.name, **others[0]}
        summary = "; ".join(_summary(track, len(tracks) > 1) for track in tracks)
        return Moved(entries, summary, tracks=tuple(tracks))

    def working_bytes(self, image: np.ndarray) -> int:
        return self.movers[0].inner.working_bytes(image)

    def draw(self, photo: Photo, result: Moved, suffix: str) -> Picture:
        return Picture(draw_shift(as_rgb(photo.pixels), self.shift, result.tracks))

    def release(self, result: Moved) -> Moved:
        return replace(result, tracks=())


def _with_window(track: Track, mover: Mover) -> dict[str, Any]:
    left, top, right, bottom = (round(float(value), 1) for value in track.frames[0])
    window = [left, top, round(right - left, 1), round(bottom - top, 1)]
    return {"task": mover.inner.name, "window": window, **track.trace.entries}


def _summary(track: Track, named: bool) -> str:
    words = ", ".join(track.trace.words[:2])
    return f"{track.follower.name}: {words}" if named else words
