"""The kernels of a convolution, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import nn

from cnncli.errors import UsageError
from cnncli.explain.subject import Size, Subject
from cnncli.nn.tracing import INPUT

Convolution = nn.Conv2d | nn.ConvTranspose2d
MOST_KERNELS = 64  # of one picture, where a kernel is one tile or a group of few
MOST_ROWS = 16  # where each kernel is a row of tiles
MOST_COLUMNS = 16
# operations after which three channels are the photo's colours still
KEEP_COLOURS = frozenset(["flip", "constant_pad_nd", "replication_pad2d", "mul", "div", "sub", "add"])


@dataclass(frozen=True)
class Kernels:
    """The kernels (K, inputs, rows, columns) that are shown of a layer, and which ones they are.

    `channels` (K,) are the output channels that they make. `inputs` (K, inputs) are the input channels that they read,
    equal for all kernels unless the layer is in groups. `norms` (K,) are of whole kernels, those of all inputs.
    `shape`: (out, in / groups, rows, columns) of all. `colours`: the inputs are red, green and blue of the photo.
    """

    layer: str
    shape: tuple[int, int, int, int]
    groups: int
    channels: np.ndarray
    inputs: np.ndarray
    values: np.ndarray
    norms: np.ndarray
    colours: bool

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.shape[1] == 1


def kernels_to_show(subject: Subject, layer: str | None, channels: Sequence[int] = ()) -> Kernels:
    """Of the convolution `layer`, or the first one: the `channels` named, else all, or the strongest of many.

    UsageError where the layer is no convolution or has no such channels.
    """
    height, width = subject.info.recipe["input"]
    size = height, width
    path = convolution_path(subject, layer, size)
    module = cast(Convolution, subject.network.get_submodule(path))
    values = kernels_of(module)
    norms = np.linalg.norm(values.reshape(len(values), -1).astype(np.float64), axis=1)
    order = _photo_order(subject, path, size) if values.shape[1] == 3 else None
    compact = order is not None or values.shape[1] == 1
    shown = _chosen(path, norms, channels, MOST_KERNELS if compact else MOST_ROWS)
    inputs = _inputs_of(module, len(values), values.shape[1])[shown]
    columns = np.array(order) if order else strongest(_column_norms(values[shown]), MOST_COLUMNS)
    return Kernels(
        path,
        values.shape,
        module.groups,
        shown,
        inputs[:, columns],
        values[shown][:, columns],
        norms[shown],
        order is not None,
    )


def convolution_path(subject: Subject, layer: str | None, size: Size) -> str:
    """The path of the convolution that the user named, or of the only one inside a layer; None: of the first."""
    if layer is None:
        return next(op.module for op in subject.operations(size) if op.kind == "convolution")
    path = subject.layer(layer, size)
    inside = [
        f"{path}.{name}" if name else path
        for name, module in subject.network.get_submodule(path).named_modules()
        if isinstance(module, Convolution)
    ]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise UsageError(f"--layer {path}: has {len(inside)} convolutions; choose one, such as {inside[0]}")
    raise UsageError(f"--layer {path}: has no kernels; choose a convolution, see 'cnncli models show'")


def kernels_of(module: Convolution) -> np.ndarray:
    """The weights as (out, in / groups, rows, columns), float32; a transposed convolution keeps them the other way."""
    weight = module.weight.detach().float().cpu()
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight.numpy()


def strongest(norms: np.ndarray, count: int) -> np.ndarray:
    """The numbers, in order, of the `count` largest."""
    return np.sort(np.argsort(-norms, kind="stable")[:count])


def _chosen(path: str, norms: np.ndarray, channels: Sequence[int], count: int) -> np.ndarray:
    for channel in channels:
        if channel >= len(norms):
            raise UsageError(f"--channel {channel}: {path} has channels 0 to {len(norms) - 1}")
    if len(channels) > count:
        raise UsageError(f"--channel: {len(channels)} are too many for one picture; give up to {count}")
    return np.array(channels, int) if channels else strongest(norms, count)


def _column_norms(values: np.ndarray) -> np.ndarray:
    """How much kernels (K, inputs, rows, columns) hold together for each of their inputs."""
    return np.sqrt((values.astype(np.float64) ** 2).sum((0, 2, 3)))


def _inputs_of(module: Convolution, outputs: int, inputs: int) -> np.ndarray:
    """The input channels (out, inputs) that each kernel reads: those of its group."""
    group = np.arange(outputs) // (outputs // module.groups)
    return group[:, None] * inputs + np.arange(inputs)


def _photo_order(subject: Subject, path: str, size: Size) -> list[int] | None:
    """Where red, green and blue are among the inputs of a layer that reads the photo itself; None for others."""
    operations = subject.operations(size)
    convolution = next((op for op in operations if op.module == path and op.kind == "convolution"), None)
    if convolution is None or len(subject.info.mean) != 3:
        return None
    order, source = [0, 1, 2], convolution.sources[0].operation
    while source != INPUT:
        before = operations[source]
        colours = [taken.operation for taken in before.sources if taken.shape[1] == 3]
        if before.kind not in KEEP_COLOURS or not colours:
            return None
        if before.kind == "flip" and 1 in before.arguments[1]:
            order.reverse()
        source = colours[0]
    return order
