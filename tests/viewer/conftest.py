"""Records of every task as the commands write them, photos for them, and the gallery command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.cli.gallery import gallery_command

HEAD = {"model": "net", "weights_sha256": "0" * 64, "engine": "onnx", "device": "cpu", "run": "0123456789ab"}
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><b id=planted>", "a\u202egnp.exe")
FACE = {
    "x": 10.0, "y": 8.0, "w": 20.0, "h": 24.0, "score": 0.9,
    "right_eye": [15, 14], "left_eye": [25, 14], "nose": [20, 20], "mouth_right": [16, 26], "mouth_left": [24, 26],
}  # fmt: skip


def record(task: str, file: str, index: int = 0, **result: Any) -> dict[str, Any]:
    head = {"schema": f"cnncli.{task}/1", "file": file, "index": index, "ok": True, "failure": None}
    return {**head, "width": 60, "height": 40, "exif_orientation": None, **result, **HEAD}


def failed(task: str, file: str, failure: str, **result: Any) -> dict[str, Any]:
    return {**record(task, file, **result), "ok": False, "failure": failure}


def box(label: str, score: float) -> dict[str, Any]:
    return {"label": label, "category_id": 1, "score": score, "bbox": [6, 4, 30, 20]}


def write_records(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records))
    return path


def write_photo(path: Path, colour: tuple[int, int, int] = (200, 120, 40)) -> Path:
    """60 x 40 pixels, a gradient downwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.linspace(0.4, 1, 40)[:, None, None] * np.array(colour) * np.ones((40, 60, 1))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def index_of(page: Path) -> list[dict[str, Any]]:
    """What the page's entries are found by."""
    return json.loads(element(page, "entries"))


def details_of(page: Path, place: int) -> dict[str, Any]:
    return json.loads(element(page, f"entry-{place}"))


def element(page: Path, name: str) -> str:
    return page.read_text().partition(f'<script type="application/json" id="{name}">')[2].partition("</script>")[0]


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Ten frames of one grey each, 20 brighter than the one before."""
    path = str(tmp_path / "a.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), number * 20, np.uint8))
    writer.release()
    return path


Gallery = Callable[..., Path]


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """Make a page of records files, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def make(*files: Any, out: str = "page.html", **options: Any) -> Path:
        assert gallery_command([str(file) for file in files], out=Path(out), **options) == 0
        return tmp_path / out

    return make
