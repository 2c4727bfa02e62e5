"""`cnncli explain saliency` as users call it."""

from pathlib import Path

import cv2
import pytest

from tests.conftest import records

QUICK = ("-m", "efficientnet_lite0", "--threads", "1", "--steps", "4")


def test_a_photo(here, photos: Path, tmp_path: Path) -> None:
    done = here("explain", "saliency", photos / "chelsea.png", *QUICK, "--out", "pixels.png")
    (record,) = records(done.stdout)
    found = record["explanation"]
    assert done.returncode == 0
    assert (found["label"], found["methods"]) == ("tiger cat", ["gradient", "guided", "integrated"])
    assert found["steps"] == 4 and found["completeness_gap"] >= 0
    picture = cv2.imread(str(tmp_path / "pixels.png"))
    bright = (picture[..., 2].astype(int) - picture[..., 0] > 100).sum()  # orange and yellow of the scale
    assert bright > 2000 and picture.shape[1] > 1600


def test_one_method_of_a_label(here, photos: Path) -> None:
    words = ("--method", "gradient", "--label", "lynx")
    (record,) = records(here("explain", "saliency", photos / "chelsea.png", *QUICK, *words).stdout)
    assert record["explanation"]["label"] == "lynx"
    assert record["explanation"]["methods"] == ["gradient"]
    assert "completeness_gap" not in record["explanation"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--label", "unicorn"), b"--label unicorn: efficientnet_lite0 knows no such class"),
        (("--method", "magic"), b"--method magic: choose gradient, guided, integrated or all"),
        (("-m", "sface", "--method", "guided"), b"--method guided: sface has no ReLU to guide"),
        (("-m", "ffdnet_color"), b"ffdnet_color answers with a picture"),
    ],
)
def test_rejects(words: tuple[str, ...], sentence: bytes, here, photos: Path) -> None:
    done = here("explain", "saliency", photos / "astronaut.png", *QUICK, *words)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_an_output_that_exists_stays(here, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pixels.png").write_bytes(b"mine")
    done = here("explain", "saliency", photos / "chelsea.png", *QUICK, "--out", "pixels.png")
    assert done.returncode == 2 and b"pixels.png: exists" in done.stderr
    assert (tmp_path / "pixels.png").read_bytes() == b"mine"
