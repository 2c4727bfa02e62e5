"""BiFPN: features of five scales that exchange what they know, top down and bottom up, several times.

Source: Tan, Pang & Le 2020, "EfficientDet", sec. 3; in the Lite variants the weighted sums are plain ones.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.nn.blocks import SameConv2d, SameMaxPool2d


class Node(nn.Sequential):
    """ReLU6, depthwise 3x3, 1x1 with bias: what follows every sum of a cell."""

    def __init__(self, channels: int):
        depthwise = SameConv2d(channels, channels, 3, groups=channels, bias=False)
        super().__init__(nn.ReLU6(), depthwise, SameConv2d(channels, channels, 1))


class Entry(nn.Module):
    """From the backbone's P3, P4 and P5 to the inputs of the first cell, with P6 and P7 pooled from P5.

    P4 and P5 enter a cell twice, each time through a 1x1 convolution of its own.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int):
        super().__init__()
        c3, c4, c5 = in_channels
        self.p5_down = SameConv2d(c5, channels, 1)
        self.p5_up = SameConv2d(c5, channels, 1)
        self.p4_down = SameConv2d(c4, channels, 1)
        self.p4_up = SameConv2d(c4, channels, 1)
        self.p3 = SameConv2d(c3, channels, 1)
        self.p6 = SameConv2d(c5, channels, 1)
        self.pool = SameMaxPool2d(3, 2)

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Levels 3 to 7 for the way down, and those of the way up."""
        p6 = self.pool(self.p6(p5))
        p7 = self.pool(p6)
        return [self.p3(p3), self.p4_down(p4), self.p5_down(p5), p6, p7], [self.p4_up(p4), self.p5_up(p5), p6, p7]


class Cell(nn.Module):
    """One exchange: down from level 7 to 3 by nearest upsampling, up again by max-pooling."""

    def __init__(self, channels: int):
        super().__init__()
        self.nodes = nn.ModuleList(Node(channels) for _ in range(8))
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
    """The backbone's maps of strides 8, 16 and 32 to five maps of `channels`, strides 8 to 128."""

    def __init__(self, in_channels: tuple[int, int, int], channels: int, cells: int):
        super().__init__()
        self.entry = Entry(in_channels, channels)
        self.cells = nn.ModuleList(Cell(channels) for _ in range(cells))

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor) -> list[Tensor]:
        down, up = self.entry(p3, p4, p5)
        for cell in self.cells:
            down = cell(down, up)
            up = down[1:]
        return down


def _enlarged(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, size=like.shape[2:], mode="nearest")
