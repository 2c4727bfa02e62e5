"""MobileNetV2: inverted residual blocks with a linear bottleneck.

Source: Sandler et al. 2018, "MobileNetV2" (table 2). Padding is symmetric, which equals TensorFlow's on sides of the
form output_stride * k + 1.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from cnncli.nn.blocks import ConvNormAct, InvertedResidual


@dataclass(frozen=True)
class Stage:
    """One row of table 2: its first block has the stride, the others have 1."""

    expansion: int
    channels: int
    repeats: int
    stride: int


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
TAPS = (1, 2, 4, 6)  # stages whose ends are the maps: the last ones at strides 4, 8, 16 and 32


class MobileNetV2(nn.Module):
    """RGB batch (N, 3, H, W), already normalised, to four maps: the ends of stages 2, 3, 5 and 7.

    `channels` and `strides` describe the maps, fine to coarse (strides 4, 8, 16, 32). `folded`: batch norm is part of
    the convolutions, as in weights that were published for inference alone.
    """

    def __init__(self, folded: bool = False):
        super().__init__()
        self.stem = ConvNormAct(3, STEM_CHANNELS, kernel=3, stride=2, folded=folded, symmetric=True)
        self.stages = nn.ModuleList()
        previous = STEM_CHANNELS
        for stage in STAGES:
            self.stages.append(_stage(previous, stage, folded))
            previous = stage.channels
        self.channels = tuple(STAGES[tap].channels for tap in TAPS)
        self.strides = (4, 8, 16, 32)
        self.least_size = 1

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TAPS:
                features.append(x)
        return features


def _stage(in_channels: int, stage: Stage, folded: bool) -> nn.Sequential:
    blocks = [_block(in_channels, stage, stage.stride, folded)]
    blocks += [_block(stage.channels, stage, 1, folded) for _ in range(stage.repeats - 1)]
    return nn.Sequential(*blocks)


def _block(in_channels: int, stage: Stage, stride: int, folded: bool) -> InvertedResidual:
    return InvertedResidual(in_channels, stage.channels, 3, stride, stage.expansion, folded, symmetric=True)
