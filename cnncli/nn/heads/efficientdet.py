"""EfficientDet's heads: classes and boxes of every anchor, by convolutions that all levels share.

Source: Tan, Pang & Le 2020, "EfficientDet", sec. 4. Every level has a norm of its own; in weights that were published
folded it is a scale and a shift.
"""

import torch
from torch import Tensor, nn

from cnncli.nn.blocks import SameConv2d
from cnncli.nn.necks.bifpn import map_norm

LEVELS = 5  # strides 8 to 128
ANCHORS = 9  # of a cell: three sizes of three shapes


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


class LevelNorm(nn.Module):
    """A norm of its own for each level."""

    def __init__(self, channels: int, kind: str):
        super().__init__()
        self.norms = nn.ModuleList(map_norm(kind, channels) for _ in range(LEVELS))

    def forward(self, x: Tensor, level: int) -> Tensor:
        return self.norms[level](x)


class SharedHead(nn.Module):
    """Five maps (N, channels, H, W) to (N, anchors, values), levels fine to coarse, then row, column, anchor.

    `norm`: "batch", "group", or None for scales and shifts. `bias` is where the answers start.
    """

    def __init__(
        self,
        channels: int,
        values: int,
        anchors: int = ANCHORS,
        repeats: int = 3,
        norm: str | None = None,
        bias: float = 0.0,
    ):
        super().__init__()
        self.values = values
        self.convolutions = nn.ModuleList(Separable(channels, channels, bias=False) for _ in range(repeats))
        self.scales = nn.ModuleList(
            LevelScale(channels) if norm is None else LevelNorm(channels, norm) for _ in range(repeats)
        )
        self.predict = Separable(channels, anchors * values, bias=True)
        nn.init.normal_(self.predict[1].weight, std=0.01)  # Lin et al. 2017, "Focal loss", sec. 4.1
        nn.init.constant_(self.predict[1].bias, bias)
        self.activation = nn.ReLU6()

    def forward(self, levels: list[Tensor]) -> Tensor:
        return torch.cat([self._level(x, number) for number, x in enumerate(levels)], dim=1)

    def _level(self, x: Tensor, number: int) -> Tensor:
        for convolution, scale in zip(self.convolutions, self.scales, strict=True):
            x = self.activation(scale(convolution(x), number))
        return self.predict(x).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (-1, self.values)).flatten(1, 2)
