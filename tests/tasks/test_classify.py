"""The classify task: torchvision's geometry, torch's softmax, and answers to odd questions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cnncli.catalog import DEFAULT_MODELS, MODELS, TASKS, resolve
from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError, UsageError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import Photo
from cnncli.io.store import model_path, shipped_folder
from cnncli.io.weights import ModelInfo, read_info
from cnncli.results.classify import Classification, Embedding, Label
from cnncli.tasks.base import Request
from cnncli.tasks.classify import MOST_SHRINKING, Classify, ClassifyOptions, softmax, top_labels
from tests.conftest import PHOTOS
from tests.io.pictures import encoded

INFO = ModelInfo(
    name="pets",
    task="classify",
    backbone="none",
    head={},
    classes=("tabby", "tiger cat", "Siamese cat", "golden retriever", "crane", "crane"),
    recipe={"input": [4, 6], "resize": 8, "filter": "bicubic"},
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    outputs=("logits", "features"),
    licence="none",
    source={},
)
LOGITS = np.array([1.0, 3.0, 2.0, -4.0, 0.0, 0.5], np.float32)
FEATURES = np.arange(3, dtype=np.float32)


def task(info: ModelInfo = INFO, **options) -> Classify:
    return Classify({"classify": info}, ClassifyOptions(**options))


def answer(classify: Classify, logits: np.ndarray = LOGITS, features: np.ndarray = FEATURES):
    """What the task says of an image for which the network gives these outputs."""
    steps = classify.analyse(np.zeros((8, 8, 3), np.uint8))
    request = next(steps)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration) as end:
        steps.send({"logits": logits, "features": features})
    return end.value.value


def labels(classify: Classify, logits: np.ndarray = LOGITS) -> list[str]:
    return [entry.label for entry in answer(classify, logits).classes]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


PHOTO = {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in sorted(PHOTOS.glob("*.[pj][np]g"))}
PICTURES = {
    **PHOTO,
    "tall": PHOTO["chelsea"][:, 50:170],
    "wide": PHOTO["chelsea"][100:141],
    "exact": PHOTO["astronaut"][:256, :300],
    "tiny": noise(3, 2),
    "pixel": noise(1, 1),
    "line": noise(1, 40),
}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if entry.task == "classify"])
def test_prepares_as_torchvision_does(model: str, picture: str) -> None:
    info = read_info(shipped_folder() / f"{model}.safetensors")
    recipe = info.recipe
    transform = v2.Compose(
        [
            v2.Resize(recipe["resize"], v2.InterpolationMode(recipe["filter"]), antialias=True),
            v2.CenterCrop(recipe["input"]),
        ]
    )
    expected = np.asarray(transform(Image.fromarray(PICTURES[picture])))
    prepared = task(info).prepare(PICTURES[picture])
    assert prepared.dtype == np.uint8
    assert prepared.shape == (*recipe["input"], 3)
    assert np.abs(prepared.astype(int) - expected).max() <= 1


def test_crop_is_height_by_width() -> None:
    assert task().prepare(noise(20, 30)).shape == (4, 6, 3)


def test_softmax_matches_torch() -> None:
    for logits in (LOGITS, np.array([1e4, 1e4 - 1]), np.full(1000, -3e38), LOGITS.astype(np.float16)):
        expected = torch.tensor(logits, dtype=torch.float64).softmax(dim=0).numpy()
        np.testing.assert_allclose(softmax(logits), expected, rtol=1e-5, atol=1e-7)


def test_softmax_of_half_precision_keeps_classes_apart() -> None:
    scores = softmax(np.array([8.0, 8.0 - 2**-8, -20.0], np.float16))
    assert scores[0] > scores[1]


def test_best_comes_first_with_its_index() -> None:
    assert answer(task(top_k=2)).classes == (
        Label(
            "tiger cat", 1, pytest.approx(0.6112, abs=1e-4)
        ),  # 20.0855 of 2.7183 + 20.0855 + 7.3891 + 0.0183 + 1 + 1.6487
        Label("Siamese cat", 2, pytest.approx(0.2249, abs=1e-4)),
    )


def test_equal_scores_stay_in_the_order_of_the_classes() -> None:
    scores = np.array([0.1, 0.3, 0.1, 0.3, 0.2, 0.1])
    assert [entry.index for entry in top_labels(scores, INFO.classes, 6)] == [1, 3, 4, 0, 2, 5]
    many = top_labels(np.full(1000, 0.001), tuple(map(str, range(1000))), 5)
    assert [entry.index for entry in many] == [0, 1, 2, 3, 4]


def test_gives_all_classes_where_there_are_fewer_than_asked() -> None:
    assert len(answer(task(top_k=50)).classes) == 6


def test_rejects_no_labels() -> None:
    with pytest.raises(UsageError, match="--top-k 0"):
        ClassifyOptions(top_k=0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("tabby", "golden retriever"), ["tabby", "golden retriever"]),
        (("GOLDEN Retriever", "siamese CAT"), ["Siamese cat", "golden retriever"]),
        (("crane",), ["crane", "crane"]),
        (("tabby", "Tabby"), ["tabby"]),
    ],
)
def test_filters_by_name(wanted: tuple[str, ...], expected: list[str]) -> None:
    assert labels(task(classes=wanted)) == expected


def test_filter_leaves_scores_as_they_are() -> None:
    everything = {entry.index: entry.score for entry in answer(task(top_k=6)).classes}
    (entry,) = answer(task(classes=("tabby",))).classes
    assert entry.score == everything[0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tiger kat", "no class 'tiger kat', perhaps tiger cat"),
        ("Golden Retreiver", "perhaps golden retriever"),
        ("zeppelin", "no class 'zeppelin'; it knows tabby, tiger cat, Siamese cat, golden retriever, crane, crane$"),
    ],
)
def test_suggests_names(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        task(classes=(name,))


def test_takes_other_names() -> None:
    other = tuple("abcdef")
    assert labels(task(labels=other, top_k=3)) == ["b", "c", "a"]
    assert labels(task(labels=other, classes=("F",))) == ["f"]


@pytest.mark.parametrize("count", [1, 5, 7])
def test_rejects_another_number_of_names(count: int) -> None:
    with pytest.raises(UsageError, match=f"--labels: {count} names for the 6 classes of pets"):
        task(labels=("name",) * count)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("embed", [False, True])
def test_refuses_answers_that_are_not_finite(bad: float, embed: bool) -> None:
    logits, features = LOGITS.copy(), FEATURES.copy()
    (features if embed else logits)[1] = bad
    steps = task(embed=embed).analyse(np.zeros((8, 8, 3), np.uint8))
    next(steps)
    with pytest.raises(InputError, match="not finite; try --precision fp32"):
        steps.send({"logits": logits, "features": features})


def test_embeds() -> None:
    embedding = answer(task(embed=True))
    assert isinstance(embedding, Embedding)
    assert embedding.features.dtype == np.float32
    assert embedding.as_dict() == {"features": [0.0, 1.0, 2.0]}


@pytest.mark.parametrize(("embed", "result"), [(False, Classification), (True, Embedding)])
def test_result_has_the_key_that_records_expect(embed: bool, result: type) -> None:
    classify = task(embed=embed)
    found = answer(classify)
    assert isinstance(found, result)
    assert list(found.as_dict()) == [classify.result_key]


def test_columns_count_the_labels() -> None:
    assert task(top_k=2).columns == ("label_1", "index_1", "score_1", "label_2", "index_2", "score_2")
    assert task(embed=True).columns == ("features",)


def test_draws_on_the_photo_it_was_given() -> None:
    photo = np.zeros((480, 640, 3), np.uint8)
    picture = task().draw(Photo(photo), answer(task()), ".jpg").pixels
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (640, 3)
    assert picture.any()
    assert not photo.any()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_the_name_and_models_of_its_catalog_entry(name: str) -> None:
    entry = TASKS[name]
    options = resolve(entry.options)()
    models = {role: read_info(model_path(DEFAULT_MODELS[role])) for role in options.roles}
    analyser = resolve(entry.analyser)
    assert analyser.name == name
    assert all(info.task == MODELS[DEFAULT_MODELS[role]].task == role for role, info in models.items())
    analyser(models, options)


def test_keeps_the_recipe_of_its_own_model() -> None:
    wide = replace(INFO, recipe={"input": [8, 5], "resize": 9, "filter": "nearest"})
    assert task(wide).prepare(noise(30, 20)).shape == (8, 5, 3)


def jpeg(width: int, height: int) -> bytes:
    return encoded(Image.fromarray(PHOTO["chelsea"]).resize((width, height)), "JPEG")


def test_leaves_photos_to_the_device() -> None:
    classify = task(decode="device")
    photo = classify.decode(jpeg(90, 60), DEFAULT_MAX_PIXELS)
    assert isinstance(photo.pixels, EncodedPhoto)
    steps = classify.analyse(photo.pixels)
    request = next(steps)
    assert request.array is photo.pixels
    with pytest.raises(StopIteration) as end:
        steps.send({"logits": LOGITS, "features": FEATURES})
    assert end.value.value == answer(classify)


@pytest.mark.parametrize(("side", "kind"), [(8 * MOST_SHRINKING, EncodedPhoto), (8 * MOST_SHRINKING + 1, np.ndarray)])
def test_shrinks_photos_by_far_on_the_cpu(side: int, kind: type) -> None:
    photo = task(decode="device").decode(jpeg(600, side), DEFAULT_MAX_PIXELS)
    assert photo.size == (600, side)
    assert isinstance(photo.pixels, kind)


def test_devices_have_no_other_filters() -> None:
    for resampling in ("nearest", "lanczos"):
        info = replace(INFO, recipe={**INFO.recipe, "filter": resampling})
        with pytest.raises(UsageError, match=f"--decode device: pets is for '{resampling}', which only the CPU"):
            task(info, decode="device")
        task(info, decode="full")
