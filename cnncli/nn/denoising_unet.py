"""A U-Net as denoiser.

Sources: Ronneberger, Fischer & Brox 2015, "U-Net", fig. 1, with padded convolutions so that sizes stay; the noise is
subtracted from the photo as in Zhang et al. 2017, "Beyond a Gaussian denoiser".
"""

import torch
from torch import Tensor, nn

from cnncli.nn.noise_layers import COLOURS, channels_in, cleaned, initialise, seen

BILINEAR, TRANSPOSED = "bilinear", "transposed"
CONVOLUTIONS = 2  # of 3x3, on each level down and up


class UNet(nn.Module):
    """RGB in 0..1 with the noise level (N, 4, H, W), sides multiples of 2 ** depth, to the clean RGB (N, 3, H, W).

    `features` are the channels at full resolution; each halving doubles them.
    """

    def __init__(
        self,
        features: int,
        depth: int,
        upsampling: str = BILINEAR,
        norm: str = "none",
        residual: bool = True,
        blind: bool = False,
    ):
        super().__init__()
        self.residual, self.blind = residual, blind
        widths = [features * 2**level for level in range(depth + 1)]
        inputs = [channels_in(blind), *widths]
        self.down = nn.ModuleList(_convolutions(*pair, norm) for pair in zip(inputs, widths, strict=False))
        self.halve = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(_upsampling(2 * width, width, upsampling) for width in widths[:-1])
        self.up = nn.ModuleList(_convolutions(2 * width, width, norm) for width in widths[:-1])
        self.last = nn.Conv2d(features, COLOURS, 1)
        initialise(self, self.last, residual)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        levels = [self.down[0](seen(x, self.blind))]
        for convolve in self.down[1:]:
            levels.append(convolve(self.halve(levels[-1])))
        y = levels.pop()
        for level in reversed(range(len(levels))):
            y = self.up[level](torch.cat([levels[level], self.enlarge[level](y)], dim=1))
        return (cleaned(x, self.last(y), self.residual),)


def _convolutions(in_channels: int, out_channels: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, *[out_channels] * (CONVOLUTIONS - 1)):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=norm == "none"))
        layers += [nn.ReLU()] if norm == "none" else [nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


def _upsampling(in_channels: int, out_channels: int, kind: str) -> nn.Module:
    """Twice the size; the bilinear one takes its 1x1 convolution first, where it costs a quarter."""
    if kind == TRANSPOSED:
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    )


def unet_radius(depth: int, upsampling: str) -> int:
    """The farthest pixel, along an axis, that a denoised pixel depends on.

    Followed from the last layer to the first over the interval of cells that a pixel of each phase needs, through the
    deepest level, which sees farthest.
    """
    margin = 0 if upsampling == TRANSPOSED else 1  # a bilinear value is made of its own cell and a neighbour
    farthest = 0
    for pixel in range(2**depth):
        low = high = pixel
        for _ in range(depth):
            low, high = low - CONVOLUTIONS, high + CONVOLUTIONS
            low, high = (low - margin) // 2, (high + margin) // 2
        low, high = low - CONVOLUTIONS, high + CONVOLUTIONS
        for _ in range(depth):
            low, high = 2 * low - CONVOLUTIONS, 2 * high + 1 + CONVOLUTIONS
        farthest = max(farthest, pixel - low, high - pixel)
    return farthest
