"""BiFPN: features of five scales that exchange what they know, top down and bottom up, several times.

Source: Tan, Pang & Le 2020, "EfficientDet", sec. 3; in the Lite variants the weighted sums are plain ones.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.nn.blocks import SameConv2d, SameMaxPool2d

GROUPS = 32  # of group norm: Wu & He 2018, sec. 4.1


class MapNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a batch has one cell: a single value has no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def map_norm(kind: str, channels: int) -> nn.Module:
    """Normalisation of a map: "batch" or "group"."""
    if kind == "group":
        return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
    return MapNorm(channels, eps=1e-3)


def pointwise(in_channels: int, channels: int, norm: str | None) -> nn.Module:
    """A 1x1 convolution and its norm; without one it has a bias, into which batch norm may have been folded."""
    if norm is None:
        return SameConv2d(in_channels, channels, 1)
    return nn.Sequential(SameConv2d(in_channels, channels, 1, bias=False), map_norm(norm, channels))


class Node(nn.Sequential):
    """ReLU6, depthwise 3x3, 1x1 with bias or norm: what follows every sum of a cell."""

    def __init__(self, channels: int, norm: str | None = None):
        depthwise = SameConv2d(channels, channels, 3, groups=channels, bias=False)
        super().__init__(nn.ReLU6(), depthwise, pointwise(channels, channels, norm))


class Entry(nn.Module):
    """From the backbone's P3, P4 and P5 to the inputs of the first cell, with P6 and P7 pooled from P5.

    P4 and P5 enter a cell twice, each time through a 1x1 convolution of its own.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int, norm: str | None = None):
        super().__init__()
        c3, c4, c5 = in_channels
        self.p5_down = pointwise(c5, channels, norm)
        self.p5_up = pointwise(c5, channels, norm)
        self.p4_down = pointwise(c4, channels, norm)
        self.p4_up = pointwise(c4, channels, norm)
        self.p3 = pointwise(c3, channels, norm)
        self.p6 = pointwise(c5, channels, norm)
        self.pool = SameMaxPool2d(3, 2)

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Levels 3 to 7 for the way down, and those of the way up."""
        p6 = self.pool(self.p6(p5))
        p7 = self.pool(p6)
        return [self.p3(p3), self.p4_down(p4), self.p5_down(p5), p6, p7], [self.p4_up(p4), self.p5_up(p5), p6, p7]


class Cell(nn.Module):
    """One exchange: down from level 7 to 3 by nearest upsampling, up again by max-pooling."""

    def __init__(self, channels: int, norm: str | None = None):
        super().__init__()
        self.nodes = nn.ModuleList(Node(channels, norm) for _ in range(8))
        self.pool = SameMaxPool2d(3, 2)

    def forward(self, down: list[Tensor], up: list[Tensor]) -> list[Tensor]:
        a3, a4, a5, p6, p7 = down
        b4, b5, _, _ = up
        m6 = self.nodes[0](p6 + _enlarged(p7, p6))
        m5 = self.nodes[1](a5 + _enlarged(m6, a5))
        m4 = self.nodes[2](a4 + _enlarged(m5, a4))
        o3 = self.nodes[3](a3 + _enlarged(m4, a3))
        o4 = self.nodes[4](b4 + m4 + self.pool(o3))
        o5 = self.nodes[5](b5 + m5 + self.pool(o4))
        o6 = self.nodes[6](p6 + m6 + self.pool(o5))
        o7 = self.nodes[7](p7 + self.pool(o6))
        return [o3, o4, o5, o6, o7]


class BiFPN(nn.Module):
    """The backbone's maps of strides 8, 16 and 32 to five maps of `channels`, strides 8 to 128.

    `norm` follows every 1x1 convolution: "batch", "group", or None, as in weights that were published folded.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int, cells: int, norm: str | None = None):
        super().__init__()
        self.entry = Entry(in_channels, channels, norm)
        self.cells = nn.ModuleList(Cell(channels, norm) for _ in range(cells))

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor) -> list[Tensor]:
        down, up = self.entry(p3, p4, p5)
        for cell in self.cells:
            down = cell(down, up)
            up = down[1:]
        return down


def _enlarged(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, size=like.shape[2:], mode="nearest")
