"""One thread, and the model that a test module is about, in both engines.

One thread: several of torch's wait for each other on a machine where tests run side by side.
"""

import pytest
import torch

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, load_weights


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(request: pytest.FixtureRequest) -> Weights:
    """The weights of the model that the module names with MODEL."""
    return load_weights(model_path(request.module.MODEL))


@pytest.fixture(scope="module")
def onnx_engine(weights: Weights) -> OnnxEngine:
    return OnnxEngine(weights, threads=1, parallel_calls=1)


@pytest.fixture(scope="module")
def torch_engine(weights: Weights) -> TorchEngine:
    return TorchEngine(weights, "cpu", "fp32", threads=1)
