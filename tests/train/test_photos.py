"""Photos of a data set: looked through, and divided."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from cnncli.errors import UsageError
from cnncli.train.photos import check_apart, divided, list_photos, look_through


def test_lists_by_name_and_leaves_hidden_files_out(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", ".c.jpg", "notes.txt", "sub/d.jpg", ".git/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [Path(path).name for path in list_photos(tmp_path)] == ["a.PNG", "b.jpg"]
    assert [Path(path).name for path in list_photos(tmp_path, recursive=True)] == ["a.PNG", "b.jpg", "d.jpg"]


def test_names_broken_photos(classes_folder: Path, make_config) -> None:
    broken = classes_folder / "red" / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no more")
    paths = list_photos(classes_folder, recursive=True)
    with pytest.raises(UsageError, match=r"1 of 31 photos can't be read \(.*broken\.jpg: .*--skip-bad"):
        look_through(paths, make_config(), lambda message: None)
    said: list[str] = []
    kept = look_through(paths, make_config(skip_bad=True), said.append)
    assert len(kept) == 30
    assert len(said) == 1
    assert "broken.jpg: left out" in said[0]


def test_divides_each_group_alike() -> None:
    groups = ["a"] * 40 + ["b"] * 10
    train, val = divided([str(number) for number in range(50)], groups, 0.2, seed=1)
    assert sorted(train + val) == list(range(50))
    assert Counter(groups[index] for index in val) == {"a": 8, "b": 2}


def test_division_depends_on_the_seed_and_on_no_order() -> None:
    keys = [f"{number:02}" for number in range(30)]
    _, val = divided(keys, ["a"] * 30, 0.3, seed=1)
    _, other = divided(keys, ["a"] * 30, 0.3, seed=2)
    _, backwards = divided(keys[::-1], ["a"] * 30, 0.3, seed=1)
    assert val != other
    assert {keys[::-1][index] for index in backwards} == {keys[index] for index in val}


def test_copies_of_a_photo_stay_together() -> None:
    keys = [str(number // 2) for number in range(40)]
    train, val = divided(keys, ["a"] * 40, 0.25, seed=0)
    assert not {keys[index] for index in train} & {keys[index] for index in val}


def test_never_holds_back_all_of_a_group() -> None:
    train, val = divided(["1", "2"], ["a", "a"], 0.9, seed=0)
    assert (len(train), len(val)) == (1, 1)


def test_finds_a_photo_in_both_parts(classes_folder: Path, make_config, tmp_path: Path) -> None:
    shutil.copy(classes_folder / "red" / "3.png", tmp_path / "copy.png")
    train = look_through(list_photos(classes_folder, recursive=True), make_config(), print)
    val = look_through([str(tmp_path / "copy.png")], make_config(), print)
    with pytest.raises(UsageError, match=r"1 photos are in both training and validation \(.*3\.png is .*copy\.png\)"):
        check_apart(train, val)
