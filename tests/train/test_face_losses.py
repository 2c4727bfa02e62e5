"""Losses of embeddings against loops over every pair and triplet, and the cosines of the papers by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cnncli.train.losses_faces import (
    balanced_cross_entropy,
    margin_softmax_loss,
    siamese_loss,
    squared_distances,
    triplet_loss,
)

PEOPLE = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3])


def unit_embeddings(seed: int, count: int = len(PEOPLE)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 5, generator=generator, dtype=torch.float64), dim=1)


def by_loops(embeddings: np.ndarray, people: list[int], margin: float) -> float:
    """Of the definition: for each pair the nearest negative beyond the positive, or the farthest of all."""
    costs = []
    for a, anchor in enumerate(embeddings):
        for p, positive in enumerate(embeddings):
            if a == p or people[a] != people[p]:
                continue
            near = ((anchor - positive) ** 2).sum()
            others = [((anchor - n) ** 2).sum() for n, who in zip(embeddings, people, strict=True) if who != people[a]]
            beyond = [far for far in others if far > near]
            costs.append(max(0.0, near - (min(beyond) if beyond else max(others)) + margin))
    return float(np.mean(costs))


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_triplets_match_loops_over_all(seed: int, margin: float) -> None:
    embeddings = unit_embeddings(seed)
    expected = by_loops(embeddings.numpy(), PEOPLE.tolist(), margin)
    assert float(triplet_loss(embeddings, PEOPLE, margin)) == pytest.approx(expected)


def test_a_triplet_by_hand() -> None:
    """|a - p|² is 0.5, |a - n|² is 2 - 2 cos: 0.4, 0.6 and 1 of the others. The nearest beyond 0.5 is 0.6."""
    cosines = {"a": 1.0, "p": 0.75, "near": 0.8, "semi": 0.7, "far": 0.5}
    embeddings = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines.values()])
    loss = triplet_loss(embeddings, torch.tensor([0, 0, 1, 2, 3]), 0.2)
    p = embeddings[1].double()
    from_p = sorted(float(((p - n.double()) ** 2).sum()) for n in embeddings[2:])
    beyond = [value for value in from_p if value > 0.5] or [from_p[-1]]
    expected = (max(0, 0.5 - 0.6 + 0.2) + max(0, 0.5 - beyond[0] + 0.2)) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("people", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_triplets_costs_nothing(people: list[int]) -> None:
    embeddings = unit_embeddings(0, 3).requires_grad_()
    loss = triplet_loss(embeddings, torch.tensor(people), 0.2)
    loss.backward()
    assert loss.item() == 0 and not embeddings.grad.any()


def test_equal_photos_have_finite_gradients() -> None:
    embeddings = torch.ones(4, 3).requires_grad_()
    triplet_loss(F.normalize(embeddings, dim=1), torch.tensor([0, 0, 1, 1]), 0.2).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_squared_distances_match_torch() -> None:
    embeddings = unit_embeddings(1)
    torch.testing.assert_close(squared_distances(embeddings), torch.cdist(embeddings, embeddings) ** 2)


def test_siamese_pairs_match_a_loop() -> None:
    embeddings = unit_embeddings(2)
    costs: dict[bool, list[float]] = {True: [], False: []}
    for a in range(len(PEOPLE)):
        for b in range(a):
            same = bool(PEOPLE[a] == PEOPLE[b])
            logit = 1.3 - float((embeddings[a] - embeddings[b]).abs().sum())
            probability = 1 / (1 + math.exp(-logit))
            costs[same].append(-math.log(probability if same else 1 - probability))
    expected = (np.mean(costs[True]) + np.mean(costs[False])) / 2
    loss = siamese_loss(embeddings, torch.full((len(PEOPLE),), 1.3, dtype=torch.float64), PEOPLE)
    assert float(loss) == pytest.approx(expected)


def test_one_kind_of_pairs_alone_counts_whole() -> None:
    logits = torch.tensor([0.0, 2.0])
    expected = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    assert float(balanced_cross_entropy(logits, torch.tensor([True, True]))) == pytest.approx(expected)
    assert float(balanced_cross_entropy(logits[:0], torch.tensor([], dtype=torch.bool))) == 0


@pytest.mark.parametrize(
    ("kind", "right"), [("normface", 0.8), ("cosface", 0.8 - 0.3), ("arcface", math.cos(math.acos(0.8) + 0.3))]
)
def test_margins_lower_the_right_cosine(kind: str, right: float) -> None:
    cosines = torch.tensor([[0.8, 0.1, -0.4]], dtype=torch.float64)
    weights = [math.exp(10 * value) for value in (right, 0.1, -0.4)]
    loss = margin_softmax_loss(cosines, torch.tensor([0]), kind, scale=10, margin=0.3)
    assert float(loss) == pytest.approx(-math.log(weights[0] / sum(weights)))


def test_an_angular_margin_falls_on_everywhere() -> None:
    """Up to opposite directions, and with a finite slope at both ends."""
    right = torch.linspace(-1, 1, 101, dtype=torch.float64, requires_grad=True)
    cosines = torch.stack([right, torch.zeros_like(right)], dim=1)
    people = torch.zeros(101, dtype=torch.long)
    losses = [margin_softmax_loss(row[None], people[:1], "arcface", 1, 0.5) for row in cosines]
    torch.stack(losses).sum().backward()
    assert torch.isfinite(right.grad).all()
    assert (right.grad <= 0).all()
    assert (torch.stack(losses).diff() < 0).all()
