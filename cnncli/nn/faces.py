"""Networks of face verification: one finds faces, the others turn an aligned face into an embedding.

Those that are trained here have any backbone of the catalog. Beside the embedding they answer what their loss needs,
while they train.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import WeightsError
from cnncli.nn.assemble import build_backbone
from cnncli.nn.backbones.dlib_resnet29 import DlibResNet29
from cnncli.nn.backbones.sface import SFace
from cnncli.nn.backbones.yunet import CHANNELS, YuNetBackbone
from cnncli.nn.heads.yunet import LevelHeads
from cnncli.nn.necks.top_down import TopDownNeck

EMBEDDERS: dict[str, Callable[[], nn.Module]] = {"sface": SFace, "dlib_resnet29": DlibResNet29}
POINTS = 5
# Before training: the sum of the Siamese weights, and the threshold, about the distance of any two photos then
FIRST_WEIGHTS, FIRST_THRESHOLD = 10.0, 2.0


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


class UnitEmbedder(nn.Module):
    """Normalised RGB batch (N, 3, H, W) of aligned faces to embeddings (N, `dim`) of length 1.

    Global mean of the coarsest map and a linear layer; source: Schroff, Kalenichenko & Philbin 2015, "FaceNet", fig. 2.
    """

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Linear(backbone.channels[-1], dim)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.embed(x),)

    def embed(self, x: Tensor) -> Tensor:
        return F.normalize(self.project(x), dim=1)

    def project(self, x: Tensor) -> Tensor:
        # float32: distances are differences of numbers that are nearly the same
        return self.projection(self.backbone(x)[-1].mean(dim=(2, 3))).float()


class MarginEmbedder(UnitEmbedder):
    """While it trains also the cosines (N, people) with a direction for each person of the training set."""

    def __init__(self, backbone: nn.Module, dim: int, people: int):
        super().__init__(backbone, dim)
        self.directions = nn.Parameter(torch.empty(people, dim))
        nn.init.xavier_normal_(self.directions)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        embeddings = self.embed(x)
        if not self.training:
            return (embeddings,)
        return embeddings, embeddings @ F.normalize(self.directions, dim=1).T


class SiameseEmbedder(UnitEmbedder):
    """Embeddings in 0..1 times a weight for each number, so that pairs are compared by the sum of |difference|.

    While it trains also the threshold (N,), the same for all: the probability that two are the same person is
    sigmoid(threshold - sum w |f1 - f2|). Source: Koch, Zemel & Salakhutdinov 2015, "Siamese neural networks for
    one-shot image recognition", sec. 3.1, with the weights kept above 0, so that they belong to the embedding.
    """

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        weight = math.log(math.expm1(FIRST_WEIGHTS / dim))
        self.importance = nn.Parameter(torch.full((dim,), weight))  # before softplus, which keeps them above 0
        self.threshold = nn.Parameter(torch.tensor(FIRST_THRESHOLD))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        embeddings = F.softplus(self.importance) * self.project(x).sigmoid()
        return (embeddings, self.threshold.expand(len(x))) if self.training else (embeddings,)


def triplet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `dim`, and the options of the `backbone`."""
    return UnitEmbedder(_trunk(backbone, head), head["dim"])


def siamese(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: as for triplets."""
    return SiameseEmbedder(_trunk(backbone, head), head["dim"])


def cosine(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: as for triplets, and how many `people` it learns from."""
    return MarginEmbedder(_trunk(backbone, head), head["dim"], head["people"])


def _trunk(backbone: str, head: Mapping[str, Any]) -> nn.Module:
    return build_backbone(backbone, **head.get("backbone", {}))
