"""Detectors in training: each learns a few pictures by heart, and `cnncli detect` then finds what it has learned."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cnncli.catalog import BACKBONES, HEADS
from cnncli.errors import UsageError
from cnncli.imaging.boxes import anchor_boxes, overlaps, whole_anchors
from cnncli.imaging.geometry import letterbox
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights, save_weights
from cnncli.nn.assemble import FromPixels
from cnncli.nn.checkpoint import graph_of, load_model, tensors_of
from cnncli.nn.detectors import Detector
from cnncli.train.config import TrainConfig
from cnncli.train.losses_boxes import box_codes_of
from cnncli.train.meters_boxes import BoxMeter, LocalizeMeter, PointMeter
from cnncli.train.pretrained import start_from
from cnncli.train.recipes.detect import DetectRecipe
from tests.conftest import PHOTOS, records
from tests.train.marked_photos import CATEGORIES, SCENES, write_coco, write_points
from tests.train.overfit import overfit

STEPS, RATE = 150, 1e-2
SIDE = 96
POINTS = [[(20, 20), (70, 50)], [(60, 15), (30, 60)], [(40, 40), (80, 20)]]
SMALL = {"efficientdet": (("channels", 16), ("cells", 1)), "grid": (("channels", 32),)}


@pytest.fixture(scope="module", autouse=True)
def tiny() -> None:
    """The tiny backbone of tests.nn, for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", "tests.nn.tiny_backbones:Tiny")
        yield


def config_of(data: Path, head: str | None, **changes: Any) -> TrainConfig:
    options = {
        "task": "detect", "data": str(data), "out": data.parent / "run", "backbone": "tiny", "head": head,
        "pretrained": "none", "augment": "none", "size": SIDE, "options": SMALL.get(head, ()),
    }  # fmt: skip
    return TrainConfig(**{**options, **changes})


