"""`cnncli explain top-patches`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.config import EngineConfig
from cnncli.explain.session import open_subject
from cnncli.tasks.classify import Classify, ClassifyOptions
from tests.conftest import Completed, records

LITE = ("-m", "efficientnet_lite0", "--device", "cpu", "--threads", "1")
Run = Callable[..., Completed]


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    place = tmp_path / "album"
    shutil.copytree(photos, place)
    return place


def test_patches_in_the_order_of_their_activations(here: Run, photos: Path, tmp_path: Path) -> None:
    done = here("explain", "top-patches", photos, *LITE, "--layer", "12", "--channel", "3,17", "--out", "patches.png")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    assert [(entry["channel"], entry["rank"]) for entry in found] == [(c, r) for c in (3, 17) for r in (1, 2, 3, 4)]
    subject = open_subject(EngineConfig(model="efficientnet_lite0", device="cpu", threads=1))
    task = Classify({"classify": subject.info}, ClassifyOptions())
    expected = {}
    for file in photos.glob("*.[jp][pn]g"):
        with Image.open(file) as photo, torch.no_grad(), subject.watched("backbone.stages.2.0.layers.2.0") as given:
            pixels = np.asarray(photo.convert("RGB"))
            subject.network(subject.normalised(task.prepare(pixels)))
        expected[str(file)] = given[0][0].amax((1, 2)), pixels.shape
    for channel in (3, 17):
        row = [entry for entry in found if entry["channel"] == channel]
        order = sorted(expected, key=lambda file: -float(expected[file][0][channel]))
        assert [entry["file"] for entry in row] == order
        for entry in row:
            strongest, shape = expected[entry["file"]]
            assert entry["activation"] == pytest.approx(float(strongest[channel]), rel=1e-3, abs=1e-3)
            x, y, width, height = entry["box"]
            assert 0 <= x < x + width <= shape[1]
            assert 0 <= y < y + height <= shape[0]
    with Image.open(tmp_path / "patches.png") as picture:
        assert picture.width > 700  # four patches beside each other
        assert np.asarray(picture.convert("RGB")).std() > 30


def test_count_and_a_photo_that_fails(here: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "torn.jpg").write_bytes((folder / "rocket.jpg").read_bytes()[:200])
    words = ("explain", "top-patches", folder, *LITE, "--layer", "12", "--channel", "3", "--count", "2")
    done = here(*words, "--out", "patches.png")
    assert done.returncode == 1
    assert len(records(done.stdout)) == 2
    assert "torn.jpg: " in done.stderr.decode()
    assert "4 looked through, 1 failed" in done.stderr.decode()
    assert (tmp_path / "patches.png").is_file()
    again = here(*words, "-q", "--overwrite", "--out", "patches.png")
    assert (again.returncode, again.stderr, again.stdout) == (1, b"", done.stdout)


def test_nothing_that_can_be_read(here: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    done = here("explain", "top-patches", "empty.png", *LITE, "--layer", "12", "--channel", "3", "--out", "patches.png")
    assert done.returncode == 1
    assert not done.stdout
    assert not (tmp_path / "patches.png").exists()


def test_picture_on_standard_output(here: Run, photos: Path) -> None:
    done = here("explain", "top-patches", photos / "coffee.png", *LITE, "--layer", "12", "--channel", "3", "--out", "-")
    assert done.returncode == 0
    assert done.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "99", "--channel", "3"), "has layers 1 to 51"),
        (("--layer", "12", "--channel", "40"), "has channels 0 to 39"),
        (("--layer", "12", "--channel", "a"), "give numbers from 0"),
        (("--layer", "12", "--channel", "3", "--count", "0"), "give 1 to 100"),
        (("--layer", "head", "--channel", "3"), "gives no maps"),
    ],
)
def test_rejects(here: Run, photos: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = here("explain", "top-patches", photos, *LITE, *words, "--out", "patches.png")
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert not (tmp_path / "patches.png").exists()


def test_never_writes_over_what_exists_or_an_input(here: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "patches.png").write_bytes(b"mine")
    words = ("explain", "top-patches", folder, *LITE, "--layer", "12", "--channel", "3", "--out")
    done = here(*words, "patches.png")
    assert done.returncode == 2
    assert "exists; use --overwrite" in done.stderr.decode()
    done = here(*words, folder / "coffee.png", "--overwrite")
    assert done.returncode == 2
    assert "is an input" in done.stderr.decode()
