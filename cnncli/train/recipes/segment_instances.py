"""Mask R-CNN: photos with outlined objects, torchvision's own losses, average precision of boxes and masks."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection.roi_heads import paste_masks_in_image

from cnncli.imaging.overlay import Region, draw_regions, numbered_colour
from cnncli.nn.instance_segmenters import LOSSES, InstanceSegmenter
from cnncli.train.config import TrainConfig
from cnncli.train.instances import OutlinedExamples, read_outlined, with_objects
from cnncli.train.recipe import Batch, Meter, Notify, Recipe
from cnncli.train.segmenter_plan import describe, kind_of

SHOWN_FROM = 0.5  # score of the objects in pictures
INSIDE = 0.5  # of a mask's probability


class InstanceMeter(Meter):
    """COCO's average precision over the overlaps .50 to .95, in percent: "mAP" of masks, "box_mAP" of boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.precision = MeanAveragePrecision(iou_type=("bbox", "segm"))
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        for place, (height, width) in enumerate(batch["sizes"].tolist()):
            image = batch["images"][place : place + 1, :height, :width]
            truth = {name: value[..., :height, :width] if name == "masks" else value
                     for name, value in batch["objects"][place].items()}  # fmt: skip
            expect(model, [truth])
            self.loss.update(sum(model(image)))
            self.precision.update([objects_of(model(image), (height, width))], [{**truth, "masks": truth["masks"] > 0}])

    def compute(self) -> dict[str, float]:
        found = self.precision.compute()
        named = {"mAP": "segm_map", "mAP50": "segm_map_50", "box_mAP": "bbox_map", "box_mAP50": "bbox_map_50"}
        figures = {name: 100 * max(float(found[key]), 0.0) for name, key in named.items()}
        return {"loss": float(self.loss.compute()), **figures}


class InstanceRecipe(Recipe):
    task: ClassVar[str] = "segment"
    best: ClassVar[tuple[str, str]] = ("mAP", "max")
    batch_size: ClassVar[int] = 4
    lr: ClassVar[float] = 5e-4

    def __init__(self, config: TrainConfig, notify: Notify):
        kind_of(config)
        self.config = config
        found = read_outlined(config, notify)
        self.info = describe(config, ("background", *found.classes), 0, [photo.size for photo in found.train])
        recipe, limit = dict(self.info.recipe), config.max_pixels
        self.train = OutlinedExamples(found.train, recipe, config.augment, limit)
        self.val = OutlinedExamples(found.val, recipe, "none", limit)

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        return with_objects(samples)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        expect(model, batch["objects"])
        losses = dict(zip(LOSSES, model(batch["images"]), strict=True))
        return {"loss": sum(losses.values()), **losses}

    def meter(self) -> Meter:
        return InstanceMeter()

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Photo with its true objects, and with those that are found, side by side."""
        device = next(model.parameters()).device
        pictures = []
        for sample in samples:
            image = sample["images"]
            found = objects_of(model(image[None].to(device)), image.shape[:2])
            sure = found["scores"] >= SHOWN_FROM
            sides = [(sample["labels"], sample["masks"]), (found["labels"][sure], found["masks"][sure])]
            drawn = [draw_regions(image.numpy(), self._regions(*side)) for side in sides]
            pictures.append(np.concatenate(drawn, axis=1))
        return pictures

    def _regions(self, labels: Tensor, masks: Tensor) -> list[Region]:
        inside = masks.cpu().numpy() > 0
        names = [self.info.classes[label] for label in labels.tolist()]
        entries = enumerate(zip(names, inside, strict=True))
        return [Region(name, mask, numbered_colour(number)) for number, (name, mask) in entries if mask.any()]


def expect(model: nn.Module, truth: list[dict[str, Tensor]]) -> None:
    """Tell the network inside a model, however wrapped, what its next batch is compared with."""
    network = next(module for module in model.modules() if isinstance(module, InstanceSegmenter))
    network.expect(truth)


def objects_of(answer: Sequence[Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """The objects found in the one photo of a batch: boxes, scores, labels, and masks (K, *size), true inside."""
    boxes, scores, labels, masks = (value[0] for value in answer)
    labels = labels.long()
    found = labels > 0
    pasted = paste_masks_in_image(masks[found][:, None].float(), boxes[found].float(), size)[:, 0]
    return {"boxes": boxes[found], "scores": scores[found], "labels": labels[found], "masks": pasted > INSIDE}
