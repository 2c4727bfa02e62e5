"""Mask R-CNN: outlines as COCO has them, and a network that learns the objects of a few pictures by heart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from cnncli.catalog import HEADS
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError, WeightsError
from cnncli.imaging.masks import filled
from cnncli.io.weights import Weights
from cnncli.nn.assemble import FromPixels
from cnncli.nn.checkpoint import graph_of, tensors_of
from cnncli.tasks.segment import Segmenter, SegmentOptions
from cnncli.train.config import TrainConfig
from cnncli.train.instances import mask_boxes, outline_mask
from cnncli.train.recipe import Recipe
from cnncli.train.recipes.segment import segment_recipe
from cnncli.train.segmenter_plan import KINDS
from tests.nn.tiny_backbones import tiny_backbones  # noqa: F401
from tests.tasks.driving import finish
from tests.train.marked_photos import HEIGHT, SCENES, WIDTH, picture, write_coco
from tests.train.overfit import overfit

pytestmark = pytest.mark.usefixtures("tiny_backbones")


def outlined(folder: Path, **changes: Any) -> Path:
    """Rectangles in COCO's layout, each with its polygon."""
    write_coco(folder, **changes)
    (file,) = folder.glob("*.json")
    content = json.loads(file.read_text())
    for mark in content["annotations"]:
        x, y, w, h = mark["bbox"]
        mark["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    file.write_text(json.dumps(content))
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Recipe]:
    data = outlined(tmp_path / "data", scenes=SCENES * 2)

    def make_recipe(**changes: Any) -> Recipe:
        options = {"task": "segment", "data": str(data), "out": tmp_path / "run", "backbone": "tiny", "val": 0.34,
                   "head": "mask-rcnn", "size": 96, "augment": "none", "options": (("channels", 16),)}  # fmt: skip
        return segment_recipe(TrainConfig(**{**options, **changes}), lambda message: None)

    return make_recipe


def test_reads_outlines_of_every_kind() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 8:25] = 1
    packed = coco.encode(np.asfortranarray(mask))
    flat = mask.reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    polygon = [8.0, 5.0, 25.0, 5.0, 25.0, 12.0, 8.0, 12.0]
    text = {"size": [20, 30], "counts": packed["counts"].decode()}
    for outline in (text, {"size": [20, 30], "counts": counts}, [polygon]):
        np.testing.assert_array_equal(outline_mask(outline, (20, 30)), mask)
    both = outline_mask([polygon, [0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0]], (20, 30))
    assert both.sum() == mask.sum() + 16
    assert mask_boxes(torch.from_numpy(np.stack([mask, 0 * mask]))).tolist() == [[8, 5, 25, 12], [0, 0, 0, 0]]


def test_examples_hold_masks_and_their_boxes(make: Callable[..., Recipe]) -> None:
    recipe = make(augment="light")
    assert recipe.info.classes == ("background", "red", "blue") and recipe.info.recipe["input"] == [64, 96]
    for index in range(len(recipe.train)):
        torch.manual_seed(index)
        sample = recipe.train.example(index)
        assert sample["images"].shape == (64, 96, 3) and len(sample["boxes"]) == len(sample["masks"]) > 0
        for mask, box, label in zip(sample["masks"], sample["boxes"], sample["labels"], strict=True):
            left, top, right, bottom = box.int().tolist()
            assert mask[top:bottom, left:right].all() and mask.sum() == (right - left) * (bottom - top)
            colour = sample["images"][mask > 0].float().mean(dim=0)
            assert colour.argmax() == (0 if label == 1 else 2)


def test_learns_the_objects_of_a_few_pictures(make: Callable[..., Recipe]) -> None:
    """The loss falls to near zero; meter, pictures and `segment` then find what is there."""
    recipe = make()
    torch.manual_seed(0)
    network = recipe.network()
    losses = overfit(recipe, steps=60, lr=5e-3, network=network)
    assert losses[-1] < 0.1 * losses[0]
    model = FromPixels(network, recipe.info.mean, recipe.info.std).eval()
    with torch.inference_mode():
        meter = recipe.meter()
        meter.update(model, recipe.collate([recipe.train.example(index) for index in range(len(recipe.train))]))
        (shown,) = recipe.picture(model, [recipe.val.example(0)])
    figures = meter.compute()
    assert figures["mAP50"] > 80 and figures["box_mAP50"] > 80 and 0 < figures["loss"] < losses[0]
    assert shown.dtype == np.uint8 and shown.shape[1] >= 2 * 96
    weights = Weights(Path("x.safetensors"), recipe.info, "", tensors_of(network), None)
    engine = TorchEngine(weights, "cpu", "fp32", threads=1)

    def answer(request: Any) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in engine.run(request.array[None]).items()}

    task = Segmenter({"segment": recipe.info}, SegmentOptions(conf=0.5))
    found, _ = finish(task.analyse(picture(SCENES[2], seed=2)), answer)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (_, (x, y, w, h)) in enumerate(SCENES[2], 1):
        expected[y : y + h, x : x + w] = number
    assert (found.pixels == expected).mean() > 0.9
    assert {entry.label for entry in found.instances} == {"red", "blue"}
    assert filled(found.instances[0].rle).shape == (HEIGHT, WIDTH)


def test_answers_are_of_one_size(make: Callable[..., Recipe]) -> None:
    recipe = make()
    network = recipe.network().eval()
    with torch.inference_mode():
        boxes, scores, labels, masks = network(torch.rand(2, 3, 64, 96))
    assert (boxes.shape, scores.shape, labels.shape) == ((2, 100, 4), (2, 100), (2, 100))
    assert masks.shape == (2, 100, 28, 28)


def test_has_no_graph_and_says_so(make: Callable[..., Recipe]) -> None:
    recipe = make()
    with pytest.raises(WeightsError, match="can't be written as an ONNX graph"):
        graph_of(recipe.network().eval(), recipe.info)


def test_leaves_out_what_has_no_outline(tmp_path: Path, make: Callable[..., Recipe]) -> None:
    data = outlined(tmp_path / "other")
    (file,) = data.glob("*.json")
    content = json.loads(file.read_text())
    del content["annotations"][-1]["segmentation"]
    file.write_text(json.dumps(content))
    recipe = make(data=str(data))
    assert sum(len(photo.boxes) for photo in (*recipe.train.photos, *recipe.val.photos)) == 3
    with pytest.raises(UsageError, match=r"has an outline \('segmentation'\); expected COCO's layout"):
        make(data=str(write_coco(tmp_path / "bare")))


def test_rejects_options_that_do_not_go(make: Callable[..., Recipe]) -> None:
    for changes, words in (
        ({"label_smoothing": 0.1}, "mask-rcnn has neither"),
        ({"options": (("ignore", 1),)}, "--set ignore"),
        ({"backbone": "lenet5", "size": 64}, "needs maps of at least two of the strides"),
    ):
        with pytest.raises(UsageError, match=words):
            make(**changes)


def test_every_head_can_be_trained() -> None:
    assert set(KINDS) == set(HEADS["segment"])
