"""Numbers that say where: a box or points of a photo, from a map that still knows its places.

Source: Sermanet et al. 2013, "OverFeat", sec. 4.2: the regression looks at the map before it is pooled to one vector.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 7  # rows and columns that the map is pooled to


class PlaceHead(nn.Module):
    """A map (N, C, H, W) to `values` numbers (N, values): 1x1, a grid of cells, a hidden layer, a linear one."""

    def __init__(self, in_channels: int, values: int, channels: int = 64, hidden: int = 256):
        super().__init__()
        self.enter = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.hidden = nn.Sequential(nn.Linear(channels * CELLS * CELLS, hidden), nn.ReLU(inplace=True))
        self.predict = nn.Linear(hidden, values)
        nn.init.normal_(self.predict.weight, std=0.01)  # answers begin near the middle
        nn.init.zeros_(self.predict.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.hidden(F.adaptive_avg_pool2d(self.enter(x), CELLS).flatten(1)))


class LocalizeHead(nn.Module):
    """A map (N, C, H, W) to class logits (N, classes + 1), the last for "nothing", and one box (N, 4).

    The box is x and y of its centre, width and height in parts of the input's side.
    """

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.2):
        super().__init__()
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(in_channels, classes + 1))
        self.box = PlaceHead(in_channels, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(x.mean(dim=(2, 3))), self.box(x).sigmoid()


class LandmarkHead(nn.Module):
    """A map (N, C, H, W) to points (N, K, 2), x and y in parts of the input's side, as a tuple of one."""

    def __init__(self, in_channels: int, points: int):
        super().__init__()
        self.place = PlaceHead(in_channels, 2 * points)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (torch.unflatten(self.place(x), 1, (-1, 2)) + 0.5,)
