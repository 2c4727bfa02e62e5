"""Small sets of pictures that a tiny network learns in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnncli.train.config import TrainConfig

COLOURS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


def write_picture(path: Path, colour: tuple[int, int, int], seed: int, side: int = 32) -> None:
    """A square of grain in one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(seed).integers(-40, 40, (side, side, 3))
    Image.fromarray(np.clip(grain + colour, 0, 255).astype(np.uint8)).save(path)


def write_classes(folder: Path, count: int, first: int = 0) -> Path:
    """A folder for each colour with so many pictures."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for index in range(count):
            write_picture(folder / name / f"{index}.png", colour, seed=first + 1000 * number + index)
    return folder


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "colours", 10)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    """Several of torch's threads wait for each other where tests run side by side."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def make_config(tmp_path: Path, classes_folder: Path) -> Callable[..., TrainConfig]:
    """Options of a run over the three colours: LeNet-5 from random numbers, two epochs."""

    def make(**changes: Any) -> TrainConfig:
        options = {
            "task": "classify", "data": str(classes_folder), "out": tmp_path / "run", "backbone": "lenet5",
            "pretrained": "none", "epochs": 2, "batch_size": 8, "augment": "none", "workers": 0, "device": "cpu",
            "deterministic": True,
        }  # fmt: skip
        return TrainConfig(**{**options, **changes})

    yield make
    import torch

    torch.use_deterministic_algorithms(False)
