"""Faces: a folder of photos for each person, an embedding that brings theirs together, AUC over pairs of strangers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.imaging.draw_faces import CONTEXT, draw_comparison
from cnncli.imaging.faces import DISTANCES
from cnncli.io.weights import ModelInfo
from cnncli.train.config import TrainConfig
from cnncli.train.face_crops import ALIGN, FACES, template_of
from cnncli.train.face_pairs import MARGIN, FaceMeter, embedded
from cnncli.train.losses_faces import MARGINS, margin_softmax_loss, siamese_loss, triplet_loss
from cnncli.train.people import batches_of_people, read_people
from cnncli.train.pretrained import find_pretrained, pixels_of
from cnncli.train.recipe import Batch, Meter, Notify, Recipe

DEFAULT_BACKBONE, DEFAULT_HEAD = "efficientnet_lite0", "triplet"
OPTIONS = {
    "triplet": ("dim", "align", "per_person", "margin"),
    "siamese": ("dim", "align", "per_person"),
    "cosine": ("dim", "align", "softmax", "scale", "margin"),
}
METRICS = {"triplet": "cosine", "siamese": "manhattan", "cosine": "cosine"}
DEFAULT_SIZE, DEFAULT_DIM = 112, 128  # px, numbers: those of SFace
DEFAULT_SCALE = (
    30.0  # of cosines before the softmax: Wang et al. 2018, "CosFace", sec. 4.1 take 64 for many more people
)
DEFAULT_PER_PERSON = 4  # photos of a person in a batch
OF_OTHERS = ("mixup", "output_stride")


class VerifyFaceRecipe(Recipe):
    task: ClassVar[str] = "verify-face"
    best: ClassVar[tuple[str, str]] = ("auc", "max")

    def __init__(self, config: TrainConfig, notify: Notify):
        self.config = config
        self.kind = _checked_head(config)
        size = config.size or DEFAULT_SIZE
        self.per_person = _whole("per_person", config.option("per_person", DEFAULT_PER_PERSON), 2, 1000)
        self.softmax = config.option("softmax", "cosface")
        if self.softmax not in MARGINS:
            raise UsageError(f"--set softmax={self.softmax}: choose {', '.join(MARGINS)}")
        self.margin = _real("margin", config.option("margin", self._usual_margin()))
        self.scale = _real("scale", config.option("scale", DEFAULT_SCALE))
        dim = _whole("dim", config.option("dim", DEFAULT_DIM), 2, 4096)
        self.train, self.val = read_people(config, size, _alignment(config), notify)
        self.info = _info(config, self.kind, size, dim, len(self.train.names))

    def order(self, epoch: int) -> list[int]:
        """For pairs and triplets: batches of several photos of several people, everybody as often."""
        if self.kind == "cosine":
            return super().order(epoch)
        size = min(self.config.batch_size or self.batch_size, len(self.train))
        seed = self.config.seed * 1_000_003 + epoch
        return batches_of_people(self.train.people, size, self.per_person, seed)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        people = batch["person"]
        answers = [answer.float() for answer in model(batch["images"])]
        if self.kind == "triplet":
            return {"loss": triplet_loss(answers[0], people, self.margin)}
        if self.kind == "siamese":
            return {"loss": siamese_loss(*answers, people)}
        smoothing = self.config.label_smoothing
        return {"loss": margin_softmax_loss(answers[1], people, self.softmax, self.scale, self.margin, smoothing)}

    def meter(self) -> Meter:
        return FaceMeter(METRICS[self.kind])

    def finish(self, figures: dict[str, float]) -> ModelInfo:
        """With the threshold that the validation pairs call for."""
        threshold = figures.get("val_threshold", self.info.recipe["threshold"])
        self.info = replace(self.info, recipe={**self.info.recipe, "threshold": round(threshold, 4)})
        return self.info

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Each sample beside another photo of the same person, or of the next one, with distance and verdict."""
        partners = [self._partner(samples, place) for place in range(len(samples))]
        device = next(model.parameters()).device
        metric, threshold = METRICS[self.kind], self.info.recipe["threshold"]
        images = [torch.stack([sample["images"] for sample in side]).to(device) for side in (samples, partners)]
        first, second = (embedded(model, side, metric).cpu().numpy() for side in images)
        distances = DISTANCES[metric](first, second)
        return [
            self._compared(*pair, float(distance), threshold)
            for *pair, distance in zip(samples, partners, distances, strict=True)
        ]

    def _partner(self, samples: Sequence[dict[str, Any]], place: int) -> dict[str, Any]:
        sample = samples[place]
        if place % 2:
            return samples[(place + 1) % len(samples)]
        own = [index for index, person in enumerate(self.val.people) if person == sample["person"]]
        return self.val.example(own[(own.index(sample["index"]) + 1) % len(own)])

    def _compared(
        self, sample: dict[str, Any], partner: dict[str, Any], distance: float, threshold: float
    ) -> np.ndarray:
        is_same = distance <= threshold
        verdict = f"{'same person' if is_same else 'different people'}: {distance:.3f} (threshold {threshold:.3f})"
        size = self.info.recipe["input"][0]
        inner = size / (
            1 + 2 * CONTEXT
        )  # so that the picture, which shows some surroundings of a box, ends at the crop's
        box = ((size - inner) / 2, (size - inner) / 2, inner, inner)
        template = [tuple(point) for point in self.info.recipe["template"]]
        sides = [(side["images"].numpy(), box, template) for side in (sample, partner)]
        return draw_comparison(sides, [self.val.names[side["person"]] for side in (sample, partner)], verdict, is_same)

    def _usual_margin(self) -> float:
        return MARGINS[self.softmax] if self.kind == "cosine" else MARGIN


def _checked_head(config: TrainConfig) -> str:
    kind = config.head or DEFAULT_HEAD
    if kind not in OPTIONS:
        raise UsageError(f"--head {kind}: choose {', '.join(OPTIONS)}")
    config.check_options(OPTIONS[kind], kind)
    unknown = OF_OTHERS if kind == "cosine" else (*OF_OTHERS, "label_smoothing")
    for name in unknown:
        if getattr(config, name):
            raise UsageError(f"--{name.replace('_', '-')}: verify-face with head {kind} knows no such thing")
    return kind


def _alignment(config: TrainConfig) -> str:
    how = config.option("align", FACES)
    if how not in ALIGN:
        raise UsageError(
            f"--set align={how}: choose faces (they are found and aligned) or none (photos are faces already)"
        )
    return how


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"--set {name}={value}: give a whole number from {low} to {high}")
    return value


def _real(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise UsageError(f"--set {name}={value}: give 0 or more")
    return float(value)


def _info(config: TrainConfig, kind: str, size: int, dim: int, people: int) -> ModelInfo:
    backbone = config.backbone or DEFAULT_BACKBONE
    start = find_pretrained(config.pretrained, backbone)
    mean, std = pixels_of(start, backbone)
    chosen = {"norm": config.norm, "antialias": config.antialias or None, "dropout": config.dropout}
    options = {name: value for name, value in chosen.items() if value is not None}
    head = {"kind": kind, "dim": dim, **({"people": people} if kind == "cosine" else {})}
    return ModelInfo(
        name=config.out.name,
        task="embed-face",
        backbone=backbone,
        head={**head, **({"backbone": options} if options else {})},
        classes=(),
        recipe={"input": [size, size], "template": template_of(size), "metric": METRICS[kind], "threshold": 0.5},
        mean=mean,
        std=std,
        outputs=("embedding",),
        licence="yours",
        source={"trained_by": "cnncli train", "data": Path(config.data).name, "from": start.name if start else None},
    )
