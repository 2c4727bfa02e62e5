"""The face finder: OpenCV's own detector over the whole of it, and what becomes of crafted network outputs."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import InputError, UsageError
from cnncli.imaging.faces import DISTANCES, align, cell_grid
from cnncli.io.images import Photo
from cnncli.io.store import model_path
from cnncli.io.weights import ModelInfo, load_weights, read_info
from cnncli.results.verify_face import Face, PhotoFaces
from cnncli.tasks.base import Request
from cnncli.tasks.verify_face import (
    EMBED,
    GALLERY,
    LANDMARKS,
    PAIR,
    FaceFinder,
    FaceOptions,
    Judge,
    judge_of,
    rank,
    view_sizes,
)  # fmt: skip
from tests.nn.face_pictures import astronaut
from tests.tasks.driving import finish, model_info

TEMPLATE = [[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]
EMBEDDERS = ("sface", "dlib_resnet29")
# By OpenCV alone: its resize to the size named first (area to smaller, cubic to larger ones), its FaceDetectorYN with
# face_detection_yunet_2023mar.onnx. Long side, then x, y, width, height, the points, the score; in pixels of the photo.
BY_OPENCV = {
    "whole": (1024, [180.352, 66.372, 89.044, 110.302], [202.984, 102.778, 245.171, 105.528, 220.727, 127.221,
                                                         200.594, 139.297, 241.986, 141.246], 0.953),
    "portrait": (300, [29.031, 17.346, 92.653, 120.349], [53.681, 60.338, 97.936, 65.39, 71.682, 90.287,
                                                          50.022, 101.938, 91.294, 106.355], 0.95),
    "turned": (1024, [172.425, 63.885, 97.981, 107.1], [194.739, 110.353, 237.907, 96.991, 223.907, 127.208,
                                                        211.124, 147.062, 249.727, 135.882], 0.94),
}  # fmt: skip


def pictures() -> dict[str, np.ndarray]:
    photo = astronaut()
    turn = cv2.getRotationMatrix2D((220, 120), 25, 1)
    return {
        "whole": photo,
        "portrait": photo[40:190, 150:300].copy(),
        "turned": cv2.warpAffine(photo, turn, (512, 512)),
    }


def detector() -> ModelInfo:
    return model_info("find-face", {}, ("class_scores", "object_scores", "boxes", "points"))


def embedder(metric: str = "cosine", threshold: float = 0.5) -> ModelInfo:
    recipe = {"template": TEMPLATE, "input": [112, 112], "metric": metric, "threshold": threshold}
    return model_info("embed-face", recipe, ("embedding",))


def face(score: float, box: tuple[float, float, float, float], embedding: list[float] | None = None) -> Face:
    x, y, width, height = box
    points = tuple((x + width * (px / 112), y + height * (py / 112)) for px, py in TEMPLATE)
    return Face(score, box, points, None if embedding is None else np.array(embedding, np.float32))


def answers_of(faces: list[Face], size: tuple[int, int], scale: float) -> dict[str, np.ndarray]:
    """What YuNet answers for an input of `size` that shows a photo's faces enlarged by `scale`: in stride-32 cells."""
    origins, strides = cell_grid(size)
    outputs = {
        "class_scores": np.zeros((len(origins), 1), np.float32),
        "object_scores": np.ones((len(origins), 1), np.float32),
        "boxes": np.zeros((len(origins), 4), np.float32),
        "points": np.zeros((len(origins), 10), np.float32),
    }
    for entry in faces:
        x, y, width, height = (scale * value for value in entry.bbox)
        column, row = int((x + width / 2) // 32), int((y + height / 2) // 32)
        (cell,) = np.nonzero((strides[:, 0] == 32) & (origins == (column, row)).all(axis=1))[0]
        outputs["class_scores"][cell] = entry.score**2
        centre = (x + width / 2) / 32 - column, (y + height / 2) / 32 - row
        outputs["boxes"][cell] = (*centre, math.log(width / 32), math.log(height / 32))
        outputs["points"][cell] = (scale * np.array(entry.points) / 32 - (column, row)).ravel()
    return outputs


def find(faces: dict[int, list[Face]], shape: tuple[int, int] = (600, 600), **options) -> tuple[PhotoFaces, list]:
    """The result and the requests for a photo of `shape` where YuNet sees these faces, by the long side of the view."""
    options = FaceOptions(**options)
    models = {"find-face": detector()}
    if "embed-face" in options.roles:
        models["embed-face"] = embedder()
    sides = iter(max(size) for size in view_sizes(*shape))

    def answer(request: Request) -> dict[str, np.ndarray]:
        if request.model == "embed-face":
            return {"embedding": request.array.astype(np.float32).mean(axis=(0, 1))}
        side = next(sides)
        return answers_of(faces.get(side, []), request.array.shape[:2], side / max(shape))

    return finish(FaceFinder(models, options).analyse(np.full((*shape, 3), 128, np.uint8)), answer)


def session(engine: str, model: str, **options) -> tuple[FaceFinder, dict]:
    """The real task, and an engine for each of its models."""
    weights = {"embed-face": load_weights(model_path(model)), "find-face": load_weights(model_path("yunet"))}
    make = {
        "onnx": lambda one: OnnxEngine(one, threads=1, parallel_calls=1),
        "torch": lambda one: TorchEngine(one, "cpu", "fp32", threads=1),
    }[engine]
    task = FaceFinder({role: one.info for role, one in weights.items()}, FaceOptions(mode=EMBED, **options))
    return task, {role: make(one) for role, one in weights.items()}


def run(task: FaceFinder, engines: dict, picture: np.ndarray) -> PhotoFaces:
    def answer(request: Request) -> dict[str, np.ndarray]:
        return {name: rows[0] for name, rows in engines[request.model].run(request.array[None]).items()}

    return finish(task.analyse(picture), answer)[0]


@pytest.fixture(scope="module")
def by_onnx() -> tuple[FaceFinder, dict]:
    return session("onnx", "sface")


@pytest.mark.parametrize("name", BY_OPENCV)
def test_finds_what_opencv_finds(by_onnx: tuple, name: str) -> None:
    """Box and points of the surest of three sizes, each resized by another library than ours."""
    found = run(*by_onnx, pictures()[name]).found
    side, box, points, score = BY_OPENCV[name]
    assert side in [max(size) for size in view_sizes(*pictures()[name].shape[:2])]
    assert len(found) == 1
    np.testing.assert_allclose(found[0].bbox, box, atol=0.5)
    np.testing.assert_allclose(np.ravel(found[0].points), points, atol=0.5)
    assert found[0].score == pytest.approx(score, abs=0.002)


def test_opencv_still_finds_the_same(data_set) -> None:
    """BY_OPENCV once more, where face_detection_yunet_2023mar.onnx lies in the folder `onnx` of the test data."""
    model = str(data_set("onnx") / "face_detection_yunet_2023mar.onnx")
    for name, (side, box, points, score) in BY_OPENCV.items():
        picture = pictures()[name]
        filter = cv2.INTER_AREA if side < len(picture) else cv2.INTER_CUBIC
        view = cv2.resize(picture, (side, side), interpolation=filter)[:, :, ::-1]
        detector = cv2.FaceDetectorYN.create(model, "", (side, side), score_threshold=0.6, nms_threshold=0.3)
        answer = max(detector.detect(np.ascontiguousarray(view))[1], key=lambda row: row[14])
        np.testing.assert_allclose(answer[:14] * (len(picture) / side), box + points, atol=0.01)
        assert answer[14] == pytest.approx(score, abs=0.001)


@pytest.mark.parametrize("model", EMBEDDERS)
def test_engines_agree(model: str) -> None:
    found = [run(*session(engine, model), pictures()["portrait"]).chosen[0] for engine in ("onnx", "torch")]
    first, second = (one.embedding for one in found)
    assert DISTANCES["cosine"](first, second) < 1e-4
    np.testing.assert_allclose(found[0].bbox, found[1].bbox, atol=0.01)


def test_embeds_the_aligned_face(by_onnx: tuple) -> None:
    """As a few lines of OpenCV and the network alone would: the mean of the face's and its mirror image's."""
    task, engines = by_onnx
    (chosen,) = run(task, engines, astronaut()).chosen
    recipe = read_info(model_path("sface")).recipe
    chip = align(astronaut(), np.array(chosen.points), np.array(recipe["template"]), (112, 112))
    both = engines["embed-face"].run(np.stack([chip, chip[:, ::-1]]))["embedding"]
    np.testing.assert_allclose(chosen.embedding, (both[0] + both[1]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("metric", "mirror", "requests"),
    [("cosine", None, 2), ("euclidean", None, 1), ("cosine", False, 1), ("euclidean", True, 2)],
)
def test_embeds_the_mirror_image_too_where_that_only_turns(metric: str, mirror: bool | None, requests: int) -> None:
    task = FaceFinder({"find-face": detector(), "embed-face": embedder(metric)}, FaceOptions(mode=EMBED, mirror=mirror))
    steps, chip = task._embed(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)), []
    outputs = None
    with pytest.raises(StopIteration) as end:
        while True:
            chip.append(steps.send(outputs).array)
            outputs = {"embedding": np.array([len(chip), 4.0], np.float32)}
    assert len(chip) == requests
    assert end.value.value.tolist() == ([1.5, 4.0] if requests == 2 else [1.0, 4.0])
    if requests == 2:
        assert (chip[1] == chip[0][:, ::-1]).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((600, 600), [(320, 320), (640, 640), (1200, 1200)]),
        ((512, 256), [(320, 160), (640, 320), (1024, 512)]),
        ((150, 150), [(300, 300)]),
        ((3000, 4000), [(240, 320), (480, 640), (960, 1280)]),
        ((1, 1), [(2, 2)]),
        ((2, 20_000), [(1, 320), (1, 640), (1, 1280)]),
    ],
)
def test_looks_at_several_sizes(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert view_sizes(*size) == expected


def test_asks_for_padded_views_then_for_faces() -> None:
    _, requests = find({640: [face(0.9, (100, 100, 80, 80))]}, shape=(600, 450), mode=EMBED)
    assert [(request.model, request.array.shape) for request in requests] == [
        ("find-face", (320, 256, 3)),
        ("find-face", (640, 480, 3)),
        ("find-face", (1216, 928, 3)),  # 1200 x 900
        ("embed-face", (112, 112, 3)),
        ("embed-face", (112, 112, 3)),  # mirrored
    ]


@pytest.mark.parametrize("side", [320, 640, 1200])
def test_places_are_in_pixels_of_the_photo(side: int) -> None:
    expected = face(0.9, (400, 120, 150, 180))
    (found,) = find({side: [expected]})[0].found
    assert found.score == pytest.approx(0.9)
    np.testing.assert_allclose(found.bbox, expected.bbox, rtol=1e-5)
    np.testing.assert_allclose(found.points, expected.points, rtol=1e-5)


def test_keeps_the_surest_of_one_face_in_several_sizes() -> None:
    views = {
        320: [face(0.8, (104, 104, 200, 200))],
        640: [face(0.92, (100, 100, 200, 200)), face(0.7, (450, 450, 60, 60))],
        1200: [face(0.85, (96, 96, 200, 200))],
    }
    found = find(views)[0].found
    assert [round(entry.score, 3) for entry in found] == [0.92, 0.7]
    np.testing.assert_allclose(found[0].bbox, (100, 100, 200, 200), atol=1e-3)


NEAR_AND_FAR = {640: [face(0.9, (20, 20, 60, 60)), face(0.7, (200, 200, 220, 220)), face(0.95, (500, 20, 40, 40))]}


@pytest.mark.parametrize(("which", "sizes"), [("best", [60]), ("largest", [220]), ("all", [60, 220, 40])])
def test_chooses_the_faces_that_count(which: str, sizes: list[int]) -> None:
    """By (score - 0.5)² side: 9.6, 8.8 and 8.1."""
    result, requests = find(NEAR_AND_FAR, mode=PAIR, which=which, conf=0.6)
    assert [round(entry.bbox[2]) for entry in result.chosen] == sizes
    assert [round(entry.bbox[2]) for entry in result.found] == [60, 220, 40]
    assert sum(request.model == "embed-face" for request in requests) == 2 * len(sizes)


def test_a_large_blur_is_not_what_a_photo_is_of() -> None:
    """Between the photo and a face four times as wide, so blurred that its score is low."""
    portrait = astronaut()[40:200, 150:300]
    blur = cv2.GaussianBlur(cv2.resize(portrait, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC), (0, 0), 26)
    picture = np.full((800, 1200, 3), 90, np.uint8)
    picture[40 : 40 + len(blur), 500 : 500 + blur.shape[1]] = blur
    picture[300:396, 150:240] = cv2.resize(portrait, (90, 96), interpolation=cv2.INTER_AREA)
    result = run(*session("onnx", "sface", conf=0.6), picture)
    by_size = sorted(result.found, key=lambda entry: entry.bbox[2])
    assert len(by_size) == 2
    assert by_size[1].bbox[2] > 3 * by_size[0].bbox[2]
    assert by_size[1].score < 0.75 < by_size[0].score
    assert result.chosen[0].bbox == by_size[0].bbox


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ((0.9, 50), (0.9, 40)),
        ((0.9, 50), (0.8, 50)),
        ((0.85, 100), (0.95, 50)),  # both are faces: the larger
        ((0.9, 50), (0.65, 300)),  # 0.16 * 50 > 0.0225 * 300
        ((0.55, 20), (0.45, 500)),
    ],
)
def test_ranks_by_score_and_size(better: tuple[float, float], worse: tuple[float, float]) -> None:
    first, second = (rank(face(score, (0, 0, side, side))) for score, side in (better, worse))
    assert first > second


