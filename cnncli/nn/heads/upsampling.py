"""What decoders of maps share: larger maps by learned or fixed interpolation, and maps that fit each other.

Shapes are (N, C, H, W).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional as F

from cnncli.errors import UsageError


class ConvNormReLU(nn.Sequential):
    """Convolution (kernel odd, the map keeps its size), batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1):
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class DoubledBilinear(nn.ConvTranspose2d):
    """Maps of twice the sides, by a transposed convolution that begins as bilinear interpolation and learns on.

    Source: Long, Shelhamer & Darrell 2015, "Fully Convolutional Networks", sec. 3.3 and 4.3.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, 4, stride=2, padding=1, bias=False)
        ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = ramp[:, None] * ramp


def fitted(x: Tensor, like: Tensor) -> Tensor:
    """`x` in the size of `like`, by bilinear interpolation where they differ: some backbones round maps down."""
    # of an exported graph sizes are symbols: asking whether they are equal would bind them
    if statically_known_true(x.shape[2] == like.shape[2]) and statically_known_true(x.shape[3] == like.shape[3]):
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def last_of_strides(strides: Sequence[int]) -> dict[int, int]:
    """Stride to the place of the last map that has it, fine to coarse."""
    return {stride: place for place, stride in enumerate(strides)}


def places_of(strides: Sequence[int], wanted: Sequence[int], head: str) -> list[int]:
    """Places of the maps of the wanted strides. UsageError where the backbone has none of one of them."""
    known = last_of_strides(strides)
    missing = [stride for stride in wanted if stride not in known]
    if missing:
        listed = ", ".join(str(stride) for stride in known)
        raise UsageError(
            f"head {head} needs a map of stride {missing[0]}, the backbone's are of stride {listed}; choose another "
            "backbone, output stride or head"
        )
    return [known[stride] for stride in wanted]
