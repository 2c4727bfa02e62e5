"""Masks of class numbers, however a PNG holds them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InputError
from cnncli.imaging.masks import palette
from cnncli.tasks.masks import read_mask


def save_mask(path: Path, numbers: np.ndarray) -> Path:
    image = Image.fromarray(numbers)
    image.putpalette(list(palette()))
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_reads_masks_of_every_kind(mode: str, tmp_path: Path) -> None:
    numbers = np.array([[0, 15, 255]], np.uint8)
    path = save_mask(tmp_path / "m.png", numbers)
    if mode == "L":
        Image.fromarray(numbers).save(path)
    elif mode == "RGB":
        Image.open(path).convert("RGB").save(path)
    assert (read_mask(str(path), (1, 3)) == numbers).all()


def test_reads_masks_of_two_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "m.png")
    assert read_mask(str(tmp_path / "m.png"), (1, 2)).tolist() == [[0, 1]]


def test_rejects_colours_of_no_class(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="not PASCAL VOC's"):
        read_mask(str(tmp_path / "m.png"), (2, 2))


def test_rejects_masks_of_another_size(tmp_path: Path) -> None:
    path = save_mask(tmp_path / "m.png", np.zeros((2, 4), np.uint8))
    with pytest.raises(InputError, match=r"m\.png is 4 x 2, not 3 x 2"):
        read_mask(str(path), (2, 3))