def test_landmarks_need_no_embedder() -> None:
    result, requests = find(NEAR_AND_FAR, mode=LANDMARKS)
    assert FaceOptions(mode=LANDMARKS).roles == ("find-face",)
    assert len(result.found) == 3
    assert result.chosen == ()
    assert {request.model for request in requests} == {"find-face"}


def test_a_photo_without_a_face_has_none() -> None:
    for mode in (LANDMARKS, EMBED, PAIR, GALLERY):
        assert find({}, mode=mode)[0] == PhotoFaces((), ())


def test_faces_need_a_score_over_the_least_one() -> None:
    assert len(find(NEAR_AND_FAR, conf=0.8)[0].found) == 2
    assert len(find(NEAR_AND_FAR, conf=0.92)[0].found) == 1


def test_rejects_answers_that_are_not_finite() -> None:
    def answer(request: Request) -> dict[str, np.ndarray]:
        outputs = answers_of([], request.array.shape[:2], 1)
        return {**outputs, "points": np.full_like(outputs["points"], np.nan)}

    with pytest.raises(InputError, match="not finite"):
        finish(FaceFinder({"find-face": detector()}, FaceOptions()).analyse(np.zeros((40, 40, 3), np.uint8)), answer)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("cosine", 0.04), ("euclidean", math.sqrt(29)), ("euclidean_l2", math.sqrt(0.08)), ("manhattan", 7)],
)
def test_compares_in_either_order(metric: str, expected: float) -> None:
    """(3, 4) and (8, 6): see the distances themselves."""
    one, other = face(0.9, (0, 0, 9, 9), [3, 4]), face(0.9, (0, 0, 9, 9), [8, 6])
    for threshold, verified in ((expected + 1e-6, True), (expected - 1e-6, False)):
        match, mirrored = (Judge(metric, threshold).compare(*pair) for pair in ((one, other), (other, one)))
        assert match.distance == pytest.approx(expected)
        assert match.verified == mirrored.verified == verified
        assert match.distance == mirrored.distance
        assert (match.first, match.second) == (one, other)


