"""DeepLabv3's head: the coarsest map seen at several dilations at once, and as a whole.

Source: Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation", sec. 3.3 and fig. 5.
"""

import torch
from torch import Tensor, nn

from cnncli.nn.heads.upsampling import ConvNormReLU

RATES = (6, 12, 18)  # dilations at stride 16; twice these at stride 8 (sec. 3.3)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (N, in_channels, h, w) to (N, channels, h, w).

    A 1x1 branch, three dilated 3x3 ones, and the mean of the whole map. That last branch has no batch norm: it has
    one number a channel and photo, whose spread in a small batch says nothing.
    """

    def __init__(self, in_channels: int, channels: int, rates: tuple[int, ...]):
        super().__init__()
        self.local = ConvNormReLU(in_channels, channels, 1)
        self.dilated = nn.ModuleList(ConvNormReLU(in_channels, channels, 3, rate) for rate in rates)
        self.pooled = nn.Sequential(nn.Conv2d(in_channels, channels, 1), nn.ReLU())
        self.project = ConvNormReLU((len(rates) + 2) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        local = self.local(x)
        whole = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand_as(local)
        return self.project(torch.cat([local, *(branch(x) for branch in self.dilated), whole], dim=1))


class DeepLabV3Head(nn.Module):
    """Maps of a backbone of `stride` to logits (N, classes, h, w) of that stride."""

    def __init__(self, in_channels: int, stride: int, classes: int, channels: int, dropout: float):
        super().__init__()
        rates = tuple(rate * 16 // stride for rate in RATES)
        self.layers = nn.Sequential(
            ASPP(in_channels, channels, rates),
            nn.Dropout(dropout),
            ConvNormReLU(channels, channels),
            nn.Conv2d(channels, classes, 1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.layers(maps[-1])
