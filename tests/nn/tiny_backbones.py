"""Backbones of a few channels that keep the catalog's contract, for networks that learn in seconds."""

from collections.abc import Iterator

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.catalog import BACKBONES

CHANNELS = (8, 12, 16, 24, 32)


def _block(number: int, convolutions: int) -> nn.Sequential:
    before, after = (3, *CHANNELS)[number : number + 2]
    layers: list[nn.Module] = []
    for place in range(convolutions):
        entering = after if place else before
        layers += [nn.Conv2d(entering, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class Tiny(nn.Module):
    """Maps at strides 2 to 32: strided convolutions, sizes rounded up."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.strides, self.least_size = CHANNELS, (2, 4, 8, 16, 32), 1
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in zip((3, *CHANNELS[:-1]), CHANNELS, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class TinyVGG(nn.Module):
    """Blocks of one or two convolutions, each followed by a pool, sizes rounded down."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.strides, self.least_size = CHANNELS, (2, 4, 8, 16, 32), 32
        self.blocks = nn.ModuleList(_block(number, 2 if number < 2 else 1) for number in range(len(CHANNELS)))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for block in self.blocks:
            x = F.max_pool2d(block(x), 2)
            maps.append(x)
        return maps


@pytest.fixture
def tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The catalog with "tiny" and "tiny_vgg"."""
    monkeypatch.setitem(BACKBONES, "tiny", f"{__name__}:Tiny")
    monkeypatch.setitem(BACKBONES, "tiny_vgg", f"{__name__}:TinyVGG")
    yield
