"""The maps that a layer gives, and what of the network's input one of their cells sees."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.explain.subject import Size, Subject
from cnncli.nn.receptive_field import window

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


class _Reached(Exception):  # noqa: N818 (no error: it ends a forward pass)
    """Carries the maps of the layer that was waited for out of the network."""


@dataclass(frozen=True)
class Maps:
    """A layer, by its path, that gives `channels` maps of `cells` (rows, columns) for an input of `size`."""

    subject: Subject
    path: str
    size: Size
    channels: int
    cells: Size
    operation: int  # the last of the layer, by its number in the trace

    def of(self, images: Tensor) -> Tensor:
        """The maps of a normalised batch, (N, channels, rows, columns), differentiable.

        What the network computes after them is left out.
        """

        def stop(layer: nn.Module, taken: Any, given: Tensor) -> None:
            raise _Reached(given)

        handle = self.subject.network.get_submodule(self.path).register_forward_hook(stop)
        try:
            self.subject.network(images)
        except _Reached as reached:
            return reached.args[0].reshape(len(images), self.channels, *self.cells)
        finally:
            handle.remove()
        raise AssertionError(f"{self.path} gave nothing")

    def seen(self, cell: tuple[int, int]) -> Box:
        """What one cell (row, column) sees of the input; padding is no part of it."""
        rows, columns = window(self.subject.operations(self.size), self.operation, cell)
        return columns[0], rows[0], columns[1] - columns[0] + 1, rows[1] - rows[0] + 1

    def check(self, channels: tuple[int, ...]) -> None:
        """UsageError where the layer has no channel of that number."""
        for channel in channels:
            if channel >= self.channels:
                raise UsageError(f"--channel {channel}: {self.path} has channels 0 to {self.channels - 1}")


def maps_of(subject: Subject, named: str, images: Tensor) -> Maps:
    """The layer that the user named, for inputs like these; a fully connected one has maps of one cell.

    UsageError where it gives no maps.
    """
    size = images.shape[2], images.shape[3]
    path = subject.layer(named, size)
    with torch.no_grad(), subject.watched(path) as given:
        subject.network(images[:1])
    if len(given) != 1 or not isinstance(given[0], Tensor) or given[0].ndim not in (2, 4):
        raise UsageError(f"--layer {path}: gives no maps, or several at once; choose a convolution inside it")
    shape = tuple(given[0].shape)
    inside = [op for op in subject.operations(size) if op.module == path or op.module.startswith(f"{path}.")]
    ends = [op.number for op in inside if op.shape == shape]
    if not ends:
        raise UsageError(f"--layer {path}: passes on what another layer gives; choose that one")
    return Maps(subject, path, size, shape[1], (shape[2], shape[3]) if len(shape) == 4 else (1, 1), ends[-1])


def channel_numbers(text: str) -> tuple[int, ...]:
    """ "3,17" as numbers, each once. UsageError where it is none."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(f"--channel {text}: give numbers from 0, such as 3 or 3,17")
    return tuple(dict.fromkeys(map(int, words)))