def test_no_distance_is_below_0() -> None:
    """1 - cosine of equal vectors is by rounding."""
    embeddings = np.random.default_rng(0).normal(0, 1, (200, 128)).astype(np.float32)
    assert min(1 - np.dot(e, e) / (np.linalg.norm(e) * np.linalg.norm(e)) for e in embeddings.astype(float)) < 0
    faces = [face(0.9, (0, 0, 9, 9), list(embedding)) for embedding in embeddings]
    distances = [Judge("cosine", 0.5).compare(one, one).distance for one in faces]
    assert min(distances) >= 0
    assert max(distances) < 1e-6


def test_the_nearest_of_several_faces_count() -> None:
    first = [face(0.9, (n, 0, 9, 9), embedding) for n, embedding in enumerate(([1, 0], [0, 1]))]
    second = [face(0.9, (n, 9, 9, 9), embedding) for n, embedding in enumerate(([-1, -1], [1, 4], [3, 1]))]
    match = Judge("cosine", 0.1).nearest(PhotoFaces((), tuple(first)), PhotoFaces((), tuple(second)))
    assert match.distance == pytest.approx(1 - 4 / math.sqrt(17))
    assert (match.first, match.second) == (first[1], second[1])


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [
        (("cosine", 0.5), {}, ("cosine", 0.5)),
        (("cosine", 0.5), {"threshold": 0.3}, ("cosine", 0.3)),
        (("cosine", 0.5), {"metric": "euclidean_l2"}, ("euclidean_l2", 1.0)),  # |a - b|² = 2 (1 - cos)
        (("cosine", 0.5), {"metric": "euclidean", "threshold": 9.5}, ("euclidean", 9.5)),
        (("euclidean", 0.6), {"metric": "cosine", "threshold": 0.1}, ("cosine", 0.1)),
    ],
)
def test_thresholds_follow_the_model_and_the_user(own: tuple, options: dict, expected: tuple[str, float]) -> None:
    assert judge_of(embedder(*own), FaceOptions(**options)) == Judge(*expected)


