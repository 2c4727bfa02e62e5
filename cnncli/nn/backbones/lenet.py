"""LeNet-5: two 5x5 convolutions with average pooling between, for digits of 28 or 32 px.

Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", fig. 2. As in most of today's
versions, all of the second convolution's filters see all maps, pooling has no parameters of its own and the activation
is tanh without its scale. Input is RGB, so that the first layer has 456 parameters rather than 156.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.heads.classify import PublishedHead

INPUT = 32  # px: a digit of 28 px stands in the middle of it, sec. II-B
LAST = (16, 5, 5)  # the map of an input of 32 px


class Frame(nn.Module):
    """Zeros around a map (N, C, H, W) that is smaller than `side` on an axis."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (max(0, self.side - size) for size in x.shape[2:])
        return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def lenet5() -> ChainBackbone:
    """Maps at strides 1, 2 and 4, the last pooled: 28, 10 and 5 cells of 28 or 32 px."""
    layers = OrderedDict(
        frame=Frame(INPUT),
        conv1=nn.Conv2d(3, 6, 5),
        tanh1=nn.Tanh(),
        pool2=nn.AvgPool2d(2, 2),
        conv3=nn.Conv2d(6, 16, 5),
        tanh3=nn.Tanh(),
        pool4=nn.AvgPool2d(2, 2),
    )
    return ChainBackbone("lenet5", nn.Sequential(layers), tuple(layers))


def published_head(name: str, classes: int, dropout: float | None) -> PublishedHead:
    """Fully connected layers of 120 and 84 units; larger inputs than 32 px are averaged to their 5 x 5 cells."""
    channels, *cells = LAST
    layers = OrderedDict(
        pool=nn.AdaptiveAvgPool2d(cells),
        full5=nn.Linear(channels * cells[0] * cells[1], 120),
        tanh5=nn.Tanh(),
        full6=nn.Linear(120, 84),
        tanh6=nn.Tanh(),
        output=nn.Linear(84, classes),
    )
    return PublishedHead(nn.Sequential(layers), ("pool",), tuple(layers)[1:], dropout)
