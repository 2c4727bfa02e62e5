"""Small networks with known answers as the subjects of explanations, and inputs of the shipped ones."""

import copy
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cnncli.explain.subject import Subject
from cnncli.io.weights import ModelInfo, Weights
from cnncli.nn.assemble import FromPixels
from tests.conftest import PHOTOS


class Answering(nn.Module):
    """A network with the outputs of a classifier: logits, and features that nobody reads."""

    def __init__(self, network: nn.Sequential):
        super().__init__()
        self.layers = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.layers(x)
        return logits, logits


def subject_of(network: nn.Sequential, classes: tuple[str, ...], side: int) -> Subject:
    """A chain of layers, named by their numbers, as a classifier of pixels / 255."""
    info = ModelInfo(
        "tiny", "classify", "tiny", {}, classes, {"input": [side, side], "resize": side, "filter": "bilinear"},
        (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), ("logits", "features"), "none", {},
    )  # fmt: skip
    return TinySubject(Weights(Path("tiny.safetensors"), info, "0" * 64, {}, None), Answering(network))


class TinySubject(Subject):
    """Of a network that is there already, not built from the catalog."""

    def __init__(self, weights: Weights, network: nn.Module):
        self.info = weights.info
        self.weights = weights
        self.device = torch.device("cpu")
        self._model = FromPixels(network, self.info.mean, self.info.std).eval().requires_grad_(False)
        self.network = network

    def without_numbers(self) -> nn.Module:
        return copy.deepcopy(self.network)


def photo_input(subject: Subject, name: str = "chelsea.png") -> np.ndarray:
    """A photo in the size that the network takes, squashed."""
    height, width = subject.info.recipe["input"]
    with Image.open(PHOTOS / name) as photo:
        return np.asarray(photo.convert("RGB").resize((width, height)))
