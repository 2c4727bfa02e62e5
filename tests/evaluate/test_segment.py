"""Agreement of masks with truth: counted by hand on small masks, and on labelled photos where they are at hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InputError, UsageError
from cnncli.evaluate.segment import Agreement, Pair, find_pairs
from cnncli.imaging.masks import palette
from cnncli.io.images import Photo
from cnncli.io.sources import Input
from cnncli.results.segment import Segmentation
from cnncli.run.items import Item

CLASSES = ("background", "cat", "dog", "bird")
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
ANSWER = np.array([[0, 2, 1, 0], [0, 0, 1, 1]], np.uint8)


def save_mask(path: Path, numbers: np.ndarray) -> Path:
    image = Image.fromarray(numbers)
    image.putpalette(list(palette()))
    image.save(path)
    return path


def agreement(tmp_path: Path, *answers: np.ndarray) -> Agreement:
    mask = save_mask(tmp_path / "mask.png", TRUTH)
    counted = Agreement([Pair("photo.jpg", str(mask))], CLASSES)
    item = Item(0, Input("photo.jpg", ""), lambda: Photo(np.zeros((2, 4, 3), np.uint8)))
    for answer in answers:
        counted.write(item, Photo(np.zeros((2, 4, 3), np.uint8)), Segmentation((), None, answer))
    return counted


def test_counts_as_by_hand(tmp_path: Path) -> None:
    """Background: 3 of 4 + 1 answered for cat = 3/5; cat: 2 of 3 and none more = 2/3; dog is only answered."""
    figures = agreement(tmp_path, ANSWER).figures()
    parts = {entry["label"]: entry["IoU"] for entry in figures["classes"]}
    assert parts == {"background": 60.0, "cat": 66.67, "dog": 0.0}
    assert figures["mIoU"] == pytest.approx(100 * (3 / 5 + 2 / 3) / 2, abs=0.005)
    assert figures["pixel_accuracy"] == pytest.approx(100 * 5 / 7, abs=0.005)
    assert figures["pixels"] == 7


def test_adds_up_over_photos(tmp_path: Path) -> None:
    assert agreement(tmp_path, TRUTH % 255, ANSWER).counts.sum() == 14
    assert agreement(tmp_path, TRUTH % 255).figures()["mIoU"] == 100


def test_rejects_masks_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is 4 x 2, not 3 x 2"):
        agreement(tmp_path, ANSWER[:, :3])
    mask = save_mask(tmp_path / "mask.png", TRUTH)
    with pytest.raises(InputError, match="has class 1, the model's go up to 0"):
        item = Item(0, Input("photo.jpg", ""), lambda: Photo(np.zeros((2, 4, 3), np.uint8)))
        Agreement([Pair("photo.jpg", str(mask))], CLASSES[:1]).write(item, None, Segmentation((), None, ANSWER))


def test_finds_photos_with_masks(tmp_path: Path) -> None:
    for folder, names in (("images", ("a.jpg", "b.jpg")), ("masks", ("a.png", "c.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", (4, 4)).save(tmp_path / folder / name)
    pairs, without = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [Path(pair.photo).name for pair in pairs] == ["a.jpg"]
    assert without == 1
    with pytest.raises(UsageError, match="no such folder"):
        find_pairs(tmp_path / "images", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no mask for any of the 2 images"):
        find_pairs(tmp_path / "images", tmp_path / "empty")


def test_command_answers_where_every_mask_fails(here, photos: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.open(photos / "chelsea.png").resize((60, 40)).save(tmp_path / "images" / "x.png")
    Image.new("RGB", (60, 40), (1, 2, 3)).save(tmp_path / "masks" / "x.png")
    done = here("eval", "segment", "images", "masks", "--scale", "65")
    assert done.returncode == 1
    assert b"not PASCAL VOC's" in done.stderr
    assert b"1 failed" in done.stdout


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_accuracy_on_labelled_photos(engine: str, data_set, here) -> None:
    """Measured with the source's own graph: mIoU 51.9, pixel accuracy 90.0 on these 60."""
    coco = data_set("coco")
    done = here("eval", "segment", coco / "val", coco / "vocmask_val", "--json", "--engine", engine)
    figures = json.loads(done.stdout)
    assert figures["images"] == 60
    assert figures["mIoU"] == pytest.approx(51.9, abs=0.3)
    assert figures["pixel_accuracy"] == pytest.approx(90.0, abs=0.3)
