"""DeepLabv3's head in the form made for MobileNetV2: a 1x1 branch and image pooling, no dilated branches.

Sources: Chen et al. 2017, "Rethinking Atrous Convolution", sec. 3.3; Sandler et al. 2018, "MobileNetV2", sec. 6.3.
"""

import torch
from torch import Tensor, nn


class PointwiseReLU(nn.Sequential):
    """1x1 convolution, its batch norm folded, and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(nn.Conv2d(in_channels, out_channels, 1), nn.ReLU())


class DeepLabHead(nn.Module):
    """The coarsest map (N, in_channels, h, w) to logits (N, classes, h, w), the whole image's mean in each cell."""

    def __init__(self, in_channels: int, channels: int, classes: int):
        super().__init__()
        self.pooling = PointwiseReLU(in_channels, channels)
        self.local = PointwiseReLU(in_channels, channels)
        self.project = PointwiseReLU(2 * channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        local = self.local(x)
        pooled = self.pooling(x.mean(dim=(2, 3), keepdim=True)).expand_as(local)
        return self.classifier(self.project(torch.cat([pooled, local], dim=1)))
