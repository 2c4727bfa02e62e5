"""`cnncli bench` as a user calls it."""

import json
import shutil
from pathlib import Path

import pytest

from cnncli.catalog import TASKS


def figures_of(here, *words) -> dict:
    done = here("bench", *words, "--seconds", "0.02", "--json", "--threads", "1")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_reports_every_stage(here, photos: Path, engine: str) -> None:
    found = figures_of(
        here, "classify", photos, "-m", "efficientnet_lite0", "--device", "cpu", "--engine", engine, "--workers", "2"
    )
    names = [stage["stage"] for stage in found["stages"]]
    batch = 2 if engine == "onnx" else 4
    best = found["best_batch"]
    assert names == [
        "read", "decode", "prepare", "decode + prepare", f"forward (batch {batch})", f"forward, best (batch {best})",
        "interpret",
    ]  # fmt: skip
    for stage in found["stages"]:
        assert stage["images_per_s"] * stage["ms_per_image"] == pytest.approx(1000)
    assert found["forward_by_batch"][str(best)] == max(found["forward_by_batch"].values())
    assert "1" in found["forward_by_batch"]
    rates = {stage["stage"]: stage["images_per_s"] for stage in found["stages"]}
    reading, forward = rates["decode + prepare"], found["forward_bound_images_per_s"]
    assert forward == rates[f"forward, best (batch {best})"]
    assert found["bound_images_per_s"] == pytest.approx(1 / (1 / reading + 1 / forward))
    assert found["efficiency"] == pytest.approx(found["end_to_end_images_per_s"] / found["bound_images_per_s"])
    slowest = min((reading, "decode + prepare"), (forward, "forward"), (rates["interpret"], "interpret"))
    assert found["limited_by"] == slowest[1]
    assert (found["photos"], found["inputs"], found["engine"], found["device"]) == (4, 4, engine, "cpu")
    assert found["peak_memory_mb"] > 10


def test_counts_the_batch_that_the_run_is_given(here) -> None:
    found = figures_of(here, "classify", "-m", "efficientnet_lite0", "--device", "cpu", "--batch-size", "3")
    assert found["stages"][3]["stage"] == "forward (batch 3)"
    assert "3" in found["forward_by_batch"]


@pytest.mark.parametrize("task", TASKS)
def test_measures_every_task(here, crops: Path, task: str) -> None:
    found = figures_of(here, task, crops, "--device", "cpu", "--batch-size", "1")
    names = [stage["stage"] for stage in found["stages"]]
    assert names[:4] == ["read", "decode", "prepare", "decode + prepare"]
    assert ("interpret" in names) == (task != "sobel")  # computed without a network
    assert (found["best_batch"] is None) == (task == "sobel")
    assert found["efficiency"] > 0


def test_names_the_decoding_that_a_device_does(here, photos: Path) -> None:
    options = ("--engine", "torch", "--device", "cpu", "--decode", "device")
    found = figures_of(here, "classify", photos / "rocket.jpg", "-m", "efficientnet_lite0", *options)
    names = [stage["stage"] for stage in found["stages"]]
    assert "forward with decode (batch 4)" in names
    assert f"forward with decode, best (batch {found['best_batch']})" in names


def test_makes_its_own_photos(here) -> None:
    found = figures_of(here, "sobel")
    assert [stage["stage"] for stage in found["stages"]] == ["decode", "prepare", "decode + prepare"]
    assert (found["photos"], found["inputs"]) == (16, 16)


def test_measures_all_folders_alike(here, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        shutil.copy(photos / "rocket.jpg", tmp_path / f"{number}.jpg")
    (tmp_path / "9.jpg").write_bytes(b"broken")
    monkeypatch.setattr("cnncli.cli.bench.PHOTOS_KEPT", 5)
    found = figures_of(here, "sobel", tmp_path)
    assert (found["photos"], found["inputs"]) == (4, 10)  # every second one; the last can't be decoded


def test_fits_a_narrow_terminal(cnncli, photos: Path) -> None:
    done = cnncli(
        "bench", "classify", photos, "-m", "efficientnet_lite0", "--seconds", "0.02", "--device", "cpu", "-b", "16"
    )
    lines = done.stdout.decode().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert [line.split()[:3] for line in lines if "forward (" in line] == [["forward", "(batch", "16)"]]
    assert not [line for line in lines if "…" in line]  # rich leaves out what has no room


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["classify", "--seconds", "0"], b"--seconds 0: give a time above 0"),
        (["segment", "--decode", "full"], b"--decode full: segment decodes in one way only; leave it out"),
        (["classify", "--decode", "half"], b"--decode half: choose"),
    ],
    ids=str,
)
def test_rejects(here, words: list[str], complaint: bytes) -> None:
    done = here("bench", *words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_says_when_no_photo_can_be_read(here, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    done = here("bench", "classify", tmp_path / "a.jpg")
    assert done.returncode == 2
    assert b"no image to measure with could be read" in done.stderr
