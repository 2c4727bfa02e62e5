"""`cnncli gallery`: from records to a page."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnncli.errors import OutputError, UsageError
from cnncli.imaging.masks import run_lengths
from tests.viewer.conftest import (
    FACE,
    Gallery,
    box,
    details_of,
    failed,
    index_of,
    record,
    write_photo,
    write_records,
)
from tests.viewer.test_thumbnails import opened


def rle() -> dict[str, Any]:
    import numpy as np

    return run_lengths(np.tri(40, 60, dtype=bool))


def one_of_each() -> list[dict[str, Any]]:
    pair = {"verified": True, "distance": 0.1, "threshold": 0.6, "similarity_metric": "cosine", "file2": "photos/b.png"}
    segment = {"label": "dog", "index": 12, "area": 600, "fraction": 0.25, "rle": rle()}
    return [
        record("classify", "photos/a.png", classes=[{"label": "cat", "index": 1, "score": 0.8}]),
        record("detect", "photos/a.png", detections=[box("dog", 0.9)]),
        record("segment", "photos/a.png", segments=[segment]),
        record("denoise", "photos/a.png", output="photos/b.png", sigma=10.0, tiles=1),
        record("sobel", "photos/a.png", output="photos/b.png", min=0.0, max=9.0, mean=1.0),
        record("verify-face", "photos/a.png", **pair, facial_areas={"img1": FACE, "img2": FACE}),
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A records file with a record of each task, and its photos."""
    write_photo(tmp_path / "photos" / "a.png")
    write_photo(tmp_path / "photos" / "b.png", (20, 90, 220))
    return write_records(tmp_path / "run.jsonl", one_of_each())


def test_shows_records_of_every_task(run: Path, gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    page = gallery(run)
    index = index_of(page)
    assert [entry["task"] for entry in index] == ["classify", "detect", "segment", "denoise", "sobel", "verify-face"]
    assert not any(entry["unseen"] for entry in index) and capsys.readouterr() == ("", "")
    for place, pictures in enumerate([1, 1, 1, 2, 2, 2]):
        details = details_of(page, place)
        assert [opened(view["picture"]).size for view in details["views"]] == [(60, 40)] * pictures
        assert details["compare"] == (place in (3, 4))
    assert opened(details_of(page, 2)["views"][0]["areas"]).size == (60, 40)
    assert details_of(page, 1)["views"][0]["url"] == "./photos/a.png"
    assert index[5]["name"] == "photos/a.png and photos/b.png"


def test_keeps_the_order_with_any_number_of_threads(tmp_path: Path, gallery: Gallery) -> None:
    colours = [(3 * n % 250, 90, 120) for n in range(40)]
    for number, colour in enumerate(colours):
        write_photo(tmp_path / f"{number}.png", colour)
    run = write_records(tmp_path / "r.jsonl", [record("detect", f"{n}.png", n, detections=[]) for n in range(40)])
    one, many = (gallery(run, out=f"{count}.html", workers=count) for count in ("1", "7"))
    assert one.read_bytes() == many.read_bytes()
    assert [entry["name"] for entry in index_of(one)] == [f"{n}.png" for n in range(40)]


def test_a_record_is_shown_whole_but_for_what_nobody_reads(run: Path, gallery: Gallery) -> None:
    page = gallery(run)
    shown = details_of(page, 2)["record"]
    assert shown["segments"][0].pop("rle") == f"run lengths, {len(rle()['counts'])} characters"
    expected = one_of_each()[2]
    del expected["segments"][0]["rle"]
    assert shown == expected


def test_photos_that_are_gone_are_said_to_be(
    tmp_path: Path, run: Path, gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "photos" / "b.png").unlink()
    page = gallery(run)
    views = details_of(page, 5)["views"]
    assert [view["picture"] for view in views] == [None, None]
    assert views[0]["missing"].startswith("damaged") and views[1]["missing"] == "no such file"
    assert "6 of 6 have photos that can't be shown" in capsys.readouterr().err
    gallery(run, overwrite=True, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_run_lengths_that_fit_no_picture_are_left_out(tmp_path: Path, gallery: Gallery) -> None:
    write_photo(tmp_path / "a.png")
    for number, broken in enumerate([{"size": [40, 60], "counts": "1"}, {"size": [40], "counts": "\u20ac"}, {}, None]):
        segment = {"label": "dog", "index": 12, "area": 600, "fraction": 0.25, "rle": broken}
        page = gallery(
            write_records(tmp_path / "r.jsonl", [record("segment", "a.png", segments=[segment])]), out=f"{number}.html"
        )
        (view,) = details_of(page, 0)["views"]
        assert view["picture"] and view["areas"] is None


def test_failures_keep_their_sentence(tmp_path: Path, gallery: Gallery) -> None:
    page = gallery(write_records(tmp_path / "r.jsonl", [failed("detect", "a.png", "damaged (bad)", detections=None)]))
    (entry,) = index_of(page)
    assert (entry["ok"], entry["failure"], entry["unseen"]) == (False, "damaged (bad)", True)


def test_frames_of_a_video_have_their_own_pictures(tmp_path: Path, gallery: Gallery, video: str) -> None:
    records = [record("detect", video, n, frame=n, seconds=n / 10, detections=[]) for n in (0, 4, 9)]
    page = gallery(write_records(tmp_path / "r.jsonl", [*records, record("detect", video, 3, frame=99, detections=[])]))
    for place, number in enumerate((0, 4, 9)):
        (view,) = details_of(page, place)["views"]
        centre = opened(view["picture"]).convert("L").getpixel((20, 20))
        assert centre == pytest.approx(20 * number, abs=8) and view["url"] is None
    assert details_of(page, 3)["views"][0]["missing"] == "has no such frame"
    assert index_of(page)[1]["name"] == f"{video}, frame 4"


def test_standard_input_is_read_and_its_photo_not_kept(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = json.dumps(record("detect", "-", detections=[])).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line + b"\n")))
    page = gallery("-")
    assert "standard input" in details_of(page, 0)["views"][0]["missing"]
    assert "<title>standard input</title>" in page.read_text()
    assert "1 of 1 has a photo that can't be shown" in capsys.readouterr().err


