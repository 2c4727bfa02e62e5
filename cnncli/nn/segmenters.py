"""Networks that label pixels: classes of the scene (DeepLabv3), and what stands before the background (U²-Net)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.errors import WeightsError
from cnncli.nn.assemble import build_backbone
from cnncli.nn.backbones.u2net import U2Net, resized
from cnncli.nn.heads.deeplab import DeepLabHead

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1
IMAGENET_STD = (0.229, 0.224, 0.225)


class Segmenter(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to logits (N, classes, ceil(H / stride), ceil(W / stride)).

    They are of the corners-aligned grid: bilinear interpolation with align_corners gives those of the pixels.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.head(self.backbone(x)[-1]),)


class Matting(nn.Module):
    """RGB batch (N, 3, H, W) in 0..255 to the matte (N, 1, H, W), 0 for background and 1 for foreground.

    Each map gets a side output, and the six at full size become one: Qin et al. 2020, "U²-Net", fig. 5.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: U2Net):
        super().__init__()
        self.backbone = backbone
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=1) for channels in backbone.channels)
        self.fuse = nn.Conv2d(len(backbone.channels), 1, 1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        features = self.backbone(self._normalised(x))
        sides = [side(level) for side, level in zip(self.sides, features, strict=True)]
        fused = self.fuse(torch.cat([resized(side, sides[0]) for side in sides], dim=1))
        return (fused.sigmoid(),)

    def _normalised(self, x: Tensor) -> Tensor:
        """Each image over its own maximum, as the published weights were trained, then ImageNet's mean and std."""
        brightest = x.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # of 8-bit values: less only if all are black
        return (x / brightest - self.mean) / self.std


def deeplab(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `output_stride` of the backbone and `channels` of the head. Batch norm is folded, as in its source."""
    trunk = build_backbone(backbone, folded=True, output_stride=head["output_stride"])
    return Segmenter(trunk, DeepLabHead(trunk.channels[-1], head["channels"], classes))


def u2net(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """U²-Net†, the small variant: one class, and nothing to choose in `head`."""
    if backbone != "u2netp":
        raise WeightsError(f"backbone '{backbone}' is not in this version's catalog; update cnncli")
    return Matting(U2Net())
