"""What a task brings to training: its data, network, loss and measure. The loop (`train.loop`) brings the rest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.train.config import TrainConfig

Batch = dict[str, Any]  # of collated samples; "images" is what the model takes, all tensors have the batch axis first
Notify = Callable[[str], None]  # takes one line for the user


class Examples(ABC):
    """Examples by number. `example` may draw from torch's global generator, which is seeded for it beforehand
    (run's seed, epoch, index), so that it gives the same whoever asks, and whenever. Must be picklable."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def example(self, index: int) -> dict[str, Any]: ...


class Meter(nn.Module, ABC):
    """Measures a model on validation examples, each counted once.

    Holds torchmetrics (as submodules, so that they move with `.to`), which add up over processes when computed.
    """

    @abstractmethod
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model, in evaluation mode and without gradients, and count its answers."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Figures over all batches since the meter was made; "loss" among them."""


class Recipe(ABC):
    """One kind of model, trained on one kind of data.

    Made from DATA's layout (names and sizes, no pixels yet): UsageError, showing the layout, where it is not right.
    `info` describes the weights file that training writes. A model is `FromPixels(network)`: it takes
    `batch["images"]`, uint8 (N, H, W, 3) (denoise: float32 (N, H, W, 4)).
    """

    task: ClassVar[str]  # of the command line
    best: ClassVar[tuple[str, str]]  # figure of the meter that decides which epoch is kept, and "max" or "min"
    batch_size: ClassVar[int] = 32  # examples of a step where none is asked for
    lr: ClassVar[float] = 1e-3  # of AdamW, where none is asked for

    config: TrainConfig
    info: ModelInfo
    train: Examples
    val: Examples
    pretrained: Path | None = None  # weights file to start from, see train.pretrained.find_pretrained

    @abstractmethod
    def __init__(self, config: TrainConfig, notify: Notify): ...

    @property
    def is_pretrained(self) -> bool:
        return self.pretrained is not None

    def finish(self, figures: dict[str, float]) -> ModelInfo:
        """What the finished file says of itself, given the best epoch's figures."""
        return self.info

    def network(self) -> nn.Module:
        """The network with random parameters."""
        return build(self.info)

    def order(self, epoch: int) -> list[int]:
        """The order in which an epoch takes the training examples."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.train), generator=generator).tolist()

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        return default_collate(samples)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars of a training batch, means over it: "loss" is what training lowers, others are shown beside it.

        Calls the model once, and through its forward alone: it may be wrapped for several processes.
        """

    @abstractmethod
    def meter(self) -> Meter: ...

    @abstractmethod
    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Validation samples with the model's answers, uint8 RGB (H, W, 3) each, for people to look at."""
