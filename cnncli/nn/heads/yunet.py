"""YuNet's heads: four answers for every cell of every level, by convolutions of the level's own.

Source: Wu, Peng & Yu 2023, "YuNet". Free of anchors; the codes are decoded in `imaging/faces.py`.
"""

import torch
from torch import Tensor, nn

from cnncli.nn.backbones.yunet import STRIDES, SeparableUnit


class LevelHeads(nn.ModuleList):
    """Three maps (N, channels, H, W), fine to coarse, to (N, cells, values): level, row, column."""

    def __init__(self, channels: int, values: int):
        super().__init__(SeparableUnit(channels, values, activate=False) for _ in STRIDES)

    def forward(self, levels: list[Tensor]) -> Tensor:
        answers = [head(level) for head, level in zip(self, levels, strict=True)]
        return torch.cat([answer.permute(0, 2, 3, 1).flatten(1, 2) for answer in answers], dim=1)
