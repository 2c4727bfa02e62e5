"""Networks with random weights that behave like trained ones, and weights files of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cnncli.io.weights import ModelInfo, Weights
from cnncli.nn.checkpoint import graph_of, tensors_of

SPREAD = 2.0  # standard deviation of a class's logits over images: the best of 10 classes gets about half of the sum

CALIBRATION_IMAGES = 3
NORMALISED = (  # a backbone of each family with batch norm, and all that weights are shipped for
    "efficientnet_lite0", "efficientnet_lite2", "mobilenet_v2", "resnet18", "googlenet", "efficientnet_b0",
)  # fmt: skip


def info_of(backbone: str, side: int = 64, classes: int = 10, head: Mapping[str, Any] | None = None) -> ModelInfo:
    """Metadata of a classifier for images of `side` x `side`."""
    return ModelInfo(
        name=backbone,
        task="classify",
        backbone=backbone,
        head=head or {},
        classes=tuple(f"class {number}" for number in range(classes)),
        recipe={"input": [side, side], "resize": side, "filter": "bilinear"},
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        outputs=("logits", "features"),
        licence="none",
        source={},
    )


def weights_of(network: nn.Module, info: ModelInfo) -> Weights:
    """What `load_weights` would give for the saved network."""
    return Weights(Path(f"{info.name}.safetensors"), info, "", tensors_of(network), graph_of(network, info))


@torch.no_grad()
def randomised(network: nn.Module, side: int) -> nn.Module:
    """Numbers that work: batch norm with the statistics of its maps, logits that tell images apart.

    With fresh ones the signal fades on its way down, and every image gets the same answer. The last layer with
    weights must be the one that makes the logits, the network's first output.
    """
    x = torch.from_numpy(images(CALIBRATION_IMAGES, side)).permute(0, 3, 1, 2) / 64 - 2
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1  # the statistics of the next batch alone
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, 0, 0.1)
    network.train()(x)
    last = [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))][-1]
    nn.init.normal_(last.weight)
    logits = network.eval()(x)
    logits = logits[0] if isinstance(logits, tuple) else logits
    scale = SPREAD / (logits - logits.mean(dim=0)).std()
    last.weight.mul_(scale)
    if last.bias is not None:  # without what all images share, which would drown the rest
        last.bias.sub_(logits.mean(dim=0)).mul_(scale)
    return network


def images(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Random pictures with large patches and fine grain, uint8 (count, side, side, 3)."""
    random = np.random.default_rng(seed)
    patches = random.integers(0, 200, (count, 4, 4, 3), dtype=np.uint8)
    size = -(-side // 4)
    smooth = patches.repeat(size, axis=1).repeat(size, axis=2)[:, :side, :side]
    return smooth + random.integers(0, 56, smooth.shape, dtype=np.uint8)


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=1).numpy()
