"""Names read from a graph's bytes are those that the onnx package reads."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from cnncli.catalog import MODELS
from cnncli.engine.onnx_graph import initializer_names
from cnncli.io.store import shipped_folder
from cnncli.io.weights import load_weights


@pytest.mark.parametrize("name", MODELS)
def test_reads_what_onnx_reads(name: str) -> None:
    weights = load_weights(shipped_folder() / f"{name}.safetensors")
    graph = onnx.load_model_from_string(weights.graph).graph
    assert initializer_names(weights.graph) == {tensor.name for tensor in graph.initializer}


@pytest.mark.parametrize("length", [1, 127, 128, 20_000])
def test_reads_names_of_any_length(length: int) -> None:
    tensor = numpy_helper.from_array(np.zeros(300, np.float32), "é" * length)
    bounds = helper.make_tensor("bounds", onnx.TensorProto.DOUBLE, [2], [0.0, 6.0])  # eight bytes each
    graph = helper.make_graph([], "graph", [], [], [tensor, bounds])
    assert initializer_names(helper.make_model(graph).SerializeToString()) == {"é" * length, "bounds"}


def test_finds_none_in_an_empty_model() -> None:
    assert initializer_names(b"") == set()
