"""From a torch model to the ONNX graph that travels inside its weights file.

The graph holds no learned numbers: every parameter and buffer stays an initializer named as in the state
dict, declared as external float32 data, and the onnx engine hands the file's tensors over by these names.
One file therefore serves both engines, and batch norm stays unfolded for training (ONNX Runtime folds it at load).
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping

import onnx
import onnx_ir
import torch
from onnxscript import optimizer

from cnncli.errors import WeightsError
from cnncli.nn.assemble import FromPixels

OPSET = 18  # ONNX Runtime 1.17 and later; the first in which ReduceMean takes its axes as an input


def export_graph(model: FromPixels, images: torch.Tensor, outputs: tuple[str, ...]) -> bytes:
    """The serialised graph of `model`, whose one input `images` has a batch axis of any length.

    `images` is an example batch of at least two (a batch of one would be taken for a constant). The names of
    the graph's parameters are those of `model.model`'s state dict (FromPixels adds one level).
    """
    program = _traced(model.eval(), images, outputs)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    graph = onnx_ir.to_proto(program.model)
    learned = frozenset(model.model.state_dict())
    _rename(graph.graph, {f"model.{name}": name for name in learned})
    _drop_zero_biases(graph.graph, learned)
    _share_constants(graph.graph, learned)
    _externalise(graph.graph, learned)
    _drop_debug_information(graph)
    return graph.SerializeToString()


def _traced(model: torch.nn.Module, images: torch.Tensor, outputs: tuple[str, ...]) -> torch.onnx.ONNXProgram:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the exporter narrates on stdout
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            optimize=False,  # it would fold batch norm into new tensors that no weights file has
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:  # what the exporter returns instead of an error in some of its modes
        raise WeightsError("this model can't be written as an ONNX graph; run it with --engine torch")
    return program


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


def _externalise(graph: onnx.GraphProto, learned: frozenset[str]) -> None:
    for tensor in graph.initializer:
        if tensor.name not in learned:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")


def _drop_debug_information(graph: onnx.ModelProto) -> None:
    del graph.metadata_props[:], graph.functions[:], graph.graph.value_info[:], graph.graph.metadata_props[:]
    parts = [*graph.graph.node, *graph.graph.initializer, *graph.graph.input, *graph.graph.output]
    for part in parts:
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for number, node in enumerate(graph.graph.node):
        node.name = f"{node.op_type}_{number}"