def make(data: Path, head: str | None = "efficientdet", **changes: Any) -> DetectRecipe:
    return DetectRecipe(config_of(data, head, **changes), lambda line: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos to train on and three like them to validate."""
    folder = tmp_path_factory.mktemp("marked") / "data"
    write_coco(folder, name="instances_train")
    return write_coco(folder, name="instances_val")


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("points")
    return write_points(folder / "data", POINTS), write_points(folder / "val", POINTS, seed=50)


@dataclass(frozen=True)
class Learned:
    recipe: DetectRecipe
    network: nn.Module
    losses: list[float]
    weights: Path

    @property
    def model(self) -> FromPixels:
        return FromPixels(self.network, self.recipe.info.mean, self.recipe.info.std).eval()


@pytest.fixture(scope="module", params=HEADS["detect"])
def learned(request: pytest.FixtureRequest, data: Path, points: tuple, tmp_path_factory) -> Learned:
    """A network of each head that knows its training photos by heart, saved."""
    kind = request.param
    recipe = make(points[0], kind, val=str(points[1])) if kind == "landmarks" else make(data, kind)
    torch.manual_seed(0)
    network = recipe.network()
    losses = overfit(recipe, STEPS, RATE, network=network)
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    save_weights(path, recipe.info, tensors_of(network), graph_of(network.eval(), recipe.info))
    return Learned(recipe, network, losses, path)


def test_learns_by_heart(learned: Learned) -> None:
    assert learned.losses[-1] < 0.02
    assert learned.losses[-1] < 0.02 * learned.losses[0]


def test_measures_what_it_has_learned(learned: Learned) -> None:
    recipe = learned.recipe
    meter = recipe.meter()
    with torch.inference_mode():
        for first in (0, 2):  # two batches, the second of one photo
            samples = [recipe.train.example(index) for index in range(first, min(first + 2, len(recipe.train)))]
            meter.update(learned.model, recipe.collate(samples))
    figures = meter.compute()
    name, direction = recipe.best
    if direction == "min":
        assert figures[name] < 2
    elif recipe.kind == "localize":  # of the third photo's two objects it names one
        assert figures["top1"] == 100
        assert figures["iou"] > 80
        assert figures["mAP50"] > 50
    else:
        assert figures["mAP50"] > 99
        assert figures["mAP"] > 60
    assert figures["loss"] < 1


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_detect_finds_it(learned: Learned, here: Callable, engine: str) -> None:
    recipe = learned.recipe
    photos = [photo.path for photo in recipe.train.photos]
    done = here("detect", "--weights", learned.weights, "--engine", engine, "--format", "jsonl", *photos)
    assert done.returncode == 0, done.stderr
    answers = [record["detections"] for record in records(done.stdout)]
    if recipe.kind == "landmarks":
        for (found,), expected in zip(answers, POINTS, strict=True):
            np.testing.assert_allclose(found["points"], expected, atol=3)
        return
    for found, scene in zip(answers, SCENES, strict=True):
        marks = scene if recipe.kind != "localize" else [max(scene, key=lambda mark: mark[1][2] * mark[1][3])]
        for category, box in marks:
            assert max(_overlap(entry, category, box) for entry in found) > 0.5
            assert next(entry for entry in CATEGORIES if entry["id"] == category)["name"] in str(found)


def _overlap(found: dict[str, Any], category: int, box: tuple[int, int, int, int]) -> float:
    one, other = (np.array([x, y, x + w, y + h], np.float32) for x, y, w, h in (found["bbox"], box))
    return float(overlaps(one, other[None])[0]) if found["category_id"] == category else 0.0


def test_draws_answers_on_photos(learned: Learned) -> None:
    recipe = learned.recipe
    samples = [recipe.val.example(index) for index in range(2)]
    with torch.inference_mode():
        pictures = recipe.picture(learned.model, samples)
    assert [picture.dtype for picture in pictures] == [np.uint8, np.uint8]
    for picture, sample in zip(pictures, samples, strict=True):
        height, width = sample["inner"].tolist()
        assert picture.shape[0] / picture.shape[1] == pytest.approx(height / width)


NO_CROWD = {"crowd_boxes": torch.zeros(1, 1, 4), "crowd_labels": torch.tensor([[-1]])}


class Fixed(Detector):
    """Answers that are given."""

    def __init__(self, *answers: Tensor):
        super().__init__()
        self.answers = answers

    def raw(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.answers

    def decode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return raw


def test_counts_average_precision() -> None:
    """Class 0: first of two found, so precision 1 up to recall 1/2: 51 of COCO's 101 steps. Class 1: all found."""
    truth = torch.tensor([[[10.0, 10, 40, 40], [50, 50, 90, 90], [20, 60, 40, 90]]])
    batch = {
        "images": torch.zeros(1, 100, 100, 3), "boxes": truth, "labels": torch.tensor([[0, 0, 1]]),
        "inner": torch.tensor([[100, 100]]), **NO_CROWD,
    }  # fmt: skip
    anchors = whole_anchors(100, 2)
    codes = box_codes_of(truth[:, [0, 2]], torch.from_numpy(anchors))
    logits = torch.tensor([[[3.0, -9.0], [-9.0, 2.0]]])
    meter = BoxMeter(lambda raw, batch: {"loss": torch.tensor(0.5)}, anchors, 2)
    meter.update(nn.Sequential(Fixed(logits, codes)).eval(), batch)
    figures = meter.compute()
    assert figures["mAP"] == pytest.approx(100 * (51 / 101 + 1) / 2, abs=0.01)
    assert figures["mAP50"] == pytest.approx(figures["mAP"])
    assert figures["loss"] == 0.5


def test_answers_in_a_crowd_do_not_count() -> None:
    """Surer than the right one: precision would be 1/2 where the crowd were empty."""
    truth, crowd = torch.tensor([[[10.0, 10, 40, 40]]]), torch.tensor([[[50.0, 0, 100, 100]]])
    found = torch.tensor([[[10.0, 10, 40, 40], [60, 20, 80, 50]]])
    codes = box_codes_of(found, torch.from_numpy(whole_anchors(100, 2)))
    figures = []
    for label in (0, -1):
        meter = BoxMeter(lambda raw, batch: {"loss": torch.tensor(0.0)}, whole_anchors(100, 2), 1)
        batch = {
            "images": torch.zeros(1, 100, 100, 3), "boxes": truth, "labels": torch.tensor([[0]]),
            "inner": torch.tensor([[100, 100]]), "crowd_boxes": crowd, "crowd_labels": torch.tensor([[label]]),
        }  # fmt: skip
        meter.update(nn.Sequential(Fixed(torch.tensor([[[1.0], [5.0]]]), codes)).eval(), batch)
        figures.append(meter.compute()["mAP"])
    assert figures == [pytest.approx(100, abs=0.01), pytest.approx(50, abs=0.01)]


def test_boxes_beside_the_photo_are_none() -> None:
    """A photo takes the upper half of the input; the answer below it does not count."""
    truth = torch.tensor([[[10.0, 10, 40, 40]]])
    codes = box_codes_of(
        torch.tensor([[[10.0, 10, 40, 40], [10, 60, 40, 90]]]), torch.from_numpy(whole_anchors(100, 2))
    )
    batch = {"images": torch.zeros(1, 100, 100, 3), "boxes": truth, "labels": torch.tensor([[0]]), **NO_CROWD}
    meter = BoxMeter(lambda raw, batch: {"loss": torch.tensor(0.0)}, whole_anchors(100, 2), 1)
    model = nn.Sequential(Fixed(torch.tensor([[[1.0], [5.0]]]), codes)).eval()
    meter.update(model, {**batch, "inner": torch.tensor([[50, 100]])})
    assert meter.compute()["mAP"] == pytest.approx(100, abs=0.01)


def test_counts_nothing_as_an_answer() -> None:
    """Three photos: a right class whose box overlaps by half, a wrong class, and rightly nothing."""
    logits = torch.tensor([[5.0, 0, 0], [5.0, 0, 0], [0.0, 0, 5]])
    found = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1, 1]])
    whole = [0.0, 0, 100, 100]
    batch = {
        "images": torch.zeros(3, 100, 100, 3), "boxes": torch.tensor([[whole], [whole], [[0, 0, 0, 0]]]),
        "labels": torch.tensor([[0], [1], [-1]]), "inner": torch.tensor([[100, 100]] * 3),
    }  # fmt: skip
    meter = LocalizeMeter(lambda raw, batch: {"loss": torch.tensor(0.0)}, whole_anchors(100, 1), 2)
    meter.also((logits, found), batch)
    assert float(meter.top1.compute()) == pytest.approx(2 / 3)
    assert float(meter.overlap.compute()) == pytest.approx(0.75)


