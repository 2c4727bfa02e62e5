"""Denoisers: networks that remove Gaussian noise of a known level, or of one that they see themselves (blind).

All take RGB in 0..1 with the noise level (N, 4, H, W) and give the clean RGB (N, 3, H, W), not clipped. Channel 3 is
the standard deviation of the noise on the same scale, sigma / 255; a blind network leaves it unread. `residual`: the
network computes the noise, which is subtracted here; its last layer begins with zeros, so that training begins with
the noisy photo itself.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import WeightsError
from cnncli.nn.denoising_unet import UNet, unet_radius
from cnncli.nn.noise_layers import COLOURS, channels_in, cleaned, initialise, seen

SIGMA_RANGE = (0, 75)  # Zhang et al. 2018, abstract: the noise levels it was trained for, of 255
BLOCK = 2  # pixels of a cell's side


class FFDNet(nn.Module):
    """Works at half resolution: H and W even. A cell takes the noise level of its top left pixel.

    Source: Zhang, Zuo & Zhang 2018, "FFDNet: Toward a fast and flexible solution for CNN-based image denoising",
    fig. 1.
    """

    def __init__(self, features: int, layers: int, residual: bool = False, blind: bool = False):
        super().__init__()
        self.residual, self.blind = residual, blind
        cells = COLOURS * BLOCK**2
        widths = (cells + (not blind), *[features] * (layers - 1), cells)
        chain: list[nn.Module] = []
        for in_channels, out_channels in pairwise(widths):
            chain += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*chain[:-1])
        initialise(self, self.convolutions[-1], residual)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        cells = F.pixel_unshuffle(x[:, :COLOURS], BLOCK)
        if not self.blind:
            cells = torch.cat([cells, x[:, COLOURS:, ::BLOCK, ::BLOCK]], dim=1)
        answer = F.pixel_shuffle(self.convolutions(cells), BLOCK)
        return (cleaned(x, answer, self.residual),)


class DnCNN(nn.Module):
    """A chain of 3x3 convolutions at full resolution, batch norm in all but the first and the last.

    Source: Zhang, Zuo, Chen, Meng & Zhang 2017, "Beyond a Gaussian denoiser", fig. 1.
    """

    def __init__(self, features: int, layers: int, residual: bool = True, blind: bool = True, norm: str = "batch"):
        super().__init__()
        self.residual, self.blind = residual, blind
        chain: list[nn.Module] = [nn.Conv2d(channels_in(blind), features, 3, padding=1), nn.ReLU()]
        for _ in range(layers - 2):
            chain.append(nn.Conv2d(features, features, 3, padding=1, bias=norm == "none"))
            chain += [nn.ReLU()] if norm == "none" else [nn.BatchNorm2d(features), nn.ReLU()]
        self.layers = nn.Sequential(*chain, nn.Conv2d(features, COLOURS, 3, padding=1))
        initialise(self, self.layers[-1], residual)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (cleaned(x, self.layers(seen(x, self.blind)), self.residual),)


def receptive_radius(layers: int) -> int:
    """Pixels on each side of a 2 x 2 cell that its denoised pixels depend on: a 3x3 convolution sees one cell further.

    A tile that starts on an even row and column is therefore exact from this distance on.
    """
    return BLOCK * layers


def reach(kind: str, head: Mapping[str, Any]) -> tuple[int, int]:
    """Step and radius of a denoiser, in pixels: its sides are multiples of the step, as are the starts of its tiles.

    A tile is exact from `radius` pixels off its edges on. DnCNN takes any size; its step is that of the tiles.
    """
    if kind == "unet":
        return 2 ** head["depth"], unet_radius(head["depth"], head["upsampling"])
    return BLOCK, receptive_radius(head["layers"]) if kind == "ffdnet" else head["layers"]


def ffdnet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `features` (channels), `layers` (convolutions), and whether it is `residual` and `blind`."""
    return _only("ffdnet", backbone, FFDNet, head)


def dncnn(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: as FFDNet's, and `norm` (batch or none)."""
    return _only("dncnn", backbone, DnCNN, head)


def unet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `features` at full resolution, `depth` (halvings), `upsampling`, `norm`, `residual` and `blind`."""
    return _only("unet", backbone, UNet, head)


def _only(name: str, backbone: str, network: type[nn.Module], head: Mapping[str, Any]) -> nn.Module:
    if backbone != name:
        raise WeightsError(f"backbone '{backbone}' is not in this version's catalog; update cnncli")
    return network(**head)