def test_photos_are_looked_for_in_another_folder(tmp_path: Path, run: Path, gallery: Gallery) -> None:
    (tmp_path / "moved").mkdir()
    os.rename(tmp_path / "photos", tmp_path / "moved" / "photos")
    (tmp_path / "pages").mkdir()
    page = gallery(run, out="pages/page.htm", photos=Path("moved"), size=32, title="Two photos")
    views = details_of(page, 3)["views"]
    assert [view["url"] for view in views] == ["./../moved/photos/a.png", "./../moved/photos/b.png"]
    assert [opened(view["picture"]).size for view in views] == [(32, 21), (32, 21)]
    assert "<h1>Two photos</h1>" in page.read_text()


def test_names_that_are_no_text(tmp_path: Path, gallery: Gallery) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_photo(tmp_path / name)
    page = gallery(
        write_records(tmp_path / "r.jsonl", [record("detect", n, detections=[]) for n in (name, "\ud800", "\0")])
    )
    (view,) = details_of(page, 0)["views"]
    assert (view["picture"] is not None, view["url"]) == (True, "./caf%E9.png")
    assert [details_of(page, place)["views"][0]["missing"] for place in (1, 2)] == ["no such file"] * 2


BAD_RECORDS = [
    record("detect", "a.png", detections=[{"label": "dog"}]),
    record("detect", "a.png"),
    record("classify", "a.png", classes=5),
    record("verify-face", "a.png", file2="b.png", verified=True, facial_areas=[]),
    record("verify-face", "a.png", faces=None),
    record("detect", "a.png", detections=[{**box("dog", 0.5), "bbox": ["1", 2, 3, 4]}]),
    record("detect", "a.png", detections=[{**box("dog", 0.5), "points": [[1]]}]),
    record("detect", "a.png", detections=[{**box("dog", 0.5), "score": "high"}]),
    record("detect", "a.png", detections=[{**box("dog", 0.5), "label": 3}]),
    record("sobel", "a.png", output=7, min=0, max=1, mean=0),
]


@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_rejects_a_malformed_record(tmp_path: Path, gallery: Gallery, bad: dict[str, Any]) -> None:
    run = write_records(tmp_path / "r.jsonl", [record("detect", "a.png", detections=[]), bad])
    with pytest.raises(UsageError, match=r"r\.jsonl: line 2 is no record of .*schema"):
        gallery(run)
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob(".cnncli*"))


WRONG = {
    "exists": ({"out": "old.html"}, "exists; use --overwrite"),
    "suffix": ({"out": "photos/a.png", "overwrite": True}, "ends in .html"),
    "input": ({"out": "run.html", "overwrite": True}, "never overwritten"),
    "folder": ({"out": "no/page.html"}, "does not exist"),
    "small": ({"size": 1}, "--size 1"),
    "photos": ({"photos": Path("nowhere")}, "--photos nowhere"),
    "threads": ({"workers": "0"}, "--workers 0"),
    "no number": ({"workers": "many"}, "--workers many"),
}


@pytest.mark.parametrize(("options", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_rejects_options(tmp_path: Path, run: Path, gallery: Gallery, options: dict[str, Any], sentence: str) -> None:
    (tmp_path / "old.html").write_text("old")
    run = run.rename(tmp_path / "run.html")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=sentence):
        gallery(run, **options)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_overwrites_when_told(tmp_path: Path, run: Path, gallery: Gallery) -> None:
    (tmp_path / "page.html").write_text("old")
    assert len(index_of(gallery(run, overwrite=True))) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path, run: Path, gallery: Gallery) -> None:
    (tmp_path / "full.html").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="can't be written"):
        gallery(run, out="full.html", overwrite=True)


def test_needs_no_torch() -> None:
    program = (
        "import cnncli.viewer.build, sys; print({'torch', 'torchvision', 'onnxruntime', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
