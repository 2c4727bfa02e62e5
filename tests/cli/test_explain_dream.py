"""`cnncli explain dream`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Completed, records

LITE = ("-m", "efficientnet_lite0", "--device", "cpu", "--threads", "1")
CHANNEL = ("--layer", "12", "--channel", "3")
FAST = ("--steps", "4", "--size", "64")
Run = Callable[..., Completed]


def test_channels_side_by_side(here: Run, tmp_path: Path) -> None:
    done = here("explain", "dream", *LITE, "--layer", "12", "--channel", "3,17", *FAST, "--out", "dream.png")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    assert [entry["channel"] for entry in found] == [3, 17]
    for entry in found:
        assert entry["layer"] == "backbone.stages.2.0.layers.2.0"
        assert entry["reached"] > entry["start"]
        assert (entry["steps"], entry["seed"], entry["size"], entry["model"]) == (4, 0, [64, 64], "efficientnet_lite0")
    with Image.open(tmp_path / "dream.png") as picture:
        assert picture.width > 600
        assert np.asarray(picture.convert("RGB")).std() > 20
    again = here("explain", "dream", *LITE, "--layer", "12", "--channel", "3,17", *FAST, "--out", "again.png")
    assert again.stdout == done.stdout
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "dream.png").read_bytes()


def test_classes(here: Run) -> None:
    words = ("--label", "Egyptian cat", "--label", "volcano", "--steps", "2", "--size", "64x96")
    done = here("explain", "dream", *LITE, *words, "--out", "dream.png")
    found = records(done.stdout)
    assert [(entry["label"], entry["index"]) for entry in found] == [("Egyptian cat", 285), ("volcano", 980)]
    assert all(0 <= entry["start"] <= 1 and 0 <= entry["reached"] <= 1 for entry in found)
    assert found[0]["size"] == [64, 96]


def test_from_a_photo(here: Run, photos: Path, tmp_path: Path) -> None:
    words = ("--from", photos / "coffee.png", "--steps", "1", "--size", "128")
    done = here("explain", "dream", *LITE, *CHANNEL, *words, "--out", "dream.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "dream.png") as picture, Image.open(photos / "coffee.png") as photo:
        drawn, pixels = (np.asarray(each.convert("RGB"), np.float64) for each in (picture, photo))
    shown = drawn[(drawn < 245).any(axis=2) & (np.ptp(drawn, axis=2) > 0)]  # neither the paper nor letters on it
    middle = pixels[:, (pixels.shape[1] - pixels.shape[0]) // 2 :][:, : pixels.shape[0]]
    np.testing.assert_allclose(shown.mean(axis=0), middle.mean(axis=(0, 1)), atol=12)


def test_picture_on_standard_output(here: Run) -> None:
    done = here("explain", "dream", *LITE, *CHANNEL, "--steps", "1", "--size", "64", "--out", "-")
    assert done.returncode == 0
    assert done.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing says what to raise"),
        (("--layer", "12"), "which of its channels"),
        ((*CHANNEL, "--label", "volcano"), "give one of them"),
        (("--layer", "99", "--channel", "3"), "has layers 1 to 51"),
        (("--layer", "12", "--channel", "40"), "has channels 0 to 39"),
        (("--layer", "12", "--channel", "-3"), "give numbers from 0"),
        (("--layer", "head", "--channel", "3"), "gives no maps"),
        (("--label", "unicorn"), "knows no such class"),
        ((*CHANNEL, "--steps", "0"), "--steps 0"),
        ((*CHANNEL, "--seed", "-1"), "--seed -1"),
        ((*CHANNEL, "--size", "4"), "give 8 to 2048"),
        ((*CHANNEL, "--size", "big"), "--size big"),
    ],
)
def test_rejects(here: Run, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = here("explain", "dream", *LITE, *words, "--out", "dream.png")
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert not (tmp_path / "dream.png").exists()


def test_sizes_that_a_network_can_not_take(here: Run) -> None:
    words = ("-m", "sface", "--threads", "1", "--layer", "embed.2", "--channel", "3", "--size", "64")
    done = here("explain", "dream", *words, "--out", "dream.png")
    assert done.returncode == 2
    assert "takes no input of that size" in done.stderr.decode()


def test_a_photo_that_is_missing(here: Run) -> None:
    done = here("explain", "dream", *LITE, *CHANNEL, "--from", "absent.jpg", "--out", "dream.png")
    assert done.returncode == 1
    assert "absent.jpg: no such file" in done.stderr.decode()


def test_never_writes_over_what_exists_or_its_photo(here: Run, photos: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes((photos / "coffee.png").read_bytes())
    done = here("explain", "dream", *LITE, *CHANNEL, "--out", photo)
    assert done.returncode == 2
    assert "exists; use --overwrite" in done.stderr.decode()
    done = here("explain", "dream", *LITE, *CHANNEL, "--from", photo, "--overwrite", "--out", photo)
    assert done.returncode == 2
    assert "is the input" in done.stderr.decode()
