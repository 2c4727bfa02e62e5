"""`cnncli explain filters` as users call it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest


def test_the_first_layer(here, tmp_path: Path) -> None:
    done = here("explain", "filters", "-m", "efficientnet_lite0", "--out", "kernels.png")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["model"], found["layer"]) == ("efficientnet_lite0", "backbone.stem.0")
    assert (found["shape"], found["groups"]) == ([32, 3, 3, 3], 1)
    assert [kernel["channel"] for kernel in found["kernels"]] == list(range(32))
    assert all(kernel["norm"] >= 0 for kernel in found["kernels"])
    picture = cv2.imread(str(tmp_path / "kernels.png"))
    assert len({tuple(colour) for colour in picture.reshape(-1, 3).tolist()}) > 300


def test_one_kernel_of_a_depthwise_layer(here) -> None:
    done = here(
        "explain", "filters", "-m", "efficientnet_lite0", "--layer", "2", "--channel", "7", "--out", "kernels.png"
    )
    found = json.loads(done.stdout)
    assert (found["shape"], found["groups"]) == ([32, 1, 3, 3], 32)
    assert [kernel["channel"] for kernel in found["kernels"]] == [7]


def test_standard_output_carries_the_picture_alone(here) -> None:
    done = here("explain", "filters", "-m", "yunet", "--out", "-")
    picture = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR)
    assert done.returncode == 0 and picture.shape[2] == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "99"), b"--layer 99: efficientnet_lite0 has layers 1 to 51"),
        (("--layer", "classifier"), b"--layer head.classifier: has no kernels; choose a convolution"),
        (("--channel", "32"), b"--channel 32: backbone.stem.0 has channels 0 to 31"),
        (("--out", "kernels.txt"), b"--out kernels.txt: name a picture"),
        (("--out", "no/kernels.png"), b"--out"),
    ],
)
def test_rejects(words: tuple[str, ...], sentence: bytes, here) -> None:
    done = here("explain", "filters", "-m", "efficientnet_lite0", "--out", "kernels.png", *words)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_an_output_that_exists_stays_unless_told(here, tmp_path: Path) -> None:
    (tmp_path / "kernels.png").write_bytes(b"mine")
    words = ("explain", "filters", "-m", "yunet", "--out", "kernels.png")
    done = here(*words)
    assert done.returncode == 2 and b"kernels.png: exists; use --overwrite" in done.stderr
    assert (tmp_path / "kernels.png").read_bytes() == b"mine"
    assert here(*words, "--overwrite").returncode == 0
    assert cv2.imread(str(tmp_path / "kernels.png")) is not None
