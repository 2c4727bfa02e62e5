"""Measures embeddings by pairs of photos: of one person, and of two."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc

from cnncli.imaging.faces import DISTANCES
from cnncli.train.losses_faces import balanced_cross_entropy
from cnncli.train.recipe import Batch, Meter

MOST_PAIRS = 10_000  # of each kind
ENUMERATED = 1000  # photos: of more, pairs of different people are drawn by chance
MARGIN = 0.2  # of squared distances of unit embeddings: Schroff et al. 2015, sec. 3.3


class Embeddings(Metric):
    """Collects embeddings with the numbers of their people and photos, over all processes."""

    full_state_update = False

    def __init__(self, **options: Any):
        super().__init__(**options)
        for name in ("embeddings", "people", "indices"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, people: Tensor, indices: Tensor) -> None:
        self.embeddings.append(embeddings)
        self.people.append(people)
        self.indices.append(indices)

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (N, F) and people (N,) in the order of the photos."""
        embeddings, people, indices = (
            torch.cat(list(values)) if isinstance(values, list) else values
            for values in (self.embeddings, self.people, self.indices)
        )
        order = indices.argsort()
        return embeddings[order].cpu().numpy(), people[order].cpu().numpy()


class FaceMeter(Meter):
    """Area under the ROC curve, and the threshold with the best accuracy, both kinds of pairs counting the same.

    "loss": for the Manhattan distance the cross entropy of threshold - distance, else what triplets of random pairs
    cost (the classes of a softmax are other people, who are not in this part).
    """

    def __init__(self, metric: str):
        super().__init__()
        self.metric = metric
        self.found = Embeddings()

    def update(self, model: nn.Module, batch: Batch) -> None:
        self.found.update(embedded(model, batch["images"], self.metric), batch["person"], batch["index"])

    def compute(self) -> dict[str, float]:
        embeddings, people = self.found.compute()
        pairs = choose_pairs(people, MOST_PAIRS)
        distances = DISTANCES[self.metric](embeddings[pairs.first], embeddings[pairs.second])
        threshold, accuracy = best_threshold(distances, pairs.same)
        return {
            "loss": self._loss(distances, pairs.same, threshold),
            "auc": area_under(distances, pairs.same),
            "accuracy": 100 * accuracy,
            "threshold": threshold,
        }

    def _loss(self, distances: np.ndarray, same: np.ndarray, threshold: float) -> float:
        if self.metric == "manhattan":
            return float(balanced_cross_entropy(torch.from_numpy(threshold - distances), torch.from_numpy(same)))
        near, far = distances[same], distances[~same]
        count = max(len(near), len(far))
        squared = 2 * torch.from_numpy(np.resize(near, count) - np.resize(far, count))  # |a - b|² = 2 (1 - cos)
        return float(F.relu(squared + MARGIN).mean())


def embedded(model: nn.Module, images: Tensor, metric: str) -> Tensor:
    """Embeddings (N, F) as `verify-face` computes them: for the cosine the mean with those of the mirror images."""
    (embeddings,) = model(images)
    if metric == "cosine":
        embeddings = (embeddings + model(images.flip(2))[0]) / 2
    return embeddings.float()


@dataclass(frozen=True)
class Pairs:
    """Places of two photos each (N,), and whether they are of one person."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def choose_pairs(people: np.ndarray, most: int) -> Pairs:
    """All pairs of photos, or `most` of each kind, always the same."""
    generator = np.random.default_rng(0)
    kinds = []
    for pairs in (_of_one(people), _of_two(people, most, generator)):
        kinds.append(pairs if len(pairs) <= most else pairs[np.sort(generator.permutation(len(pairs))[:most])])
    first, second = np.concatenate(kinds).T
    return Pairs(first, second, people[first] == people[second])


def _of_one(people: np.ndarray) -> np.ndarray:
    """Pairs (N, 2) of one person."""
    order = np.argsort(people, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
    return np.concatenate([group[np.stack(np.triu_indices(len(group), 1), axis=1)] for group in groups])


def _of_two(people: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Pairs (N, 2) of different people: all, or of many photos some drawn by chance."""
    if len(people) <= ENUMERATED:
        pairs = np.stack(np.triu_indices(len(people), 1), axis=1)
    else:
        pairs = np.unique(np.sort(generator.integers(0, len(people), (4 * most, 2)), axis=1), axis=0)
    return pairs[people[pairs[:, 0]] != people[pairs[:, 1]]]


def area_under(distances: np.ndarray, same: np.ndarray) -> float:
    """The probability that a pair of one person is nearer than one of two: area under the ROC curve."""
    nearness = 1 - distances / max(float(distances.max()), 1e-12)  # torchmetrics wants scores in 0..1
    return float(binary_auroc(torch.from_numpy(nearness), torch.from_numpy(same).long()))


def best_threshold(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """The distance up to which two are best taken for one person, and the accuracy then: the mean over both kinds.

    It lies in the middle between the last distance that is accepted and the first that is not.
    """
    order = np.argsort(distances, kind="stable")
    ordered, is_same = distances[order], same[order]
    accepted = np.cumsum(is_same) / max(is_same.sum(), 1)
    mistaken = np.cumsum(~is_same) / max((~is_same).sum(), 1)
    accuracy = (accepted + 1 - mistaken) / 2
    ends = np.append(ordered[:-1] < ordered[1:], True)  # nothing divides equal distances
    best = int(np.argmax(np.where(ends, accuracy, -1)))
    following = ordered[min(best + 1, len(ordered) - 1)]
    return float((ordered[best] + following) / 2), float(accuracy[best])
