"""`cnncli explain conv` as a user calls it."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import signal

NUMBERS = ("--values", "0 1 2; 3 4 5; 6 7 8", "--kernel", "0 1; 2 3")


def figures(here, *arguments: str | Path) -> dict:
    done = here("explain", "conv", *arguments, "--format", "json")
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_says_sizes_and_output(here) -> None:
    done = here("explain", "conv", *NUMBERS)
    assert (done.returncode, done.stderr) == (0, b"")
    height, width, output = done.stdout.decode().splitlines()
    assert height.endswith("= floor((3 - 1 (2 - 1) - 1 + 0) / 1) + 1 = 2")
    assert width.split()[0] == "width"
    assert output.split(maxsplit=1) == ["output", "19 25; 37 43"]  # Zhang et al., "Dive into Deep Learning", fig. 7.2.1


def test_json_tells_every_step(here) -> None:
    found = figures(here, *NUMBERS)
    assert found["output"] == [[19, 25], [37, 43]]
    assert found["steps"][1] == {
        "cell": [0, 1],
        "places": [[0, 1], [0, 2], [1, 1], [1, 2]],
        "values": [1, 2, 4, 5],
        "weights": [0, 1, 2, 3],
        "products": [0, 2, 8, 15],
        "sum": 25,
    }
    assert (np.array(found["matrix"]) @ range(9)).tolist() == [19, 25, 37, 43]


def test_convolution_turns_the_kernel(here) -> None:
    found = figures(here, *NUMBERS, "--mode", "convolution", "--padding", "full", "--no-toeplitz")
    assert found["weights"] == [[3, 2], [1, 0]]
    assert found["output"] == signal.convolve2d(found["input"], found["kernel"]).tolist()
    assert "matrix" not in found


def test_settings_reach_the_numbers(here) -> None:
    values = "1 2 3 4 5; 6 7 8 9 10; 11 12 13 14 15; 1 0 1 0 1"
    options = ["--stride", "1x2", "--padding", "0x1", "--dilation", "2x1", "--border", "replicate"]
    found = figures(here, "--values", values, "--kernel", "1 2,3\n-1 1/2 .5", *options)
    assert found["kernel"] == [[1, 2, 3], [-1, 0.5, 0.5]]
    assert found["padding"] == [[0, 0], [1, 1]]
    assert found["padded"][0] == [1, 1, 2, 3, 4, 5, 5]
    assert np.shape(found["output"]) == (2, 3)
    assert found["output"][0][0] == 1 + 2 + 6 - 11 + 11 / 2 + 12 / 2


def test_transposed(here) -> None:
    found = figures(here, "--values", "0 1; 2 3", "--kernel", "0 1; 2 3", "--transposed")
    assert found["output"] == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]  # "Dive into Deep Learning", fig. 14.10.1
    assert found["steps"][3]["products"] == [0, 3, 6, 9]


def test_photo_is_shrunk_to_mean_greys(photos: Path, here) -> None:
    with Image.open(photos / "chelsea.png") as photo:
        grey = np.asarray(photo.convert("RGB")) @ (0.299, 0.587, 0.114)
    assert grey.shape == (300, 451)
    means = grey[:, 75:375].reshape(5, 60, 5, 60).mean((1, 3))
    found = figures(here, photos / "chelsea.png", "--grid", "5")
    np.testing.assert_allclose(found["input"], means, atol=1)  # rounded twice
    assert found["kernel"] == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]


def test_a_tiny_photo_keeps_its_pixels(tmp_path: Path, here) -> None:
    Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)).save(tmp_path / "tiny.png")
    assert figures(here, "tiny.png", "--kernel", "identity")["input"] == np.arange(9).reshape(3, 3).tolist()


def test_writes_a_picture_and_replaces_none(tmp_path: Path, photos: Path, here) -> None:
    picture = tmp_path / "steps.png"
    done = here("explain", "conv", photos / "coffee.png", "--out", picture)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"= 5\n" in done.stdout
    with Image.open(picture) as image:
        assert image.width == 1400
    before = picture.read_bytes()
    refused = here("explain", "conv", *NUMBERS, "--out", picture)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"--overwrite" in refused.stderr
    assert picture.read_bytes() == before
    assert here("explain", "conv", *NUMBERS, "--out", picture, "--overwrite").returncode == 0
    assert picture.read_bytes() != before


def test_never_writes_over_its_input(tmp_path: Path, here) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    done = here("explain", "conv", "photo.png", "--out", "photo.png", "--overwrite")
    assert done.returncode == 2
    assert b"inputs are never overwritten" in done.stderr
    assert (tmp_path / "photo.png").read_bytes() == before


def test_picture_alone_on_standard_output(here) -> None:
    done = here("explain", "conv", *NUMBERS, "--out", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "PNG"


@contextlib.contextmanager
def standard_input(path: str | Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = os.dup(0)
    with open(path, "rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        with os.fdopen(os.dup(0)) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.parametrize("words", [(), ("-",)])
def test_photo_on_standard_input(words: tuple, tmp_path: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)).save(tmp_path / "tiny.png")
    with standard_input(tmp_path / "tiny.png", monkeypatch):
        assert figures(here, *words)["input"] == np.arange(9).reshape(3, 3).tolist()


def test_nothing_to_work_on(here, monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_input(os.devnull, monkeypatch):
        done = here("explain", "conv")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"cnncli: no input; name a photo, or give numbers with --values\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--values", "1 2; 3"], "rows of equally many numbers"),
        (["--values", ""], "rows of equally many numbers"),
        (["--values", "1 2; 3 x"], "'x' is no number"),
        (["--values", "1 2; 3 nan"], "'nan' is no number"),
        (["--values", "1 2; 3 1/0"], "'1/0' is no number"),
        (["--values", " ".join("1" * 13)], "at most 12 x 12"),
        (["--values", "1 2; 3 4"], "kernel height 3: reaches over 3 cells"),
        (["--values", "1 2; 3 4", "photo.png"], "--values: takes the place of the photo"),
        ([*NUMBERS, "--kernel", "sobel"], "--kernel sobel: choose sobel-x"),
        ([*NUMBERS, "--mode", "correlation"], "--mode correlation"),
        ([*NUMBERS, "--border", "wrap"], "--border wrap"),
        ([*NUMBERS, "--padding", "some"], "--padding some"),
        ([*NUMBERS, "--padding", "9"], "at most 20 a side"),
        ([*NUMBERS, "--padding", "same", "--stride", "2"], "stride 1 alone"),
        ([*NUMBERS, "--stride", "0"], "stride height 0"),
        ([*NUMBERS, "--transposed", "--border", "reflect"], "--transposed"),
        ([*NUMBERS, "--format", "csv"], "--format csv"),
        ([*NUMBERS, "--out", "steps.txt"], "steps.txt"),
        ([*NUMBERS, "--out", "."], "is a folder"),
        ([*NUMBERS, "--out", "nowhere/steps.png"], "nowhere does not exist"),
        ([*NUMBERS, "--out", "-", "--format", "json"], "--out -"),
        (["photo.png", "--grid", "13"], "--grid 13"),
    ],
)
def test_refuses(arguments: list[str], named: str, here) -> None:
    done = here("explain", "conv", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().count("\n") == 1
    assert named in done.stderr.decode()


def test_a_missing_photo_is_a_failed_input(here) -> None:
    done = here("explain", "conv", "missing.png")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"cnncli: missing.png: no such file\n"
