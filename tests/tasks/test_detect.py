"""The detect task: the answers of the source's own runtime, and what becomes of crafted network outputs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import InputError, UsageError
from cnncli.imaging.geometry import letterbox
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import Photo
from cnncli.io.store import model_path
from cnncli.io.weights import ModelInfo, load_weights
from cnncli.results.detect import SCHEMA, Detections
from cnncli.tasks.detect import Detect, DetectOptions
from tests.conftest import PHOTOS
from tests.io.pictures import encoded
from tests.tasks.driving import finish

GOLDEN = Path(__file__).parent / "golden" / "efficientdet.npz"  # golden/make_efficientdet.py makes it
INFO = ModelInfo(
    name="zoo",
    task="detect",
    backbone="none",
    head={},
    classes=("cat", "", "dog", "Polar Bear"),
    recipe={"input": [128, 128], "fill": 127, "category_ids": [1, 2, 3, 10]},
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    outputs=("class_logits", "box_codes"),
    licence="none",
    source={},
)
ANCHORS = 9 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1)
PHOTO = np.zeros((128, 256, 3), np.uint8)  # twice the network's input: its pixels are two of the photo


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def cell(row: int, column: int) -> int:
    """The first anchor (24 x 24 px) of a cell of the finest level; its centre is 8 times the cell, plus 4."""
    return 9 * (row * 16 + column)


def outputs(*marks: tuple[int, int, float]) -> dict[str, np.ndarray]:
    """Anchor, class and score of what the network is to find; boxes are the anchors themselves."""
    logits = np.full((ANCHORS, 4), -20, np.float32)
    for anchor, number, score in marks:
        logits[anchor, number] = logit(score)
    return {"class_logits": logits, "box_codes": np.zeros((ANCHORS, 4), np.float32)}


def answer(answers: dict | Callable[[int], dict], photo: np.ndarray = PHOTO, **options) -> Detections:
    steps = Detect({"detect": INFO}, DetectOptions(**options)).analyse(photo)
    request = next(steps)
    for view in range(1000):
        assert request.array.shape == (128, 128, 3)
        try:
            request = steps.send(answers(view) if callable(answers) else answers)
        except StopIteration as end:
            return end.value
    raise AssertionError("the task never ends")


def labels(*marks: tuple[int, int, float], **options) -> list[str]:
    return [entry.label for entry in answer(outputs(*marks), **options).detections]


APART = (cell(1, 2), 0, 0.6), (cell(4, 8), 2, 0.9), (cell(6, 13), 3, 0.3)


@pytest.mark.parametrize("photo", ["coffee", "chelsea"])
@pytest.mark.parametrize("model", ["efficientdet_lite0", "efficientdet_lite2"])
def test_answers_as_the_source_does_in_its_own_runtime(model: str, photo: str) -> None:
    """Float32 against the mean of two runs in int8, whose own scores correlate by 0.9915 to 0.9992."""
    golden = np.load(GOLDEN)
    anchors, classes, scores, codes = (
        golden[f"{model}/{photo}/{key}"] for key in ("anchors", "classes", "scores", "codes")
    )
    weights = load_weights(model_path(model))
    pixels = np.asarray(Image.open(PHOTOS / f"{photo}.png").convert("RGB"))
    image, _ = letterbox(pixels, weights.info.recipe["input"][0], weights.info.recipe["fill"])
    ours = OnnxEngine(weights, threads=1, parallel_calls=1).run(image[None])
    logits = ours["class_logits"][0, anchors]
    our_scores = 1 / (1 + np.exp(-logits.max(axis=1)))
    assert len(anchors) > 50
    mean = scores.mean(axis=0)
    assert np.corrcoef(our_scores, mean)[0, 1] > 0.998
    assert min(np.corrcoef(our_scores, one)[0, 1] for one in scores) > 0.997
    sure = mean > 0.3
    np.testing.assert_array_equal(logits.argmax(axis=1)[sure], classes[sure])
    np.testing.assert_allclose(ours["box_codes"][0, anchors[sure]], codes[sure], atol=0.05)


def test_boxes_are_in_pixels_of_the_photo() -> None:
    (found,) = answer(outputs((cell(4, 8), 2, 0.9))).detections
    # centre x 68, y 36; half of 24 to each side; twice as large in the photo
    assert found.bbox == (112, 48, 48, 48)
    assert found.score == pytest.approx(0.9, abs=1e-6)
    assert (found.label, found.category_id) == ("dog", 3)


def test_boxes_end_at_the_photo() -> None:
    (found,) = answer(outputs((cell(0, 0), 0, 0.9))).detections
    assert found.bbox == (0, 0, 32, 32)  # from -8 to 16 in the input


def test_boxes_in_the_padding_are_no_objects() -> None:
    """A photo of 256 x 128 px fills the upper half of the input, to row 7."""
    assert labels((cell(13, 8), 0, 0.9), (cell(6, 2), 2, 0.5)) == ["dog"]


def test_best_comes_first() -> None:
    assert labels(*APART) == ["dog", "cat", "Polar Bear"]


@pytest.mark.parametrize(("conf", "count"), [(0.2, 3), (0.31, 2), (0.7, 1), (0.95, 0)])
def test_keeps_scores_from_the_threshold(conf: float, count: int) -> None:
    assert len(labels(*APART, conf=conf)) == count


def test_keeps_a_score_equal_to_the_threshold() -> None:
    assert labels((0, 0, 0.5), conf=0.5) == ["cat"]


@pytest.mark.parametrize(("iou", "count"), [(0.49, 1), (0.5, 2)])
def test_suppresses_what_overlaps(iou: float, count: int) -> None:
    # 24 px wide and 8 px apart: 16 of 32 shared
    marks = (cell(4, 8), 2, 0.9), (cell(4, 9), 2, 0.8)
    assert len(labels(*marks, iou=iou)) == count


def test_suppresses_within_a_class_only() -> None:
    assert labels((cell(4, 8), 2, 0.9), (cell(4, 8), 0, 0.8)) == ["dog", "cat"]


def test_one_anchor_may_be_two_things() -> None:
    assert labels((5, 0, 0.6), (5, 3, 0.7)) == ["Polar Bear", "cat"]


def test_gives_at_most_what_is_asked() -> None:
    assert labels(*APART, max_det=2) == ["dog", "cat"]


def test_outputs_without_a_name_are_no_objects() -> None:
    assert labels((0, 1, 0.99)) == []


@pytest.mark.parametrize(("wanted", "expected"), [(("polar bear",), ["Polar Bear"]), (("CAT", "dog"), ["dog", "cat"])])
def test_filters_by_name(wanted: tuple[str, ...], expected: list[str]) -> None:
    assert labels(*APART, classes=wanted) == expected


def test_takes_other_names() -> None:
    assert labels(*APART, labels=("a", "b", "c")) == ["b", "a", "c"]
    assert labels(*APART, labels=("a", "b", "c"), classes=("C",)) == ["c"]


def test_suggests_names() -> None:
    with pytest.raises(UsageError, match="no class 'polar beer', perhaps polar bear"):
        labels(classes=("polar beer",))


def test_rejects_another_number_of_names() -> None:
    with pytest.raises(UsageError, match="--labels: 4 names for the 3 classes of zoo"):
        labels(labels=("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"conf": 0}, "--conf 0"),
        ({"conf": 1}, "--conf 1"),
        ({"conf": float("nan")}, "--conf nan"),
        ({"iou": -0.1}, "--iou -0.1"),
        ({"iou": 1.1}, "--iou 1.1"),
        ({"max_det": 0}, "--max-det 0"),
        ({"tile": 31}, "--tile 31"),
        ({"tile_overlap": 0.9}, "--tile-overlap 0.9"),
        ({"tile_overlap": -0.1}, "--tile-overlap -0.1"),
    ],
)
def test_rejects_options_out_of_range(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DetectOptions(**options)


def test_single_is_sure_and_large() -> None:
    coarse = 9 * (16 * 16 + 8 * 8) + 9 * (4 + 1)  # 96 px, from 0 to 96 in the input
    marks = (cell(4, 8), 2, 0.8), (coarse, 0, 0.5)
    assert labels(*marks) == ["dog", "cat"]
    assert labels(*marks, single=True) == ["cat"]  # 0.5 * side 96 is over 0.8 * side 24
    assert labels((cell(4, 8), 2, 0.8), (cell(4, 1), 0, 0.5), single=True) == ["dog"]
    assert labels(single=True) == []


def test_keeps_the_best_of_too_many_candidates() -> None:
    found = answer({**outputs(), "class_logits": np.full((ANCHORS, 4), 1, np.float32)}, iou=1.0, max_det=10_000)
    assert len(found.detections) <= 5000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["class_logits", "box_codes"])
def test_refuses_answers_that_are_not_finite(name: str, bad: float) -> None:
    spoilt = outputs((7, 0, 0.9))
    spoilt[name][7, 0] = bad
    with pytest.raises(InputError, match="not finite; try --precision fp32"):
        answer(spoilt)


def test_takes_half_precision() -> None:
    half = {name: array.astype(np.float16) for name, array in outputs(*APART).items()}
    assert [entry.label for entry in answer(half).detections] == ["dog", "cat", "Polar Bear"]


def test_tiles_speak_of_the_whole_photo() -> None:
    """A photo of two by two tiles (and the whole before): the same answer in each is four places."""
    views = []

    def see(view: int) -> dict[str, np.ndarray]:
        views.append(view)
        return outputs((cell(4, 8), 2, 0.9)) if view else outputs()

    found = answer(see, np.zeros((256, 256, 3), np.uint8), tile=128, tile_overlap=0.0)
    assert views == [0, 1, 2, 3, 4]
    corners = sorted(entry.bbox for entry in found.detections)
    assert corners == [(56, 24, 24, 24), (56, 152, 24, 24), (184, 24, 24, 24), (184, 152, 24, 24)]


def test_tiles_do_not_count_an_object_twice() -> None:
    """Seen whole in two tiles that share it: 256 px of 128 px tiles, half shared, 64 px apart."""

    def see(view: int) -> dict[str, np.ndarray]:
        column = {1: 12, 2: 4}.get(view)  # 8 cells of 8 px are 64 px
        return outputs((cell(4, column), 2, 0.9 - view / 10)) if column else outputs()

    (found,) = answer(see, np.zeros((128, 256, 3), np.uint8), tile=128, tile_overlap=0.5).detections
    assert found.bbox == (88, 24, 24, 24)


def test_piece_at_the_edge_of_a_tile_is_no_object_beside_the_whole() -> None:
    """The first tile shows 20 px of a dog that the second shows whole, 48 px; and a cat at the photo's own edge."""

    def see(view: int) -> dict[str, np.ndarray]:
        if view == 1:
            found = outputs((cell(4, 13), 2, 0.6), (cell(9, 1), 0, 0.7))
            found["box_codes"][cell(4, 13)] = 0, 10 / 24, 0, np.log(20 / 24)  # from 108 to 128
            return found
        found = outputs((cell(4, 5), 2, 0.5)) if view == 2 else outputs()
        found["box_codes"][cell(4, 5)] = 0, 0, 0, np.log(2)  # from 20 to 68; the tile begins at 64
        return found

    found = answer(see, np.zeros((128, 256, 3), np.uint8), tile=128, tile_overlap=0.5).detections
    assert [entry.label for entry in found] == ["cat", "dog"]
    assert found[1].bbox == pytest.approx((84, 24, 48, 24), abs=1e-4)


