"""What a weights file stores of a network, and what loading says where the two don't fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cnncli.errors import WeightsError
from cnncli.io.weights import Weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import load_model, tensors_of
from tests.nn.networks import NORMALISED, images, info_of, randomised

SIDE = 64


@pytest.mark.parametrize("backbone", NORMALISED)
def test_round_trip(backbone: str) -> None:
    """A network of float16 numbers comes back as it was, but for the counters of training steps."""
    info = info_of(backbone, SIDE)
    network = randomised(build(info), SIDE).half().float()
    loaded = load_model(Weights(Path("some.safetensors"), info, "", tensors_of(network), None))
    learned = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(tensors_of(network)) == learned
    for name in learned:
        assert torch.equal(loaded.model.state_dict()[name], network.state_dict()[name]), name
    assert not loaded.training


def test_normalises_pixels() -> None:
    info = info_of("efficientnet_lite0", SIDE)
    network = randomised(build(info), SIDE).half().float()
    pictures = torch.from_numpy(images(2, SIDE))
    with torch.no_grad():
        expected, _ = network((pictures.permute(0, 3, 1, 2).float() - 127) / 128)
        logits, _ = load_model(Weights(Path("some.safetensors"), info, "", tensors_of(network), None))(pictures)
    assert torch.equal(logits, expected)


def convolution(value: float) -> nn.Module:
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.weight, value)
    nn.init.zeros_(conv.bias)
    return conv


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.0, np.float16), (0.0, np.float16), (65504.0, np.float16), (7e4, np.float32), (1e-7, np.float32)],
)
def test_keeps_float32_where_float16_cant_hold_a_tensor(value: float, dtype: type) -> None:
    tensors = tensors_of(convolution(value))
    assert tensors["weight"].dtype == dtype
    assert tensors["bias"].dtype == np.float16
    assert float(tensors["weight"].item()) == pytest.approx(value, rel=1e-3)


def test_stores_indices_as_they_are() -> None:
    network = nn.Module()
    network.register_buffer("order", torch.arange(4))
    assert tensors_of(network)["order"].dtype == np.int64


Damage = Callable[[dict[str, np.ndarray]], None]


def without_bias(tensors: dict[str, np.ndarray]) -> None:
    del tensors["head.classifier.bias"]


def without_head(tensors: dict[str, np.ndarray]) -> None:
    for name in [name for name in tensors if name.startswith("head.")]:
        del tensors[name]


def with_another_shape(tensors: dict[str, np.ndarray]) -> None:
    tensors["head.classifier.weight"] = tensors["head.classifier.weight"][:, :-1]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without_bias, "does not fit efficientnet_lite0, it lacks head.classifier.bias"),
        (without_head, r"does not fit efficientnet_lite0, it lacks head\.[a-z.0-9]+ and \d+ more"),
        (with_another_shape, r"its head.classifier.weight is \(10, 319\), not \(10, 320\)"),
    ],
)
def test_loading_names_what_does_not_fit(damage: Damage, sentence: str) -> None:
    info = info_of("efficientnet_lite0")
    tensors = tensors_of(build(info))
    damage(tensors)
    weights = Weights(Path("some.safetensors"), info, "", tensors, None)
    with pytest.raises(WeightsError, match=f"^some.safetensors: .*{sentence}$"):
        load_model(weights)


@pytest.mark.parametrize("backbone", ["nonesuch", "torchvision/nonesuch"])
def test_loading_names_an_unknown_backbone(backbone: str) -> None:
    weights = Weights(Path("some.safetensors"), info_of(backbone), "", {}, None)
    with pytest.raises(WeightsError, match="nonesuch"):
        load_model(weights)
