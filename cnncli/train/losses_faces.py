"""Losses that bring embeddings of one person together, and those of different people apart.

Embeddings are (N, F) of a batch with several photos of several people, who are numbered in `people` (N,).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MARGINS = {"cosface": 0.35, "arcface": 0.5, "normface": 0.0}  # of their papers; that of ArcFace in radians
NEAR_ONE = 1 - 1e-6  # of cosines: the slope of arccos is infinite at 1


def triplet_loss(embeddings: Tensor, people: Tensor, margin: float) -> Tensor:
    """Mean over all pairs of one person of max(0, |a - p|² - |a - n|² + margin).

    The third, n, is the nearest of another person that is farther than p ("semi-hard"); where all are nearer, the
    farthest. 0 where a batch has no triplet. Source: Schroff, Kalenichenko & Philbin 2015, "FaceNet", eq. 3, sec. 3.2.
    """
    distances = squared_distances(embeddings)
    same = _same(people)
    anchors, positives = _other_photos(same).nonzero(as_tuple=True)
    near = distances[anchors, positives]
    others, different = distances[anchors], ~same[anchors]
    farther = different & (others > near[:, None])
    semi_hard = others.masked_fill(~farther, torch.inf).amin(dim=1)
    farthest = others.masked_fill(~different, -torch.inf).amax(dim=1)
    far = torch.where(farther.any(dim=1), semi_hard, farthest)
    is_triplet = different.any(dim=1)
    if not is_triplet.any():
        return embeddings.sum() * 0
    return F.relu(near - far + margin)[is_triplet].mean()


def squared_distances(embeddings: Tensor) -> Tensor:
    """|a - b|² (N, N) of embeddings of length 1, as 2 - 2 a·b: its gradient at 0 is finite."""
    return (2 - 2 * embeddings @ embeddings.T).clamp(min=0)


def siamese_loss(embeddings: Tensor, threshold: Tensor, people: Tensor) -> Tensor:
    """Binary cross entropy of sigmoid(threshold - sum |a - b|) over all pairs of the batch.

    Pairs of one person count as much as the many more of different people. Source: Koch, Zemel & Salakhutdinov 2015,
    sec. 3.2, who draw half of their pairs from each.
    """
    first, second = torch.triu_indices(len(people), len(people), offset=1, device=people.device)
    distances = (embeddings[first] - embeddings[second]).abs().sum(dim=1)
    same = people[first] == people[second]
    return balanced_cross_entropy(threshold[first] - distances, same)


def balanced_cross_entropy(logits: Tensor, same: Tensor) -> Tensor:
    """Mean over the two kinds of pairs, of those that there are, of their mean binary cross entropy."""
    costs = F.binary_cross_entropy_with_logits(logits, same.to(logits.dtype), reduction="none")
    kinds = [costs[same], costs[~same]]
    return torch.stack([kind.mean() for kind in kinds if len(kind)]).mean() if len(costs) else logits.sum() * 0


def margin_softmax_loss(
    cosines: Tensor, people: Tensor, kind: str, scale: float, margin: float, smoothing: float = 0.0
) -> Tensor:
    """Cross entropy of `scale` times the cosines (N, people), that of the right person made smaller by the margin.

    "normface": by nothing (Wang, Xiang, Cheng & Yuille 2017); "cosface": cos - margin (Wang et al. 2018, eq. 4);
    "arcface": cos(angle + margin) (Deng et al. 2019, eq. 3).
    """
    right = F.one_hot(people, cosines.shape[1]).to(cosines.dtype)
    if kind == "arcface":
        cosines = torch.where(right.bool(), _turned(cosines, margin), cosines)
    elif kind == "cosface":
        cosines = cosines - margin * right
    return F.cross_entropy(scale * cosines, people, label_smoothing=smoothing)


def _turned(cosines: Tensor, margin: float) -> Tensor:
    """cos(angle + margin), going on downwards beyond 180 degrees, where the cosine would rise again."""
    bounded = cosines.clamp(-NEAR_ONE, NEAR_ONE)
    turned = torch.cos(bounded.acos() + margin)
    beyond = cosines - margin * math.sin(margin)  # as in the authors' own programs
    return torch.where(cosines > math.cos(math.pi - margin), turned, beyond)


def _same(people: Tensor) -> Tensor:
    return people[:, None] == people[None]


def _other_photos(same: Tensor) -> Tensor:
    """Pairs (N, N) of one person, but for a photo with itself."""
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