def test_photo_within_a_tile_is_seen_once() -> None:
    def see(view: int) -> dict[str, np.ndarray]:
        assert view == 0
        return outputs(APART[0])

    assert len(answer(see, tile=256).detections) == 1


def test_draws_on_the_photo_it_was_given() -> None:
    photo = np.zeros((480, 640, 3), np.uint8)
    picture = (
        Detect({"detect": INFO}, DetectOptions()).draw(Photo(photo), answer(outputs(*APART), photo), ".jpg").pixels
    )
    assert picture.shape == (480, 640, 3)
    assert picture.any()
    assert not photo.any()


POINTS_INFO = replace(
    INFO, classes=("face",), recipe={"input": [128, 128], "fill": 127, "category_ids": [1], "anchors": 1},
    outputs=("class_logits", "box_codes", "points"),
)  # fmt: skip


def face(points: list[list[float]], photo: np.ndarray = PHOTO) -> Detections:
    """The answer of a model of landmarks: its points, and a box over the middle half of the input."""
    steps = Detect({"detect": POINTS_INFO}, DetectOptions()).analyse(photo)
    next(steps)
    codes = np.array([[-0.25, 0, np.log(0.5), np.log(0.5)]], np.float32)
    outputs = {"class_logits": np.full((1, 1), 20, np.float32), "box_codes": codes, "points": np.float32(points)}
    try:
        steps.send(outputs)
    except StopIteration as end:
        return end.value
    raise AssertionError("the photo is looked at once")


