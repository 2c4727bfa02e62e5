"""`cnncli explain shift`."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli.io.store import model_path
from cnncli.io.weights import read_info
from tests.cli.test_startup import imported_by
from tests.conftest import records

SHIFT = ("explain", "shift", "--threads", "1")
LITE = ("-m", "efficientnet_lite0")


def test_classify_gives_a_record_and_a_picture(here, photos: Path, tmp_path: Path) -> None:
    done = here(*SHIFT, photos / "chelsea.png", *LITE, "--range", "3", "--out", "shift.png", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, b"")
    (record,) = records(done.stdout)
    found = record["explanation"]
    assert record["schema"] == "cnncli.explain-shift/1"
    assert (record["model"], record["engine"], record["output"]) == ("efficientnet_lite0", "onnx", "shift.png")
    assert (found["task"], found["direction"], found["range"]) == ("classify", "diagonal", 3)
    assert "cat" in found["label"]
    assert len(found["scores"]) == len(found["labels"]) == 4
    assert found["labels"][0] == found["label"]
    assert found["score_spread"] == pytest.approx(max(found["scores"]) - min(found["scores"]), abs=2e-7)
    same = [a == b for a, b in zip(found["labels"], found["labels"][1:], strict=False)]
    assert found["consistency"] == pytest.approx(sum(same) / 3, abs=1e-6)
    with Image.open(tmp_path / "shift.png") as picture:
        assert picture.width > 1000
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 1000  # the photo is in it
    again = here(*SHIFT, photos / "chelsea.png", *LITE, "--out", "shift.png")
    assert again.returncode == 2
    assert b"shift.png: exists; use --overwrite" in again.stderr


def test_first_window_is_what_classify_answers(here, photos: Path, tmp_path: Path) -> None:
    """The part of the photo that the record names as the first window, cut out by another program."""
    done = here(*SHIFT, photos / "chelsea.png", *LITE, "--range", "1", "--direction", "right")
    found = records(done.stdout)[0]["explanation"]
    left, top, width, height = found["window"]
    with Image.open(photos / "chelsea.png") as photo:
        recipe = read_info(model_path("efficientnet_lite0")).recipe
        side = recipe["resize"] * width / recipe["input"][1]
        start = left - (side - width) / 2, top - (side - height) / 2
        box = tuple(map(round, (*start, start[0] + side, start[1] + side)))
        photo.convert("RGB").crop(box).save(tmp_path / "window.png")
    classes = records(here("classify", "window.png", *LITE, "--top-k", "50").stdout)[0]["classes"]
    score = next(entry["score"] for entry in classes if entry["label"] == found["label"])
    assert score == pytest.approx(found["scores"][0], abs=0.05)


def test_against_compares_two_models(here, photos: Path, tmp_path: Path) -> None:
    words = (photos / "coffee.png", photos / "rocket.jpg", *LITE, "--range", "2", "--direction", "right")
    done = here(*SHIFT, *words, "--against", "efficientnet_lite2", "--out-dir", "out")
    assert done.returncode == 0
    found = records(done.stdout)
    alone = records(here(*SHIFT, *words, "-m", "efficientnet_lite2").stdout)  # the last -m counts
    for record, other in zip(found, alone, strict=True):
        against = record["explanation"]["against"]
        assert against.pop("model") == "efficientnet_lite2"
        assert against.items() <= other["explanation"].items()
        assert record["further_models"]["against"]["weights_sha256"] == other["weights_sha256"]
        assert (tmp_path / record["output"]).is_file()
    said = done.stderr.decode()
    assert "mean consistency over 2 photos" in said
    assert "efficientnet_lite0 1.0000, efficientnet_lite2 1.0000" in said


def test_quiet_and_csv(here, photos: Path) -> None:
    done = here(*SHIFT, photos / "coffee.png", photos / "rocket.jpg", "--task", "sobel", "-q", "--format", "csv")
    assert (done.returncode, done.stderr) == (0, b"")
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [json.loads(row["explanation"])["exact"] for row in rows] == [True, True]
    assert {row["engine"] for row in rows} == {"opencv"}


def test_detect_follows_the_best_object(here, photos: Path, tmp_path: Path) -> None:
    words = ("--task", "detect", "-m", "efficientdet_lite0", "--range", "2", "--out", "boxes.png")
    (record,) = records(here(*SHIFT, photos / "coffee.png", *words, "--format", "jsonl").stdout)
    (plain,) = records(here("detect", photos / "coffee.png", "-m", "efficientdet_lite0").stdout)
    found, best = record["explanation"], plain["detections"][0]
    assert found["label"] == best["label"]
    assert found["bbox"] == pytest.approx(best["bbox"], abs=15)
    assert 0.8 < found["equivariance"] < 1
    assert found["found"] == 1
    assert (tmp_path / "boxes.png").is_file()


def test_segment_follows_the_mask(here, photos: Path) -> None:
    (record,) = records(here(*SHIFT, photos / "chelsea.png", "--task", "segment", "--range", "1").stdout)
    found = record["explanation"]
    assert found["labels"] == ["cat"]
    assert 0.9 < found["iou"] <= found["agreement"] < 1


def test_a_model_says_what_is_followed(here, crops: Path, tmp_path: Path) -> None:
    """FFDNet halves its maps once: steps of two leave the answer, single ones do not."""
    done = here(*SHIFT, crops / "chelsea.png", "-m", "ffdnet_color", "--range", "4", "--out", "noise.png")
    found = records(here(*SHIFT, crops / "chelsea.png", "-m", "ffdnet_color", "--range", "4").stdout)[0]["explanation"]
    assert done.returncode == 0
    assert found["task"] == "denoise"
    even, odd = found["psnrs"][2::2], found["psnrs"][1::2]
    assert all(value is None or value > 70 for value in even)
    assert all(30 < value < 60 for value in odd)
    assert (tmp_path / "noise.png").is_file()


def test_failed_inputs_are_records(here, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 30)).save(tmp_path / "narrow.png")
    done = here(*SHIFT, "narrow.png", photos / "coffee.png", "--task", "sobel")
    assert done.returncode == 1
    narrow, coffee = records(done.stdout)
    assert "too small or narrow for shifts of 8 pixels" in narrow["failure"]
    assert narrow["explanation"] is None
    assert coffee["ok"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--task", "verify-face"], 2, "--task verify-face: looks for faces first"),
        (["-m", "sface"], 2, "sface is made for faces"),
        (["--task", "nothing"], 2, "--task nothing: choose classify, detect"),
        (["--range", "0"], 2, "--range 0: give 1 to 128 pixels"),
        (["--direction", "up"], 2, "--direction up: choose right, down, diagonal"),
        (["--task", "sobel", "--against", "u2netp"], 2, "--against u2netp: sobel runs no model"),
        (["--task", "sobel", "-m", "u2netp"], 2, "sobel runs no model here"),
        (["--against", "u2netp"], 3, "made for foreground, not classify"),
        (["--task", "detect", "-m", "u2netp"], 3, "made for foreground, not detect"),
        (["--against", "folder/nothing.safetensors"], 3, "no such weights file"),
        (["--against", "nothing"], 3, "there is no model 'nothing'"),
        (["--out", "photo.txt"], 2, "names no image format"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_rejects(here, photos: Path, words: list[str], code: int, sentence: str) -> None:
    done = here(*SHIFT, photos / "coffee.png", *words)
    assert done.returncode == code
    assert sentence in done.stderr.decode()
    assert done.stdout == b""


def test_resume_refuses_another_second_model(here, photos: Path) -> None:
    words = (photos / "coffee.png", *LITE, "--range", "1", "--records", "shift.jsonl")
    assert here(*SHIFT, *words).returncode == 0
    done = here(*SHIFT, *words, "--resume", "--against", "efficientnet_lite2")
    assert done.returncode == 2
    assert b"other options" in done.stderr


@pytest.mark.parametrize("words", [LITE, ("--task", "sobel")], ids=" ".join)
def test_cpu_run_imports_no_torch(words: tuple[str, ...], photos: Path) -> None:
    modules, output = imported_by(*SHIFT, str(photos / "coffee.png"), *words, "--range", "1", "--device", "cpu")
    assert '"ok": true' in output
    assert not modules & {"torch", "torchvision", "onnx", "matplotlib"}
