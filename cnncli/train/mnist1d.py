"""The course's experiment on MNIST-1D: a convolutional network against a fully connected one with as many units.

Source: Prince 2023, "Understanding Deep Learning", sec. 10.5.1 and figure 10.8; the data: Greydanus & Kobak 2024,
"Scaling Down Deep Learning with MNIST-1D" (package mnist1d, which makes it from a seed).
"""

import json
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import UsageError
from cnncli.imaging.figures import figure_of, pixels_of
from cnncli.io.atomic import make_folders, output_file
from cnncli.io.pictures import Picture, encode
from cnncli.train.recipe import Notify

CHANNELS, KERNEL, STRIDE = 15, 3, 2
LENGTHS = (40, 19, 9, 4)  # of the signal: floor((n - 3) / 2) + 1
CLASSES = 10
EPOCHS, BATCH, LR, MOMENTUM = 100, 100, 0.01, 0.9  # ibid.: 100,000 steps without momentum end at the same errors
HALVED_EVERY = 50  # epochs
PICTURE = (10, 4)  # inches


@dataclass(frozen=True)
class Curve:
    """Errors in percent and losses of one network after each epoch."""

    name: str
    parameters: int
    train_error: list[float]
    test_error: list[float]
    train_loss: list[float]
    test_loss: list[float]
    seconds: float


def convolutional() -> nn.Sequential:
    """Signals (N, 40) to logits (N, 10): three valid convolutions of 15 channels, then a linear layer of 60."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, LENGTHS[0]))]
    for number in range(3):
        layers += [nn.Conv1d(1 if number == 0 else CHANNELS, CHANNELS, KERNEL, STRIDE), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS * LENGTHS[-1], CLASSES))


def fully_connected() -> nn.Sequential:
    """As many layers, and in each as many hidden units: 40 -> 285 -> 135 -> 60 -> 10."""
    widths = [LENGTHS[0], *(CHANNELS * length for length in LENGTHS[1:])]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES))


NETWORKS = {"convolutional": convolutional, "fully connected": fully_connected}


def experiment(out: Path, epochs: int, seed: int, overwrite: bool, notify: Notify) -> dict[str, Any]:
    """Train both, write their figures and curves into a folder, and return the last test errors in percent."""
    if epochs < 1:
        raise UsageError(f"--epochs {epochs}: give at least 1")
    if (out / "curves.png").exists() and not overwrite:
        raise UsageError(f"{out}: holds an experiment already; name another folder by --out, or use --overwrite")
    signals = _signals()
    curves = []
    for name, make in NETWORKS.items():
        curve = train_one(name, make, signals, epochs, seed)
        notify(
            f"{name}: {curve.parameters:,} parameters, {epochs} epochs in {curve.seconds:.0f} s, error "
            f"{curve.train_error[-1]:.1f} % in training, {curve.test_error[-1]:.1f} % in the test"
        )
        curves.append(curve)
    _write(out, curves)
    return {
        "picture": str(out / "curves.png"),
        "networks": [
            {"network": c.name, "parameters": c.parameters, "train_error": c.train_error[-1],
             "test_error": c.test_error[-1]} for c in curves
        ],
    }  # fmt: skip


def _signals() -> dict[str, Tensor]:
    """x (4000, 40), y (4000,) to train on, and 1000 to test, all from the package's own seed."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise UsageError("mnist1d needs the package that makes its data: pip install 'cnncli[mnist1d]'") from error
    made = make_dataset(get_dataset_args())
    names = {"x": "x", "y": "y", "x_test": "x_test", "y_test": "y_test"}
    kinds = {"x": torch.float32, "y": torch.int64}
    return {name: torch.tensor(np.asarray(made[key]), dtype=kinds[name[0]]) for name, key in names.items()}


def train_one(name: str, make: Any, signals: dict[str, Tensor], epochs: int, seed: int) -> Curve:
    torch.manual_seed(seed)
    network = make()
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d)):
            nn.init.kaiming_uniform_(layer.weight)  # He et al. 2015
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
    curve = Curve(name, sum(p.numel() for p in network.parameters()), [], [], [], [], 0.0)
    started = time.monotonic()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = LR * 0.5 ** (epoch // HALVED_EVERY)
        for chosen in torch.randperm(len(signals["y"])).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(signals["x"][chosen]), signals["y"][chosen]).backward()
            optimizer.step()
        for part, errors, losses in (
            ("", curve.train_error, curve.train_loss), ("_test", curve.test_error, curve.test_loss),
        ):  # fmt: skip
            error, loss = _measure(network, signals[f"x{part}"], signals[f"y{part}"])
            errors.append(error)
            losses.append(loss)
    return Curve(**{**asdict(curve), "seconds": time.monotonic() - started})


@torch.inference_mode()
def _measure(network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    logits = network(x)
    return round(100 * float((logits.argmax(dim=1) != y).float().mean()), 3), float(F.cross_entropy(logits, y))


def _write(out: Path, curves: list[Curve]) -> None:
    make_folders(out)
    with output_file(out / "metrics.json") as file:
        file.write(json.dumps([asdict(curve) for curve in curves]).encode() + b"\n")
    with output_file(out / "curves.png") as file:
        file.write(encode(Picture(draw(curves)), ".png"))


def draw(curves: list[Curve]) -> np.ndarray:
    """Errors in training and test over the epochs, a panel for each network: uint8 RGB."""
    figure = figure_of(*PICTURE)
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, curve in zip(panels, curves, strict=True):
        epochs = range(1, len(curve.test_error) + 1)
        axes.plot(epochs, curve.train_error, label="training")
        axes.plot(epochs, curve.test_error, label=f"test: {curve.test_error[-1]:.1f} % at the end")
        axes.set(title=f"{curve.name}, {curve.parameters:,} parameters", xlabel="epoch", ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("error in %")
    return pixels_of(figure)
