"""Detectors from the catalog's backbones: EfficientDet, a grid of one look, one box a photo, points of one object.

In evaluation each gives class logits (N, anchors, classes) and box codes (N, anchors, 4) ty, tx, th, tw, for anchors
that the file's recipe states (see `imaging.boxes.stated_anchors`), so that `tasks.detect` reads them all alike. In
training each gives what its loss takes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import UsageError
from cnncli.io.weights import Weights
from cnncli.nn.assemble import build_backbone
from cnncli.nn.heads.efficientdet import ANCHORS, SharedHead
from cnncli.nn.heads.grid import LEAST_SCORE, GridHead, decode_grid, whole_codes
from cnncli.nn.heads.points import LandmarkHead, LocalizeHead
from cnncli.nn.necks.bifpn import BiFPN
from cnncli.nn.surgery import replace_norms

PYRAMID = (8, 16, 32)  # strides of the maps that EfficientDet's neck takes
PRIOR = -math.log(99)  # Lin et al. 2017, "Focal loss", sec. 4.1, so that anchors begin with scores of 0.01
SURE = 20.0  # logit of a score of 1 in float32
LEAST_HULL = 0.01  # of the input's side: the least side of the box around points


class Detector(nn.Module, ABC):
    """What all share: `forward` answers in evaluation and is `raw` in training."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        raw = self.raw(x)
        return raw if self.training else self.decode(*raw)

    @abstractmethod
    def raw(self, x: Tensor) -> tuple[Tensor, ...]:
        """Of a normalised RGB batch (N, 3, S, S), what the loss takes."""

    @abstractmethod
    def decode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """The answer, of what `raw` gives."""


class EfficientDet(Detector):
    """Tan, Pang & Le 2020: a backbone's last maps, exchanged by a BiFPN, under heads that all levels share."""

    def __init__(self, backbone: nn.Module, maps: tuple[int, ...], neck: nn.Module, heads: tuple[nn.Module, nn.Module]):
        super().__init__()
        self.backbone = backbone
        self.maps = maps
        self.neck = neck
        self.class_head, self.box_head = heads

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(x)
        pyramid = self.neck(*(_fitted(features[i], x, s) for i, s in zip(self.maps, PYRAMID, strict=True)))
        return self.class_head(pyramid), self.box_head(pyramid)

    def decode(self, class_logits: Tensor, box_codes: Tensor) -> tuple[Tensor, Tensor]:
        return class_logits, box_codes


class CoarseDetector(Detector):
    """A head on the coarsest map alone, which sees the whole photo; raw is what it gives."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def raw(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.backbone(x)[-1])


class GridDetector(CoarseDetector):
    """Redmon et al. 2016: raw are the boxes and classes of each cell, see `nn.heads.grid`."""

    def decode(self, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        return decode_grid(boxes, classes)


class Localizer(CoarseDetector):
    """The class of the photo's one object, or nothing, and its box; raw: logits (N, classes + 1) and boxes (N, 4)."""

    def decode(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The score of the likeliest class; none for the others, and none at all where that is "nothing"."""
        scores = logits.float().softmax(dim=1)
        likeliest = scores == scores.amax(dim=1, keepdim=True)
        scores = torch.where(likeliest, scores, torch.zeros_like(scores))[:, None, :-1]
        boxes = boxes.float()[:, None]
        return torch.logit(scores, eps=LEAST_SCORE), whole_codes(boxes[..., :2], boxes[..., 2:])


class Landmarks(CoarseDetector):
    """Points of the photo's one object: raw are points (N, K, 2) in parts of the input's side, a third output too."""

    def decode(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = points.float()
        low, high = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
        codes = whole_codes((low + high) / 2, (high - low).clamp(min=LEAST_HULL))
        return codes[..., :1] * 0 + SURE, codes, points


@contextmanager
def raw_answers(model: nn.Module) -> Iterator[Detector]:
    """While this lasts, the detector in a model in evaluation answers as in training; its layers stay as they are."""
    detector = next(layer for layer in model.modules() if isinstance(layer, Detector))
    detector.training = True  # its own mark alone: `train()` would also set those of its dropout and norms
    try:
        yield detector
    finally:
        detector.training = False


def efficientdet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `channels`, `cells` and `norm` of the BiFPN, and options of the `backbone`.

    Without a norm it is folded into the convolutions, as published; without options too the backbone's is as well.
    """
    norm = head.get("norm")
    trunk = build_backbone(backbone, **head.get("backbone", {"folded": True} if norm is None else {}))
    if not set(PYRAMID) <= set(trunk.strides):
        raise UsageError(
            f"--backbone {backbone}: its maps have strides of {', '.join(map(str, trunk.strides))} px, but head "
            "efficientdet needs 8, 16 and 32; choose another backbone, or --head grid"
        )
    maps = tuple(trunk.strides.index(stride) for stride in PYRAMID)
    channels = head["channels"]
    neck = BiFPN(tuple(trunk.channels[place] for place in maps), channels, head["cells"], norm)
    heads = SharedHead(channels, classes, norm=norm, bias=PRIOR), SharedHead(channels, 4, norm=norm)
    return EfficientDet(trunk, maps, neck, heads)


def grid(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `channels` of its convolutions, `cells` a side and `boxes` a cell."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    options = {name: head[name] for name in ("channels", "cells", "boxes") if name in head}
    return GridDetector(trunk, _with_norm(GridHead(trunk.channels[-1], classes, **options), head))


def localizer(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: `dropout` before the classes."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    own = LocalizeHead(trunk.channels[-1], classes, head.get("dropout", 0.2))
    return Localizer(trunk, _with_norm(own, head))


def landmarks(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: the number of `points`."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    return Landmarks(trunk, _with_norm(LandmarkHead(trunk.channels[-1], head["points"]), head))


def take_classes(network: EfficientDet, weights: Weights, classes: Sequence[str]) -> int:
    """Copy what an EfficientDet's file knows of classes of the same name; how many these are."""
    theirs = {name: number for number, name in enumerate(weights.info.classes) if name}
    pairs = [(number, theirs[name]) for number, name in enumerate(classes) if name in theirs]
    own, known = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    with torch.no_grad():
        for name, parameter in network.class_head.predict[1].named_parameters():
            stored = torch.from_numpy(weights.tensors[f"class_head.predict.1.{name}"]).float()
            by_anchor = stored.view(ANCHORS, len(weights.info.classes), -1)
            parameter.view(ANCHORS, len(classes), -1)[:, own] = by_anchor[:, known]
    return len(pairs)


def _with_norm(own: nn.Module, head: Mapping[str, Any]) -> nn.Module:
    """A head with the kind of norm that its backbone has."""
    replace_norms(own, head.get("backbone", {}).get("norm") or "batch")
    return own


def _fitted(feature: Tensor, x: Tensor, stride: int) -> Tensor:
    """A map with ceil(side / stride) cells, which the anchors stand on; some families round down."""
    cells = [-(-side // stride) for side in x.shape[2:]]
    return feature if list(feature.shape[2:]) == cells else F.interpolate(feature, cells, mode="bilinear")