def test_anchors_may_be_the_whole_input() -> None:
    (found,) = face([[0.5, 0.25]]).detections
    assert found.bbox == pytest.approx((64, 0, 128, 128))  # of 128 px a quarter up: from 0 to 64, twice as large
    assert found.score == pytest.approx(1)


def test_points_are_in_pixels_of_the_photo() -> None:
    (found,) = face([[0.5, 0.25], [0.25, 0.125]]).detections
    assert found.points == ((128, 64), (64, 32))
    assert found.as_dict()["points"] == [[128, 64], [64, 32]]


def test_points_end_at_the_photo() -> None:
    (found,) = face([[1.2, -0.1], [0.5, 0.9]]).detections
    assert found.points == ((256, 0), (128, 128))


def test_points_fit_the_schema() -> None:
    detection = SCHEMA["detections"]["items"]
    jsonschema.validate(face([[0.5, 0.25]]).detections[0].as_dict(), detection)
    jsonschema.validate(answer(outputs(APART[0])).detections[0].as_dict(), detection)


def test_objects_without_points_say_nothing_of_them() -> None:
    assert "points" not in answer(outputs(APART[0])).detections[0].as_dict()


def test_refuses_points_that_are_not_finite() -> None:
    with pytest.raises(InputError, match="not finite"):
        face([[np.nan, 0.5]])


