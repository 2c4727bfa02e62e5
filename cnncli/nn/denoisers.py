"""FFDNet: removes noise of a known level, at half resolution.

Source: Zhang, Zuo & Zhang 2018, "FFDNet: Toward a fast and flexible solution for CNN-based image denoising", fig. 1.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import WeightsError

SIGMA_RANGE = (0, 75)  # Zhang et al. 2018, abstract: the noise levels it was trained for, of 255
COLOURS = 3
BLOCK = 2  # pixels of a cell's side


class FFDNet(nn.Module):
    """RGB in 0..1 with the noise level (N, 4, H, W), H and W even, to the clean RGB (N, 3, H, W), not clipped.

    Channel 3 is the standard deviation of the noise on the same scale, sigma / 255; a cell takes that of its top left
    pixel.
    """

    def __init__(self, features: int, layers: int):
        super().__init__()
        cells = COLOURS * BLOCK**2
        widths = (cells + 1, *[features] * (layers - 1), cells)
        chain: list[nn.Module] = []
        for in_channels, out_channels in pairwise(widths):
            chain += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*chain[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor]:
        cells = F.pixel_unshuffle(x[:, :COLOURS], BLOCK)
        level = x[:, COLOURS:, ::BLOCK, ::BLOCK]
        return (F.pixel_shuffle(self.convolutions(torch.cat([cells, level], dim=1)), BLOCK),)


def receptive_radius(layers: int) -> int:
    """Pixels on each side of a 2 x 2 cell that its denoised pixels depend on: a 3x3 convolution sees one cell further.

    A tile that starts on an even row and column is therefore exact from this distance on.
    """
    return BLOCK * layers


def ffdnet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `features` (channels) and `layers` (convolutions)."""
    if backbone != "ffdnet":
        raise WeightsError(f"backbone '{backbone}' is not in this version's catalog; update cnncli")
    return FFDNet(head["features"], head["layers"])
