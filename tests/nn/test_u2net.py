"""U²-Netp against its source in ONNX Runtime, and what it makes of images that no photo is like."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, read_info
from cnncli.nn.assemble import build
from cnncli.nn.backbones.u2net import U2Net
from cnncli.nn.segmenters import u2net
from tests.conftest import PHOTOS

MODEL = "u2netp"
PARAMETERS = 1_125_485  # of the source's 119 convolutions
SIDE = 320
PHOTO_FILES = ("astronaut.png", "chelsea.png", "coffee.png")
GOLDEN = Path(__file__).parent / "golden"  # golden/make_u2netp.py makes the mattes
HALF_LEVEL = 0.5 / 255  # what the golden mattes were rounded by


def golden_path(file: str) -> Path:
    return GOLDEN / f"u2netp_{Path(file).stem}.png"


def resized_photo(file: str) -> np.ndarray:
    photo = Image.open(PHOTOS / file).convert("RGB")
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def test_counts_the_published_parameters() -> None:
    network = build(read_info(model_path(MODEL)))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS


def test_keeps_full_precision(weights: Weights) -> None:
    assert {tensor.dtype for tensor in weights.tensors.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("file", PHOTO_FILES)
def test_mattes_as_its_source_does(file: str, onnx_engine: OnnxEngine, torch_engine: TorchEngine) -> None:
    expected = np.asarray(Image.open(golden_path(file))) / 255
    assert 0.05 < expected.mean() < 0.95
    photo = resized_photo(file)[None]
    by_onnx, by_torch = (engine.run(photo)["matte"] for engine in (onnx_engine, torch_engine))
    assert by_onnx.shape == (1, 1, SIDE, SIDE)
    np.testing.assert_allclose(by_onnx[0, 0], expected, atol=HALF_LEVEL + 1e-4)
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_an_image_is_the_same_alone_and_in_a_batch(onnx_engine: OnnxEngine) -> None:
    dark = resized_photo("coffee.png") // 3  # its own maximum, not that of the batch, must count
    batch = np.stack([dark, resized_photo("chelsea.png"), resized_photo("astronaut.png")])
    alone = np.concatenate([onnx_engine.run(image[None])["matte"] for image in batch])
    np.testing.assert_allclose(onnx_engine.run(batch)["matte"], alone, atol=1e-4)


def test_brightness_makes_no_difference(torch_engine: TorchEngine) -> None:
    photo = resized_photo("coffee.png") // 4
    assert photo.max() < 85
    dim, bright = (torch_engine.run(image[None])["matte"] for image in (photo, photo * 3))
    np.testing.assert_allclose(dim, bright, atol=1e-4)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_plain_images_give_finite_mattes(value: int, onnx_engine: OnnxEngine, torch_engine: TorchEngine) -> None:
    plain = np.full((1, SIDE, SIDE, 3), value, np.uint8)
    by_onnx, by_torch = (engine.run(plain)["matte"] for engine in (onnx_engine, torch_engine))
    assert np.isfinite(by_torch).all()
    assert 0 <= by_torch.min() <= by_torch.max() <= 1
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_graph_computes_nothing_but_the_matte(weights: Weights) -> None:
    nodes = onnx.load_model_from_string(weights.graph).graph.node
    assert sum(node.op_type == "Conv" for node in nodes) == 119
    assert sum(node.op_type == "Sigmoid" for node in nodes) == 1  # the source has seven: each side output's too


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50)])
def test_backbone_gives_the_maps_it_states(size: tuple[int, int]) -> None:
    backbone = U2Net().eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, *size))
    expected = [(1, 64, *(-(-side // stride) for side in size)) for stride in backbone.strides]
    assert [tuple(features.shape) for features in maps] == expected


def test_rejects_another_backbone() -> None:
    with pytest.raises(WeightsError, match="'u2netx' is not in this version's catalog"):
        u2net("u2netx", {}, 1)
