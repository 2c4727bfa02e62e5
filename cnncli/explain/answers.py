"""What of a network's answer is explained, for each thing that models are made for: one number per input.

`evidence` is what gradients are taken of (a logit, where there is one), `score` what people read (0 to 1).
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cnncli.errors import InputError, UsageError
from cnncli.io.weights import ModelInfo

MOST_NEAR = 3  # names that a wrong one may have been meant for
Outputs = Mapping[str, Tensor]  # by the names of the model's outputs, the batch axis first


@dataclass(frozen=True)
class Target:
    """The answer that is explained: a class, its score, and what else its number is computed with."""

    index: int
    label: str
    score: float
    reference: Tensor | None = None


class Answer(ABC):
    """How the outputs of one kind of model become a number for a target."""

    def __init__(self, info: ModelInfo):
        self.info = info

    @abstractmethod
    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        """The target of a batch of one: the class `wanted`, or the network's own answer."""

    @abstractmethod
    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        """What speaks for the target, (N,)."""

    @abstractmethod
    def score(self, outputs: Outputs, target: Target) -> Tensor:
        """How sure the network is of it, 0 to 1, (N,)."""

    def label_of(self, index: int) -> str:
        """The name of the class with this number."""
        return self.info.classes[index]

    def index_of(self, wanted: str | None) -> int | None:
        """The number of the class that the user named. UsageError where the model has none of that name."""
        if wanted is None:
            return None
        names = [name.lower() for name in self.info.classes]
        if wanted.lower() not in names:
            near = [name for name in self.info.classes if wanted.lower() in name.lower()][:MOST_NEAR]
            near = near or difflib.get_close_matches(wanted, self.info.classes, MOST_NEAR)
            hint = f"perhaps {' or '.join(near)}; " if near else ""
            raise UsageError(
                f"--label {wanted}: {self.info.name} knows no such class; {hint}see 'cnncli models labels'"
            )
        return names.index(wanted.lower())


class ClassAnswer(Answer):
    """Logits (N, classes) of a classifier."""

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        scores = outputs["logits"][0].float().softmax(0)
        index = self.index_of(wanted)
        index = int(scores.argmax()) if index is None else index
        return Target(index, self.info.classes[index], float(scores[index]))

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["logits"][:, target.index]

    def score(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["logits"].float().softmax(1)[:, target.index]


class BoxAnswer(Answer):
    """Class logits (N, anchors, classes) of a detector: of the anchor that is surest of the class."""

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        best = outputs["class_logits"][0].float().amax(0)
        index = self.index_of(wanted)
        index = int(best.argmax()) if index is None else index
        return Target(index, self.info.classes[index], float(best[index].sigmoid()))

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["class_logits"][:, :, target.index].amax(1)

    def score(self, outputs: Outputs, target: Target) -> Tensor:
        return self.evidence(outputs, target).float().sigmoid()


class PixelAnswer(Answer):
    """Logits (N, classes, h, w): of the pixels that the unchanged input gives to the class, `reference` (h, w).

    Source: Vinogradova et al. 2020, "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class
    Activation Mapping", eq. 4.
    """

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        scores = outputs["logits"][0].float().softmax(0)
        classes = scores.argmax(0)
        index = self.index_of(wanted)
        index = self._largest(classes) if index is None else index
        inside = classes == index
        if not inside.any():
            raise InputError(f"no pixel is {self.info.classes[index]}: there is nothing to explain")
        return Target(index, self.info.classes[index], float(scores[index][inside].mean()), inside)

    def _largest(self, classes: Tensor) -> int:
        """The class with most pixels that is not background, or the background where there is nothing else."""
        counts = torch.bincount(classes.flatten(), minlength=len(self.info.classes))
        background = self.info.recipe["background"]
        if background < len(counts) and counts.sum() > counts[background]:
            counts[background] = 0
        return int(counts.argmax())

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["logits"][:, target.index, target.reference].mean(1)

    def score(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["logits"].float().softmax(1)[:, target.index, target.reference].mean(1)


class MatteAnswer(Answer):
    """A matte (N, 1, H, W) in 0..1: its mean where the unchanged input has foreground."""

    def label_of(self, index: int) -> str:
        return "foreground"

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        matte = outputs["matte"][0, 0]
        inside = matte > matte.amax() / 2
        return Target(0, self.label_of(0), float(matte[inside].mean()), inside)

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        return outputs["matte"][:, 0, target.reference].mean(1)

    score = evidence


class EmbeddingAnswer(Answer):
    """Embeddings (N, F): how near they are to that of the unchanged input, by the angle between them."""

    def label_of(self, index: int) -> str:
        return "this face"

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        return Target(0, self.label_of(0), 1.0, outputs[self.info.outputs[0]][0].detach())

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        """The part of the embeddings along the reference: at the input itself the angle has no gradient."""
        return outputs[self.info.outputs[0]] @ F.normalize(target.reference, dim=0)

    def score(self, outputs: Outputs, target: Target) -> Tensor:
        return F.cosine_similarity(outputs[self.info.outputs[0]], target.reference[None]).clamp(0, 1)


class FaceAnswer(Answer):
    """Class and object scores (N, cells, 1) of a face detector: of the cell that is surest."""

    def label_of(self, index: int) -> str:
        return "face"

    def choose(self, outputs: Outputs, wanted: str | None) -> Target:
        return Target(0, self.label_of(0), float(self._surest(outputs)[0]))

    def evidence(self, outputs: Outputs, target: Target) -> Tensor:
        return self._surest(outputs)

    def _surest(self, outputs: Outputs) -> Tensor:
        return (outputs["class_scores"] * outputs["object_scores"]).flatten(1).amax(1).sqrt()

    score = evidence


ANSWERS: dict[str, type[Answer]] = {
    "classify": ClassAnswer,
    "detect": BoxAnswer,
    "segment": PixelAnswer,
    "foreground": MatteAnswer,
    "embed-face": EmbeddingAnswer,
    "find-face": FaceAnswer,
}


def answer_of(info: ModelInfo) -> Answer:
    """UsageError for models whose answer has no number to explain."""
    kind = ANSWERS.get(info.task)
    if kind is None or "masks" in info.outputs:
        what = "a picture" if kind is None else "boxes that are sorted out"
        raise UsageError(
            f"{info.name} answers with {what}, which no score stands for; use filters, activations or dream"
        )
    return kind(info)
