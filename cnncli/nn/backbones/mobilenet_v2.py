"""MobileNetV2: inverted residual blocks with a linear bottleneck, optionally dilated for dense prediction.

Sources: Sandler et al. 2018, "MobileNetV2" (table 2); the dilations: Chen et al. 2017, "Rethinking Atrous
Convolution", sec. 3.1. Padding is symmetric, which equals TensorFlow's on sides of the form output_stride * k + 1.
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

    `channels` and `strides` describe the maps, fine to coarse. `output_stride` (32, 16 or 8) is the largest stride:
    beyond it maps keep their size, and convolutions are dilated instead. `folded`: batch norm is part of the
    convolutions, as in weights that were published for inference alone.
    """

    def __init__(self, folded: bool = False, output_stride: int = 32):
        super().__init__()
        self.stem = ConvNormAct(3, STEM_CHANNELS, kernel=3, stride=2, folded=folded, symmetric=True)
        self.stages = nn.ModuleList()
        previous, stride, dilation = STEM_CHANNELS, 2, 1
        strides = []
        for stage in STAGES:
            step = stage.stride if stride * stage.stride <= output_stride else 1
            self.stages.append(_stage(previous, stage, step, dilation, folded))
            dilation *= stage.stride // step
            stride *= step
            strides.append(stride)
            previous = stage.channels
        self.channels = tuple(STAGES[tap].channels for tap in TAPS)
        self.strides = tuple(strides[tap] for tap in TAPS)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TAPS:
                features.append(x)
        return features


def _stage(in_channels: int, stage: Stage, stride: int, dilation: int, folded: bool) -> nn.Sequential:
    """A stage whose first block has `stride` and, its input being as fine as before, the dilation so far."""
    after = dilation * stage.stride // stride
    blocks = [_block(in_channels, stage, stride, dilation, folded)]
    blocks += [_block(stage.channels, stage, 1, after, folded) for _ in range(stage.repeats - 1)]
    return nn.Sequential(*blocks)


def _block(in_channels: int, stage: Stage, stride: int, dilation: int, folded: bool) -> InvertedResidual:
    return InvertedResidual(in_channels, stage.channels, 3, stride, stage.expansion, folded, dilation, symmetric=True)