@pytest.mark.parametrize(("own", "metric"), [("cosine", "euclidean"), ("euclidean", "cosine")])
def test_rejects_a_metric_without_a_threshold(own: str, metric: str) -> None:
    with pytest.raises(UsageError, match=f"--metric {metric}: .* --threshold"):
        judge_of(embedder(own), FaceOptions(metric=metric))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "guess"}, "mode guess"),
        ({"conf": 0}, "--conf 0"),
        ({"conf": 1}, "--conf 1"),
        ({"conf": float("nan")}, "--conf nan"),
        ({"which": "first"}, "--which first: choose largest, best, all"),
        ({"metric": "angle"}, "--metric angle"),
        ({"threshold": 0}, "--threshold 0"),
        ({"threshold": -1}, "--threshold -1"),
        ({"threshold": float("nan")}, "--threshold nan"),
        ({"threshold": float("inf")}, "--threshold inf"),
        ({"top_k": 0}, "--top-k 0"),
    ],
)
def test_rejects_options_out_of_range(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FaceOptions(**options)


@pytest.mark.parametrize("model", EMBEDDERS)
def test_shipped_embedders_say_what_is_the_same(model: str) -> None:
    """0.363 is the cosine that SFace was published with, 0.6 dlib's distance."""
    expected = {"sface": Judge("cosine", 1 - 0.363), "dlib_resnet29": Judge("euclidean", 0.6)}[model]
    found = judge_of(read_info(model_path(model)), FaceOptions(mode=PAIR))
    assert (found.metric, found.threshold) == (expected.metric, pytest.approx(expected.threshold))


def test_draws_what_it_found() -> None:
    result, _ = find(NEAR_AND_FAR)
    picture = FaceFinder({"find-face": detector()}, FaceOptions()).draw(
        Photo(np.full((600, 600, 3), 128, np.uint8)), result, ".png"
    )
    changed = (picture.pixels != 128).any(axis=2)
    assert changed[200:420, 200].all()
    assert not changed[450:, :].any()


def test_reads_no_colour_into_grey(by_onnx: tuple) -> None:
    """A grey photo, as it is decoded: three equal channels."""
    grey = np.asarray(Image.fromarray(pictures()["portrait"]).convert("L").convert("RGB"))
    plain, of_grey = (run(*by_onnx, picture).chosen[0] for picture in (pictures()["portrait"], grey))
    assert judge_of(by_onnx[0].embedder, FaceOptions()).compare(plain, of_grey).verified
