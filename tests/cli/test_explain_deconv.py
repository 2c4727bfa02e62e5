"""`cnncli explain deconv`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Completed, records

LITE = ("-m", "efficientnet_lite0", "--device", "cpu", "--threads", "1")
Run = Callable[..., Completed]


def test_record_and_picture(here: Run, photos: Path, tmp_path: Path) -> None:
    done = here("explain", "deconv", photos / "chelsea.png", *LITE, "--layer", "12", "--out", "deconv.png")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)[0]["explanation"]
    assert found["layer"] == "backbone.stages.2.0.layers.2.0"
    assert found["input"] == [224, 224]
    activations = [entry["activation"] for entry in found["channels"]]
    assert len(activations) == 4
    assert activations == sorted(activations, reverse=True)
    for entry in found["channels"]:
        x, y, width, height = entry["window"]
        assert 0 <= x <= 8 * entry["cell"][1] < x + width <= 224  # maps of 28 cells: one begins every 8 px
        assert 0 <= y <= 8 * entry["cell"][0] < y + height <= 224
    with Image.open(tmp_path / "deconv.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert ((pixels == 127) | (pixels == 128)).all(axis=2).mean() > 0.02  # the grey around the projections
    assert (
        here("explain", "deconv", photos / "chelsea.png", *LITE, "--layer", "12", "--out", "deconv.png").returncode == 2
    )


def test_chosen_channels(here: Run, photos: Path) -> None:
    done = here("explain", "deconv", photos / "coffee.png", *LITE, "--layer", "12", "--channel", "17,3")
    assert [entry["channel"] for entry in records(done.stdout)[0]["explanation"]["channels"]] == [17, 3]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "99"), "has layers 1 to 51"),
        (("--layer", "12", "--channel", "40"), "has channels 0 to 39"),
        (("--layer", "12", "--channel", "red"), "give numbers from 0"),
        (("--layer", "12", "--count", "0"), "give 1 to 64"),
        (("--layer", "head"), "gives no maps"),
    ],
)
def test_rejects(here: Run, photos: Path, words: tuple[str, ...], sentence: str) -> None:
    done = here("explain", "deconv", photos / "chelsea.png", *LITE, *words)
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert not done.stdout
