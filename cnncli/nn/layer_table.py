"""The layers of a network, one row each: shape, parameters, cost and receptive field."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from cnncli.nn.operation_axes import pool_geometry
from cnncli.nn.receptive_field import ReceptiveField, receptive_fields
from cnncli.nn.tracing import Operation, Shape, trace

Pair = tuple[int, int]  # rows, columns

KINDS = {
    "addmm": "fully connected",
    "mm": "fully connected",
    "linear": "fully connected",
    "max_pool2d_with_indices": "max-pool",
    "avg_pool2d": "mean pool",
    "_adaptive_avg_pool2d": "adaptive mean pool",
    "upsample_nearest2d": "nearest upsampling",
    "upsample_bilinear2d": "bilinear upsampling",
    "max_unpool2d": "max-unpool",
    "pixel_shuffle": "pixel shuffle",
    "pixel_unshuffle": "pixel unshuffle",
}
FURTHER_KINDS = {
    "_adaptive_avg_pool2d": "adaptive mean pool",  # that changes nothing
    "hardtanh": "ReLU6",
    "native_batch_norm": "batch norm",
    "native_group_norm": "group norm",
    "relu": "ReLU",
    "silu": "SiLU",
    "clamp": "PReLU or clamp",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "add": "sum",
    "mul": "product",
    "cat": "concatenation",
    "constant_pad_nd": "padding",
    "replication_pad2d": "padding",
}
# operations that no layer stands for
MOVES = frozenset([
    "view", "_unsafe_view", "clone", "detach", "alias", "permute", "t", "transpose", "select", "slice", "split",
    "expand", "squeeze", "flip",
])  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer. `number` counts from 1; sizes are (rows, columns), None where a layer has none.

    `output` is C x H x W, or the count of a fully connected layer's units; `neurons` are its numbers. `parameters` are
    learned ones, of a layer used more than once counted the first time. `macs` are products of weights and inputs.
    `field`: what one cell sees of the input.
    """

    number: int
    name: str
    kind: str
    kernel: Pair | None
    stride: Pair | None
    padding: Pair | None
    dilation: Pair | None
    output: Shape
    parameters: int
    macs: int
    field: ReceptiveField
    operation: int  # its place in the trace

    @property
    def neurons(self) -> int:
        return math.prod(self.output)

    def as_dict(self) -> dict[str, Any]:
        sizes = {name: getattr(self, name) for name in ("kernel", "stride", "padding", "dilation")}
        return {
            "number": self.number,
            "layer": self.name,
            "kind": self.kind,
            **{name: None if size is None else list(size) for name, size in sizes.items()},
            "output": list(self.output),
            "neurons": self.neurons,
            "parameters": self.parameters,
            "macs": self.macs,
            "receptive_field": list(self.field.size),
            "sees_all": self.field.sees_all,
            "jump": [_number(step) for step in self.field.jump],
        }


@dataclass(frozen=True)
class LayerTable:
    """The layers of a network at one input (C, H, W). `parameters` and `macs` are of the whole network."""

    input: Shape
    layers: tuple[Layer, ...]
    parameters: int
    macs: int

    @property
    def neurons(self) -> int:
        return sum(layer.neurons for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        totals = {"neurons": self.neurons, "parameters": self.parameters, "macs": self.macs}
        return {"input": list(self.input), "layers": [layer.as_dict() for layer in self.layers], "total": totals}


def layer_table(network: nn.Module, shape: Shape, every: bool = False) -> LayerTable:
    """The table of a network, which loses its numbers, for an input of `shape` (C, H, W).

    Layers are convolutions, pools, fully connected ones and those that enlarge maps; `every`: normalisation,
    activations, sums and the like too.
    """
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    operations = trace(network, shape)
    kinds = {operation.number: kind for operation in operations if (kind := _row_kind(operation, every)) is not None}
    fields = receptive_fields(operations, kinds)
    layers = tuple(
        _layer(place, operations[number], kind, fields[number], counts)
        for place, (number, kind) in enumerate(kinds.items(), 1)
    )
    return LayerTable(tuple(shape), layers, sum(counts.values()), sum(map(macs_of, operations)))


def _layer(place: int, operation: Operation, kind: str, field: ReceptiveField, counts: Mapping[str, int]) -> Layer:
    parameters = sum(counts[name] for name in operation.parameters)
    cost, sizes, shape = macs_of(operation), _geometry(operation), operation.shape[1:]
    return Layer(place, operation.module, kind, *sizes, shape, parameters, cost, field, operation.number)


def _row_kind(operation: Operation, every: bool) -> str | None:
    kind = kind_of(operation)
    if kind is not None or not every or operation.kind in MOVES:
        return kind
    return FURTHER_KINDS.get(operation.kind, operation.kind.strip("_").replace("_", " "))


def kind_of(operation: Operation) -> str | None:
    """What a layer is called; None for what is no layer: activations, normalisation, pools that change nothing."""
    if operation.kind == "convolution":
        return _convolution_kind(operation)
    if operation.kind in ("mean", "_adaptive_avg_pool2d") and len(operation.sources[0].shape) == 4:
        if operation.sources[0].shape == operation.shape:
            return None
        return "global mean" if operation.reads_all else KINDS.get(operation.kind)
    return KINDS.get(operation.kind)


def _convolution_kind(operation: Operation) -> str:
    taken, _, *_, transposed, _, groups = operation.arguments
    name = "transposed convolution" if transposed else "convolution"
    if groups == 1:
        return name
    return f"depthwise {name}" if groups == taken[1] else f"{name} in {groups} groups"


def macs_of(operation: Operation) -> int:
    """Multiply-adds of a convolution or a product of matrices, padding included; 0 for anything else."""
    if operation.kind == "convolution":
        taken, weight, *_, transposed, _, _ = operation.arguments
        cells = math.prod(taken[2:]) * taken[0] if transposed else math.prod(operation.shape[2:]) * operation.shape[0]
        return math.prod(weight) * cells
    if operation.kind in ("addmm", "mm", "bmm"):
        return math.prod(operation.shape) * operation.sources[0].shape[-1]
    return 0


def _geometry(operation: Operation) -> tuple[Pair | None, Pair | None, Pair | None, Pair | None]:
    if operation.kind == "convolution":
        _, weight, _, stride, padding, dilation, *_ = operation.arguments
        return tuple(weight[-2:]), stride, padding, dilation
    if operation.kind in ("max_pool2d_with_indices", "avg_pool2d"):
        _, *sizes = pool_geometry(operation.arguments)
        return tuple(sizes)
    return None, None, None, None


def _number(step: Fraction) -> float | int:
    return step.numerator if step.denominator == 1 else float(step)
