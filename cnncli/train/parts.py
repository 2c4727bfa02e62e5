"""Data that its owner has divided: DATA/train and DATA/val, or a folder named by --val."""

from pathlib import Path

from cnncli.errors import UsageError
from cnncli.train.config import TrainConfig

VALIDATION_FOLDERS = ("val", "valid", "validation", "test")


def divided_folders(config: TrainConfig, layout: str) -> tuple[Path, Path | None]:
    """The folders of training and validation; None for the latter where a part of the former is to be held back.

    UsageError, with the layout shown, where one is no folder.
    """
    data = Path(config.data)
    train = data / "train" if (data / "train").is_dir() else data
    if isinstance(config.val, str):
        val: Path | None = Path(config.val)
    else:
        val = next((data / name for name in VALIDATION_FOLDERS if train != data and (data / name).is_dir()), None)
    for folder in (train, val):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder}: is no folder; {layout}")
    return (train if val is not None else data), val
