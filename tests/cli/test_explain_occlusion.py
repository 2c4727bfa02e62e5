"""`cnncli explain occlusion` as users call it."""

from pathlib import Path

import cv2
import pytest

from tests.conftest import records

FEW = ("-m", "efficientnet_lite0", "--threads", "1", "--patch", "96", "--step", "64")


def test_a_photo(here, photos: Path, tmp_path: Path) -> None:
    done = here("explain", "occlusion", photos / "chelsea.png", *FEW, "--out", "drops.png")
    (record,) = records(done.stdout)
    found = record["explanation"]
    assert done.returncode == 0
    assert (found["label"], found["index"]) == ("tiger cat", 282)
    assert (found["patch"], found["step"], found["fill"], found["places"]) == (96, 64, "mean", [3, 3])
    assert 0 < found["largest_drop"] <= found["score"]
    assert 0 < found["half_area"] < 0.5
    assert all(0 < side < 1 for side in found["peak"])
    picture = cv2.imread(str(tmp_path / "drops.png"))
    warm = picture[..., 2].astype(int) - picture[..., 0] > 40
    assert warm.mean() > 0.01 and picture.shape[1] > 800


def test_a_label_and_another_kind_of_model(here, photos: Path) -> None:
    words = ("-m", "yunet", "--threads", "1", "--patch", "160", "--step", "160", "--fill", "black")
    (record,) = records(here("explain", "occlusion", photos / "astronaut.png", *words).stdout)
    assert record["explanation"]["label"] == "face"
    (other,) = records(here("explain", "occlusion", photos / "chelsea.png", *FEW, "--label", "lynx").stdout)
    assert other["explanation"]["label"] == "lynx"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--label", "unicorn"), b"--label unicorn: efficientnet_lite0 knows no such class"),
        (("--patch", "300"), b"--patch 300: covers all of what efficientnet_lite0 sees, 224 x 224 pixels"),
        (("--step", "many"), b"--step many: give a number or auto"),
        (("--fill", "pink"), b"--fill pink: choose mean, black, grey, blur"),
        (("-m", "ffdnet_color"), b"ffdnet_color answers with a picture"),
    ],
)
def test_rejects(words: tuple[str, ...], sentence: bytes, here, photos: Path) -> None:
    done = here("explain", "occlusion", photos / "chelsea.png", *FEW, *words)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_an_output_that_exists_stays(here, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "drops.png").write_bytes(b"mine")
    done = here("explain", "occlusion", photos / "chelsea.png", *FEW, "--out", "drops.png")
    assert done.returncode == 2 and b"drops.png: exists" in done.stderr
    assert (tmp_path / "drops.png").read_bytes() == b"mine"