def test_measures_points_in_percent_of_the_side() -> None:
    found = torch.tensor([[[0.5, 0.5], [0.1, 0.1]]])
    batch = {
        "images": torch.zeros(1, 10, 10, 3), "points": torch.tensor([[[0.53, 0.54], [0.9, 0.9]]]),
        "known": torch.tensor([[True, False]]),
    }  # fmt: skip
    meter = PointMeter(lambda raw, batch: {"loss": torch.tensor(0.0)})
    meter.update(nn.Sequential(Fixed(found)).eval(), batch)
    assert meter.compute()["error"] == pytest.approx(5, rel=1e-4)


def test_examples_are_letterboxed_with_their_boxes(data: Path) -> None:
    sample = make(data, size=48).train.example(2)  # of 96 x 72 px: halved
    np.testing.assert_allclose(sample["boxes"], [[2, 15, 17, 35], [24, 3, 46, 20]])
    assert sample["labels"].tolist() == [0, 1]
    assert sample["inner"].tolist() == [36, 48]
    assert sample["images"].shape == (48, 48, 3)
    assert (sample["images"][36:] == 127).all()
    assert sample["images"][20, 5].tolist() == [220, 40, 40]


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmented_boxes_stay_on_their_colours(data: Path, level: str) -> None:
    train = make(data, augment=level).train
    torch.manual_seed(0)
    seen = 0
    for _ in range(20):
        sample = train.example(2)
        for (left, top, right, bottom), label in zip(sample["boxes"].tolist(), sample["labels"].tolist(), strict=True):
            red, _, blue = sample["images"][int(top + bottom) // 2, int(left + right) // 2].tolist()
            assert (red > blue) == (label == 0)
            seen += 1
    assert seen > 20


def test_augmented_points_stay_on_their_colours(points: tuple[Path, Path]) -> None:
    train = make(points[0], "landmarks", val=str(points[1]), augment="strong").train
    torch.manual_seed(0)
    for _ in range(20):
        sample = train.example(0)
        for (x, y), label in zip((sample["points"] * SIDE).tolist(), range(2), strict=True):
            red, _, blue = sample["images"][int(y), int(x)].tolist()
            assert (red > blue) == (label == 0)


def test_pads_with_no_objects(data: Path) -> None:
    recipe = make(data)
    batch = recipe.collate([recipe.train.example(index) for index in range(3)])
    assert batch["boxes"].shape == (3, 2, 4)
    assert batch["labels"].tolist() == [[0, -1], [1, -1], [0, 1]]


def test_photos_without_marks_have_a_place_in_a_batch(tmp_path: Path) -> None:
    recipe = make(write_coco(tmp_path / "data", ((), *SCENES, ())), val=0.4)
    batch = recipe.collate([{**recipe.train.example(0), "boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}])
    assert batch["labels"].tolist() == [[-1]]
    network = recipe.network().train()
    losses = recipe.loss(FromPixels(network, recipe.info.mean, recipe.info.std), batch)
    assert torch.isfinite(losses["loss"])


def test_divides_what_comes_undivided(tmp_path: Path) -> None:
    recipe = make(write_coco(tmp_path / "data", SCENES * 3), val=0.34)
    assert (len(recipe.train), len(recipe.val)) == (6, 3)
    assert not {photo.path for photo in recipe.train.photos} & {photo.path for photo in recipe.val.photos}
    again = make(write_coco(tmp_path / "data", SCENES * 3), val=0.34)
    assert [photo.path for photo in recipe.val.photos] == [photo.path for photo in again.val.photos]


def test_takes_a_folder_to_validate(tmp_path: Path, data: Path) -> None:
    other = write_coco(tmp_path / "other", SCENES[:2])
    recipe = make(data, val=str(other))
    assert (len(recipe.train), len(recipe.val)) == (3, 2)


def test_states_what_detect_needs(data: Path, points: tuple[Path, Path]) -> None:
    infos = {head: make(data, head).info for head in ("efficientdet", "grid", "localize")}
    infos["landmarks"] = make(points[0], "landmarks", val=str(points[1])).info
    assert infos["efficientdet"].recipe == {"input": [SIDE, SIDE], "fill": 127, "category_ids": [7, 3]}
    assert infos["grid"].recipe["anchors"] == 98
    assert infos["landmarks"].outputs == ("class_logits", "box_codes", "points")
    assert infos["landmarks"].head["points"] == 2
    assert {info.head["kind"] for info in infos.values()} == set(HEADS["detect"])


def test_goes_on_from_a_detector(data: Path) -> None:
    """The shipped one: its structure is taken over, and all its numbers but those of its classes."""
    recipe = make(data, None, pretrained="efficientdet_lite0", backbone=None, size=None, options=())
    assert recipe.info.recipe["input"] == [320, 320]
    found, of = start_from(recipe.network(), model_path("efficientdet_lite0"))
    assert of - found == 2  # weight and bias of what predicts the classes
    assert recipe.lr < 1e-3
    assert len(recipe.anchors) == len(anchor_boxes(320))


def test_keeps_the_classes_that_a_detector_knows(tmp_path: Path) -> None:
    """A cat by the shipped detector's own numbers, under another number and beside a class that it does not know."""
    folder = write_coco(tmp_path / "data")
    content = json.loads((folder / "annotations.json").read_text())
    content["categories"] = [{"id": 7, "name": "gnome"}, {"id": 3, "name": "cat"}]
    (folder / "annotations.json").write_text(json.dumps(content))
    recipe = make(folder, None, pretrained="efficientdet_lite0", backbone=None, size=None, options=())
    network = recipe.network()
    start_from(network, model_path("efficientdet_lite0"))
    original = load_model(load_weights(model_path("efficientdet_lite0")))
    pixels = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))
    images = torch.from_numpy(letterbox(pixels, 320, 127)[0])[None]
    with torch.inference_mode():
        logits = FromPixels(network, recipe.info.mean, recipe.info.std).eval()(images)[0]
        expected = original(images)[0][..., 16]  # COCO's 17
    assert float(expected.max()) > 0
    np.testing.assert_allclose(logits[..., 1], expected, atol=1e-4)
    assert float((logits[..., 0] - logits[..., 1]).abs().max()) > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "yolo"}, "--head yolo: detect has the heads efficientdet, grid, localize, landmarks"),
        ({"options": (("gamma", 2.0),)}, "gamma: detect with head efficientdet has no such choice"),
        ({"options": (("cells", 0),)}, "--set cells=0: give a whole number from 1"),
        ({"head": "localize", "options": (("gamma", -1.0),)}, "--set gamma=-1.0: give 0 or more"),
        ({"head": "landmarks", "options": (("loss", "l3"),)}, "--set loss=l3: choose smooth_l1 or mse"),
        ({"mixup": 0.2}, "--mixup"),
        ({"head": "grid", "label_smoothing": 0.1, "options": ()}, "--label-smoothing: head grid"),
        ({"dropout": 0.1}, "--dropout: head efficientdet has none"),
        ({"norm": "instance"}, "--norm instance: EfficientDet"),
        ({"backbone": "mobilenet_v2", "output_stride": 16}, "head efficientdet needs 8, 16 and 32"),
        (
            {"pretrained": "efficientdet_lite0", "backbone": None, "norm": "batch", "options": ()},
            "--norm: the network is that of --pretrained efficientdet_lite0",
        ),
    ],
)
def test_refuses_what_it_does_not_know(data: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DetectRecipe(config_of(data, **{"head": "efficientdet", **changes}), lambda line: None)


def test_refuses_other_categories_to_validate(tmp_path: Path, data: Path) -> None:
    other = write_coco(tmp_path / "other")
    content = json.loads((other / "annotations.json").read_text())
    content["categories"][0]["name"] = "pink"
    (other / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="its categories are not those of"):
        make(data, val=str(other))


def test_refuses_a_photo_of_another_size(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data")
    Image.new("RGB", (72, 96)).save(folder / "images" / "annotations-1.png")
    with pytest.raises(UsageError, match=r"annotations-1.png: is 72 x 96, but annotations.json says 96 x 72"):
        make(folder)


def test_refuses_a_photo_in_both_parts(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data")
    with pytest.raises(UsageError, match="3 photos are in both training and validation"):
        make(folder, val=str(folder))


def test_says_how_many_boxes_are_left_out(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", (((7, (100, 80, 10, 10)), (7, (4, 4, 20, 20))), *SCENES))
    lines: list[str] = []
    DetectRecipe(config_of(folder, "efficientdet", val=0.3), lines.append)
    assert [line.partition(": ")[2] for line in lines] == ["1 boxes left out, empty or outside their photo"]


def test_refuses_photos_without_boxes(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", (((7, (200, 4, 20, 20)),), ()))
    with pytest.raises(UsageError, match="no photo to train on has a box; expected COCO's layout"):
        make(folder)
