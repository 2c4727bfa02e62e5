"""What a page shows of the records of each task."""

from typing import Any

import pytest

from cnncli.catalog import EXPLANATIONS, TASKS
from cnncli.imaging.draw import PALETTE
from cnncli.viewer.entries import DESCRIBERS, Colours, Found
from tests.viewer.conftest import FACE, box, failed, record

RLE = {"size": [40, 60], "counts": "PT2`l0"}


def found(task: str, entry: dict[str, Any], colours: Colours | None = None) -> Found:
    return DESCRIBERS[task].found(entry, colours or Colours())


def marks(found: Found) -> list[tuple[str | None, float | None]]:
    return [(mark.label, mark.score) for mark in found.marks]


def test_every_task_has_a_description() -> None:
    assert DESCRIBERS.keys() == {*TASKS, *(f"explain-{way}" for way in EXPLANATIONS)}


def test_classify_is_found_by_its_best_label_and_searched_by_all() -> None:
    classes = [{"label": name, "index": 1, "score": score} for name, score in (("cat", 0.8), ("dog", 0.1))]
    entry = found("classify", record("classify", "a.jpg", classes=classes))
    assert marks(entry) == [("cat", 0.8)] and entry.words == ("dog",) and entry.measure == "score"


def test_classify_features_are_counted() -> None:
    assert found("classify", record("classify", "a.jpg", features=[0.5] * 7)).note == "7 features"


def test_detect_draws_every_detection_in_the_colour_of_its_label() -> None:
    detections = [box("dog", 0.9), {**box("cat", 0.5), "points": [[1, 2]]}, box("dog", 0.3)]
    entry = found("detect", record("detect", "a.jpg", detections=detections))
    assert marks(entry) == [("dog", 0.9), ("cat", 0.5), ("dog", 0.3)] and entry.objects == 3
    shapes = entry.views[0].shapes
    assert [shape.colour for shape in shapes] == [shapes[0].colour, shapes[1].colour, shapes[0].colour]
    assert shapes[0].colour != shapes[1].colour
    assert shapes[1].box == [6, 4, 30, 20] and shapes[1].points == [[1, 2]]


def test_colours_are_those_of_drawn_pictures() -> None:
    colours = Colours()
    assert [tuple(bytes.fromhex(colours.of(name)[1:])) for name in "abca"] == [*PALETTE[:3], PALETTE[0]]


def test_segment_is_found_by_its_segments_and_tells_instances_apart() -> None:
    segment = {"label": "dog", "index": 12, "area": 600, "fraction": 0.25, "rle": RLE}
    instance = {"label": "dog", "index": 12, "score": 0.7, "bbox": [1, 2, 3, 4], "area": 300, "rle": RLE}
    plain = found("segment", record("segment", "a.jpg", segments=[segment]))
    assert marks(plain) == [("dog", 0.25)] and plain.measure == "share" and plain.objects == 1
    assert len(plain.views[0].areas) == 1 and not plain.views[0].shapes
    entry = found("segment", record("segment", "a.jpg", segments=[segment], instances=[instance] * 3))
    colours = [shape.colour for shape in entry.views[0].shapes]
    assert len(set(colours)) == 3 and colours[0] == entry.marks[0].colour and entry.objects == 3
    assert [area.colour for area in entry.views[0].areas] == [colours[0], *colours]


@pytest.mark.parametrize(
    ("task", "result", "score", "note"),
    [
        ("denoise", {"sigma": 12.34, "tiles": 1}, 12.34, "sigma 12.3"),
        ("denoise", {"sigma": 5.0, "tiles": 1, "psnr": 31.256, "ssim": 0.9}, 5.0, "sigma 5.0, 31.26 dB"),
        ("sobel", {"min": 0.0, "max": 1020.5, "mean": 61.25}, 1020.5, "0 to 1020, mean 61.25"),
    ],
)
def test_pictures_are_shown_before_and_after(task: str, result: dict[str, Any], score: float, note: str) -> None:
    entry = found(task, record(task, "a.jpg", output="out/a.png", **result))
    assert [(view.file, view.result) for view in entry.views] == [("a.jpg", False), ("out/a.png", True)]
    assert entry.compare and marks(entry) == [(None, score)] and entry.note == note
    alone = found(task, record(task, "a.jpg", output=None, **result))
    assert len(alone.views) == 1 and not alone.compare


