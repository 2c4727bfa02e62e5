"""How well a detector in training finds what is marked: COCO's mean average precision; overlaps; points' errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import batched_nms, box_convert, box_iou, clip_boxes_to_image

from cnncli.imaging.boxes import decode_boxes
from cnncli.nn.candidates import Candidates
from cnncli.nn.detectors import raw_answers
from cnncli.train.losses_boxes import largest
from cnncli.train.recipe import Batch, Meter

LEAST_SCORE = 0.001  # COCO's metric wants everything down to the least sure
OVERLAP = 0.5  # of suppression, the default of `cnncli detect`
CANDIDATES, MOST = 5000, 100  # of a photo, before and after suppression, as in `tasks.detect`; COCO counts 100

Losses = Callable[[tuple[Tensor, ...], Batch], dict[str, Tensor]]  # of a network's raw answers


class BoxMeter(Meter):
    """ "mAP" and "mAP50" in percent, and the loss. `anchors` (A, 4) are those of the recipe."""

    def __init__(self, losses: Losses, anchors: np.ndarray, classes: int):
        super().__init__()
        self.losses = losses
        self.anchors = anchors
        self.candidates = Candidates(classes, range(classes), CANDIDATES)
        self.precision = MeanAveragePrecision(backend="pycocotools")
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        with raw_answers(model) as detector:
            raw = model(batch["images"])
        self.loss.update(self.losses(raw, batch)["loss"], len(batch["images"]))
        class_logits, box_codes = detector.decode(*raw)[:2]
        found = self._found(class_logits, box_codes, batch["inner"])
        self.precision.update(found, _marked(batch))
        self.also(raw, batch)

    def also(self, raw: tuple[Tensor, ...], batch: Batch) -> None:
        """Count what a kind of head adds."""

    def compute(self) -> dict[str, float]:
        figures = self.precision.compute()
        percent = {name: 100 * max(0.0, float(figures[key])) for name, key in (("mAP", "map"), ("mAP50", "map_50"))}
        return {"loss": float(self.loss.compute()), **percent}

    def _found(self, class_logits: Tensor, box_codes: Tensor, inner: Tensor) -> list[dict[str, Tensor]]:
        """Boxes in pixels of the input, cut to where the photo is, scores and labels of each photo."""
        logits, codes, index = self.candidates(class_logits, box_codes)
        anchors, labels = index // class_logits.shape[2], index % class_logits.shape[2]
        answers = zip(logits.sigmoid(), codes, anchors, labels, inner.tolist(), strict=True)
        return [self._best(*answer) for answer in answers]

    def _best(
        self, scores: Tensor, codes: Tensor, anchors: Tensor, labels: Tensor, inner: tuple[int, int]
    ) -> dict[str, Tensor]:
        corners = decode_boxes(codes.cpu().numpy(), self.anchors[anchors.cpu().numpy()])
        boxes = clip_boxes_to_image(torch.from_numpy(corners).to(scores), inner)
        (real,) = torch.nonzero((scores >= LEAST_SCORE) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1), as_tuple=True)
        kept = real[batched_nms(boxes[real], scores[real], labels[real], OVERLAP)[:MOST]]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


class LocalizeMeter(BoxMeter):
    """Also "top1": photos whose class (or nothing) is right, and "iou": the mean overlap where there is something."""

    def __init__(self, losses: Losses, anchors: np.ndarray, classes: int):
        super().__init__(losses, anchors, classes)
        self.top1 = MeanMetric()
        self.overlap = MeanMetric(nan_strategy="ignore")

    def also(self, raw: tuple[Tensor, ...], batch: Batch) -> None:
        logits, found = raw
        truth, labels = largest(batch["boxes"] / batch["images"].shape[1], batch["labels"])
        wanted = torch.where(labels >= 0, labels, logits.shape[1] - 1)
        self.top1.update((logits.argmax(dim=1) == wanted).float())
        something = labels >= 0
        if something.any():
            corners = box_convert(found[something], "cxcywh", "xyxy")
            self.overlap.update(box_iou(corners, truth[something]).diagonal())

    def compute(self) -> dict[str, float]:
        overlap = float(self.overlap.compute())
        figures = {"top1": 100 * float(self.top1.compute()), "iou": 100 * overlap}
        return {**super().compute(), **figures}


class PointMeter(Meter):
    """ "error": mean distance of a known point from its place, in percent of the input's side; and the loss."""

    def __init__(self, losses: Losses):
        super().__init__()
        self.losses = losses
        self.error = MeanMetric()
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        with raw_answers(model):
            raw = model(batch["images"])
        known = batch["known"]
        self.loss.update(self.losses(raw, batch)["loss"], known.sum())
        self.error.update(F.pairwise_distance(raw[0], batch["points"], eps=0.0), known)

    def compute(self) -> dict[str, float]:
        return {"loss": float(self.loss.compute()), "error": 100 * float(self.error.compute())}


def _marked(batch: Batch) -> list[dict[str, Any]]:
    """The true boxes of each photo; an answer in a crowd is neither right nor wrong."""
    boxes = torch.cat([batch["boxes"], batch["crowd_boxes"]], dim=1)
    labels = torch.cat([batch["labels"], batch["crowd_labels"]], dim=1)
    is_crowd = torch.arange(labels.shape[1], device=labels.device) >= batch["labels"].shape[1]
    real = labels >= 0
    return [
        {"boxes": own[kept], "labels": kinds[kept], "iscrowd": is_crowd[kept].long()}
        for own, kinds, kept in zip(boxes, labels, real, strict=True)
    ]
