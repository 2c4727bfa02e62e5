"""YuNet's neck: each map receives the coarser one, doubled in size.

Source: Wu, Peng & Yu 2023, "YuNet", a feature pyramid of one separable convolution per level.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.nn.backbones.yunet import SeparableUnit


class TopDownNeck(nn.Module):
    """Three maps (N, channels, H, W), fine to coarse, each half the size of the one before; the same three out."""

    def __init__(self, channels: int):
        super().__init__()
        self.coarse = SeparableUnit(channels, channels)
        self.middle = SeparableUnit(channels, channels)
        self.fine = SeparableUnit(channels, channels)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[Tensor]:
        coarse = self.coarse(coarse)
        middle = self.middle(middle + _doubled(coarse))
        fine = self.fine(fine + _doubled(middle))
        return [fine, middle, coarse]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
