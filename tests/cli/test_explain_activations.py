"""`cnncli explain activations` as users call it."""

from pathlib import Path

import cv2
import pytest

from tests.conftest import records

LITE0 = ("-m", "efficientnet_lite0", "--threads", "1")


def test_maps_of_a_photo(here, photos: Path, tmp_path: Path) -> None:
    words = ("--layer", "1", "--channel", "5,17", "--out", "maps.png")
    done = here("explain", "activations", photos / "chelsea.png", *LITE0, *words)
    (record,) = records(done.stdout)
    found = record["explanation"]
    assert done.returncode == 0
    assert (found["layer"], found["shape"]) == ("backbone.stem.0", [32, 112, 112])
    assert [channel["channel"] for channel in found["channels"]] == [5, 17]
    assert all(channel["mean"] < channel["max"] for channel in found["channels"])
    picture = cv2.imread(str(tmp_path / "maps.png"))
    assert len({tuple(colour) for colour in picture.reshape(-1, 3).tolist()}) > 1000


def test_the_last_layer_has_the_class_first(here, photos: Path, tmp_path: Path) -> None:
    words = ("--layer", "classifier", "--count", "3", "--out", "units.png")
    (record,) = records(here("explain", "activations", photos / "chelsea.png", *LITE0, *words).stdout)
    found = record["explanation"]
    assert found["shape"] == [1000, 1, 1]
    assert found["channels"][0]["channel"] == 282  # tiger cat
    blue = (cv2.imread(str(tmp_path / "units.png")) == (180, 119, 31)).all(2)  # of the bars, BGR
    assert blue.sum() > 5000


def test_a_model_without_a_score_has_maps_too(here, crops: Path) -> None:
    words = ("-m", "ffdnet_color", "--threads", "1", "--layer", "2")  # the first convolution
    (record,) = records(here("explain", "activations", crops / "chelsea.png", *words).stdout)
    assert record["explanation"]["shape"][0] == 96


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "99"), b"--layer 99: efficientnet_lite0 has layers 1 to 51"),
        (("--layer", "1", "--channel", "32"), b"--channel 32: backbone.stem.0 has channels 0 to 31"),
        (("--layer", "1", "--channel", "all"), b"--channel all: give numbers from 0, such as 3 or 3,17"),
        (("--layer", "backbone"), b"--layer backbone: gives several maps"),
        (("--layer", "1", "--count", "0"), b"--count 0: give 1 to 64"),
    ],
)
def test_rejects(words: tuple[str, ...], sentence: bytes, here, photos: Path) -> None:
    done = here("explain", "activations", photos / "chelsea.png", *LITE0, *words)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_an_output_that_exists_stays(here, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "maps.png").write_bytes(b"mine")
    done = here("explain", "activations", photos / "chelsea.png", *LITE0, "--layer", "1", "--out", "maps.png")
    assert done.returncode == 2 and b"maps.png: exists" in done.stderr
    assert (tmp_path / "maps.png").read_bytes() == b"mine"
