"""dlib's ResNet-29 against dlib itself, and its sums of maps of unequal shape against arithmetic."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.imaging.faces import cosine_distance
from cnncli.io.store import shipped_folder
from cnncli.io.weights import Weights, load_weights
from cnncli.nn.assemble import build
from cnncli.nn.backbones.dlib_resnet29 import DlibResNet29, ResidualBlock, add_extended
from tests.nn.face_pictures import chips

GOLDEN = Path(__file__).parent / "golden_faces" / "dlib_resnet29.npz"  # made by make.py beside it
PUBLISHED_PARAMETERS = 5_614_592  # of the source, with a scale and a shift per channel of its convolutions
CHANNELS = 3_552  # of all convolutions, published likewise


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(shipped_folder() / "dlib_resnet29.safetensors")


@pytest.fixture(scope="module")
def engine(weights: Weights) -> OnnxEngine:
    return OnnxEngine(weights, threads=1, parallel_calls=1)


def test_counts_the_published_parameters_less_the_folded(weights: Weights) -> None:
    count = sum(parameter.numel() for parameter in build(weights.info).parameters())
    assert count == PUBLISHED_PARAMETERS - 2 * CHANNELS


def test_has_29_layers_with_weights() -> None:
    convolutions = [layer for layer in DlibResNet29().modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == 29
    assert sum(layer.out_channels for layer in convolutions) == CHANNELS


def test_matches_dlib(engine: OnnxEngine) -> None:
    expected = np.load(GOLDEN)["embeddings"]
    embeddings = engine.run(chips("dlib_resnet29"))["embedding"]
    np.testing.assert_allclose(embeddings, expected, atol=2e-3)  # of vectors of length 1.4, stored in float16
    assert cosine_distance(embeddings, expected).max() < 1e-4


def test_engines_agree(weights: Weights, engine: OnnxEngine) -> None:
    by_onnx = engine.run(chips("dlib_resnet29"))["embedding"]
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(chips("dlib_resnet29"))["embedding"]
    assert by_onnx.shape == (4, 128)
    assert np.linalg.norm(by_onnx - by_torch) < 1e-4 * np.linalg.norm(by_torch)
    assert cosine_distance(by_onnx, by_torch).max() < 1e-4


def test_sums_extend_with_zeros() -> None:
    """More channels on one side, more rows and columns on the other."""
    first, second = torch.full((1, 3, 2, 2), 1.0), torch.full((1, 2, 3, 4), 10.0)
    expected = torch.zeros(1, 3, 3, 4)
    expected[:, :, :2, :2] += 1
    expected[:, :2] += 10
    assert torch.equal(add_extended(first, second), expected)


@torch.inference_mode()
def test_block_that_halves_adds_the_mean_of_each_window() -> None:
    block = ResidualBlock(1, 2, halves=True)
    for layer in (block.layers[0], block.layers[2]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.arange(49.0).view(1, 1, 7, 7)
    windows = [[x[0, 0, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(3)] for r in range(3)]
    assert torch.equal(block(x)[0, 0], torch.tensor(windows))
    assert not block(x)[0, 1].any()
