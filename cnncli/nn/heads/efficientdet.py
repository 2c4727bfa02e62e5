"""EfficientDet's heads: classes and boxes of every anchor, by convolutions that all levels share.

Source: Tan, Pang & Le 2020, "EfficientDet", sec. 4; batch norm is folded to a scale and a shift per level.
"""

import torch
from torch import Tensor, nn

from cnncli.nn.blocks import SameConv2d

LEVELS = 5  # strides 8 to 128


class Separable(nn.Sequential):
    """Depthwise 3x3 without bias, then 1x1."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool):
        depthwise = SameConv2d(in_channels, in_channels, 3, groups=in_channels, bias=False)
        super().__init__(depthwise, SameConv2d(in_channels, out_channels, 1, bias=bias))


class LevelScale(nn.Module):
    """Scale and shift per level and channel: a folded batch norm, the one thing that levels don't share."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(LEVELS, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(LEVELS, channels, 1, 1))

    def forward(self, x: Tensor, level: int) -> Tensor:
        return x * self.scale[level] + self.shift[level]


class SharedHead(nn.Module):
    """Five maps (N, channels, H, W) to (N, anchors, values), levels fine to coarse, then row, column, anchor."""

    def __init__(self, channels: int, values: int, anchors: int = 9, repeats: int = 3):
        super().__init__()
        self.values = values
        self.convolutions = nn.ModuleList(Separable(channels, channels, bias=False) for _ in range(repeats))
        self.scales = nn.ModuleList(LevelScale(channels) for _ in range(repeats))
        self.predict = Separable(channels, anchors * values, bias=True)
        self.activation = nn.ReLU6()

    def forward(self, levels: list[Tensor]) -> Tensor:
        return torch.cat([self._level(x, number) for number, x in enumerate(levels)], dim=1)

    def _level(self, x: Tensor, number: int) -> Tensor:
        for convolution, scale in zip(self.convolutions, self.scales, strict=True):
            x = self.activation(scale(convolution(x), number))
        return self.predict(x).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (-1, self.values)).flatten(1, 2)
