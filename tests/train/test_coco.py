"""COCO's layout: what is read of it, and what is said where it is another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from cnncli.errors import UsageError
from cnncli.train.coco import CocoSet, find_coco, read_coco
from tests.train.marked_photos import write_coco


def read(folder: Path) -> CocoSet:
    files, _ = find_coco(folder)
    return read_coco(files.annotations, files.images)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "data")


def test_boxes_become_corners(folder: Path) -> None:
    found = read(folder)
    assert found.classes == ("red", "blue")
    assert found.category_ids == (7, 3)
    assert [len(photo.boxes) for photo in found.photos] == [1, 1, 2]
    np.testing.assert_array_equal(found.photos[2].boxes, [[4, 30, 34, 70], [48, 6, 92, 40]])
    assert found.photos[2].labels.tolist() == [0, 1]
    assert found.photos[0].size == (72, 96)
    assert found.photos[0].path == str(folder / "images" / "annotations-0.png")


def test_agrees_with_pycocotools(data_set: Callable[[str], Path]) -> None:
    folder = data_set("coco")
    files, val = find_coco(folder)
    assert (files.images, val.images) == (folder / "train", folder / "val")
    found, other = read_coco(files.annotations, files.images), COCO(files.annotations)
    assert len(found.photos) == len(other.imgs)
    for photo, image in zip(found.photos, other.dataset["images"], strict=True):
        marks = other.loadAnns(other.getAnnIds(image["id"], iscrowd=False))
        assert [found.category_ids[label] for label in photo.labels] == [mark["category_id"] for mark in marks]
        corners = np.array([mark["bbox"] for mark in marks]).reshape(-1, 4) @ np.array(
            [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        np.testing.assert_allclose(photo.boxes, corners, atol=0.02)
        assert list(photo.segmentations) == [mark["segmentation"] for mark in marks]


@pytest.mark.parametrize("place", ["annotations.json", "instances.json", "annotations/instances_train2017.json"])
def test_finds_the_json(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / "annotations.json").rename(folder / place)
    files, val = find_coco(folder)
    assert files.annotations == folder / place
    assert files.images == folder / "images"
    assert val is None


def test_finds_photos_beside_the_json(folder: Path) -> None:
    for photo in (folder / "images").iterdir():
        photo.rename(folder / photo.name)
    assert find_coco(folder)[0].images == folder


def test_finds_its_own_validation(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_coco(tmp_path, name=f"instances_{part}")
    files, val = find_coco(tmp_path)
    assert (files.annotations.name, files.images.name) == ("instances_train.json", "train")
    assert (val.annotations.name, val.images.name) == ("instances_val.json", "val")


def test_takes_boxes_before_points(tmp_path: Path) -> None:
    for name in ("instances_train", "person_keypoints_train"):
        write_coco(tmp_path, name=name)
    assert find_coco(tmp_path)[0].annotations.name == "instances_train.json"


def test_a_folder_of_validation_alone_is_one_too(tmp_path: Path) -> None:
    write_coco(tmp_path, name="instances_val")
    files, val = find_coco(tmp_path)
    assert files.annotations.name == "instances_val.json"
    assert val is None


def test_puts_crowds_aside_and_leaves_out_empty_boxes(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        first, second, third, _ = content["annotations"]
        first["iscrowd"] = 1
        second["bbox"] = [120, 10, 5, 5]  # right of a photo of 96 px
        third["bbox"] = [4, 30, 300, 0]

    edit(folder / "annotations.json", change)
    found = read(folder)
    assert [len(photo.boxes) for photo in found.photos] == [0, 0, 1]
    assert found.dropped == 2
    np.testing.assert_array_equal(found.photos[0].crowd_boxes, [[8, 12, 48, 42]])
    assert found.photos[0].crowd_labels.tolist() == [0]


def test_cuts_boxes_to_the_photo(folder: Path) -> None:
    edit(folder / "annotations.json", lambda content: content["annotations"][0].update(bbox=[-10, 60, 30, 40]))
    np.testing.assert_array_equal(read(folder).photos[0].boxes, [[0, 60, 20, 72]])


def test_reads_points(folder: Path) -> None:
    edit(folder / "annotations.json", lambda content: content["annotations"][3].update(keypoints=[1, 2, 2, 0, 0, 0]))
    points = read(folder).photos[2].keypoints
    np.testing.assert_array_equal(points, [[[0, 0, 0], [0, 0, 0]], [[1, 2, 2], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("categories"), "has no categories; expected COCO's layout"),
        (lambda content: content["annotations"].clear(), "has no annotations; expected COCO's layout"),
        (lambda content: content["annotations"][1].pop("bbox"), r"annotations\[1\] has no bbox"),
        (
            lambda content: content["annotations"][1].update(bbox=[1, 2, 3]),
            r"annotations\[1\] has the bbox \[1, 2, 3\]",
        ),
        (
            lambda content: content["annotations"][1].update(bbox=[1, 2, "3", 4]),
            "expected .x, y, width, height. in pix",
        ),
        (lambda content: content["annotations"][2].update(image_id=99), "of image 99, which the file does not list"),
        (lambda content: content["annotations"][2].update(category_id=99), "of category 99, which the file does not"),
        (lambda content: content["annotations"][2].update(keypoints=[1, 2]), "2 numbers as keypoints"),
        (lambda content: content["images"][1].update(file_name="gone.jpg"), "1 of its 3 photos are not in .*gone.jpg"),
    ],
)
def test_says_what_is_wrong(folder: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    edit(folder / "annotations.json", change)
    with pytest.raises(UsageError, match=words):
        read(folder)


def test_says_where_photos_are_looked_for(folder: Path) -> None:
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(UsageError, match=r"its 3 photos .* are in no folder beside it; expected COCO's layout"):
        read(folder)


def test_shows_the_layout_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no JSON of annotations; expected COCO's layout:\n  DATA/instances_train"):
        find_coco(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        find_coco(tmp_path / "absent")
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(UsageError, match=r"annotations\.json: can't be read"):
        find_coco(tmp_path)


def test_refuses_to_choose(tmp_path: Path) -> None:
    for name in ("instances_train1", "instances_train2"):
        write_coco(tmp_path, name=name)
    with pytest.raises(UsageError, match=r"2 files of annotations .instances_train1.json, instances_train2.json"):
        find_coco(tmp_path)
