"""`--device` with several: the records and pictures of one, whichever process made them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.tasks import form
from tests.conftest import PHOTOS, ROOT, records
from tests.run.test_processes import descendants, exists, until

Run = Callable[..., subprocess.CompletedProcess]
ONE, TWO = ("--device", "cpu", "--threads", "1"), ("--device", "cpu,cpu", "--threads", "2")  # one thread each
TASKS = ["classify", "detect", "segment", "denoise", "verify-face", "sobel"]
TORCH = {"sobel": ("--engine", "torch")}  # OpenCV has no devices


@pytest.fixture
def folder(tmp_path: Path, crops: Path) -> Path:
    """Photos in two folders, and a file that is none."""
    photos = tmp_path / "photos"
    for number in range(3):
        (photos / str(number)).mkdir(parents=True)
        for photo in sorted(crops.iterdir()):
            (photos / str(number) / photo.name).write_bytes(photo.read_bytes())
    (photos / "1" / "broken.jpg").write_bytes((PHOTOS / "rocket.jpg").read_bytes()[:900])
    return photos


def pictures(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_give_the_records_and_pictures_of_one(
    cnncli: Run, folder: Path, tmp_path: Path, task: str
) -> None:
    found = []
    for device in (ONE, TWO):
        words = (*form(task), "-r", folder, "--out-dir", "made", "--format", "jsonl", *TORCH.get(task, ()), *device)
        completed = cnncli(*words)
        assert completed.returncode == 1, completed.stderr  # of the broken file
        (tmp_path / "made").rename(tmp_path / f"made-{len(found)}")
        found.append(completed)
    assert found[0].stdout == found[1].stdout
    assert found[0].stderr == found[1].stderr
    assert len(records(found[0].stdout)) == 13
    assert pictures(tmp_path / "made-0") == pictures(tmp_path / "made-1")
    assert len(pictures(tmp_path / "made-0")) == 12


def test_pairs_are_judged_alike(cnncli: Run, photos: Path, tmp_path: Path) -> None:
    names = [photos / "astronaut.png", photos / "chelsea.png", tmp_path / "missing.jpg"]
    lines = [f"{first},{second}\n" for first in names for second in names]
    (tmp_path / "pairs.csv").write_text("".join(lines))
    one, two = (records(cnncli("verify-face", "--pairs", "pairs.csv", "--format", "jsonl", *device).stdout)
                for device in (ONE, TWO))  # fmt: skip
    assert {record.pop("device") for record in two} == {"cpu,cpu"}  # each may have looked at one of a pair
    assert {record.pop("device") for record in one} == {"cpu"}
    assert one == two
    assert len(one) == 9


def test_people_are_recognised_alike(cnncli: Run, photos: Path) -> None:
    words = ("verify-face", photos / "astronaut.png", "--gallery", photos, "--format", "jsonl")
    one, two = cnncli(*words, *ONE), cnncli(*words, *TWO, env={**os.environ, "CNNCLI_CACHE": "elsewhere"})
    assert one.stdout == two.stdout
    assert records(one.stdout)[0]["matches"][0]["identity"] == "astronaut"


def test_shards_resumed_runs_and_timings(cnncli: Run, folder: Path, tmp_path: Path) -> None:
    words = ("classify", "-r", folder, "--timings", "--shard", "1/2", "--records")
    for name, device in (("one", ONE), ("two", TWO), ("resumed", TWO)):
        assert cnncli(*words, name, *device).returncode == (1 if "broken.jpg" in (tmp_path / name).read_text() else 0)
    (tmp_path / "resumed").write_bytes((tmp_path / "one").read_bytes()[: (tmp_path / "one").stat().st_size // 2])
    cnncli(*words, "resumed", *TWO, "--resume")
    one, two, resumed = (records((tmp_path / name).read_bytes()) for name in ("one", "two", "resumed"))
    stages = {tuple(record.pop("ms")) for record in (*one, *two, *resumed)}
    assert stages == {("decode", "prepare", "infer", "interpret")}
    assert one == two == resumed
    assert [record["index"] for record in two] == [1, 3, 5, 7, 9, 11]


def test_outputs_that_exist_are_skipped(cnncli: Run, folder: Path, tmp_path: Path) -> None:
    words = ("segment", "-r", folder, "--out-dir", "made", "--format", "jsonl", "--skip-existing")
    cnncli(*words, *ONE)
    for made in list((tmp_path / "made").rglob("rocket*")):
        made.unlink()
    one = cnncli(*words, *TWO)
    for made in list((tmp_path / "made").rglob("rocket*")):
        made.unlink()
    assert one.stdout == cnncli(*words, *ONE).stdout
    assert sum("skipped" in record for record in records(one.stdout)) == 9


def test_frames_and_a_video_are_read_here_and_drawn_there(cnncli: Run, tmp_path: Path) -> None:
    import cv2

    rows, columns = np.mgrid[:48, :64]
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(20):
        writer.write(np.stack([rows * 4, columns * 3, (rows + number * 9) % 256], axis=2).astype(np.uint8))
    writer.release()
    made = []
    for name, device in (("one", ONE), ("two", TWO)):
        completed = cnncli("detect", "clip.avi", "--out", f"{name}.avi", "--format", "jsonl", *device)
        assert completed.returncode == 0, completed.stderr
        made.append((records(completed.stdout), (tmp_path / f"{name}.avi").read_bytes()))
    assert made[0] == made[1]
    assert [record["frame"] for record in made[0][0]] == list(range(20))


def test_a_photo_on_standard_input(cnncli: Run, photos: Path) -> None:
    content = (photos / "rocket.jpg").read_bytes()
    one, two = (cnncli("segment", "-", "--out", "-", *device, stdin=content) for device in (ONE, TWO))
    assert one.returncode == two.returncode == 0
    assert one.stdout == two.stdout
    assert two.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("classify", "--device", "cpu,auto"), 2, "a list is of GPUs alone"),
        (("classify", "--device", "cpu,cuda:0"), 2, "a list is of GPUs alone"),
        (("classify", "--device", "cuda:0,cuda:all"), 2, "a list is of GPUs alone"),
        (("classify", "--device", "cpu,"), 2, "choose auto, cpu"),
        (("classify", "--device", "cuda:all"), 4, "no GPU was found; use --device cpu"),
        (("classify", "--device", "cuda:all", "--engine", "onnx"), 2, "needs --engine torch"),
        (("sobel", "--device", "cpu,cpu"), 2, "computed by opencv on the CPU"),
        (("classify", "--device", "cpu,cpu", "--weights", "no.safetensors"), 3, "no.safetensors"),
        (("bench", "classify", "--device", "cpu,cpu"), 2, "runs on one device"),
        (("eval", "denoise", "--device", "cpu,cpu"), 2, "runs on one device"),
        (("explain", "shift", "--device", "cpu,cpu"), 2, "runs on one device"),
        (("explain", "occlusion", "--device", "cpu,cpu"), 2, "runs on one device"),
    ],
    ids=lambda value: " ".join(value[:-2] + value[-1:]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_refuses(cnncli: Run, photos: Path, words: tuple[str, ...], code: int, message: str) -> None:
    place = photos if words[0] in ("eval", "bench") else photos / "rocket.jpg"
    completed = cnncli(*words, place, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert (completed.returncode, completed.stdout) == (code, b"")
    assert message in completed.stderr.decode()
    assert completed.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_leaves_no_process_and_a_file_to_resume(
    crops: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "many.txt").write_text(f"{crops / 'rocket.jpg'}\n" * 5000)
    words: list[Any] = ["classify", f"@{tmp_path / 'many.txt'}", "--records", tmp_path / "r.jsonl", *TWO]
    command = [sys.executable, "-m", "cnncli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert until(lambda: (tmp_path / "r.jsonl").exists() and (tmp_path / "r.jsonl").stat().st_size > 10_000)
        below = descendants(process.pid)
        process.send_signal(number)
        process.wait(20)
    assert process.returncode == code
    assert len(below) == 3
    assert until(lambda: not any(map(exists, below)))
    lines = (tmp_path / "r.jsonl").read_bytes().splitlines()[:-1]  # the last may be torn
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))


def test_processes_that_are_terminated_one_by_one_end_as_one(crops: Path, tmp_path: Path) -> None:
    """As a launcher does it, which knows nothing of who serves whom."""
    (tmp_path / "many.txt").write_text(f"{crops / 'rocket.jpg'}\n" * 5000)
    words: list[Any] = ["classify", f"@{tmp_path / 'many.txt'}", "--records", tmp_path / "r.jsonl", *TWO]
    command = [sys.executable, "-m", "cnncli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert until(lambda: (tmp_path / "r.jsonl").exists() and (tmp_path / "r.jsonl").stat().st_size > 10_000)
        below = descendants(process.pid)
        for pid in below:
            os.kill(pid, signal.SIGTERM)
        size = (tmp_path / "r.jsonl").stat().st_size
        assert until(lambda: (tmp_path / "r.jsonl").stat().st_size > size + 10_000)  # they go on
        process.terminate()
        process.wait(20)
    assert process.returncode == 143
    assert until(lambda: not any(map(exists, below)))
