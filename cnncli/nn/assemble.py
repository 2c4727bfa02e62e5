"""Whole models from the catalog's backbones and heads."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.catalog import BACKBONES, NETWORKS, resolve
from cnncli.errors import WeightsError
from cnncli.io.weights import ModelInfo
from cnncli.nn.heads.classify import ClassifyHead
from cnncli.nn.heads.efficientdet import SharedHead
from cnncli.nn.necks.bifpn import BiFPN
from cnncli.nn.torchvision_networks import PREFIX, TorchvisionClassifier


class Classifier(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to logits (N, classes) and pooled features (N, F)."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(x)[-1])


class Detector(nn.Module):
    """Normalised RGB batch (N, 3, S, S) to class logits (N, anchors, classes) and box codes (N, anchors, 4)."""

    def __init__(self, backbone: nn.Module, neck: nn.Module, class_head: nn.Module, box_head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.class_head = class_head
        self.box_head = box_head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pyramid = self.neck(*self.backbone(x)[-3:])
        return self.class_head(pyramid), self.box_head(pyramid)


class FromPixels(nn.Module):
    """A model that takes what a file holds: uint8 (N, H, W, 3), normalised here by mean and std in 0..255.

    Denoisers take float32 (N, H, W, 4), RGB in 0..1 and the noise level, with a mean of 0 and a std of 1.
    """

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        return self.model((pixels - self.mean) / self.std)


def build(info: ModelInfo) -> nn.Module:
    """The network that a weights file describes, with random parameters."""
    if info.task not in NETWORKS:
        raise WeightsError(f"networks for '{info.task}' are not in this version's catalog; update cnncli")
    network = resolve(NETWORKS[info.task])
    return network(info.backbone, info.head, len(info.classes))


def classifier(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    if backbone.startswith(PREFIX):
        return TorchvisionClassifier(backbone.removeprefix(PREFIX), classes, **head)
    trunk = build_backbone(backbone)
    return Classifier(trunk, ClassifyHead(trunk.channels[-1], classes, **head))


def detector(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """EfficientDet: `head` holds the channels and cells of its BiFPN. Batch norm is folded, as in its source."""
    trunk = build_backbone(backbone, folded=True)
    channels = head["channels"]
    neck = BiFPN(trunk.channels[-3:], channels, head["cells"])
    return Detector(trunk, neck, SharedHead(channels, classes), SharedHead(channels, 4))


def build_backbone(name: str, **options: Any) -> nn.Module:
    if name not in BACKBONES:
        raise WeightsError(f"backbone '{name}' is not in this version's catalog; update cnncli")
    return resolve(BACKBONES[name])(**options)
