"""From a torch model to the ONNX graph that travels inside its weights file.

The graph holds no learned numbers: every parameter and buffer stays an initializer named as in the state
dict, declared as external float32 data, and the onnx engine hands the file's tensors over by these names.
One file therefore serves both engines, and batch norm stays unfolded for training (ONNX Runtime folds it at load).
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_ir
import torch
from onnxscript import optimizer

from cnncli.errors import WeightsError
from cnncli.nn.assemble import FromPixels

COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")
OPSET = 18  # ONNX Runtime 1.17 and later; the first in which ReduceMean takes its axes as an input


def export_graph(
    model: FromPixels, images: torch.Tensor, outputs: tuple[str, ...], sizes: Sequence[int] | None = None
) -> bytes:
    """The serialised graph of `model`, whose one input `images` has a batch axis of any length.

    `images` is an example batch of at least two (a batch of one would be taken for a constant). With `sizes` (step,
    rest) its height and width may be any step * k + rest; else they are those of the example. The names of
    the graph's parameters are those of `model.model`'s state dict (FromPixels adds one level). WeightsError
    where the exporter can't write the network.
    """
    learned = frozenset(model.model.state_dict())
    names = {f"model.{name}": name for name in learned}
    program = _traced(model.eval(), images, outputs, _dynamic_axes(sizes))
    _fold_constants(program.model, learned=frozenset(names))
    graph = onnx_ir.to_proto(program.model)
    _rename(graph.graph, names)
    _drop_zero_biases(graph.graph, learned)
    _share_constants(graph.graph, learned)
    _drop_debug_information(graph)
    return graph.SerializeToString()


def _dynamic_axes(sizes: Sequence[int] | None) -> dict[int, Any]:
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if sizes is not None:
        step, rest = sizes
        axes |= {1: step * torch.export.Dim("rows", min=1) + rest, 2: step * torch.export.Dim("columns", min=1) + rest}
    return axes


def _traced(
    model: torch.nn.Module, images: torch.Tensor, outputs: tuple[str, ...], axes: dict[int, Any]
) -> torch.onnx.ONNXProgram:
    try:
        program = _exported(model, images, outputs, axes)
    except Exception as error:  # of many types, each with pages of advice
        raise WeightsError(f"this network can't be written as an ONNX graph ({_reason(error)})") from error
    if program is None:  # what the exporter returns instead of an error in some of its modes
        raise WeightsError("this network can't be written as an ONNX graph")
    return program


def _reason(error: BaseException) -> str:
    """The first line of the error that began it: a network's own sentence rather than the exporter's pages."""
    while not isinstance(error, WeightsError) and error.__cause__ is not None:
        error = error.__cause__
    return COLOUR_CODE.sub("", str(error).strip().partition("\n")[0])


def _exported(
    model: torch.nn.Module, images: torch.Tensor, outputs: tuple[str, ...], axes: dict[int, Any]
) -> torch.onnx.ONNXProgram | None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the exporter narrates on stdout
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            optimize=False,  # it would fold batch norm into new tensors that no weights file has
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=(axes,),
            verbose=False,
        )


def _fold_constants(model: onnx_ir.Model, learned: frozenset[str]) -> None:
    """Compute what depends on no input and no learned number, and make the learned numbers external.

    They are out of sight while constants are folded: a transposed or reshaped parameter would become a constant.
    """
    parameters = [value for name, value in model.graph.initializers.items() if name in learned]
    for value in parameters:
        value.const_value = None
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    for value in parameters:
        value.const_value = onnx_ir.ExternalTensor(
            "weights", None, None, value.dtype, shape=value.shape, name=value.name
        )


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _drop_zero_biases(graph: onnx.GraphProto, learned: frozenset[str]) -> None:
    """The exporter gives a convolution without bias a vector of zeros, as large as its output has channels."""
    constants = [tensor for tensor in graph.initializer if tensor.name not in learned]
    zeros = {tensor.name for tensor in constants if not onnx.numpy_helper.to_array(tensor).any()}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    _keep(graph, [tensor for tensor in graph.initializer if tensor.name in used])


def _keep(graph: onnx.GraphProto, tensors: list[onnx.TensorProto]) -> None:
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.initializer[:]
    graph.initializer.extend(copies)


def _share_constants(graph: onnx.GraphProto, learned: frozenset[str]) -> None:
    """Keep one copy of equal constants: a clip to (0, 6) repeats its bounds for every layer."""
    first: dict[tuple, onnx.TensorProto] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name not in learned:
            values = onnx.numpy_helper.to_array(tensor).tobytes()
            original = first.setdefault((tensor.data_type, tuple(tensor.dims), values), tensor)
            if original is not tensor:
                renamed[tensor.name] = original.name
    _keep(graph, [tensor for tensor in graph.initializer if tensor.name not in renamed])
    _rename(graph, renamed)


def _drop_debug_information(graph: onnx.ModelProto) -> None:
    del graph.metadata_props[:], graph.functions[:], graph.graph.value_info[:], graph.graph.metadata_props[:]
    parts = [*graph.graph.node, *graph.graph.initializer, *graph.graph.input, *graph.graph.output]
    for part in parts:
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for number, node in enumerate(graph.graph.node):
        node.name = f"{node.op_type}_{number}"
