"""ZFNet: AlexNet with a smaller filter and stride in its first two layers, found by looking inside.

Source: Zeiler & Fergus 2013, "Visualizing and Understanding Convolutional Networks", fig. 3: 224 px, maps of 110, 55,
26, 13 and 6 cells. Responses are normalised as in Krizhevsky et al. 2012, sec. 3.3.
"""

from collections import OrderedDict

from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.heads.classify import PublishedHead

LEAST_SIZE = 47  # px: each of the three pools has at least one cell


def zfnet() -> ChainBackbone:
    """Maps at strides 2, 4, 8 and 16, and the last pool's at 32."""
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 96, 7, 2, padding=1),
        relu1=nn.ReLU(),
        pool1=_pool(),
        norm1=_contrast(),
        conv2=nn.Conv2d(96, 256, 5, 2),
        relu2=nn.ReLU(),
        pool2=_pool(),
        norm2=_contrast(),
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(384, 384, 3, padding=1),
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(384, 256, 3, padding=1),
        relu5=nn.ReLU(),
        pool5=_pool(),
    )
    network = nn.Sequential(layers)
    initialise(network)
    return ChainBackbone("zfnet", network, tuple(layers), LEAST_SIZE)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)  # of 110 cells, 55


def _contrast() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)


def initialise(network: nn.Module) -> None:
    """He et al. 2015, "Delving Deep into Rectifiers", eq. 10: 1e-2, as published, fades on its way through ReLUs."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def published_head(name: str, classes: int, dropout: float | None) -> PublishedHead:
    """Two fully connected layers of 4096 units with dropout, and the classes; maps are averaged to 6 x 6 cells."""
    layers = OrderedDict(
        pool=nn.AdaptiveAvgPool2d(6),
        full6=nn.Linear(256 * 6 * 6, 4096),
        relu6=nn.ReLU(),
        dropout6=nn.Dropout(0.5),
        full7=nn.Linear(4096, 4096),
        relu7=nn.ReLU(),
        dropout7=nn.Dropout(0.5),
        output=nn.Linear(4096, classes),
    )
    return PublishedHead(nn.Sequential(layers), ("pool",), tuple(layers)[1:], dropout)
