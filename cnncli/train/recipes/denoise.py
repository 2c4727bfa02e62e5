"""Denoising: clean photos, to which noise is added on the way, mean squared error, PSNR at fixed levels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.image import PeakSignalNoiseRatio

from cnncli.errors import UsageError
from cnncli.io.weights import ModelInfo
from cnncli.nn.denoisers import reach
from cnncli.train.config import TrainConfig
from cnncli.train.parts import divided_folders
from cnncli.train.patches import WHITE, CentreCrops, Noise, NoisyPatches, Photos
from cnncli.train.photos import Look, check_apart, divided, list_photos, look_through
from cnncli.train.recipe import Batch, Meter, Notify, Recipe
from cnncli.train.recipes.denoise_options import head_of, noise_of, patch_side

LEVELS = (15.0, 25.0, 50.0)  # of 255: those of Zhang et al. 2017 and 2018
VAL_SIDE = 256  # px of the crops that validation looks at
EPOCH = 4000  # patches of an epoch, at least, where their number a photo is not given
LAYOUT = "give a folder of clean photos, of any sizes and in any subfolders: DATA/a.jpg, DATA/holiday/b.png"


class DenoiseMeter(Meter):
    """Mean PSNR in dB of the noisy and of the cleaned photos, at each of `levels` and over all."""

    def __init__(self, noise: Noise, levels: Sequence[float]):
        super().__init__()
        self.noise, self.levels = noise, levels
        self.before = nn.ModuleList(_psnr() for _ in levels)
        self.after = nn.ModuleList(_psnr() for _ in levels)
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        clean = batch["clean"] / WHITE
        for sigma, before, after in zip(self.levels, self.before, self.after, strict=True):
            images = self.noise.model_input(clean, sigma, batch["noise"])
            cleaned = model(images)[0].permute(0, 2, 3, 1)
            self.loss.update(F.mse_loss(cleaned, clean), len(clean))
            before.update(images[..., :3], clean)
            after.update(cleaned.clamp(0, 1), clean)

    def compute(self) -> dict[str, float]:
        figures = {"loss": float(self.loss.compute())}
        for name, metrics in (("psnr", self.after), ("psnr_before", self.before)):
            values = [float(metric.compute()) for metric in metrics]
            figures[name] = sum(values) / len(values)
            figures |= {f"{name}_{sigma:g}": value for sigma, value in zip(self.levels, values, strict=True)}
        return figures


class DenoiseRecipe(Recipe):
    task: ClassVar[str] = "denoise"
    best: ClassVar[tuple[str, str]] = ("psnr", "max")
    batch_size: ClassVar[int] = 16

    def __init__(self, config: TrainConfig, notify: Notify):
        self.config = config
        head = head_of(config)
        self.noise = noise_of(config)
        step, _ = reach(head["kind"], head)
        size = patch_side(config, step)
        train, val = _looks(config, notify)
        patches = config.option("patches", None) or -(-EPOCH // len(train))
        self.info = _info(config, head, self.noise)
        self.train = NoisyPatches(_photos(train, size, config), patches, size, config.augment, self.noise)
        self.val = CentreCrops(_photos(val, VAL_SIDE, config), VAL_SIDE)
        low, high = self.noise.sigma
        self.levels = tuple(sigma for sigma in LEVELS if low <= sigma <= high) or (high,)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        cleaned = model(batch["images"])[0].permute(0, 2, 3, 1).float()
        return {"loss": F.mse_loss(cleaned, batch["clean"] / WHITE)}

    def meter(self) -> Meter:
        return DenoiseMeter(self.noise, self.levels)

    def picture(self, model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Noisy, cleaned and clean, side by side, at the level in the middle."""
        device = next(model.parameters()).device
        sigma = self.levels[len(self.levels) // 2]
        pictures = []
        for sample in samples:
            images = self.noise.model_input(sample["clean"] / WHITE, sigma, sample["noise"])
            cleaned = model(images[None].to(device))[0][0].permute(1, 2, 0).float().cpu()
            shown = torch.cat([images[..., :3], cleaned, sample["clean"] / WHITE], dim=1)
            pictures.append(shown.clamp(0, 1).mul(WHITE).round().to(torch.uint8).numpy())
        return pictures


def _psnr() -> PeakSignalNoiseRatio:
    """Of each photo, then the mean: that of all their pixels at once would count the worst most."""
    return PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean")


def _looks(config: TrainConfig, notify: Notify) -> tuple[dict[str, Look], dict[str, Look]]:
    """The photos of the training and the validation part."""
    folder, val_folder = divided_folders(config, LAYOUT)
    train = look_through(_found(folder, config), config, notify)
    if val_folder is not None:
        val = look_through(_found(val_folder, config), config, notify)
        check_apart(train, val)
        return train, val
    paths = list(train)
    keys = [train[path].digest for path in paths]
    if len(set(keys)) < 2:
        raise UsageError(f"{config.data}: one photo can't be for both training and validation; give at least 2")
    parts = divided(keys, [""] * len(paths), config.val, config.seed)
    first, second = ({paths[index]: train[paths[index]] for index in part} for part in parts)
    return first, second


def _found(folder: Path, config: TrainConfig) -> list[str]:
    """Photos below a folder, but for those that training writes."""
    own = config.out.resolve()
    found = [path for path in list_photos(folder, recursive=True) if own not in Path(path).resolve().parents]
    if not found:
        raise UsageError(f"{folder}: holds no photos; {LAYOUT}")
    return found


def _photos(looks: Mapping[str, Look], least: int, config: TrainConfig) -> Photos:
    return Photos(list(looks), [look.size for look in looks.values()], least, config.max_pixels)


def _info(config: TrainConfig, head: dict[str, Any], noise: Noise) -> ModelInfo:
    kind = head["kind"]
    step, radius = reach(kind, head)
    return ModelInfo(
        name=config.out.name,
        task="denoise",
        backbone=kind,
        head=head,
        classes=(),
        recipe={
            "input": [max(64, 2 * step)] * 2,
            "dtype": "float32",
            "sizes": [step, 0],
            "sigma_range": list(noise.sigma),
            "radius": radius,
            "grey_factor": 1.0,  # it has learned what noise grey photos have
        },
        mean=(0.0,) * 4,
        std=(1.0,) * 4,
        outputs=("denoised",),
        licence="yours",
        source={"trained_by": "cnncli train", "data": Path(config.data).name, "bits": 8 if noise.rounded else "float"},
    )
