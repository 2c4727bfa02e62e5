"""Classification: photos with one label each, cross entropy, top-1 and top-5."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision import tv_tensors
from torchvision.transforms import v2

from cnncli.errors import UsageError
from cnncli.imaging.draw import caption_lines
from cnncli.imaging.geometry import resize, resize_and_crop
from cnncli.io.weights import ModelInfo, read_info
from cnncli.nn.assemble import default_head
from cnncli.train import augment
from cnncli.train.config import TrainConfig
from cnncli.train.labelled import Labelled, read_labelled
from cnncli.train.photos import read_photo
from cnncli.train.pretrained import find_pretrained, pixels_of
from cnncli.train.recipe import Batch, Examples, Meter, Notify, Recipe

DEFAULT_BACKBONE = "efficientnet_lite0"
CROP = 0.875  # part of the resized short side that validation and inference look at, as the shipped classifiers do
SIZES = {"lenet5": 28, "efficientnet_lite2": 260}  # px; others 224
AUXILIARY_WEIGHT = 0.3  # of GoogLeNet's two auxiliary losses: Szegedy et al. 2015, sec. 5


class LabelledExamples(Examples):
    """Crops of labelled photos: "images" uint8 (size, size, 3) and "label"."""

    def __init__(self, labelled: Labelled, recipe: dict[str, Any], level: str, max_pixels: int):
        self.labelled, self.recipe, self.max_pixels = labelled, recipe, max_pixels
        size = tuple(recipe["input"])
        self.augment = None if level == "none" else augment.for_classes(level, size, recipe["filter"])

    def __len__(self) -> int:
        return len(self.labelled.labels)

    def example(self, index: int) -> dict[str, Any]:
        return {"images": self._image(self._pixels(index)), "label": self.labelled.labels[index]}

    def _pixels(self, index: int) -> np.ndarray:
        photo = self.labelled.photos[index]
        if isinstance(photo, str):
            return read_photo(photo, self.max_pixels)
        return np.repeat(photo[..., None], 3, axis=2)  # IDX files are grey

    def _image(self, pixels: np.ndarray) -> Tensor:
        if self.augment is None:
            recipe = self.recipe
            cropped, _ = resize_and_crop(pixels, recipe["resize"], tuple(recipe["input"]), recipe["filter"])
            return torch.from_numpy(np.array(cropped))
        channels_first = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)
        return self.augment(tv_tensors.Image(channels_first)).as_subclass(Tensor).permute(1, 2, 0).contiguous()


class ClassifyMeter(Meter):
    def __init__(self, classes: int):
        super().__init__()
        self.top1 = MulticlassAccuracy(classes, average="micro")
        self.top5 = MulticlassAccuracy(classes, top_k=min(5, classes), average="micro")
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        logits, label = model(batch["images"])[0], batch["label"]
        self.top1.update(logits, label)
        self.top5.update(logits, label)
        self.loss.update(F.cross_entropy(logits, label), len(label))

    def compute(self) -> dict[str, float]:
        return {
            "loss": float(self.loss.compute()),
            "top1": 100 * float(self.top1.compute()),
            "top5": 100 * float(self.top5.compute()),
        }


class ClassifyRecipe(Recipe):
    task: ClassVar[str] = "classify"
    best: ClassVar[tuple[str, str]] = ("top1", "max")

    def __init__(self, config: TrainConfig, notify: Notify):
        head = config.head or "linear"
        if head != "linear":
            raise UsageError(f"--head {head}: classify has the head linear alone")
        config.check_options((), head)
        self.config = config
        found = read_labelled(config, notify)
        self.info = _info(config, found.classes)
        self.train = LabelledExamples(found.train, dict(self.info.recipe), config.augment, config.max_pixels)
        self.val = LabelledExamples(found.val, dict(self.info.recipe), "none", config.max_pixels)
        self._mixup = v2.MixUp(alpha=config.mixup, num_classes=len(found.classes)) if config.mixup else None

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, label = batch["images"], batch["label"]
        if self._mixup is not None:
            mixed, label = self._mixup(images.permute(0, 3, 1, 2).float(), label)
            images = mixed.permute(0, 2, 3, 1)
        logits, _, *auxiliary = model(images)
        smoothing = self.config.label_smoothing
        total = main = F.cross_entropy(logits, label, label_smoothing=smoothing)
        for other in auxiliary:
            total = total + AUXILIARY_WEIGHT * F.cross_entropy(other, label, label_smoothing=smoothing)
        return {"loss": total} if not auxiliary else {"loss": total, "main_loss": main}

    def meter(self) -> Meter:
        return ClassifyMeter(len(self.info.classes))

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        scores = model(torch.stack([sample["images"] for sample in samples]))[0].softmax(dim=1)
        pictures = []
        for sample, score in zip(samples, scores, strict=True):
            shown = resize(sample["images"].numpy(), 224, 224, "bilinear")[0]
            best = int(score.argmax())
            mark = "" if best == sample["label"] else f" (is {self.info.classes[sample['label']]})"
            pictures.append(caption_lines(shown, [(self.info.classes[best] + mark, float(score[best]))]))
        return pictures


def _info(config: TrainConfig, classes: tuple[str, ...]) -> ModelInfo:
    """Metadata of the classifier; the geometry is that of the weights that it starts from."""
    backbone = config.backbone or DEFAULT_BACKBONE
    start = find_pretrained(config.pretrained, backbone)
    mean, std = pixels_of(start, backbone)
    head = default_head(backbone, dropout=config.dropout)
    return ModelInfo(
        name=config.out.name,
        task="classify",
        backbone=backbone,
        head={"kind": "linear", "backbone": config.backbone_options, **head},
        classes=classes,
        recipe=_geometry(config, backbone, start),
        mean=mean,
        std=std,
        outputs=("logits", "features"),
        licence="yours",
        source={"trained_by": "cnncli train", "data": Path(config.data).name, "from": start.name if start else None},
    )


def _geometry(config: TrainConfig, backbone: str, start: Path | None) -> dict[str, Any]:
    earlier = read_info(start).recipe if start is not None else {}
    if config.size is None and "resize" in earlier:
        return {name: earlier[name] for name in ("input", "resize", "filter")}
    size = config.size or SIZES.get(backbone, 224)
    resampling = earlier.get("filter", "bilinear")
    short = size if backbone == "lenet5" else round(size / CROP)
    return {"input": [size, size], "resize": short, "filter": resampling}
