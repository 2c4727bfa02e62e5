"""EfficientNet-Lite: EfficientNet without squeeze-and-excite, with ReLU6 and a fixed stem and head.

Sources: Tan & Le 2019, "EfficientNet" (table 1); Google's EfficientNet-Lite (2020). Stem and last convolution
are not scaled by the width multiplier, the first and last stage are not scaled by the depth multiplier.
"""

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from cnncli.nn.blocks import ConvNormAct, InvertedResidual


@dataclass(frozen=True)
class Stage:
    kernel: int
    stride: int
    channels: int
    repeats: int


STEM_CHANNELS = 32
STRIDES = (3, 1), (3, 2), (5, 2), (3, 2), (5, 1), (5, 2), (3, 1)  # kernel and stride of stages 1 to 7, table 1
CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of stages 1 to 7, table 1
REPEATS = (1, 2, 2, 3, 3, 4, 1)


def stages(channels: tuple[int, ...], repeats: tuple[int, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(k, s, c, r) for (k, s), c, r in zip(STRIDES, channels, repeats, strict=True))


class EfficientNetLite(nn.Module):
    """RGB batch (N, 3, H, W), already normalised, to four maps: the ends of stages 2, 3, 5 and 7.

    `channels` and `strides` describe the maps, fine to coarse (strides 4, 8, 16, 32). `folded`: batch norm is part
    of the convolutions, as in weights that were published for inference alone.
    """

    def __init__(self, stages: tuple[Stage, ...], folded: bool = False):
        super().__init__()
        self.stem = ConvNormAct(3, STEM_CHANNELS, kernel=3, stride=2, folded=folded)
        self.stages = nn.ModuleList()
        previous = STEM_CHANNELS
        for number, stage in enumerate(stages):
            self.stages.append(_stage(previous, stage, 1 if number == 0 else 6, folded))
            previous = stage.channels
        self.taps = (1, 2, 4, 6)
        self.channels = tuple(stages[tap].channels for tap in self.taps)
        self.strides = (4, 8, 16, 32)
        self.least_size = 1

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.taps:
                features.append(x)
        return features


def _stage(in_channels: int, stage: Stage, expansion: int, folded: bool) -> nn.Sequential:
    blocks = [InvertedResidual(in_channels, stage.channels, stage.kernel, stage.stride, expansion, folded)]
    for _ in range(stage.repeats - 1):
        blocks.append(InvertedResidual(stage.channels, stage.channels, stage.kernel, 1, expansion, folded))
    return nn.Sequential(*blocks)


def lite(width: float, depth: float, folded: bool = False) -> EfficientNetLite:
    """Channels of all stages times `width`; repeats of all but the first and last times `depth`, rounded up."""
    first, *inner, last = REPEATS
    repeats = (first, *(math.ceil(depth * count) for count in inner), last)
    return EfficientNetLite(stages(tuple(multiple_of_8(width * count) for count in CHANNELS), repeats), folded)


def multiple_of_8(channels: float) -> int:
    """The nearest, unless that is below nine tenths: as in the networks' first implementation."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


lite0 = partial(lite, 1.0, 1.0)  # trained at 224 px
lite1 = partial(lite, 1.0, 1.1)  # at 240 px
lite2 = partial(lite, 1.1, 1.2)  # at 260 px
lite3 = partial(lite, 1.2, 1.4)  # at 280 px
lite4 = partial(lite, 1.4, 1.8)  # at 300 px
