"""Training speed on made-up photos: examples a second, and the share of the device's peak that they come to.

    python tests/bench/train_synthetic.py [--backbone resnet50] [--size 224] [--batch-size 256] [--precision bf16]

Through cnncli's own loop and loaders. Operations are those of a forward pass, counted by torch, times three (the
gradients of activations and of weights take as many each); the peak is the maker's for dense bf16, or --peak.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import default_head
from cnncli.train.config import TrainConfig
from cnncli.train.devices import open_fabric
from cnncli.train.loop import Trainer
from cnncli.train.recipe import Examples
from cnncli.train.recipes.classify import ClassifyRecipe

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12}  # operations a second, dense bf16, data sheets
POOL = 512  # different images
CLASSES = 1000


class Noise(Examples):
    """Images of noise from a pool, uint8 (size, size, 3), with random labels."""

    def __init__(self, count: int, size: int):
        generator = np.random.default_rng(0)
        self.count = count
        self.images = torch.from_numpy(generator.integers(0, 256, (min(POOL, count), size, size, 3), dtype=np.uint8))

    def __len__(self) -> int:
        return self.count

    def example(self, index: int) -> dict[str, Any]:
        return {"images": self.images[index % len(self.images)], "label": index % CLASSES}


class SyntheticRecipe(ClassifyRecipe):
    """The classifier's losses and measures over images of noise."""

    def __init__(self, config: TrainConfig, steps: int):
        self.config = config
        self._mixup = None
        self.info = ModelInfo(
            name="synthetic", task="classify", backbone=config.backbone, outputs=("logits", "features"),
            head={"kind": "linear", **default_head(config.backbone)}, classes=tuple(map(str, range(CLASSES))),
            recipe={"input": [config.size] * 2, "resize": config.size, "filter": "bilinear"},
            mean=(128.0,) * 3, std=(64.0,) * 3, licence="none", source={},
        )  # fmt: skip
        self.train = Noise(steps * config.batch_size, config.size)
        self.val = Noise(config.batch_size, config.size)


def operations(recipe: SyntheticRecipe) -> float:
    """Of one example, forward and backward."""
    network = recipe.network().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, recipe.config.size, recipe.config.size))
    return 3.0 * counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", type=float, help="operations a second, in units of 1e12")
    options = parser.parse_args()
    config = TrainConfig(
        task="classify", data="none", out=Path("none"), backbone=options.backbone, pretrained="none", size=options.size,
        batch_size=options.batch_size, precision=options.precision, epochs=options.epochs, workers=options.workers,
        compile=options.compile,
    )  # fmt: skip
    recipe = SyntheticRecipe(config, options.steps)
    fabric = open_fabric(config)
    trainer = Trainer(recipe, recipe.network(), fabric, print, lambda done, total: None)
    speed = statistics.median([report.images_per_second for report in trainer.epochs()][1:])
    name = torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu"
    needed = operations(recipe)
    print(f"{options.backbone}, {options.precision}, {options.size} px, batches of {options.batch_size}, on {name}")
    print(f"{speed:.0f} examples/s, {needed * speed / 1e12:.1f}e12 operations/s")
    peak = 1e12 * options.peak if options.peak else next((p for key, p in PEAKS.items() if key in name), None)
    if peak:
        print(f"{needed * speed / peak:.3f} of the peak")


if __name__ == "__main__":
    main()
