"""Inputs that a channel or a class answers to most, found by gradient ascent.

Sources: Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks", sec. 2 (a class's score); Olah,
Mordvintsev & Schubert 2017, "Feature Visualization" (what makes the picture legible); Mahendran & Vedaldi 2015 (its
regularisers); Mordvintsev, Olah & Tyka 2015, "Inceptionism" (from a photo).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.explain.answers import Target
from cnncli.explain.backward_rules import Redirected
from cnncli.explain.channels import Maps, channel_numbers, maps_of
from cnncli.explain.image_parameters import FourierImage, moved, off_grey, total_variation
from cnncli.explain.subject import Size, Subject
from cnncli.imaging.geometry import resize
from cnncli.nn.layer_table import macs_of
from cnncli.nn.tracing import Operation

STEPS, PHOTO_STEPS = 256, 64  # from noise, and from a photo
LEAST_STEPS = 32
AFFORDED = 500 * 10**9  # multiply-adds of forward passes, some minute of one CPU with what belongs to them
MOST_STEPS = 100_000
MOST_GOALS = 64
RATE = 0.05  # of Adam, as in lucid
PHOTO_RATE = 0.02  # a photo is to be recognised afterwards
SMOOTHNESS = 0.05  # weight of the total variation, the gradient of what is sought being 1 in the mean
MODERATION = 0.02  # weight of the distance from grey
LEAST = 1e-12  # where nothing is found, nothing is divided by zero
WAKING = 16  # steps in which closed activations are opened
COLOUR_CHANNELS = 3
NOISE_LEVEL = 25 / 255  # of the fourth channel of a denoiser's input


@dataclass(frozen=True)
class Settings:
    steps: int | None = None  # usual_steps
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed}: give 0 to 2^63 - 1")
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"--steps {self.steps}: give 1 to {MOST_STEPS}")


class Goal(ABC):
    """What is to be raised."""

    name: str
    place: str = ""  # the end of a title
    entries: dict[str, Any]  # of the line of JSON

    @abstractmethod
    def value(self, images: Tensor) -> Tensor:
        """What gradients are taken of, for normalised inputs (N, C, H, W): (N,)."""

    @abstractmethod
    def operations(self, size: Size) -> Sequence[Operation]:
        """What has to be computed for it, of an input of `size`."""

    def reading(self, images: Tensor) -> float:
        """What people read of one input."""
        with torch.no_grad():
            return float(self.value(images)[0])


class ChannelGoal(Goal):
    """The mean activation of a channel."""

    def __init__(self, maps: Maps, channel: int):
        self.maps, self.channel = maps, channel
        self.name, self.place = f"channel {channel}", f"\nof {maps.path}"
        self.entries = {"layer": maps.path, "channel": channel}

    def value(self, images: Tensor) -> Tensor:
        return self.maps.of(images)[:, self.channel].mean((1, 2))

    def operations(self, size: Size) -> Sequence[Operation]:
        return self.maps.subject.operations(size)[: self.maps.operation + 1]


class ClassGoal(Goal):
    """The evidence for a class; its score is what people read."""

    def __init__(self, subject: Subject, label: str, images: Tensor):
        self.subject = subject
        self.target = _target(subject, label, images)
        self.name = self.target.label
        self.entries = {"label": self.target.label, "index": self.target.index}

    def value(self, images: Tensor) -> Tensor:
        return self.subject.evidence(images, self.target)

    def operations(self, size: Size) -> Sequence[Operation]:
        return self.subject.operations(size)

    def reading(self, images: Tensor) -> float:
        with torch.no_grad():
            return float(self.subject.score(images, self.target)[0])


def _target(subject: Subject, label: str, images: Tensor) -> Target:
    """The class, in the whole picture where a network answers for each of its pixels."""
    answer, info = subject.answer, subject.info
    if info.task == "embed-face":
        raise UsageError(f"--label {label}: {info.name} knows no classes; choose --layer and --channel")
    named = info.task in ("foreground", "find-face") and label.lower() == answer.label_of(0)
    index = 0 if named else answer.index_of(label)
    with torch.no_grad():
        first = subject.outputs(images)[info.outputs[0]]
    everywhere = torch.ones(first.shape[2:], dtype=torch.bool, device=first.device) if first.ndim == 4 else None
    return Target(index or 0, answer.label_of(index or 0), 0.0, everywhere)


def usual_steps(goal: Goal, size: Size, from_photo: bool) -> int:
    """As many as show something, in about a minute of one CPU's time."""
    cost = sum(map(macs_of, goal.operations(size)))
    most = PHOTO_STEPS if from_photo else STEPS
    return min(most, max(LEAST_STEPS, AFFORDED // max(1, cost)))


def channel_goals(subject: Subject, layer: str, channels: str, size: Size) -> list[Goal]:
    """The channels "3,17" of a layer. UsageError where it has none of these."""
    numbers = channel_numbers(channels)
    if len(numbers) > MOST_GOALS:
        raise UsageError(f"--channel: at most {MOST_GOALS} can be shown")
    maps = maps_of(subject, layer, _grey(subject, size))
    maps.check(numbers)
    return [ChannelGoal(maps, number) for number in numbers]


def class_goals(subject: Subject, labels: Sequence[str], size: Size) -> list[Goal]:
    """UsageError where the network knows no such class."""
    if len(labels) > MOST_GOALS:
        raise UsageError(f"--label: at most {MOST_GOALS} can be shown")
    grey = _grey(subject, size)
    return [ClassGoal(subject, label, grey) for label in labels]


def _grey(subject: Subject, size: Size) -> Tensor:
    return as_input(subject, torch.full((1, colours_of(subject), *size), 0.5, device=subject.device))


@dataclass(frozen=True)
class Dreamt:
    """A picture (C, H, W) in 0..1, and the reading of the goal for what it began as and for itself."""

    name: str
    picture: Tensor
    before: float
    after: float
    steps: int


def dream(subject: Subject, goal: Goal, settings: Settings, size: Size, photo: Tensor | None) -> Dreamt:
    """Raise a goal from noise, or from a photo (1, 3, H, W) in 0..1 of that size."""
    generator = torch.Generator().manual_seed(settings.seed)
    image = FourierImage(colours_of(subject), size, generator, subject.device)
    if photo is not None:
        image.begin_with(photo.to(subject.device))
    optimiser = torch.optim.Adam([image.spectrum], RATE if photo is None else PHOTO_RATE)
    before = goal.reading(as_input(subject, image.picture()))
    steps = settings.steps or usual_steps(goal, size, photo is not None)
    for step in range(steps):
        picture = image.picture()
        optimiser.zero_grad()
        picture.backward(-_pull(subject, goal, picture, generator, step < WAKING))
        optimiser.step()
    picture = image.picture().detach()
    return Dreamt(goal.name, picture[0].cpu(), before, goal.reading(as_input(subject, picture)), steps)


def _pull(subject: Subject, goal: Goal, picture: Tensor, generator: torch.Generator, waking: bool) -> Tensor:
    """How to change a picture: to what is sought, by 1 in the quadratic mean, and to what is smooth and moderate."""
    free = picture.detach().requires_grad_(True)
    with Redirected() if waking else nullcontext():
        value = goal.value(as_input(subject, moved(free, generator)))
    sought = torch.autograd.grad(value.sum(), free)[0]
    ends = SMOOTHNESS * total_variation(free) + MODERATION * off_grey(free)
    held = torch.autograd.grad(ends.sum(), free)[0]
    return sought / sought.square().mean().sqrt().clamp(min=LEAST) - held


def fitted(photo: np.ndarray, size: Size) -> Tensor:
    """A photo, uint8 RGB (H, W, 3), whose middle fills an input: (1, 3, h, w) in 0..1."""
    height, width = photo.shape[:2]
    factor = max(size[0] / height, size[1] / width)
    whole = max(size[0], round(height * factor)), max(size[1], round(width * factor))
    pixels = resize(photo, *whole, "bicubic")[0]
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    middle = np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])
    return torch.from_numpy(middle).permute(2, 0, 1)[None].float() / 255


def colours_of(subject: Subject) -> int:
    return min(COLOUR_CHANNELS, len(subject.info.mean))


def as_input(subject: Subject, pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in 0..1 as the network takes them; a denoiser is told a noise level beside them."""
    black, white = subject.limits
    if subject.info.recipe.get("dtype") == "float32":
        white = black + (white - black) / 255  # it takes 0..1 by itself
    count = pictures.shape[1]
    colours = black[:, :count] + pictures * (white - black)[:, :count]
    if black.shape[1] == count:
        return colours
    level = torch.full_like(colours[:, :1], NOISE_LEVEL)
    return torch.cat([colours, level.expand(-1, black.shape[1] - count, -1, -1)], dim=1)
