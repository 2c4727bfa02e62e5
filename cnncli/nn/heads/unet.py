"""U-Net's decoder: the coarsest map, enlarged step by step, each time beside the backbone's own map of that size.

Source: Ronneberger, Fischer & Brox 2015, "U-Net", fig. 1; convolutions are padded here, so that maps keep their size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnncli.nn.heads.upsampling import ConvNormReLU, fitted, last_of_strides

LEAST_WIDTH = 32  # channels of a step, where the backbone's map has fewer


class UpStep(nn.Module):
    """An up-convolution by `factor`, the backbone's map beside it if there is one, and two 3x3 convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, factor: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor)
        self.convolutions = nn.Sequential(
            ConvNormReLU(out_channels + skip_channels, out_channels), ConvNormReLU(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.up(x)
        return self.convolutions(x if skip is None else torch.cat([fitted(x, skip), skip], dim=1))


class UNetHead(nn.Module):
    """Maps of a backbone to logits (N, classes, h, w) of stride `finest`.

    A step has as many channels as the map beside it, within 32 to `channels`. Where the backbone's finest map is
    coarser than `finest`, a last step goes there alone.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, most: int, finest: int, dropout: float
    ):
        super().__init__()
        known = last_of_strides(strides)
        *finer, coarsest = sorted(known)
        used = [stride for stride in reversed(finer) if stride >= finest]
        self.places = [known[stride] for stride in used]
        widths = [min(most, max(channels[place], LEAST_WIDTH)) for place in self.places]
        skips = [channels[place] for place in self.places]
        if min([coarsest, *used]) > finest:
            used, widths, skips = [*used, finest], [*widths, min(most, LEAST_WIDTH)], [*skips, 0]
        entering = zip([channels[-1], *widths], skips, widths, [coarsest, *used], used, strict=False)
        self.steps = nn.ModuleList(
            UpStep(before, skip, width, coarse // fine) for before, skip, width, coarse, fine in entering
        )
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Conv2d([channels[-1], *widths][-1], classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for number, step in enumerate(self.steps):
            x = step(x, maps[self.places[number]] if number < len(self.places) else None)
        return self.score(self.dropout(x))
