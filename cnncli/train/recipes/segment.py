"""Segmentation: photos with a mask each, cross entropy of every labelled pixel, mean intersection over union."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.imaging.geometry import resize
from cnncli.imaging.masks import palette
from cnncli.train.config import TrainConfig
from cnncli.train.losses_masks import MaskMeter, pixel_cross_entropy, pixel_logits
from cnncli.train.masked import read_masked
from cnncli.train.masked_examples import TrainingExamples, ValidationExamples, padded
from cnncli.train.recipe import Batch, Meter, Notify, Recipe
from cnncli.train.recipes.segment_instances import InstanceRecipe
from cnncli.train.segmenter_plan import describe, kind_of


class SegmentRecipe(Recipe):
    task: ClassVar[str] = "segment"
    best: ClassVar[tuple[str, str]] = ("mIoU", "max")
    batch_size: ClassVar[int] = 8

    def __init__(self, config: TrainConfig, notify: Notify):
        kind_of(config)
        self.config = config
        found = read_masked(config, notify)
        self.info = describe(config, found.classes, found.background, [entry.size for entry in found.train])
        recipe, limit = dict(self.info.recipe), config.max_pixels
        self.train = TrainingExamples(found.train, found.table, recipe, config.augment, limit)
        self.val = ValidationExamples(found.val, found.table, recipe, limit)

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        return padded(samples)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = pixel_logits(model(batch["images"])[0], batch["masks"].shape[1:])
        return {"loss": pixel_cross_entropy(logits, batch["masks"], self.config.label_smoothing)}

    def meter(self) -> Meter:
        return MaskMeter(len(self.info.classes))

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Photo, truth and answer side by side, in VOC's colours."""
        colours = np.array(palette(), np.uint8).reshape(-1, 3)
        device = next(model.parameters()).device
        pictures = []
        for sample in samples:
            image = sample["images"]
            logits = pixel_logits(model(image[None].to(device))[0], image.shape[:2])
            answer = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
            truth = resize(sample["masks"].numpy(), *answer.shape, "nearest")[0]
            pictures.append(np.concatenate([image.numpy(), colours[truth], colours[answer]], axis=1))
        return pictures


def segment_recipe(config: TrainConfig, notify: Notify) -> Recipe:
    """The recipe of the head: masks of classes, or of objects."""
    return (InstanceRecipe if config.head == "mask-rcnn" else SegmentRecipe)(config, notify)
