"""The parts of many photos to which channels of a layer answer most.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", fig. 2 (the patches).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from cnncli.config import EngineConfig, options_digest
from cnncli.engine.base import Batch, Outputs
from cnncli.errors import InputError, UsageError
from cnncli.explain.channels import Box, Maps, maps_of
from cnncli.explain.frames import view_of
from cnncli.explain.session import asking, open_subject, run_of
from cnncli.explain.subject import Size, Subject
from cnncli.explain.task import LOOK, RESULT_KEY, first_input
from cnncli.run.session import Notify, Session
from cnncli.tasks.base import BaseTask, Request

BATCH = {"cpu": 4}  # inputs in one call of the network; more elsewhere
GPU_BATCH = 32
MAPS = "maps"
MOST_PATCHES, MOST_CHANNELS = 100, 64


@dataclass(frozen=True)
class TopPatches:
    """What is looked for: the `count` strongest patches of each of the `channels` of a layer."""

    layer: str
    channels: tuple[int, ...]
    count: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_PATCHES:
            raise UsageError(f"--count {self.count}: give 1 to {MOST_PATCHES}")
        if len(self.channels) > MOST_CHANNELS:
            raise UsageError(f"--channel: at most {MOST_CHANNELS} can be shown")


@dataclass(frozen=True)
class Peaks:
    """Of each channel of a search the strongest activation (K,) in one input `seen`, and its cell (K, 2).

    `part` of the input shows the `region` of the photo.
    """

    activations: np.ndarray
    cells: np.ndarray
    seen: np.ndarray
    region: Box
    part: tuple[slice, slice]

    def as_dict(self) -> dict[str, Any]:
        return {}


class PeakEngine:
    """Runs the network up to a layer, and gives the `maps` of the channels, (N, K, rows, columns)."""

    name: ClassVar[str] = "torch"
    parallel_calls: ClassVar[int] = 1
    shares_cores: ClassVar[bool] = False
    turn: ClassVar[int] = 1

    def __init__(self, subject: Subject, layer: str, channels: Sequence[int]):
        self.subject, self.layer, self.channels = subject, layer, tuple(channels)
        self.preferred_batch = BATCH.get(subject.device.type, GPU_BATCH)
        self._maps: dict[Size, Maps] = {}

    @property
    def device(self) -> str:
        return str(self.subject.device)

    @property
    def path(self) -> str:
        """Of the layer, once an input was seen."""
        return next(iter(self._maps.values())).path

    def run(self, batch: Batch) -> Outputs:
        images = torch.cat([self.subject.normalised(pixels) for pixels in batch])
        maps = self.maps((images.shape[2], images.shape[3]))
        with torch.no_grad():
            return {MAPS: maps.of(images)[:, list(self.channels)].cpu().numpy()}

    def maps(self, size: Size) -> Maps:
        """The layer's, for inputs of a size. UsageError where it gives none, or lacks one of the channels."""
        if size not in self._maps:
            blank = torch.zeros(1, len(self.subject.info.mean), *size, device=self.subject.device)
            self._maps[size] = maps_of(self.subject, self.layer, blank)
            self._maps[size].check(self.channels)
        return self._maps[size]


class PatchTask(BaseTask):
    """Finds the peaks of one photo, in what the task `inner` would ask its network of the `role` first."""

    name: ClassVar[str] = "explain-top-patches"
    result_key = RESULT_KEY
    columns: tuple[str, ...] = (RESULT_KEY,)

    def __init__(self, inner: Any, subject: Subject):
        self.inner, self.subject = inner, subject

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Peaks]:
        seen = yield from first_input(self.inner, self.subject.info.task, image)
        maps = (yield Request(LOOK, seen))[MAPS]
        if not np.isfinite(maps).all():
            raise InputError("the network gives no finite numbers for it")
        view, part = view_of(self.subject.info, image, seen)
        return Peaks(*peaks(maps, cells_of(part, seen.shape[:2], maps.shape[1:])), seen, view.region, part)


def cells_of(part: tuple[slice, slice], size: Size, cells: Size) -> tuple[slice, slice]:
    """Of maps with `cells` (rows, columns), those in a part of the input; what else it is filled with counts not."""
    rows, columns = (
        slice(*_cells_along(*edges.indices(length)[:2], length, count))
        for edges, length, count in zip(part, size, cells, strict=True)
    )
    return rows, columns


def _cells_along(start: int, stop: int, length: int, count: int) -> tuple[int, int]:
    first = min(start * count // length, count - 1)
    return first, max(first + 1, -(-stop * count // length))


def peaks(maps: np.ndarray, inside: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """The strongest activation of each map (K, rows, columns) among the cells `inside`, (K,), and its cell (K, 2)."""
    rows, columns = inside
    looked_at = maps[:, rows, columns]
    places = looked_at.reshape(len(maps), -1).argmax(axis=1)
    cells = np.stack(np.unravel_index(places, looked_at.shape[1:]), axis=1)
    activations = looked_at[np.arange(len(maps)), cells[:, 0], cells[:, 1]]
    return activations, np.add(cells, (rows.start, columns.start))


def open_search(wanted: TopPatches, config: EngineConfig, notify: Notify) -> tuple[Session, PeakEngine]:
    """A session that gives the Peaks of each photo, and its engine."""
    subject = open_subject(config, notify)
    engine = PeakEngine(subject, wanted.layer, wanted.channels)
    inner, engines, further = asking(subject.weights, config)
    run = run_of(PatchTask.name, subject, options_digest(wanted, further=further), further)
    return Session(PatchTask(inner, subject), {**engines, LOOK: engine}, run, "fp32"), engine
