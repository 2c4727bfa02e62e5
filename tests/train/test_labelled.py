"""Layouts of labelled photos, and what is said where they are not right."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import UsageError
from cnncli.train.labelled import read_idx, read_labelled
from tests.train.conftest import COLOURS, write_classes, write_picture


def read(make_config, **options):
    return read_labelled(make_config(**options), lambda message: None)


def test_takes_a_folder_per_class(make_config) -> None:
    found = read(make_config)
    assert found.classes == tuple(COLOURS)
    assert (len(found.train.labels), len(found.val.labels)) == (24, 6)
    assert not set(found.train.photos) & set(found.val.photos)
    for path, label in zip(found.train.photos, found.train.labels, strict=True):
        assert Path(path).parent.name == found.classes[label]


def test_takes_what_is_divided_already(make_config, tmp_path: Path) -> None:
    write_classes(tmp_path / "set" / "train", 5)
    write_classes(tmp_path / "set" / "test", 2, first=50)
    found = read(make_config, data=str(tmp_path / "set"))
    assert (len(found.train.labels), len(found.val.labels)) == (15, 6)


def test_takes_another_folder_for_validation(make_config, tmp_path: Path) -> None:
    found = read(make_config, val=str(write_classes(tmp_path / "other", 2, first=50)))
    assert (len(found.train.labels), len(found.val.labels)) == (30, 6)


def test_takes_a_csv(make_config, classes_folder: Path) -> None:
    rows = [f"{name}/{number}.png,colour {name}" for name in COLOURS for number in range(4)]
    table = classes_folder / "labels.csv"
    table.write_text("file,label\n" + "\n".join(rows))
    found = read(make_config, data=str(table))
    assert found.classes == ("colour blue", "colour green", "colour red")
    assert len(found.train.labels) + len(found.val.labels) == 12


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = head + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_takes_idx_files(make_config, tmp_path: Path, ending: str) -> None:
    generator = np.random.default_rng(0)
    images = {
        "train": generator.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "t10k": np.zeros((4, 28, 28), np.uint8),
    }
    for part, pixels in images.items():
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", pixels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", np.arange(len(pixels), dtype=np.uint8) % 4)
    found = read(make_config, data=str(tmp_path))
    assert found.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(found.train.photos, images["train"])
    assert found.val.labels == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="not all of the four IDX files"):
        (tmp_path / f"t10k-labels-idx1-ubyte{ending}").unlink()
        read(make_config, data=str(tmp_path))


def test_rejects_a_damaged_idx_file(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.zeros((3, 4), np.uint8))
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-1])
    with pytest.raises(UsageError, match="is no IDX file of bytes, or cut short"):
        read_idx(tmp_path / "b")


def test_shows_the_layouts(make_config, tmp_path: Path) -> None:
    write_picture(tmp_path / "loose" / "a.png", (1, 2, 3), 0)
    for data, message in (
        (tmp_path / "nonesuch", "no such folder or file"),
        (tmp_path / "loose", r"has no folders of classes \(1 photos lie in it directly\)"),
    ):
        with pytest.raises(UsageError, match=rf"{message}; expected one of\n  DATA/CLASS/photo\.jpg"):
            read(make_config, data=str(data))


def test_rejects_one_class(make_config, classes_folder: Path) -> None:
    shutil.rmtree(classes_folder / "red")
    shutil.rmtree(classes_folder / "green")
    with pytest.raises(UsageError, match="has one class alone, blue; two or more are needed"):
        read(make_config)


def test_rejects_an_empty_class(make_config, classes_folder: Path) -> None:
    (classes_folder / "yellow").mkdir()
    with pytest.raises(UsageError, match="no photos in yellow; add some or remove the folder"):
        read(make_config)


def test_rejects_a_photo_in_both_parts(make_config, classes_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(classes_folder, tmp_path / "again")
    with pytest.raises(UsageError, match="30 photos are in both training and validation"):
        read(make_config, val=str(tmp_path / "again"))


def test_rejects_classes_that_are_only_validated(make_config, tmp_path: Path) -> None:
    write_classes(tmp_path / "other", 2, first=50)
    write_picture(tmp_path / "other" / "yellow" / "a.png", (200, 200, 0), 99)
    with pytest.raises(UsageError, match="validation has classes that training has not: yellow"):
        read(make_config, val=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("content", "message"),
    [("name,kind\na,b\n", "has no columns file and label"), ("file,label\na.jpg,\n", "line 2 lacks a file or a label")],
)
def test_rejects_a_csv(make_config, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UsageError, match=message):
        read(make_config, data=str(tmp_path / "t.csv"))
