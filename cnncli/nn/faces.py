"""Networks of face verification: one finds faces, the others turn an aligned face into an embedding."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from cnncli.errors import WeightsError
from cnncli.nn.backbones.dlib_resnet29 import DlibResNet29
from cnncli.nn.backbones.sface import SFace
from cnncli.nn.backbones.yunet import CHANNELS, YuNetBackbone
from cnncli.nn.heads.yunet import LevelHeads
from cnncli.nn.necks.top_down import TopDownNeck

EMBEDDERS: dict[str, Callable[[], nn.Module]] = {"sface": SFace, "dlib_resnet29": DlibResNet29}
POINTS = 5


class FaceFinder(nn.Module):
    """RGB batch (N, 3, H, W) in 0..255, sides multiples of 32, to four answers for every cell of strides 8, 16, 32.

    Class scores and object scores (N, cells, 1), box codes (N, cells, 4), point codes (N, cells, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = YuNetBackbone()
        self.neck = TopDownNeck(CHANNELS)
        self.classes = LevelHeads(CHANNELS, 1)
        self.boxes = LevelHeads(CHANNELS, 4)
        self.objects = LevelHeads(CHANNELS, 1)
        self.points = LevelHeads(CHANNELS, 2 * POINTS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = self.neck(*self.backbone(x.flip(1)))  # trained on BGR
        return self.classes(levels).sigmoid(), self.objects(levels).sigmoid(), self.boxes(levels), self.points(levels)


def yunet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """YuNet, which comes in one size: the file's `backbone` and `head` choose nothing."""
    return FaceFinder()


def embedder(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """The network that turns aligned faces into embeddings (N, 128); it knows no classes."""
    if backbone not in EMBEDDERS:
        raise WeightsError(f"backbone '{backbone}' is not in this version's catalog; update cnncli")
    return EMBEDDERS[backbone]()
