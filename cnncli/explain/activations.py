"""What the channels of a layer give for a photo: their maps, or the values of a layer whose units have no maps."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.explain.activations_figure import draw_maps, draw_units
from cnncli.explain.frames import view_of
from cnncli.explain.method import Arrays, Method
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

MOST_SHOWN = 64


@dataclass(frozen=True)
class Activations(Method):
    """What `layer` gives: of the `channels` named, else of the `count` with the largest mean."""

    layer: str
    channels: tuple[int, ...] = ()
    count: int = 16
    name: ClassVar[str] = "activations"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHOWN:
            raise UsageError(f"--count {self.count}: give 1 to {MOST_SHOWN}")
        if len(self.channels) > MOST_SHOWN:
            raise UsageError(f"--channel: {len(self.channels)} are too many for one picture; give up to {MOST_SHOWN}")

    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        """`maps` (K, h, w) of the `channels` (K,) that are shown, with means and maxima; `shape` of the layer."""
        size = pixels.shape[0], pixels.shape[1]
        path = subject.layer(self.layer, size)
        maps = given_by(subject, path, subject.normalised(pixels))
        means = maps.mean((1, 2), dtype=np.float64)
        maxima = maps.max((1, 2))
        shown = self._shown(path, means)
        return {
            "maps": maps[shown],
            "channels": shown,
            "means": means[shown],
            "maxima": maxima[shown],
            "dead": (maxima <= 0).mean(),
            "shape": np.array(maps.shape),
            "size": np.array(size),
        }

    def _shown(self, path: str, means: np.ndarray) -> np.ndarray:
        """The channels that are named, as they are, or those of the largest `means` (C,), the largest first."""
        for channel in self.channels:
            if channel >= len(means):
                raise UsageError(f"--channel {channel}: {path} has channels 0 to {len(means) - 1}")
        return np.array(self.channels or np.argsort(-means, kind="stable")[: self.count], int)

    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        rows, columns = arrays["size"].tolist()
        layer = subject.layer(self.layer, (rows, columns))
        found = zip(*(arrays[name].tolist() for name in ("channels", "means", "maxima")), strict=True)
        entries = {
            "layer": layer,
            "shape": arrays["shape"].tolist(),
            "channels": [
                {"channel": channel, "mean": _figure(mean), "max": _figure(most)} for channel, mean, most in found
            ],
            "dead": round(float(arrays["dead"]), 4),
        }
        return entries, f"{layer}, {_shape(entries)}, {entries['dead']:.0%} of it never above 0"

    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        view = view_of(subject.info, photo.pixels, found.seen)[0]
        entries, maps = found.entries, found.arrays["maps"]
        captions = [_caption(subject, entries, channel) for channel in entries["channels"]]
        title = f"{subject.info.name}: {entries['layer']}", f"{_shape(entries)}, {entries['dead']:.0%} never above 0"
        if has_maps(entries["shape"]):
            return draw_maps(title, view, maps, captions)
        return draw_units(title, view, maps[:, 0, 0], captions)


def given_by(subject: Subject, path: str, images: Tensor) -> np.ndarray:
    """What a layer gives for one image, float32 (C, h, w); units without maps are (C, 1, 1)."""
    with torch.no_grad(), subject.watched(path) as given:
        subject.network(images)
    if len(given) != 1:
        often = f"runs {len(given)} times for one photo" if given else "does not run"
        raise UsageError(f"--layer {path}: {often}, so that no one answer is its own; choose another layer")
    if not isinstance(given[0], Tensor) or given[0].ndim not in (2, 4) or len(given[0]) != 1:
        raise UsageError(f"--layer {path}: gives several maps of different kinds at once; choose a layer inside it")
    channels, rows, columns = (*given[0].shape[1:], 1, 1)[:3]
    return given[0].reshape(channels, rows, columns).float().cpu().numpy()


def has_maps(shape: list[int]) -> bool:
    """Whether channels of this shape (C, h, w) have more than one cell."""
    return shape[1] * shape[2] > 1


def _shape(entries: dict[str, Any]) -> str:
    channels, rows, columns = entries["shape"]
    return f"{channels} maps of {rows} x {columns}" if has_maps(entries["shape"]) else f"{channels} units"


def _figure(value: float) -> float:
    """Six digits of a number."""
    return float(f"{value:.6g}")


def _caption(subject: Subject, entries: dict[str, Any], channel: dict[str, Any]) -> str:
    number = channel["channel"]
    if has_maps(entries["shape"]):
        return f"{number}: mean {channel['mean']:.2g}, max {channel['max']:.2g}"
    classes = subject.info.classes
    answers = subject.info.task == "classify" and entries["shape"][0] == len(classes)
    return f"{number}: {classes[number]}" if answers else str(number)
