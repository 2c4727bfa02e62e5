"""Mask R-CNN: a mask for every object, by torchvision's region proposals and heads on any backbone with a pyramid.

Sources: He et al. 2017, "Mask R-CNN"; Lin et al. 2017, "Feature Pyramid Networks", sec. 4.1 (anchors as large as 8
strides).
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from cnncli.errors import UsageError
from cnncli.nn.assemble import build_backbone
from cnncli.nn.heads.upsampling import last_of_strides

CHANNELS = 128  # of the pyramid and the heads; 256 in the papers
MOST = 100  # objects of a photo, as in COCO's own measure
STRIDES = (4, 8, 16, 32)  # of the backbone's maps that the pyramid is made of
LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg")
Truth = list[dict[str, Tensor]]  # of each photo: "boxes" (M, 4) x1 y1 x2 y2, "labels" (M,) from 1, "masks" (M, H, W)


class InstanceSegmenter(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to the 100 best objects of each photo, best first, with score 0 beyond them.

    Boxes (N, 100, 4), x1, y1, x2, y2 in pixels of the input; scores (N, 100); labels (N, 100), 0 where there is none;
    masks (N, 100, 28, 28), how likely each part of the box is the object. After `expect`, once, the five LOSSES.
    """

    def __init__(self, backbone: nn.Module, classes: int, channels: int):
        super().__init__()
        self.backbone = backbone
        known = last_of_strides(backbone.strides)
        strides = [stride for stride in STRIDES if stride in known]
        if len(strides) < 2:
            raise UsageError("head mask-rcnn needs maps of at least two of the strides 4, 8, 16 and 32")
        self.places = [known[stride] for stride in strides]
        widths = [backbone.channels[place] for place in self.places]
        self.pyramid = FeaturePyramidNetwork(widths, channels, LastLevelMaxPool())
        whole = _regions(channels, classes, [*strides, 2 * strides[-1]])
        self.rpn, self.roi_heads = whole.rpn, whole.roi_heads
        self._truth: Truth | None = None

    def expect(self, truth: Truth) -> None:
        """What the next batch is compared with: models take images alone, and region heads learn from samples."""
        self._truth = truth

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_exporting():
            raise UsageError("Mask R-CNN's answers are of as many parts as it finds objects")
        truth, self._truth = self._truth, None
        maps = self.backbone(x)
        features = self.pyramid(OrderedDict((str(n), maps[place]) for n, place in enumerate(self.places)))
        sizes = [tuple(x.shape[2:])] * len(x)
        self.rpn.train(truth is not None)
        self.roi_heads.train(truth is not None)
        proposals, losses = self.rpn(ImageList(x, sizes), features, truth)
        found, others = self.roi_heads(features, proposals, sizes, truth)
        if truth is not None:
            return tuple({**losses, **others}[name] for name in LOSSES)
        return (
            *(torch.stack([_filled(entry[name]) for entry in found]) for name in ("boxes", "scores", "labels")),
            torch.stack([_filled(entry["masks"][:, 0]) for entry in found]),
        )


def mask_rcnn(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`channels` (128) of pyramid and heads. The first of the classes is the background."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    return InstanceSegmenter(trunk, classes, head.get("channels", CHANNELS))


def _regions(channels: int, classes: int, strides: list[int]) -> MaskRCNN:
    """torchvision's region networks for a pyramid of these strides; its backbone is left out."""
    pyramid = nn.Identity()
    pyramid.out_channels = channels
    names = [str(number) for number in range(len(strides) - 1)]
    hidden = 4 * channels
    return MaskRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(
            tuple((8 * stride,) for stride in strides), ((0.5, 1.0, 2.0),) * len(strides)
        ),
        box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
        box_head=TwoMLPHead(channels * 7 * 7, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes),
        mask_roi_pool=MultiScaleRoIAlign(names, 14, 2),
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, classes),
        box_detections_per_img=MOST,
    )


def _filled(values: Tensor) -> Tensor:
    """Entries (K, ...) of the objects found to (100, ...), zeros behind them."""
    return F.pad(values, (0, 0) * (values.ndim - 1) + (0, MOST - len(values)))
