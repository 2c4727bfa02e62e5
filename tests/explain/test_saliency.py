"""Gradients of an answer: against autograd, captum's guided backpropagation, and integrals done by hand."""

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.saliency import Guided, Saliency, gradient, integrated, largest, shown
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject


class Logits(nn.Module):
    """A network of logits (N, classes) as a classifier, whose second output is what its head reads."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(images), images.flatten(1)


class Squares(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images.square().sum((1, 2, 3)), images.sum((1, 2, 3))], 1)


@pytest.fixture
def subject() -> Subject:
    """A classifier whose network a test replaces."""
    return open_subject(EngineConfig("efficientnet_lite0", device="cpu", threads=1))


@pytest.fixture
def relus() -> nn.Module:
    """Convolutions, ReLUs, a max-pool, a fully connected layer: what captum's guided backpropagation knows."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 5 * 5, 4), nn.ReLU(), nn.Linear(4, 3),
    ).eval()  # fmt: skip


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def answered(subject: Subject, inner: nn.Module, pixels: np.ndarray) -> tuple[Tensor, object]:
    subject.network = Logits(inner)
    images = subject.normalised(pixels)
    return images, subject.target(images, subject.info.classes[1])


def test_gradient_matches_autograd(subject: Subject, relus: nn.Module, pixels: np.ndarray) -> None:
    images, target = answered(subject, relus, pixels)
    leaf = images.clone().requires_grad_(True)
    expected = torch.autograd.grad(relus(leaf)[0, 1], leaf)[0]
    assert expected.abs().max() > 0
    assert torch.allclose(gradient(subject, images, target), expected, atol=1e-7)


def test_guided_matches_captum_where_that_applies(subject: Subject, relus: nn.Module, pixels: np.ndarray) -> None:
    images, target = answered(subject, relus, pixels)
    with Guided() as guided:
        found = gradient(subject, images, target)
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(relus).attribute(images.clone().requires_grad_(True), target=1)
    assert guided.count == 3
    assert torch.allclose(found, expected, atol=1e-7)
    assert not torch.allclose(found, gradient(subject, images, target), atol=1e-4)


@pytest.mark.parametrize("activation", [nn.ReLU6(), F.relu6, nn.Hardtanh(0, 6)])
def test_guided_relu6_by_hand(activation) -> None:
    values = torch.tensor([-1.0, 2.0, 3.0, 7.0], requires_grad=True)
    with Guided() as guided:
        (activation(values) * torch.tensor([5.0, 5.0, -5.0, 5.0])).sum().backward()
    assert values.grad.tolist() == [0, 5, 0, 0]  # closed, open, open but against the answer, saturated
    assert guided.count == 1


def test_guided_knows_relus_without_a_module_and_other_uses_of_a_map() -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    with Guided():
        ((F.relu(values) + values) * torch.tensor([3.0, -3.0])).sum().backward()
    assert values.grad.tolist() == [6, -3]  # the way around the ReLU is as ever
    again = torch.tensor([1.0, 2.0], requires_grad=True)
    (F.relu(again) * torch.tensor([3.0, -3.0])).sum().backward()
    assert again.grad.tolist() == [3, -3]  # nothing of it stays


def test_guided_needs_a_relu() -> None:
    sface = open_subject(EngineConfig("sface", device="cpu", threads=1))
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match="--method guided: sface has no ReLU to guide"):
        Saliency("guided").look(sface, face)
    entries, _ = Saliency(steps=2).describe(sface, Saliency(steps=2).look(sface, face))
    assert entries["methods"] == ["gradient", "integrated"]


def test_integrated_by_hand(subject: Subject, pixels: np.ndarray) -> None:
    """Of a sum of squares the integral from b to x is x^2 - b^2, pixel by pixel."""
    subject.network = Logits(Squares())
    images = subject.normalised(pixels)
    target = subject.target(images, subject.info.classes[0])
    black = subject.limits[0]
    found, gap = integrated(subject, images, target, 3)
    assert torch.allclose(found, (images.square() - black.square()).to(found.dtype), atol=1e-5)
    assert gap < 1e-4


def test_completeness_gap_shrinks_with_steps(subject: Subject, relus: nn.Module, pixels: np.ndarray) -> None:
    images, target = answered(subject, relus, pixels)
    gaps = [integrated(subject, images, target, steps)[1] for steps in (1, 300)]
    assert gaps[1] < 0.01 < gaps[0]


def test_no_gap_where_nothing_is_gained(subject: Subject) -> None:
    subject.network = Logits(Squares())
    entries, _ = Saliency("integrated", subject.info.classes[0], steps=2).describe(
        subject, Saliency("integrated", subject.info.classes[0], steps=2).look(subject, np.zeros((4, 4, 3), np.uint8))
    )
    assert entries["completeness_gap"] is None


def test_a_map_is_the_largest_of_the_channels_up_to_its_99th_percentile() -> None:
    assert largest(torch.tensor([[[[1.0, 0.0]], [[-3.0, 0.5]]]])).tolist() == [[3, 0.5]]
    values = np.arange(101, dtype=np.float32).reshape(1, 101)
    assert np.allclose(shown(values)[0, [0, 33, 99, 100]], [0, 1 / 3, 1, 1])
    assert shown(np.zeros((2, 2))).max() == 0


@pytest.mark.parametrize(("options", "words"), [({"method": "magic"}, "--method magic"), ({"steps": 0}, "--steps 0")])
def test_rejects(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Saliency(**options)
