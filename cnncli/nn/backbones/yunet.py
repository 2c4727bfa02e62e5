"""YuNet's backbone: separable convolutions, small enough for a face detector of 53,104 parameters.

Source: Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector". Batch norm is folded, as published.
"""

from itertools import pairwise

from torch import Tensor, nn

STEM_CHANNELS = 16
CHANNELS = 64  # of every map that leaves the backbone, and of the neck
STRIDES = (8, 16, 32)


class SeparableUnit(nn.Sequential):
    """1x1 convolution, depthwise 3x3 and, unless it is the end of a head, ReLU. Both convolutions have biases."""

    def __init__(self, in_channels: int, out_channels: int, activate: bool = True):
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, 1),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels),
        ]
        if activate:
            layers.append(nn.ReLU())
        super().__init__(*layers)


class YuNetBackbone(nn.Module):
    """BGR batch (N, 3, H, W) in 0..255 to three maps of 64 channels, strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, STEM_CHANNELS, 3, stride=2, padding=1), nn.ReLU())
        self.stages = nn.ModuleList(
            nn.Sequential(*(SeparableUnit(a, b) for a, b in pairwise(channels)))
            for channels in ((16, 16), (16, 16, 32, 32, 64), (64, 64, 64), (64, 64, 64), (64, 64, 64))
        )
        self.halve = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stages[0](self.stem(x))
        features = []
        for stage in self.stages[1:]:
            x = stage(self.halve(x))
            features.append(x)
        return features[1:]
