"""The contracting half of U-Net: two 3x3 convolutions at each size, halved four times by max-pooling.

Source: Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation", fig. 1;
padded convolutions, batch norm and no dropout, as it is mostly built today.
"""

from torch import Tensor, nn

LEVELS = 5


class UNetEncoder(nn.Module):
    """RGB batch (N, 3, H, W), already normalised, to five maps of `width` to 16 * `width` channels, strides 1 to 16."""

    def __init__(self, width: int):
        super().__init__()
        self.channels = tuple(width << level for level in range(LEVELS))
        self.strides = tuple(1 << level for level in range(LEVELS))
        self.least_size = 1
        self.pools = nn.ModuleList(nn.MaxPool2d(2, 2, ceil_mode=True) for _ in range(LEVELS - 1))
        self.levels = nn.ModuleList(
            _level(before, after) for before, after in zip((3, *self.channels[:-1]), self.channels, strict=True)
        )

    @property
    def stages(self) -> list[nn.Module]:
        return list(self.levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(self.pools[len(maps) - 1](x) if maps else x)
            maps.append(x)
        return maps


def _level(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for entering in (in_channels, out_channels):
        layers += [nn.Conv2d(entering, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


def unet() -> UNetEncoder:
    """As in the paper: 64 to 1024 channels."""
    return UNetEncoder(64)


def unet_small() -> UNetEncoder:
    """A quarter of the paper's widths: 16 to 256 channels, a sixteenth of the work."""
    return UNetEncoder(16)
