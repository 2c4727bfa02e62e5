"""Photos with points: a CSV or COCO's keypoints, and what is said where it is neither."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.errors import UsageError
from cnncli.train.config import TrainConfig
from cnncli.train.pointed import Pointed, PointedExamples, PointedPhoto, read_pointed
from tests.train.marked_photos import SCENES, write_coco, write_points

POINTS = [[(20, 20), (70, 50)], [(60, 15), (30, 60)], [(40, 40), (80, 20)], [(10, 10), (60, 60)]]


def read(folder: Path, val: float | str = 0.25) -> Pointed:
    return read_pointed(TrainConfig("detect", str(folder), folder / "run", val=val), lambda line: None)


def test_reads_rows_in_pixels(tmp_path: Path) -> None:
    found = read(write_points(tmp_path / "data", POINTS))
    assert (len(found.train), len(found.val), found.count, found.name) == (3, 1, 2, "landmarks")
    rows = {Path(photo.path).name: photo.points.tolist() for photo in (*found.train, *found.val)}
    assert rows == {f"{number}.png": [list(point) for point in row] for number, row in enumerate(POINTS)}


def test_empty_cells_are_unknown(tmp_path: Path) -> None:
    folder = write_points(tmp_path / "data", POINTS)
    table = folder / "landmarks.csv"
    table.write_text(table.read_text().replace("0.png,20,20,70,50", "0.png,20,20,,"))
    photos = {Path(photo.path).name: photo for photo in (*read(folder).train, *read(folder).val)}
    sample = PointedExamples([photos["0.png"]], {"input": [96, 96], "fill": 127}, "none", 10**6).example(0)
    assert sample["known"].tolist() == [True, False]
    np.testing.assert_allclose(sample["points"][0] * 96, [20, 20], rtol=1e-5)
    assert torch.isfinite(sample["points"]).all()


def test_photos_may_lie_in_a_folder(tmp_path: Path) -> None:
    folder = write_points(tmp_path / "data", POINTS)
    (folder / "images").mkdir()
    for photo in folder.glob("*.png"):
        photo.rename(folder / "images" / photo.name)
    assert len(read(folder).train) == 3


def test_takes_a_table_to_validate(tmp_path: Path) -> None:
    folder = write_points(tmp_path / "data", POINTS)
    lines = (folder / "landmarks.csv").read_text().splitlines()
    (folder / "landmarks.csv").write_text("\n".join(lines[:3]))
    (folder / "landmarks_val.csv").write_text("\n".join([lines[0], *lines[3:]]))
    found = read(folder)
    assert (len(found.train), len(found.val)) == (2, 2)


def test_examples_speak_of_the_input(tmp_path: Path) -> None:
    """A photo of 200 x 100 px in an input of 50: a quarter, so (100, 60) is (25, 15), half and 0.3 of its side."""
    Image.new("RGB", (200, 100)).save(tmp_path / "photo.png")
    photo = PointedPhoto(str(tmp_path / "photo.png"), np.array([[100, 60]], np.float32))
    sample = PointedExamples([photo], {"input": [50, 50], "fill": 127}, "none", 10**6).example(0)
    np.testing.assert_allclose(sample["points"], [[0.5, 0.3]], rtol=1e-6)
    assert sample["inner"].tolist() == [25, 50]


def test_takes_the_largest_object_of_keypoints(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", (*SCENES, *SCENES))
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    for number, mark in enumerate(content["annotations"]):
        mark["keypoints"] = [number, 1, 2, 5, 6, 0]
    path.write_text(json.dumps(content))
    found = read(folder, 0.5)
    points = {Path(photo.path).name: photo.points for photo in (*found.train, *found.val)}
    assert len(points) == 6
    assert points["annotations-2.png"][0].tolist() == [3, 1]  # of 30 x 40 and 44 x 34 px the latter, mark 3
    assert np.isnan(points["annotations-2.png"][1]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with nothing; expected points of one object a photo"),
        ("name,x1,y1\n", "begins with name,x1,y1"),
        ("file,x1\n", "begins with file,x1"),
        ("file,x1,y1\n0.png,3\n", r"landmarks.csv, line 2: 2 values, its head has 3"),
        ("file,x1,y1\n0.png,3,four\n", "line 2: could not convert string to float: 'four'; give pixels, or nothing"),
        ("file,x1,y1\ngone.png,3,4\n", "line 2: gone.png is neither in .* nor in its folder images"),
        ("file,x1,y1\n0.png,3,4\n", "one photo to train on and one to measure on are needed"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    folder = write_points(tmp_path / "data", POINTS)
    (folder / "landmarks.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read(folder)


def test_shows_the_layout_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no CSV or JSON of points; expected points .*\n  DATA/landmarks.csv"):
        read(tmp_path)
    with pytest.raises(UsageError, match="no object has keypoints"):
        read(write_coco(tmp_path / "coco"))


def test_refuses_other_numbers_of_points(tmp_path: Path) -> None:
    folder = write_points(tmp_path / "data", POINTS)
    other = write_points(tmp_path / "other", POINTS, seed=9)
    table = other / "landmarks.csv"
    table.write_text("\n".join(line.rpartition(",")[0].rpartition(",")[0] for line in table.read_text().splitlines()))
    with pytest.raises(UsageError, match="photos have 1 and 2 points"):
        read(folder, str(other))
