"""A weights file's ONNX graph: written into the file, or as one self-contained ONNX model."""

from pathlib import Path

import numpy as np
import onnx

from cnncli.io.atomic import output_file
from cnncli.io.weights import Weights, load_weights, save_weights
from cnncli.nn.checkpoint import graph_of, load_model
from cnncli.train.parity import check_parity


def export_weights(path: Path, out: Path | None) -> tuple[Path, float]:
    """Write to `out` (a .onnx or .safetensors; None: the file itself); where, and the largest difference from torch.

    WeightsError where the network can't be written as a graph, or answers otherwise as one.
    """
    weights = load_weights(path)
    model = load_model(weights)
    graph = graph_of(model.model if not weights.info.recipe.get("raw") else model, weights.info)
    difference = check_parity(model, weights.info, graph, weights.tensors)
    target = out or path
    if target.suffix == ".onnx":
        with output_file(target) as file:
            file.write(self_contained(weights, graph))
    else:
        save_weights(target, weights.info, weights.tensors, graph)
    return target, difference


def self_contained(weights: Weights, graph: bytes) -> bytes:
    """An ONNX model with its numbers inside, float32, and what the weights file says of itself as metadata."""
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.name in weights.tensors:
            array = np.asarray(weights.tensors[tensor.name])
            array = array.astype(np.float32) if array.dtype == np.float16 else array
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    info = weights.info
    stated = {"task": info.task, "name": info.name, "classes": "\n".join(info.classes), "licence": info.licence}
    onnx.helper.set_model_props(model, stated)
    onnx.checker.check_model(model)
    return model.SerializeToString()
