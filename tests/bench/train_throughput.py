"""Training speed beside a plain loop by hand: the same network, batches, photos and augmentation, in turns.

    python tests/bench/train_throughput.py FOLDER [--backbone resnet18] [--size 96] [--batch-size 32] [--epochs 3]

FOLDER has a folder per class. Prints examples a second of both, and cnncli's over the plain loop's.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from cnncli.train.config import TrainConfig
from cnncli.train.run import TrainingRun


def plain(options: argparse.Namespace, device: str) -> list[float]:
    """Examples a second of each epoch: what one writes after the tutorials."""
    steps = [
        v2.PILToTensor(),
        v2.RandomResizedCrop(options.size, scale=(0.5, 1), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.02),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    photos = torchvision.datasets.ImageFolder(options.folder, v2.Compose(steps))
    loader = DataLoader(
        photos, options.batch_size, shuffle=True, drop_last=True, num_workers=options.workers,
        persistent_workers=options.workers > 0, pin_memory=device == "cuda",
    )  # fmt: skip
    network = torchvision.models.get_model(options.backbone, num_classes=len(photos.classes)).to(device).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    speeds = []
    for _ in range(options.epochs):
        started = time.monotonic()
        for images, labels in loader:
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            loss = criterion(network(images), labels.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        speeds.append(len(loader) * options.batch_size / (time.monotonic() - started))
    return speeds


def ours(options: argparse.Namespace, device: str) -> list[float]:
    """The same by `cnncli train classify`; one photo of each class is held back."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            task="classify", data=options.folder, out=Path(folder) / "run", backbone=options.backbone,
            pretrained="none", epochs=options.epochs, batch_size=options.batch_size, size=options.size,
            val=1e-6, workers=options.workers, device=device, schedule="constant",
        )  # fmt: skip
        run = TrainingRun(config, lambda message: None, lambda done, total: None)
        return [report.images_per_second for report in run.epochs()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speeds: dict[str, list[float]] = {"cnncli": [], "plain loop": []}
    for _ in range(
        options.rounds
    ):  # in turns: other work on the machine falls on both; each one's first epoch warms up
        speeds["plain loop"] += plain(options, device)[1:]
        speeds["cnncli"] += ours(options, device)[1:]
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.1f} examples/s on {device}")
    print(f"cnncli / plain loop: {medians['cnncli'] / medians['plain loop']:.3f}")


if __name__ == "__main__":
    main()
