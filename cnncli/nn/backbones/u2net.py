"""U²-Net: a U-Net whose every block is a small U-Net itself (RSU, "residual U-block"). Batch norm is folded.

Source: Qin et al. 2020, "U²-Net: Going deeper with nested U-structure for salient object detection", figs. 2 and 5;
widths of the small variant, U²-Net† (table 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNER, OUTER = 16, 64  # channels inside a block and of its output
HEIGHTS = (7, 6, 5, 4)  # of the four finest blocks; the two coarsest are dilated


class DilatedConv(nn.Sequential):
    """3x3 convolution that keeps the size of the map, and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation), nn.ReLU())


class ResidualUBlock(nn.Module):
    """RSU: maps (N, in_channels, H, W) to (N, OUTER, H, W), at `len(dilations)` - 1 encoder levels and a bottom.

    `dilations` are those of encoder and bottom. With `pooled`, each level but the bottom halves the map.
    """

    def __init__(self, in_channels: int, dilations: tuple[int, ...], pooled: bool):
        super().__init__()
        inputs = (OUTER, *[INNER] * (len(dilations) - 2))
        outputs = (*[INNER] * (len(dilations) - 2), OUTER)
        self.enter = DilatedConv(in_channels, OUTER)
        self.encoder = nn.ModuleList(DilatedConv(c, INNER, d) for c, d in zip(inputs, dilations[:-1], strict=True))
        self.bottom = DilatedConv(INNER, INNER, dilations[-1])
        upwards = zip(outputs, dilations[-2::-1], strict=True)
        self.decoder = nn.ModuleList(DilatedConv(2 * INNER, c, d) for c, d in upwards)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        entered = self.enter(x)
        x = entered
        levels = []
        for number, layer in enumerate(self.encoder):
            x = layer(halved(x) if self.pooled and number > 0 else x)
            levels.append(x)
        x = self.bottom(x)
        for layer in self.decoder:
            level = levels.pop()
            x = layer(torch.cat([resized(x, level), level], dim=1))
        return x + entered


class U2Net(nn.Module):
    """RGB batch (N, 3, H, W), already normalised, to six maps: the five of the decoder and the encoder's deepest.

    `channels` and `strides` describe the maps, fine to coarse (strides 1 to 32).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *[OUTER] * 3)
        finest = [pooling_block(width, height) for width, height in zip(widths, HEIGHTS, strict=True)]
        self.encoder = nn.ModuleList([*finest, dilated_block(OUTER), dilated_block(OUTER)])
        upwards = [pooling_block(2 * OUTER, height) for height in reversed(HEIGHTS)]
        self.decoder = nn.ModuleList([dilated_block(2 * OUTER), *upwards])
        self.channels = (OUTER,) * 6
        self.strides = (1, 2, 4, 8, 16, 32)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for number, block in enumerate(self.encoder):
            x = block(halved(x) if number > 0 else x)
            levels.append(x)
        features = [levels.pop()]
        for block in self.decoder:
            level = levels.pop()
            features.append(block(torch.cat([resized(features[-1], level), level], dim=1)))
        return features[::-1]


def pooling_block(in_channels: int, height: int) -> ResidualUBlock:
    """RSU-L of the paper, of `height` L; its bottom sees further by dilation, not by pooling once more."""
    return ResidualUBlock(in_channels, (*[1] * (height - 1), 2), pooled=True)


def dilated_block(in_channels: int) -> ResidualUBlock:
    """RSU-4F: all levels at the size of the input, seeing further by dilation."""
    return ResidualUBlock(in_channels, (1, 2, 4, 8), pooled=False)


def halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def resized(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape[2:] == like.shape[2:] else F.interpolate(x, size=like.shape[2:], mode="bilinear")
