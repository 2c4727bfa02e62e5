"""COCO's figures against pycocotools itself, on a set made by hand and on the shipped models."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli import Predictor
from cnncli.errors import UsageError
from cnncli.evaluate.detect import CONF, FIGURES, Annotations
from tests.conftest import PHOTOS

BOXES = {  # image id: class and box
    3: [(1, [10, 10, 50, 40]), (2, [100, 20, 20, 20])],
    7: [(1, [0, 0, 200, 150])],
    9: [(2, [5, 5, 12, 12]), (2, [60, 60, 100, 80])],
}


def dataset() -> dict:
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, category, box) in enumerate(
            ((image, *entry) for image, entries in BOXES.items() for entry in entries), 1
        )
    ]
    images = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 150} for i in (9, 3, 7)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 5, "name": "cow"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def truth(tmp_path: Path) -> Annotations:
    for image in BOXES:
        Image.new("RGB", (200, 150)).save(tmp_path / f"{image}.png")
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(dataset()))
    return Annotations(path, None)


def perfect() -> list[list[dict]]:
    """What is marked in the images 3, 7 and 9."""
    return [[{"category_id": c, "bbox": box, "score": 0.9} for c, box in BOXES[image]] for image in (3, 7, 9)]


def shaken() -> list[list[dict]]:
    """Boxes moved and stretched, some doubled, some of a wrong class."""
    random = np.random.default_rng(3)
    return [
        [
            {
                "category_id": int(random.choice([entry["category_id"], 1, 2])),
                "bbox": (np.array(entry["bbox"]) * random.uniform(0.85, 1.15, 4)).tolist(),
                "score": float(random.uniform(0.1, 0.9)),
            }
            for entry in entries * 4
        ]
        for entries in perfect()
    ]


def by_pycocotools(detections: list[list[dict] | None]) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [{"image_id": i, **d} for i, entries in zip((3, 7, 9), detections, strict=True) for d in entries or []]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset()
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_lists_files_by_the_ids_of_their_images(truth: Annotations) -> None:
    assert [Path(file).name for file in truth.files] == ["3.png", "7.png", "9.png"]


def test_perfect_detections_have_a_precision_of_100(truth: Annotations) -> None:
    figures = truth.score(perfect())
    assert (figures["images"], figures["failed"]) == (3, 0)
    assert figures["AP"] == figures["AP50"] == figures["AP75"] == figures["AR100"] == 100
    assert figures["classes"] == [
        {"label": "cat", "category_id": 1, "marked": 2, "AP": 100},
        {"label": "dog", "category_id": 2, "marked": 3, "AP": 100},
    ]


@pytest.mark.parametrize("failed", [None, 0, 1])
def test_scores_as_pycocotools_does(truth: Annotations, failed: int | None) -> None:
    detections: list = shaken()
    if failed is not None:
        detections[failed] = None
    figures = truth.score(detections)
    expected = by_pycocotools(detections)
    assert 5 < figures["AP"] < 95
    for name, value in zip(FIGURES, expected, strict=True):
        assert figures[name] == (None if value < 0 else pytest.approx(100 * value, abs=0.0051))
    assert figures["failed"] == (failed is not None)
    assert np.mean([entry["AP"] for entry in figures["classes"]]) == pytest.approx(figures["AP"], abs=0.011)


@pytest.mark.parametrize("nothing", [[], None])
def test_nothing_found_is_0(truth: Annotations, nothing: list | None) -> None:
    figures = truth.score([nothing] * 3)
    assert figures["AP"] == figures["AR100"] == 0
    assert figures["failed"] == (3 if nothing is None else 0)


def test_figures_are_json(truth: Annotations) -> None:
    figures = truth.score(shaken())
    assert json.loads(json.dumps(figures)) == figures


def test_prints_nothing(truth: Annotations, capfd) -> None:
    truth.score(shaken())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "can't be read"),
        ("[]", "has no images"),
        ("3", "has no images"),
        (json.dumps({"images": [], "categories": []}), "has no annotations"),
        (json.dumps({**dataset(), "images": []}), "has no images"),
        (json.dumps({**dataset(), "categories": {}}), "has no categories"),
        (json.dumps({**dataset(), "images": [{"id": 1}]}), r"images\[0\] has no file_name"),
        (json.dumps({**dataset(), "annotations": [{"id": 1, "image_id": 3}]}), r"annotations\[0\] has no bbox"),
        (json.dumps({**dataset(), "categories": ["cat"]}), r"categories\[0\] has no id"),
        (json.dumps(dataset()), "holds none of the images"),
    ],
)
def test_explains_a_wrong_file(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(UsageError, match=words):
        Annotations(tmp_path / "instances.json", None)


def test_takes_files_made_by_hand(tmp_path: Path, truth: Annotations) -> None:
    """Numbers from 0, no areas, no word of crowds."""
    content = dataset()
    for annotation in content["annotations"]:
        annotation["id"] -= 1
        del annotation["area"], annotation["iscrowd"]
    (tmp_path / "plain.json").write_text(json.dumps(content))
    plain = Annotations(tmp_path / "plain.json", None)
    assert plain.score(perfect())["AP"] == 100
    assert plain.score(shaken()) == truth.score(shaken())


def test_leaves_crowds_out_of_what_is_marked(tmp_path: Path, truth: Annotations) -> None:
    content = dataset()
    content["annotations"][-1]["iscrowd"] = 1
    (tmp_path / "crowd.json").write_text(json.dumps(content))
    figures = Annotations(tmp_path / "crowd.json", None).score(perfect())
    assert [entry["marked"] for entry in figures["classes"]] == [2, 2]
    assert figures["AP"] == 100


def test_explains_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"instances\.json: can't be read"):
        Annotations(tmp_path / "instances.json", None)


def test_command_prints_the_figures(cnncli, tmp_path: Path) -> None:
    """Marks made of what the model says itself, so that it must be right."""
    (record,) = Predictor("detect")(PHOTOS / "coffee.png")
    annotations = [
        {**entry, "id": n, "image_id": 1, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
        for n, entry in enumerate(record["detections"], 1)
    ]
    image = {"id": 1, "file_name": "coffee.png", "width": 600, "height": 400}
    categories = [{"id": entry["category_id"], "name": entry["label"]} for entry in record["detections"]]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    words = ("eval", "detect", "--annotations", "instances.json", "--images", PHOTOS)
    figures = json.loads(cnncli(*words, "--json").stdout)
    assert figures["AP"] == 100
    assert (figures["model"], figures["images"]) == ("efficientdet_lite2", 1)
    assert b"AP 100.00" in cnncli(*words).stdout
    image["file_name"] = "gone.png"
    content["images"].append({**image, "id": 2})
    image["file_name"] = "coffee.png"
    (tmp_path / "instances.json").write_text(json.dumps(content))
    done = cnncli(*words, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] == 1


def average_precision(folder: Path, **options) -> float:
    truth = Annotations(folder / "instances_val.json", folder / "val")
    return truth.score([record["detections"] for record in Predictor("detect", conf=CONF, **options)(truth.files)])[
        "AP"
    ]


@pytest.mark.parametrize(
    ("model", "measured", "in_litert"), [("efficientdet_lite2", 40.94, 40.11), ("efficientdet_lite0", 29.81, 29.41)]
)
def test_is_as_precise_as_its_source(model: str, measured: float, in_litert: float, data_set) -> None:
    """Measured: the float port of weights/convert; in LiteRT: its int8 source. Both on these 60 photos."""
    found = average_precision(data_set("coco"), model=model, engine="onnx")
    assert found == pytest.approx(measured, abs=0.3)
    assert found >= in_litert


def test_torch_is_as_precise(data_set) -> None:
    found = average_precision(data_set("coco"), model="efficientdet_lite0", engine="torch", device="cpu", threads=1)
    assert found == pytest.approx(29.81, abs=0.3)
