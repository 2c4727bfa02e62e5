"""FCN: scores of the coarsest map, doubled in size and added to those of finer ones.

Source: Long, Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", fig. 3 and sec. 4.2.
Where their VGG has two layers of 4096 channels before the scores, there are two of `hidden` channels here.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from cnncli.nn.heads.upsampling import DoubledBilinear, fitted, places_of

SKIPS = {"fcn32": (), "fcn16": (16,), "fcn8": (16, 8)}  # strides of the maps whose scores are added


class FCNHead(nn.Module):
    """Maps of a backbone to logits (N, classes, h, w) of the stride of the last skip, or of the coarsest map.

    The last enlargement, in the paper fixed to bilinear interpolation, is left to whoever reads the logits.
    """

    def __init__(
        self, kind: str, channels: Sequence[int], strides: Sequence[int], classes: int, hidden: int, dropout: float
    ):
        super().__init__()
        skips = SKIPS[kind]
        self.places = places_of(strides, (32, *skips), kind)[1:]
        self.score = nn.Sequential(
            nn.Conv2d(channels[-1], hidden, 3, padding=1), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv2d(hidden, classes, 1),
        )  # fmt: skip
        self.skips = nn.ModuleList(nn.Conv2d(channels[place], classes, 1) for place in self.places)
        self.enlarge = nn.ModuleList(DoubledBilinear(classes) for _ in self.places)
        for skip in self.skips:  # so that training goes on from what the coarser maps say
            nn.init.zeros_(skip.weight)
            nn.init.zeros_(skip.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        logits = self.score(maps[-1])
        for place, skip, enlarge in zip(self.places, self.skips, self.enlarge, strict=True):
            finer = skip(maps[place])
            logits = finer + fitted(enlarge(logits), finer)
        return logits
