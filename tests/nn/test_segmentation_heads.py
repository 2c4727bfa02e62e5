"""Networks that label pixels: layers against torch's and torchvision's own, both engines, and what papers count."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3

from cnncli.catalog import BACKBONES, HEADS
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.nn.heads.aspp import ASPP
from cnncli.nn.heads.fcn import FCNHead
from cnncli.nn.heads.unpooling import pooled, unpooled
from cnncli.nn.heads.upsampling import DoubledBilinear, fitted
from tests.nn.networks import weights_of
from tests.nn.tiny_backbones import TinyVGG, tiny_backbones  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny_backbones")
CLASSES = 3
INPUT = 64, 96
UNPOOLING = ("segnet", "deconvnet")
STRIDES = {"unet": 4, "fcn32": 32, "fcn16": 16, "fcn8": 8, "deeplabv3": 16, "segnet": 1, "deconvnet": 1}


def info_of(kind: str, backbone: str = "", head: dict[str, Any] | None = None, classes: int = CLASSES) -> ModelInfo:
    backbone = backbone or ("tiny_vgg" if kind in UNPOOLING else "tiny")
    entries = {"kind": kind, "backbone": {"output_stride": 16} if kind == "deeplabv3" else {}}
    recipe: dict[str, Any] = {"input": list(INPUT), "sizes": [32, 0]}
    if kind == "deconvnet":
        entries["cells"] = [side // 32 for side in INPUT]
        del recipe["sizes"]
    return ModelInfo(
        name=kind, task="segment", backbone=backbone, head={**entries, **(head or {})},
        classes=tuple(f"class {number}" for number in range(classes)), recipe=recipe, mean=(127.0,) * 3,
        std=(64.0,) * 3, outputs=("logits",), licence="none", source={},
    )  # fmt: skip


def made(info: ModelInfo) -> nn.Module:
    """With statistics of random pictures, and skips that have learned something."""
    torch.manual_seed(0)
    network = build(info).train()
    for skip in getattr(network.head, "skips", ()):
        nn.init.normal_(skip.weight, 0, 0.1)
    with torch.no_grad():
        network(torch.randn(4, 3, *INPUT))
    return network.eval()


def counted(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("kind", STRIDES)
def test_engines_agree_at_any_size(kind: str) -> None:
    info = info_of(kind, head={} if kind == "segnet" else {"channels": 16})
    weights = weights_of(made(info), info)
    engines = OnnxEngine(weights, threads=1, parallel_calls=1), TorchEngine(weights, "cpu", "fp32", threads=1)
    for size in [INPUT] if kind == "deconvnet" else [INPUT, (32, 128), (160, 32)]:
        pictures = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
        by_onnx, by_torch = (engine.run(pictures)["logits"] for engine in engines)
        assert by_onnx.shape == (3, CLASSES, *(side // STRIDES[kind] for side in size))
        np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)
        assert np.ptp(by_torch) > 0.01


def test_every_head_is_tested() -> None:
    assert set(STRIDES) <= set(HEADS["segment"])


@pytest.mark.parametrize("norm", ["group", "instance", "none"])
@pytest.mark.parametrize("kind", ["unet", "deeplabv3", "segnet", "deconvnet"])
def test_decoders_have_the_backbones_norm(kind: str, norm: str) -> None:
    options = {"norm": norm, **({"output_stride": 16} if kind == "deeplabv3" else {})}
    backbone = "vgg11_bn" if kind in UNPOOLING else "tiny"
    with torch.device("meta"):
        network = build(info_of(kind, backbone, {"backbone": options}))
    assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_doubling_begins_as_bilinear_interpolation() -> None:
    x = torch.rand(2, 3, 7, 5)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        actual = DoubledBilinear(3)(x)
    torch.testing.assert_close(actual[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])  # at the border it fades to zero


def test_fcn_adds_scores_of_finer_maps() -> None:
    """Skips begin at zero, so that FCN-8 is FCN-32, twice doubled; then each adds its map's scores."""
    channels, strides = (4, 5, 6), (8, 16, 32)
    maps = [torch.rand(1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
    head = FCNHead("fcn8", channels, strides, CLASSES, 7, 0.5).eval()
    with torch.no_grad():
        coarse = head.score(maps[-1])
        torch.testing.assert_close(head(maps), head.enlarge[1](head.enlarge[0](coarse)))
        nn.init.constant_(head.skips[0].bias, 1.0)
        nn.init.constant_(head.skips[1].weight, 1.0)
        expected = head.enlarge[1](head.enlarge[0](coarse) + 1) + maps[0].sum(dim=1, keepdim=True)
        torch.testing.assert_close(head(maps), expected)


def test_aspp_is_torchvisions() -> None:
    ours, reference = ASPP(6, 5, (6, 12, 18)).eval(), deeplabv3.ASPP(6, [6, 12, 18], 5).eval()
    branches = [ours.local, *ours.dilated]
    with torch.no_grad():
        for own, other in zip(branches, reference.convs, strict=False):
            other[0].weight.copy_(own[0].weight)
        reference.convs[-1][1].weight.copy_(ours.pooled[0].weight)
        reference.project[0].weight.copy_(ours.project[0].weight)
        ours.pooled[0].bias.zero_()
        x = torch.rand(2, 6, 20, 30)
        torch.testing.assert_close(ours(x), reference(x), atol=1e-4, rtol=1e-4)  # its last branch has a batch norm


@pytest.mark.parametrize("size", [(8, 12), (7, 5), (2, 2)])
def test_unpools_as_torch_does(size: tuple[int, int]) -> None:
    before = torch.rand(2, 3, *size)
    x, ((kept, indices),) = pooled([nn.Identity()], before)
    values = torch.rand_like(x)
    torch.testing.assert_close(unpooled(values, kept, indices), F.max_unpool2d(values, indices, 2, output_size=size))


@pytest.mark.parametrize("backbone", ["vgg11_bn", "vgg16", "tiny_vgg"])
@pytest.mark.parametrize("kind", UNPOOLING)
def test_runs_the_backbones_own_blocks(kind: str, backbone: str) -> None:
    """Pooling by ourselves gives the backbone's coarsest map."""
    network = build(info_of(kind, backbone, {"channels": 8} if kind == "deconvnet" else {})).eval()
    x = torch.rand(1, 3, *INPUT)
    with torch.no_grad():
        torch.testing.assert_close(pooled(network.backbone.blocks, x)[0], network.backbone(x)[-1])


def test_unet_is_the_papers() -> None:
    """Convolutions of 3 x 3 without bias and two numbers a channel of their norms; up-convolutions of 2 x 2; scores."""
    widths = 64, 128, 256, 512, 1024
    down = sum(9 * (a * b + b * b) + 4 * b for a, b in zip((3, *widths[:-1]), widths, strict=True))
    up = sum(4 * 2 * b * b + b + 9 * (2 * b * b + b * b) + 4 * b for b in widths[:-1])
    with torch.device("meta"):
        network = build(info_of("unet", "unet", {"channels": 512, "finest": 1}, classes=1)).eval()
        assert network(torch.zeros(1, 3, 48, 80))[0].shape == (1, 1, 48, 80)
    assert counted(network) == down + up + 64 + 1 == 31_037_633  # that of the usual implementations


def test_deconvnet_is_the_papers() -> None:
    """Noh et al. 2015, sec. 3.2: 252 million parameters, a code of one cell for 224 px."""
    info = info_of("deconvnet", "vgg16_bn", {"channels": 4096, "cells": [7, 7]}, classes=21)
    with torch.device("meta"):
        network = build(info).eval()
        last, _ = pooled(network.backbone.blocks, torch.zeros(1, 3, 224, 224))
        assert network.head.code(last).shape == (1, 4096, 1, 1)
        assert network(torch.zeros(1, 3, 224, 224))[0].shape == (1, 21, 224, 224)
    assert round(counted(network) / 1e6) == 252


def test_segnet_mirrors_vgg16() -> None:
    """Badrinarayanan et al. 2017, fig. 2: 13 convolutions back, of the channels of VGG's 13."""
    with torch.device("meta"):
        network = build(info_of("segnet", "vgg16_bn"))
    sizes = [
        (layer.in_channels, layer.out_channels)
        for layer in network.head.stages.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    assert sizes == [
        (512, 512), (512, 512), (512, 512), (512, 512), (512, 512), (512, 256), (256, 256), (256, 256), (256, 128),
        (128, 128), (128, 64), (64, 64), (64, 64),
    ]  # fmt: skip


@pytest.mark.parametrize("backbone", BACKBONES)
def test_unet_stands_on_every_backbone(backbone: str) -> None:
    with torch.device("meta"):
        network = build(info_of("unet", backbone)).eval()
        side = max(64, -(-network.backbone.least_size // 32) * 32)
        logits = network(torch.zeros(2, 3, side, side + 32))[0]
    assert logits.shape[:2] == (2, CLASSES)
    assert 0.75 * side / 4 <= logits.shape[2] <= side  # some backbones cut off a cell or two at each border


@pytest.mark.parametrize("finest", [1, 2, 4, 8])
def test_unets_logits_have_the_stride_asked_for(finest: int) -> None:
    with torch.device("meta"):
        logits = build(info_of("unet", head={"finest": finest})).eval()(torch.zeros(1, 3, *INPUT))[0]
    assert logits.shape[2:] == (64 // finest, 96 // finest)


def test_maps_that_do_not_fit_are_made_to() -> None:
    x, like = torch.rand(1, 2, 6, 8), torch.rand(1, 3, 5, 9)
    assert fitted(x, x) is x
    torch.testing.assert_close(fitted(x, like), F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=False))


@pytest.mark.parametrize(
    ("kind", "backbone", "options", "words"),
    [
        ("fcn16", "unet", {}, r"head fcn16 needs a map of stride 32, the backbone's are of stride 1, 2, 4, 8, 16"),
        ("fcn8", "tiny", {"output_stride": 16}, "head fcn8 needs a map of stride 32"),
        ("deeplabv3", "tiny", {}, "stride 16 or 8, tiny's end at 32; give --output-stride 16"),
        ("segnet", "tiny", {}, "head segnet mirrors the pools of a VGG, tiny is none"),
        ("deconvnet", "resnet18", {}, "head deconvnet mirrors the pools of a VGG, resnet18 is none"),
        ("segnet", "vgg11", {"antialias": True}, "no antialias with it"),
    ],
)
def test_rejects_backbones_without_the_maps(kind: str, backbone: str, options: dict[str, Any], words: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=words):
        build(info_of(kind, backbone, {"backbone": options}))


def test_tiny_vgg_keeps_the_contract() -> None:
    backbone = TinyVGG()
    assert [tuple(x.shape[1:]) for x in backbone(torch.zeros(1, 3, 64, 64))] == [
        (channels, 64 // stride, 64 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
