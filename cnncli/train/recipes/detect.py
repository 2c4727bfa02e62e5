"""Detection: anchors, a grid, one box a photo, or points; each answered by `cnncli detect`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.imaging.boxes import stated_anchors
from cnncli.imaging.draw import dot, outline
from cnncli.io.images import Photo
from cnncli.io.weights import ModelInfo, load_weights
from cnncli.nn.assemble import build
from cnncli.nn.detectors import take_classes
from cnncli.nn.heads.grid import BOXES, CELLS
from cnncli.results.detect import Detections
from cnncli.tasks.detect import Detect, DetectOptions
from cnncli.train.config import TrainConfig
from cnncli.train.detector_plan import Plan, make_plan
from cnncli.train.losses_boxes import POINT_LOSSES, anchor_loss, grid_loss, localize_loss, point_loss
from cnncli.train.marked import MarkedExamples, padded, read_marked
from cnncli.train.meters_boxes import BoxMeter, LocalizeMeter, PointMeter
from cnncli.train.pointed import PointedExamples, read_pointed
from cnncli.train.pretrained import find_pretrained, pixels_of
from cnncli.train.recipe import Batch, Meter, Notify, Recipe

FILL = 127  # grey level beside the photo, as the shipped detectors have it
FOLDED_LR = 2e-4  # of networks without norms, which a larger one throws off
TRUTH = (255, 255, 255)
ANCHORS = {"grid": BOXES * CELLS**2, "localize": 1, "landmarks": 1}  # of the whole input; EfficientDet has its own


class DetectRecipe(Recipe):
    task: ClassVar[str] = "detect"
    best: ClassVar[tuple[str, str]] = ("mAP", "max")
    batch_size: ClassVar[int] = 8

    def __init__(self, config: TrainConfig, notify: Notify):
        self.config = config
        plan = make_plan(config)
        self.kind, self._earlier = plan.kind, plan.earlier if plan.kind == "efficientdet" else None
        if self.kind == "efficientdet" and "norm" not in plan.head:
            self.lr = FOLDED_LR
        if self.kind == "landmarks":
            self.best = ("error", "min")
            self._read_points(config, plan, notify)
        else:
            self._read_boxes(config, plan, notify)
        self.anchors = stated_anchors(self.info.recipe)
        self._check_network()
        if self._earlier is not None:
            known = len(set(self.info.classes) & set(self._earlier.classes))
            notify(f"--pretrained {config.pretrained}: knows {known} of the {len(self.info.classes)} classes")

    def _read_boxes(self, config: TrainConfig, plan: Plan, notify: Notify) -> None:
        found = read_marked(config, notify)
        self.info = _info(config, plan, found.classes, found.category_ids)
        recipe = dict(self.info.recipe)
        self.train = MarkedExamples(found.train, recipe, config.augment, config.max_pixels)
        self.val = MarkedExamples(found.val, recipe, "none", config.max_pixels)

    def _read_points(self, config: TrainConfig, plan: Plan, notify: Notify) -> None:
        found = read_pointed(config, notify)
        plan.head["points"] = found.count
        self.info = _info(config, plan, (found.name,), (1,))
        recipe = dict(self.info.recipe)
        self.train = PointedExamples(found.train, recipe, config.augment, config.max_pixels)
        self.val = PointedExamples(found.val, recipe, "none", config.max_pixels)

    def _check_network(self) -> None:
        """UsageError where the head can't use the backbone, or the input is too small for it."""
        with torch.device("meta"):
            least = build(self.info).backbone.least_size
        if self.info.recipe["input"][0] < least:
            raise UsageError(f"--size: backbone {self.info.backbone} takes photos from {least} px; give that or more")

    def network(self) -> nn.Module:
        network = super().network()
        if self._earlier is not None:
            take_classes(network, load_weights(find_pretrained(self.config.pretrained, None)), self.info.classes)
        return network

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        return super().collate(samples) if self.kind == "landmarks" else padded(samples)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self.losses(model(batch["images"]), batch)

    def losses(self, raw: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """Of what the network gives in training."""
        smoothing = self.config.label_smoothing
        if self.kind == "landmarks":
            return point_loss(*raw, batch["points"], batch["known"], self.config.option("loss", POINT_LOSSES[0]))
        boxes, labels = batch["boxes"], batch["labels"]
        if self.kind == "efficientdet":
            anchors = torch.from_numpy(self.anchors).to(boxes)
            return anchor_loss(*raw, anchors, boxes, labels, smoothing)
        boxes = boxes / self.info.recipe["input"][0]
        if self.kind == "grid":
            return grid_loss(*raw, boxes, labels)
        return localize_loss(*raw, boxes, labels, float(self.config.option("gamma", 1.0)), smoothing)

    def meter(self) -> Meter:
        if self.kind == "landmarks":
            return PointMeter(self.losses)
        meter = LocalizeMeter if self.kind == "localize" else BoxMeter
        return meter(self.losses, self.anchors, len(self.info.classes))

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        task = Detect({"detect": self.info}, DetectOptions())
        pictures = []
        for sample in samples:
            height, width = sample["inner"].tolist()
            pixels = np.ascontiguousarray(sample["images"].cpu().numpy()[:height, :width])
            answer = _answer(task, model, pixels)
            pictures.append(task.draw(Photo(self._with_truth(pixels, sample)), answer, ".png").pixels)
        return pictures

    def _with_truth(self, pixels: np.ndarray, sample: dict[str, Any]) -> np.ndarray:
        """The photo with what is marked, thin and white."""
        picture = Image.fromarray(pixels)
        draw = ImageDraw.Draw(picture)
        if self.kind == "landmarks":
            places = sample["points"][sample["known"]] * self.info.recipe["input"][0]
            for x, y in places.tolist():
                dot(draw, (x, y), TRUTH, 1)
        else:
            for corners in sample["boxes"].tolist():
                outline(draw, corners, TRUTH, 1)
        return np.asarray(picture)


def _info(config: TrainConfig, plan: Plan, classes: tuple[str, ...], category_ids: tuple[int, ...]) -> ModelInfo:
    """What the finished file says of itself."""
    recipe: dict[str, Any] = {"input": [plan.size] * 2, "fill": FILL, "category_ids": list(category_ids)}
    if plan.kind in ANCHORS:
        recipe["anchors"] = ANCHORS[plan.kind]
    start = find_pretrained(config.pretrained, plan.backbone)
    mean, std = pixels_of(start, plan.backbone)
    return ModelInfo(
        name=config.out.name,
        task="detect",
        backbone=plan.backbone,
        head=plan.head,
        classes=classes,
        recipe=recipe,
        mean=mean,
        std=std,
        outputs=("class_logits", "box_codes", *(("points",) if plan.kind == "landmarks" else ())),
        licence="yours",
        source={"trained_by": "cnncli train", "data": Path(config.data).name, "from": start.name if start else None},
    )


def _answer(task: Detect, model: nn.Module, pixels: np.ndarray) -> Detections:
    """What `cnncli detect` would answer for a photo."""
    steps = task.analyse(pixels)
    images = torch.from_numpy(next(steps).array)[None].to(next(model.parameters()).device)
    answers = dict(zip(task.model.outputs, (value[0].float().cpu().numpy() for value in model(images)), strict=True))
    try:
        steps.send(answers)
    except StopIteration as end:
        return end.value
    raise AssertionError("a photo is looked at once")