def test_points_are_looked_for_in_the_whole_photo() -> None:
    with pytest.raises(UsageError, match="--tile: zoo finds the points of one object"):
        Detect({"detect": POINTS_INFO}, DetectOptions(tile=64))


def test_draws_points() -> None:
    photo = np.full((480, 640, 3), 90, np.uint8)
    task = Detect({"detect": POINTS_INFO}, DetectOptions())
    found = face([[0.5, 0.3]], photo)
    with_points = task.draw(Photo(photo), found, ".png").pixels
    bare = Detections(tuple(replace(entry, points=()) for entry in found.detections))
    assert (with_points != task.draw(Photo(photo), bare, ".png").pixels).any()


@pytest.mark.parametrize("size", [(256, 128), (90, 251), (1, 1)])
def test_places_boxes_of_photos_that_the_device_decodes(size: tuple[int, int]) -> None:
    content = encoded(Image.new("RGB", size), "JPEG")
    task = Detect({"detect": INFO}, DetectOptions(decode="device"))
    photo = task.decode(content, DEFAULT_MAX_PIXELS)
    assert isinstance(photo.pixels, EncodedPhoto)
    found = outputs((cell(1, 1), 0, 0.9), (cell(3, 9), 2, 0.8))
    result, (request,) = finish(task.analyse(photo.pixels), lambda request: found)
    assert request.array is photo.pixels
    assert result == answer(found, np.zeros((size[1], size[0], 3), np.uint8))
    assert size == (1, 1) or result.detections


def test_devices_cut_no_tiles() -> None:
    with pytest.raises(UsageError, match="--tile: tiles are cut out of decoded photos"):
        DetectOptions(decode="device", tile=320)


def test_rejects_another_way_of_decoding() -> None:
    with pytest.raises(UsageError, match="--decode gpu: choose auto, full or device"):
        DetectOptions(decode="gpu")
