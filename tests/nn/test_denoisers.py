"""Denoisers that are trained here: sizes, what they see, both engines, and parameters as published."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import WeightsError
from cnncli.io.weights import ModelInfo, Weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of, tensors_of
from cnncli.nn.denoisers import dncnn, reach, unet

HEADS = {
    "unet": {"features": 4, "depth": 3, "upsampling": "bilinear", "norm": "none", "residual": True, "blind": False},
    "unet transposed": {"features": 4, "depth": 2, "upsampling": "transposed", "norm": "batch", "residual": False,
                        "blind": True},
    "dncnn": {"features": 8, "layers": 5, "norm": "batch", "residual": True, "blind": True},
    "dncnn with a level": {"features": 8, "layers": 4, "norm": "none", "residual": False, "blind": False},
    "ffdnet": {"features": 8, "layers": 4, "residual": True, "blind": False},
    "ffdnet blind": {"features": 8, "layers": 4, "residual": False, "blind": True},
}  # fmt: skip
# Of 3x3 convolutions and batch norm by hand: DnCNN has 17 layers of 64 channels, 15 of them normalised
DNCNN_COLOUR = (3 * 9 * 64 + 64) + 15 * (64 * 9 * 64 + 2 * 64) + (64 * 9 * 3 + 3)


def info_of(name: str) -> ModelInfo:
    kind = name.split()[0]
    step, radius = reach(kind, HEADS[name])
    recipe = {"input": [64, 64], "dtype": "float32", "sizes": [step, 0], "sigma_range": [0, 55], "radius": radius}
    return ModelInfo(
        name=kind, task="denoise", backbone=kind, head={"kind": kind, **HEADS[name]}, classes=(), recipe=recipe,
        mean=(0.0,) * 4, std=(1.0,) * 4, outputs=("denoised",), licence="none", source={},
    )  # fmt: skip


def network_of(name: str) -> nn.Module:
    """With numbers everywhere: a residual network begins with zeros in its last layer."""
    torch.manual_seed(0)
    network = build(info_of(name))
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.05, 0.1)
    return network.eval()


@pytest.mark.parametrize("name", HEADS)
def test_engines_agree_on_every_size(name: str) -> None:
    info, network = info_of(name), network_of(name)
    weights = Weights(Path("trained"), info, "", tensors_of(network), graph_of(network, info))
    engines = OnnxEngine(weights, threads=1, parallel_calls=1), TorchEngine(weights, "cpu", "fp32", threads=1)
    step = info.recipe["sizes"][0]
    for rows, columns in ((1, 1), (1, 4), (5, 3)):
        images = np.random.default_rng(0).random((2, rows * step, columns * step, 4), dtype=np.float32)
        by_onnx, by_torch = (engine.run(images)["denoised"] for engine in engines)
        assert by_onnx.shape == (2, 3, rows * step, columns * step)
        np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4 * np.abs(by_torch).max())


@pytest.mark.parametrize("name", HEADS)
def test_sees_as_far_as_its_recipe_says_and_no_farther(name: str) -> None:
    """Of all pixels of one step, by the gradient in float64; the level map aside."""
    info, network = info_of(name), network_of(name).double()
    for layer in network.modules():  # so that nothing cancels or is cut off
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.constant_(layer.weight, 0.01)
    step, radius = info.recipe["sizes"][0], info.recipe["radius"]
    side = 2 * (radius // step + 2) * step + step
    first = side // 2 // step * step
    farthest = 0
    for pixel in range(first, first + step):
        images = torch.rand(1, 4, side, 8 * step, dtype=torch.float64, requires_grad=True)
        network(images)[0][0, :, pixel].sum().backward()
        (rows,) = images.grad[0, :3].abs().amax(dim=(0, 2)).nonzero(as_tuple=True)
        farthest = max(farthest, pixel - int(rows.min()), int(rows.max()) - pixel)
    # a cell of FFDNet and a maximum see a pixel less on one side, depending on which is the largest
    assert radius - step < farthest <= radius + (step - 1 if name.startswith("ffdnet") else 0)


@pytest.mark.parametrize("name", HEADS)
def test_a_blind_network_leaves_the_level_unread(name: str) -> None:
    network = network_of(name)
    x = torch.rand(1, 4, 32, 32)
    other = torch.cat([x[:, :3], x[:, 3:] + 0.1], dim=1)
    same = torch.equal(network(x)[0], network(other)[0])
    assert same == HEADS[name]["blind"]


@pytest.mark.parametrize("name", HEADS)
def test_a_residual_network_begins_with_the_photo_itself(name: str) -> None:
    x = torch.rand(1, 4, 32, 32)
    difference = (build(info_of(name)).eval()(x)[0] - x[:, :3]).abs().max()
    assert (difference == 0) == HEADS[name]["residual"]


def test_counts_the_parameters_of_the_papers_network() -> None:
    network = dncnn("dncnn", {"features": 64, "layers": 17, "residual": True, "blind": True, "norm": "batch"}, 0)
    assert sum(parameter.numel() for parameter in network.parameters()) == DNCNN_COLOUR


def test_halves_as_often_as_its_depth_says() -> None:
    network = unet("unet", {**HEADS["unet"], "depth": 4, "features": 4}, 0)
    shapes = []
    for level in network.down:
        level.register_forward_hook(lambda layer, inputs, output: shapes.append(tuple(output.shape[1:])))
    network(torch.rand(1, 4, 64, 32))
    assert shapes == [(4, 64, 32), (8, 32, 16), (16, 16, 8), (32, 8, 4), (64, 4, 2)]


def test_rejects_another_backbone() -> None:
    with pytest.raises(WeightsError, match="'mobilenet_v2' is not in this version's catalog"):
        unet("mobilenet_v2", HEADS["unet"], 0)