@pytest.mark.parametrize(("verified", "label"), [(True, "same person"), (False, "different")])
def test_a_pair_of_faces_stands_side_by_side(verified: bool, label: str) -> None:
    result = {"verified": verified, "distance": 0.4, "threshold": 0.6, "similarity_metric": "cosine", "file2": "b.jpg"}
    areas = {"img1": FACE, "img2": {**FACE, "x": 30.0}}
    entry = found("verify-face", record("verify-face", "a.jpg", **result, facial_areas=areas))
    assert marks(entry) == [(label, 0.4)] and entry.measure == "distance" and not entry.compare
    assert [(view.file, view.shapes[0].box[0]) for view in entry.views] == [("a.jpg", 10.0), ("b.jpg", 30.0)]
    assert entry.views[0].shapes[0].points == [[15, 14], [25, 14], [20, 20], [16, 26], [24, 26]]


def test_a_pair_without_a_face_says_so() -> None:
    entry = found(
        "verify-face", failed("verify-face", "a.jpg", "b.jpg: no face found in it", verified=None, file2="b.jpg")
    )
    assert marks(entry) == [("no face", None)] and [view.file for view in entry.views] == ["a.jpg", "b.jpg"]


def test_faces_of_a_photo() -> None:
    assert marks(found("verify-face", record("verify-face", "a.jpg", faces=[FACE, FACE]))) == [("face", 0.9)] * 2
    assert marks(found("verify-face", record("verify-face", "a.jpg", faces=[]))) == [("no face", None)]


def test_matches_of_a_gallery() -> None:
    near = {"identity": "ann", "file": "g/ann.jpg", "distance": 0.3, "verified": True}
    far = {"identity": "bob", "file": "g/bob.jpg", "distance": 0.9, "verified": False}
    common = {"threshold": 0.6, "similarity_metric": "cosine", "facial_area": FACE}
    known = found("verify-face", record("verify-face", "a.jpg", matches=[near, far], **common))
    assert marks(known) == [("ann", 0.3)] and known.words == ("ann", "bob")
    assert [view.file for view in known.views] == ["a.jpg", "g/ann.jpg"]
    assert marks(found("verify-face", record("verify-face", "a.jpg", matches=[far], **common))) == [
        ("nobody known", 0.9)
    ]
    assert marks(found("verify-face", record("verify-face", "a.jpg", matches=[], **common))) == [("nobody known", None)]


@pytest.mark.parametrize("task", TASKS)
def test_failures_and_skipped_inputs_have_no_result(task: str) -> None:
    entry = found(task, failed(task, "a.jpg", "damaged"))
    assert entry.marks == () and [view.file for view in entry.views] == ["a.jpg"]
    assert found(task, record(task, "a.jpg", skipped=True)).note == "skipped"


def test_explanations_show_their_picture() -> None:
    record = {
        "file": "a.jpg",
        "ok": True,
        "output": "heat/a.png",
        "explanation": {"label": "cat", "score": 0.5, "layer": "3"},
    }
    found = DESCRIBERS["explain-cam"].found(record, Colours())
    assert [(view.file, view.result) for view in found.views] == [("heat/a.png", True)]
    assert [(mark.label, mark.score) for mark in found.marks] == [("cat", 0.5)]
    found = DESCRIBERS["explain-activations"].found(
        {"file": "a.jpg", "ok": True, "explanation": {"layer": "3"}}, Colours()
    )
    assert [view.file for view in found.views] == ["a.jpg"]
    assert (found.marks, found.note) == ((), "3")
