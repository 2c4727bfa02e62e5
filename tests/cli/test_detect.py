"""`cnncli detect` as a user calls it: its options, the files that it writes, and what it refuses."""

import contextlib
import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import PHOTOS, records

CAT, COFFEE, ROCKET = PHOTOS / "chelsea.png", PHOTOS / "coffee.png", PHOTOS / "rocket.jpg"
SMALL = ("-m", "efficientdet_lite0")


def found(done) -> list[dict]:
    """The objects of a run over one input."""
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    return record["detections"]


def labels(done) -> list[str]:
    return [entry["label"] for entry in found(done)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Six frames of the cat, 320 x 240 px, at 10 frames a second."""
    path = tmp_path / "clip.avi"
    frame = cv2.resize(cv2.imread(str(CAT)), (320, 240))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for number in range(6):
        writer.write(np.roll(frame, number, axis=1))
    writer.release()
    return path


def test_finds_what_is_there(cnncli) -> None:
    (cat,) = found(cnncli("detect", CAT))
    assert (cat["label"], cat["category_id"]) == ("cat", 17)
    x, y, width, height = cat["bbox"]  # the cat fills the photo, 451 x 300 px, but for a strip on the right
    assert 0 <= x < 20
    assert 0 <= y < 20
    assert 380 < x + width <= 451
    assert 280 < y + height <= 300
    assert "cup" in labels(cnncli("detect", COFFEE))
    assert labels(cnncli("detect", ROCKET)) == []


def test_lower_threshold_finds_more(cnncli) -> None:
    low, high = found(cnncli("detect", COFFEE, "--conf", "0.1")), found(cnncli("detect", COFFEE, "--conf", "0.65"))
    assert len(low) > 4 > len(high)
    assert high == [entry for entry in low if entry["score"] >= 0.65]
    scores = [entry["score"] for entry in low]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.1


def test_overlap_decides_what_is_suppressed(cnncli) -> None:
    counts = [len(found(cnncli("detect", COFFEE, "--iou", iou))) for iou in ("0.05", "0.5", "0.95")]
    assert counts[0] < counts[1] < counts[2]


def test_gives_at_most_what_is_asked(cnncli) -> None:
    every = found(cnncli("detect", COFFEE))
    assert found(cnncli("detect", COFFEE, "--max-det", "2")) == every[:2]


def test_filters_by_name(cnncli, tmp_path: Path) -> None:
    every = found(cnncli("detect", COFFEE))
    wanted = [entry for entry in every if entry["label"] in ("cup", "spoon")]
    assert 0 < len(wanted) < len(every)
    assert found(cnncli("detect", COFFEE, "--classes", "Spoon, cup")) == wanted
    (tmp_path / "wanted.txt").write_text("cup\nspoon\n")
    assert found(cnncli("detect", COFFEE, "--classes", "@wanted.txt")) == wanted


def test_takes_other_names(cnncli, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("".join(f"class {number}\n" for number in range(80)))
    assert labels(cnncli("detect", CAT, "--labels", "numbers.txt")) == ["class 15"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--conf", "0"], "--conf 0"),
        (["--conf", "1.5"], "--conf 1.5"),
        (["--conf", "high"], "--conf"),
        (["--iou", "-1"], "--iou -1"),
        (["--max-det", "0"], "--max-det 0"),
        (["--classes", "kat"], "perhaps cat"),
        (["--classes", "@missing.txt"], "missing.txt"),
        (["--tile", "8"], "--tile 8"),
        (["--tile-overlap", "1"], "--tile-overlap 1"),
        (["--format", "coco"], "--images FILE"),
        (["--format", "yolo"], "--out or --out-dir"),
        (["--images", "images.json"], "goes with --format coco"),
        (["--format", "coco", "--images", "nowhere/images.json"], "nowhere does not exist"),
        (["--format", "coco", "--images", "here.json"], "here.json: exists; use --overwrite"),
        (["--format", "coco", "--images", "i.json", "--records", "r.jsonl", "--resume"], "not resumed"),
        (["--out", "clip.mp4"], "written from one video"),
        (["--out", "nowhere/clip.mp4"], "nowhere does not exist"),
        (["--crops", "nowhere/deep"], "does not exist"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(arguments: list[str], words: str, cnncli, tmp_path: Path) -> None:
    (tmp_path / "here.json").write_text("{}")
    done = cnncli("detect", CAT, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    message = done.stderr.decode()
    assert words in message
    assert message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["here.json"]


def test_single_gives_the_main_object_or_nothing(cnncli) -> None:
    assert labels(cnncli("detect", CAT, "--single")) == ["cat"]
    assert labels(cnncli("detect", PHOTOS / "astronaut.png", "--single")) == ["person"]
    assert labels(cnncli("detect", ROCKET, "--single")) == []


def test_counts_in_every_format(cnncli) -> None:
    words = ("detect", CAT, CAT, COFFEE, ROCKET, "--classes", "cat,cup", "--count", "--format")
    expected = {"cat": 2, "cup": labels(cnncli("detect", COFFEE)).count("cup")}
    assert json.loads(cnncli(*words, "json").stdout) == expected
    rows = list(csv.DictReader(io.StringIO(cnncli(*words, "csv").stdout.decode())))
    assert {row["label"]: int(row["count"]) for row in rows} == expected
    lines = cnncli(*words, "table").stdout.decode().splitlines()
    assert {line.split()[1]: int(line.split()[0]) for line in lines} == expected


def test_crops_are_the_pixels_of_their_boxes(cnncli, tmp_path: Path) -> None:
    done = cnncli("detect", COFFEE, ROCKET, "--crops", "crops")
    coffee, rocket = records(done.stdout)
    names = [f"{number:02d}-{entry['label'].replace(' ', '_')}" for number, entry in enumerate(coffee["detections"])]
    assert coffee["crops"] == [f"crops/coffee/{name}.jpg" for name in names]
    assert rocket["crops"] == []
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == [f"{name}.jpg" for name in names]
    photo = np.asarray(Image.open(COFFEE).convert("RGB")).astype(int)
    for path, entry in zip(coffee["crops"], coffee["detections"], strict=True):
        x, y, width, height = entry["bbox"]
        expected = photo[int(y) : int(np.ceil(y + height)), int(x) : int(np.ceil(x + width))]
        picture = np.asarray(Image.open(tmp_path / path)).astype(int)
        assert picture.shape == expected.shape
        assert np.abs(picture - expected).mean() < 4


def test_crops_of_an_earlier_run_are_not_replaced_unasked(cnncli, tmp_path: Path) -> None:
    assert cnncli("detect", CAT, "--crops", "crops").returncode == 0
    (crop,) = tmp_path.rglob("*.jpg")
    crop.write_bytes(b"mine")
    done = cnncli("detect", CAT, "--crops", "crops")
    assert done.returncode == 2
    assert b"exists; use --overwrite" in done.stderr
    assert crop.read_bytes() == b"mine"
    assert cnncli("detect", CAT, "--crops", "crops", "--overwrite").returncode == 0
    assert crop.read_bytes() != b"mine"


def test_coco_files_load_in_pycocotools(cnncli, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    (tmp_path / "broken.jpg").write_bytes(b"")
    done = cnncli("detect", CAT, "broken.jpg", COFFEE, ROCKET, "--format", "coco", "--images", "images.json")
    assert done.returncode == 1
    images = json.loads((tmp_path / "images.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [str(CAT), "broken.jpg", str(COFFEE), str(ROCKET)]
    assert (images[0]["width"], images[0]["height"]) == (451, 300)
    (tmp_path / "results.json").write_bytes(done.stdout)
    lines = records(cnncli("detect", CAT, "broken.jpg", COFFEE, ROCKET).stdout)
    truth = COCO()
    truth.dataset = {"images": images, "annotations": [], "categories": [{"id": n, "name": ""} for n in range(1, 91)]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(tmp_path / "results.json"))
    for image, record in zip(images, lines, strict=True):
        theirs = [(entry["category_id"], entry["bbox"]) for entry in loaded.imgToAnns[image["id"]]]
        assert theirs == [(entry["category_id"], entry["bbox"]) for entry in record["detections"] or []]


def test_coco_results_of_nothing_are_an_empty_list(cnncli, tmp_path: Path) -> None:
    done = cnncli("detect", ROCKET, "--format", "coco", "--images", "images.json")
    assert json.loads(done.stdout) == []
    assert len(json.loads((tmp_path / "images.json").read_text())["images"]) == 1


def test_yolo_lines_hold_the_same_boxes(cnncli, tmp_path: Path) -> None:
    done = cnncli("detect", CAT, COFFEE, ROCKET, "--format", "yolo", "--out-dir", "labels")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "labels" / "rocket.txt").read_text() == ""
    numbers = {"cat": 15, "cup": 41, "spoon": 44, "dining table": 60}  # of COCO's 80 classes, from 0
    for photo in (CAT, COFFEE):
        with Image.open(photo) as picture:
            width, height = picture.size
        lines = (tmp_path / "labels" / f"{photo.stem}.txt").read_text().splitlines()
        for line, entry in zip(lines, found(cnncli("detect", photo)), strict=True):
            number, *values, score = line.split()
            x, y, w, h = map(float, values)
            assert all(0 <= float(value) <= 1 for value in values)
            assert int(number) == numbers[entry["label"]]
            assert float(score) == pytest.approx(entry["score"], abs=1e-5)
            box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
            assert box == pytest.approx(entry["bbox"], abs=0.01)


def test_yolo_writes_one_named_file(cnncli, tmp_path: Path) -> None:
    assert cnncli("detect", CAT, "--format", "yolo", "--out", "cat.txt").returncode == 0
    assert (tmp_path / "cat.txt").read_text().startswith("15 ")
    piped = cnncli("detect", CAT, "--format", "yolo", "--out", "-")
    assert piped.stdout == (tmp_path / "cat.txt").read_bytes()


def test_annotates_a_video(cnncli, video: Path, tmp_path: Path) -> None:
    done = cnncli("detect", video, "--out", "annotated.avi", *SMALL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotated.avi", "clip.avi"]
    before, after = frames(video), frames(tmp_path / "annotated.avi")
    assert len(after) == 6
    for one, other in zip(before, after, strict=True):
        assert one.shape == other.shape
        assert (np.abs(one.astype(int) - other).max(axis=2) > 64).sum() > 500  # a box around the cat, and its label
    again = cnncli("detect", video, "--out", "annotated.avi")
    assert again.returncode == 2
    assert b"exists; use --overwrite" in again.stderr


def test_annotated_video_keeps_its_rate(cnncli, video: Path, tmp_path: Path) -> None:
    assert cnncli("detect", video, "--out", "annotated.mp4", *SMALL).returncode == 0
    capture = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    capture.release()
    assert len(frames(tmp_path / "annotated.mp4")) == 6


def frames(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while True:
        ok, picture = capture.read()
        if not ok:
            capture.release()
            return pictures
        pictures.append(picture)


def test_refuses_to_replace_its_own_video(cnncli, video: Path) -> None:
    before = video.read_bytes()
    done = cnncli("detect", video, "--out", video, "--overwrite")
    assert done.returncode == 2
    assert b"is an input" in done.stderr
    assert video.read_bytes() == before


@pytest.mark.parametrize("on_error", ["skip", "fail"])
def test_leaves_no_part_of_a_damaged_video(on_error: str, cnncli, video: Path, tmp_path: Path) -> None:
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    done = cnncli("detect", video, "--out", "annotated.avi", "--on-error", on_error, *SMALL)
    assert done.returncode == 1
    assert b"damaged (the video ends after" in done.stderr
    assert list(tmp_path.iterdir()) == [video]


def test_leaves_no_part_of_a_video_when_interrupted(video: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for frame in frames(video) * 100:
        writer.write(frame)
    writer.release()
    command = [sys.executable, "-m", "cnncli", "detect", str(long), "--out", "annotated.avi"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, **quiet)
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".cnncli-*")) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(tmp_path.glob(".cnncli-*"))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", "long.avi"]


def herd(path: Path) -> Path:
    """Six cats of 150 x 100 px on a grey canvas of 3000 x 2000 px."""
    canvas = Image.new("RGB", (3000, 2000), (127, 127, 127))
    cat = Image.open(CAT).convert("RGB").resize((150, 100))
    for x, y in ((200, 300), (1500, 200), (2600, 400), (300, 1500), (1700, 1200), (2500, 1700)):
        canvas.paste(cat, (x, y))
    canvas.save(path, quality=95)
    return path


def test_tiles_find_small_objects(cnncli, tmp_path: Path) -> None:
    photo = herd(tmp_path / "herd.jpg")
    whole = cnncli("detect", photo, "--classes", "cat", *SMALL)
    tiled = cnncli("detect", photo, "--classes", "cat", "--tile", "640", *SMALL)
    assert len(found(tiled)) >= max(1, len(found(whole)))
    for x, y, width, height in (entry["bbox"] for entry in found(tiled)):
        middle = x + width / 2, y + height / 2
        assert any(
            left <= middle[0] <= left + 150 and top <= middle[1] <= top + 100
            for left, top in ((200, 300), (1500, 200), (2600, 400), (300, 1500), (1700, 1200), (2500, 1700))
        )
    assert tiled.stderr == b""


def test_offers_tiles_once(cnncli, tmp_path: Path) -> None:
    photo = herd(tmp_path / "herd.jpg")
    message = cnncli("detect", photo, photo, CAT, *SMALL).stderr.decode()
    assert message == f"cnncli: {photo}: 3000 x 2000 is large; --tile 320 also finds its small objects\n"
    assert cnncli("detect", photo, "-q", *SMALL).stderr == b""


def test_boxes_lie_in_the_upright_photo(cnncli, tmp_path: Path) -> None:
    """Orientation 6: stored turned left, shown upright."""
    upright = Image.open(CAT).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    (record,) = records(cnncli("detect", "turned.png").stdout)
    assert (record["width"], record["height"], record["exif_orientation"]) == (451, 300, 6)
    assert record["detections"] == found(cnncli("detect", CAT))


def test_draws_the_boxes(cnncli, tmp_path: Path) -> None:
    assert cnncli("detect", CAT, "--out", "cat.png").returncode == 0
    difference = np.asarray(Image.open(tmp_path / "cat.png")).astype(int) - np.asarray(Image.open(CAT).convert("RGB"))
    changed = np.abs(difference).max(axis=2) > 0
    assert changed[50:250, 405:412].any(axis=1).all()  # the right side of the box, at 409.5
    assert not changed[60:200, 30:400].any()
    assert not changed[:, 420:].any()
