"""Network in Network: after each convolution two of 1x1, a small perceptron at every place, and no linear layer.

Source: Lin et al. 2014, "Network In Network", sec. 3; the sizes are those of its authors' ImageNet model, released
with Caffe. Pools round up, as Caffe's do: 54, 27, 13 and 6 cells of 224 px.
"""

from collections import OrderedDict

from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.backbones.zfnet import initialise
from cnncli.nn.heads.classify import PublishedHead
from cnncli.nn.pooling import GlobalMean

LEAST_SIZE = 39  # px: each pool has at least one cell


def nin(dropout: float = 0.5) -> ChainBackbone:
    """Maps at strides 4, 8, 16 and 32. `dropout`: of the maps that enter the last block."""
    layers = OrderedDict(
        block1=_block(3, 96, kernel=11, stride=4),
        pool1=_pool(),
        block2=_block(96, 256, kernel=5, padding=2),
        pool2=_pool(),
        block3=_block(256, 384, kernel=3, padding=1),
        pool3=_pool(),
        dropout3=nn.Dropout(dropout),
        block4=_block(384, 1024, kernel=3, padding=1, depth=1),  # the head has the second
    )
    network = nn.Sequential(layers)
    initialise(network)
    return ChainBackbone("nin", network, tuple(layers), LEAST_SIZE)


def _block(
    in_channels: int, channels: int, kernel: int, stride: int = 1, padding: int = 0, depth: int = 2
) -> nn.Sequential:
    """A convolution and `depth` of 1x1 after it, ReLU after each."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel, stride, padding), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 1), nn.ReLU()]
    return nn.Sequential(*layers)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def published_head(name: str, classes: int, dropout: float | None) -> PublishedHead:
    """The last 1x1 convolution of the last block gives a map per class, whose mean is its score."""
    layers = OrderedDict(
        dropout=nn.Dropout(dropout or 0),
        output=nn.Conv2d(1024, classes, 1),
        relu=nn.ReLU(),
        mean=GlobalMean(),
    )
    network = nn.Sequential(layers)
    initialise(network)
    return PublishedHead(network, tuple(layers), dropout=dropout)
