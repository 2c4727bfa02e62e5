"""Activations projected back to the pixels that caused them.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sec. 2.1 and fig. 1.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.explain.backward_rules import Rectified
from cnncli.explain.channels import Box, Maps, channel_numbers, maps_of
from cnncli.explain.frames import view_of
from cnncli.explain.method import Arrays, Method
from cnncli.explain.patch_figure import Patch, box_in, cut, projection_figure
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

TOP = "top"
MOST_SHOWN = 64  # channels
TAIL = 0.01  # of a projection's energy on either side, that is not looked at
LEAST_MARGIN = 8  # pixels around the rest


@dataclass(frozen=True)
class Deconv(Method):
    """The strongest activation of channels of `layer`, projected back: of those that `channel` names, from 0.

    "top": of the `count` channels with the strongest activations.
    """

    layer: str
    channel: str = TOP
    count: int = 4
    name: ClassVar[str] = "deconv"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHOWN:
            raise UsageError(f"--count {self.count}: give 1 to {MOST_SHOWN}")
        if self.channel != TOP and len(channel_numbers(self.channel)) > MOST_SHOWN:
            raise UsageError(f"--channel: at most {MOST_SHOWN} can be shown")

    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        images = subject.normalised(pixels).requires_grad_(True)
        maps = maps_of(subject, self.layer, images.detach())
        with Rectified():
            given = maps.of(images)
        strongest, cells = given[0].detach().flatten(1).max(1)
        channels = self._channels(maps, strongest)
        places = [divmod(int(cells[channel]), maps.cells[1]) for channel in channels]
        found = [projection(images, given, channel, cell) for channel, cell in zip(channels, places, strict=True)]
        return {
            "channels": np.array(channels),
            "activations": strongest[list(channels)].cpu().numpy(),
            "cells": np.array(places),
            "windows": np.array([maps.seen(cell) for cell in places]),
            "projections": torch.cat(found).permute(0, 2, 3, 1).cpu().numpy(),
        }

    def _channels(self, maps: Maps, strongest: Tensor) -> tuple[int, ...]:
        if self.channel == TOP:
            return tuple(strongest.argsort(descending=True, stable=True)[: self.count].tolist())
        channels = channel_numbers(self.channel)
        maps.check(channels)
        return channels

    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        keys = ("channels", "activations", "cells", "windows")
        found = [
            {"channel": int(channel), "activation": float(f"{activation:.6g}"), "cell": cell, "window": window}
            for channel, activation, cell, window in zip(*(arrays[key].tolist() for key in keys), strict=True)
        ]
        size = arrays["projections"].shape[1:3]
        layer = subject.layer(self.layer, size)
        summary = ", ".join(f"{entry['channel']} ({entry['activation']:.3g})" for entry in found[:4])
        return {"layer": layer, "input": list(size), "channels": found}, f"{layer}: channel {summary}"

    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        seen: Any = found.seen
        view, part = view_of(subject.info, photo.pixels, seen)
        patches = []
        for number, entry in enumerate(found.entries["channels"], 1):
            projected = found.arrays["projections"][number - 1]
            part_shown = told(tuple(entry["window"]), projected)
            patches.append(
                Patch(
                    f"{number}: channel {entry['channel']}, {shown(entry['activation'])}",
                    cut(seen, part_shown),
                    box_in(view.region, part, seen.shape[:2], part_shown),
                    cut(projected, part_shown),
                )
            )
        title = f"{subject.info.name}: strongest activations of {found.entries['layer']}, projected back to pixels"
        return projection_figure(title, view, patches)


def projection(images: Tensor, maps: Tensor, channel: int, cell: tuple[int, int]) -> Tensor:
    """What one activation of `maps` (1, K, h, w), all others zero, becomes on its way back to `images` (1, C, H, W).

    The maps are computed under the rules of `Rectified`. An activation below zero is no signal, and gives zeros.
    """
    signal = torch.zeros_like(maps)
    signal[0, channel, cell[0], cell[1]] = maps[0, channel, cell[0], cell[1]].detach().clamp(min=0)
    return torch.autograd.grad(maps, images, signal, retain_graph=True)[0]


def told(window: Box, projected: np.ndarray) -> Box:
    """The part of a projection (H, W, C) to show: the window, or of one as good as the whole input what is not grey."""
    height, width = projected.shape[:2]
    if 2 * window[2] * window[3] < height * width or not projected.any():
        return window
    energy = np.square(projected.astype(np.float64)).sum(axis=2)
    (x, wide), (y, high) = _holding(energy.sum(axis=0)), _holding(energy.sum(axis=1))
    return x, y, wide, high


def _holding(energy: np.ndarray) -> tuple[int, int]:
    """Start and length of the part of an axis that holds nearly all energy (length,), and a margin."""
    below = energy.cumsum() / energy.sum()
    first, last = np.searchsorted(below, (TAIL, 1 - TAIL))
    margin = LEAST_MARGIN + int(last - first) // 8
    start = max(0, int(first) - margin)
    return start, min(len(energy), int(last) + 1 + margin) - start


def shown(activation: float) -> str:
    return f"activation {activation:.3g}" if activation > 0 else "silent"
