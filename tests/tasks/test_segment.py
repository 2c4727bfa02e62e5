"""The segment task on crafted outputs: classes, instances and the foreground's matte, down to pixels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.errors import InputError, UsageError
from cnncli.imaging.masks import filled, palette
from cnncli.io.images import Photo
from cnncli.io.pictures import encode
from cnncli.io.store import model_path
from cnncli.io.weights import read_info
from cnncli.results.segment import Segmentation
from cnncli.tasks.base import Request
from cnncli.tasks.segment import VOC_NAMES, Segmenter, SegmentOptions, stretched
from tests.conftest import PHOTOS
from tests.io.pictures import reopened
from tests.tasks.driving import finish, model_info
from tests.tasks.test_detect import INFO as DETECTOR
from tests.tasks.test_detect import cell
from tests.tasks.test_detect import outputs as boxes

VOC = read_info(model_path("deeplabv3_mobilenetv2")).classes
BACKGROUND, BIRD, CAT, DOG = (VOC.index(name) for name in ("background", "bird", "cat", "dog"))
RECIPE = {"input": [65, 65], "sizes": [8, 1], "long_side": 65, "filter": "bilinear", "background": 0}
CLASSES = model_info("segment", RECIPE, ("logits",), VOC)
MATTE = model_info("foreground", {"input": [32, 32], "filter": "lanczos"}, ("matte",), ("foreground",))
PHOTO = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))
BLANK = np.zeros((100, 200, 3), np.uint8)
Answer = Callable[[Request], dict[str, np.ndarray]]


def halves(left: int, right: int, part: float = 0.5) -> Answer:
    """Logits of one class to the left and of another to the right of a line."""

    def answer(request: Request) -> dict[str, np.ndarray]:
        height, width, channels = request.array.shape
        assert channels == 3 and request.array.dtype == np.uint8 and height % 8 == width % 8 == 1
        logits = np.zeros((len(VOC), height // 8 + 1, width // 8 + 1), np.float32)
        cut = round(logits.shape[2] * part)
        logits[left, :, :cut] = logits[right, :, cut:] = 10
        return {"logits": logits}

    return answer


def task(**options) -> Segmenter:
    models = {"segment": CLASSES, "foreground": MATTE, "detect": DETECTOR}
    options = SegmentOptions(**options)
    return Segmenter({role: models[role] for role in options.roles}, options)


def segmented(answer: Answer, image: np.ndarray = BLANK, **options) -> Segmentation:
    return finish(task(**options).analyse(image), answer)[0]


def named(found: Segmentation) -> list[str]:
    return [segment.label for segment in found.segments]


def test_says_which_pixels_belong_to_what() -> None:
    found = segmented(halves(CAT, BACKGROUND))
    (cat,) = found.segments
    assert (cat.label, cat.index) == ("cat", CAT)
    expected = found.pixels == CAT
    assert found.pixels.shape == (100, 200) and found.pixels.dtype == np.uint8
    assert expected[:, :85].all() and not expected[:, 92:].any()  # between the cells 3 and 4 of 9: at 87.7 px
    assert (found.pixels[:, 92:] == BACKGROUND).all()
    assert cat.area == expected.sum() and cat.fraction == pytest.approx(expected.mean())
    np.testing.assert_array_equal(filled(cat.rle), expected)


def test_largest_comes_first_and_background_is_no_segment() -> None:
    assert named(segmented(halves(CAT, DOG, 0.3))) == ["dog", "cat"]
    assert named(segmented(halves(CAT, DOG, 0.7))) == ["cat", "dog"]
    assert named(segmented(halves(BACKGROUND, BACKGROUND))) == []


def test_filters_by_name() -> None:
    found = segmented(halves(CAT, DOG), classes=("Dog",))
    assert named(found) == ["dog"]
    assert set(np.unique(found.pixels)) == {BACKGROUND, DOG}
    with pytest.raises(UsageError, match="no class 'dag', perhaps dog"):
        task(classes=("dag",))


def test_takes_other_names() -> None:
    names = tuple(f"class {number}" for number in range(len(VOC)))
    assert named(segmented(halves(CAT, BACKGROUND), labels=names)) == [f"class {CAT}"]
    assert named(segmented(halves(CAT, DOG), labels=names, classes=(f"class {DOG}",))) == [f"class {DOG}"]
    with pytest.raises(UsageError, match="--labels: 1 names for the 21 classes"):
        task(labels=("one",))


@pytest.mark.parametrize(
    ("scale", "size"), [(None, (33, 65)), (129, (65, 129)), (33, (17, 33)), (513, (257, 513)), (100, (49, 97))]
)
def test_asks_at_a_size_of_the_network(scale: int | None, size: tuple[int, int]) -> None:
    _, (request,) = finish(task(scale=scale).analyse(PHOTO[:150, :300]), halves(CAT, DOG))
    assert request.model == "segment" and request.array.shape[:2] == size
    expected = Image.fromarray(PHOTO[:150, :300]).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(request.array, np.asarray(expected))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 1), (2, 5), (8, 8)])
def test_takes_any_shape(height: int, width: int) -> None:
    found = segmented(halves(CAT, CAT), np.zeros((height, width, 3), np.uint8), flip=True, scales=(0.5, 1.0))
    assert found.pixels.shape == (height, width) and (found.pixels == CAT).all()
    assert found.segments[0].fraction == 1


def test_averages_over_scales_and_mirrored_copies() -> None:
    found, requests = finish(
        task(scales=(0.5, 1.0, 2.0), flip=True).analyse(PHOTO[:150, :300]), lambda request: {"logits": shade(request)}
    )
    assert [request.array.shape[:2] for request in requests] == [(17, 33)] * 2 + [(33, 65)] * 2 + [(65, 129)] * 2
    for plain, mirrored in zip(requests[::2], requests[1::2], strict=True):
        np.testing.assert_array_equal(mirrored.array, plain.array[:, ::-1])
        assert mirrored.array.flags.c_contiguous
    assert set(np.unique(found.pixels)) == {CAT, DOG}


def shade(request: Request) -> np.ndarray:
    """Cat where the picture is bright, dog where it is dark: a network that a mirror does not change."""
    grey = request.array[::8, ::8].mean(axis=2) - 128
    logits = np.full((len(VOC), *grey.shape), -50, np.float32)
    logits[CAT], logits[DOG] = grey, -grey
    return logits


def test_a_mirrored_copy_is_turned_back() -> None:
    """Of a photo bright on its left both views say the same, so that the average does."""
    image = BLANK.copy()
    image[:, :100] = 255
    one, both = (segmented(lambda request: {"logits": shade(request)}, image, flip=flip) for flip in (False, True))
    assert (one.pixels == both.pixels).mean() > 0.99 and (both.pixels[:, :90] == CAT).all()


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_scales_stay_in_their_range(factor: float) -> None:
    for scale in (33, 4097):
        steps = task(scale=scale, scales=(factor,)).analyse(np.zeros((2, 2000, 3), np.uint8))
        assert 33 <= next(steps).array.shape[1] <= 4097


def find(marks: tuple, left: int, right: int) -> Answer:
    """The mask's two halves, then the detector's boxes."""

    def answer(request: Request) -> dict[str, np.ndarray]:
        return halves(left, right)(request) if request.model == "segment" else boxes(*marks)

    return answer


SQUARE = np.zeros((128, 128, 3), np.uint8)  # pixels are those of the detector's input; its boxes are of 24 px


def test_tells_objects_apart_by_boxes() -> None:
    """Two boxes of cats, from 16 to 40 and from 24 to 48, where the mask says cat."""
    marks = (cell(4, 3), 0, 0.9), (cell(5, 4), 0, 0.8)
    found = segmented(find(marks, CAT, BACKGROUND), SQUARE, instances=True)
    first, second = found.instances
    assert (first.label, first.index, second.label) == ("cat", CAT, "cat")
    assert (first.score, second.score) == (pytest.approx(0.9, abs=1e-6), pytest.approx(0.8, abs=1e-6))
    one, two = filled(first.rle), filled(second.rle)
    assert not (one & two).any() and (one | two).sum() == first.area + second.area
    cats = found.pixels == CAT
    x, y, width, height = (int(value) for value in first.bbox)
    inside = np.zeros((128, 128), bool)
    inside[y : y + height, x : x + width] = True
    assert not (one & ~inside).any() and not (one & ~cats).any()
    assert ((one | two) >= (inside & cats)).all()  # the first box's cats all have an owner


def test_leaves_out_objects_of_other_classes_and_without_pixels() -> None:
    marks = (cell(4, 2), 2, 0.9), (cell(4, 13), 0, 0.8), (cell(10, 2), 3, 0.7)  # a dog, a cat on the right, a bear
    found = segmented(find(marks, CAT, BACKGROUND), SQUARE, instances=True)
    assert found.instances == () and named(found) == ["cat"]
    assert segmented(find(marks, CAT, BACKGROUND), SQUARE).instances is None


def test_instances_are_best_first_and_filtered() -> None:
    marks = (cell(4, 2), 0, 0.5), (cell(4, 13), 2, 0.9)
    found = segmented(find(marks, CAT, DOG), SQUARE, instances=True)
    assert [instance.label for instance in found.instances] == ["dog", "cat"]
    only = segmented(find(marks, CAT, DOG), SQUARE, instances=True, classes=("cat",))
    assert [instance.label for instance in only.instances] == ["cat"]
    sure = segmented(find(marks, CAT, DOG), SQUARE, instances=True, conf=0.6)
    assert [instance.label for instance in sure.instances] == ["dog"]


def test_knows_the_detectors_names_for_vocs_classes() -> None:
    coco = read_info(model_path("efficientdet_lite2")).classes
    assert set(VOC_NAMES) <= set(coco) and set(VOC_NAMES.values()) <= set(VOC)
    assert {VOC_NAMES.get(name, name) for name in coco} >= set(VOC) - {"background"}


def test_mask_holds_class_numbers_in_vocs_colours() -> None:
    found = segmented(halves(CAT, BIRD))
    segment = task()
    image = reopened(encode(segment.draw(Photo(BLANK), found, ".png"), ".png"))
    np.testing.assert_array_equal(np.asarray(image), found.pixels)
    assert image.getpalette() == list(palette())
    assert segment.picture_endings == (".png", ".tif", ".tiff", ".bmp", ".gif")


@pytest.mark.parametrize("options", [{}, {"instances": True}])
def test_overlay_and_cutout(options: dict) -> None:
    photo = Photo(np.full((128, 128, 3), 128, np.uint8))
    found = segmented(find(((cell(4, 2), 0, 0.9),), CAT, BACKGROUND), photo.pixels, **options)
    segment = task(**options)
    overlay = segment.overlay(photo, found, ".png").pixels
    assert overlay.shape == (256, 256, 3) and (overlay[:, :100] != 128).any() and (overlay[:, 150:] == 128).all()
    np.testing.assert_array_equal(segment.alpha(found), np.where(found.pixels == CAT, 255, 0))


TRAINED = {"input": [64, 96], "long_side": 96, "filter": "bilinear", "background": 255, "grid": "pixels"}


def trained(recipe: dict, **options) -> Segmenter:
    info = model_info("segment", {**TRAINED, **recipe}, ("logits",), ("sky", "road"))
    return Segmenter({"segment": info}, SegmentOptions(**options))


@pytest.mark.parametrize("stride", [1, 4, 32])
def test_reads_logits_of_cells_at_any_stride(stride: int) -> None:
    """Against torch's interpolation of the logits to the photo."""
    logits = np.random.default_rng(0).normal(size=(2, 64 // stride, 96 // stride)).astype(np.float32)
    found, (request,) = finish(
        trained({"sizes": [32, 0]}).analyse(np.zeros((100, 150, 3), np.uint8)), lambda request: {"logits": logits}
    )
    assert request.array.shape == (64, 96, 3)
    expected = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], size=(100, 150), mode="bilinear")
    assert (found.pixels == expected[0].argmax(0).numpy()).mean() > 0.999


def test_every_class_is_a_segment_where_none_is_the_background() -> None:
    answer = {"logits": np.concatenate([np.ones((1, 2, 4)), np.zeros((1, 2, 4))]).astype(np.float32)}
    answer["logits"][:, :, 2:] = answer["logits"][::-1, :, 2:]
    found = finish(trained({"sizes": [32, 0]}).analyse(BLANK), lambda request: answer)[0]
    assert named(found) == ["sky", "road"] and sum(entry.fraction for entry in found.segments) == 1
    only = finish(trained({"sizes": [32, 0]}, classes=("road",)).analyse(BLANK), lambda request: answer)[0]
    assert named(only) == ["road"] and set(np.unique(only.pixels)) == {1, 255}
    np.testing.assert_array_equal(trained({}).alpha(only), np.where(only.pixels == 1, 255, 0))


def test_stretches_photos_for_networks_of_one_size() -> None:
    fixed = trained({}, flip=True)
    answer = {"logits": np.stack([np.ones((2, 3)), np.zeros((2, 3))]).astype(np.float32)}
    found, requests = finish(fixed.analyse(np.zeros((300, 100, 3), np.uint8)), lambda request: answer)
    assert [request.array.shape for request in requests] == [(64, 96, 3)] * 2 and (found.pixels == 0).all()
    for options in ({"scale": 65}, {"scales": (0.5, 1.0)}):
        with pytest.raises(UsageError, match="takes photos in one size"):
            trained({}, **options)


OBJECTS = {"input": [64, 96], "long_side": 96, "sizes": [32, 0], "filter": "bilinear", "background": 0, "objects": True}


def learned(**options) -> Segmenter:
    outputs = ("boxes", "scores", "labels", "masks")
    info = model_info("segment", OBJECTS, outputs, ("background", "square", "bar"))
    return Segmenter({"segment": info}, SegmentOptions(**options))


def found_objects(request: Request) -> dict[str, np.ndarray]:
    """Two squares, one over the other, a faint bar, and an empty place; in pixels of the input."""
    boxes = np.array([[8, 8, 40, 40], [24, 8, 56, 40], [64, 0, 80, 64], [0, 0, 0, 0]], np.float32)
    scores, labels = np.array([0.9, 0.8, 0.4, 0], np.float32), np.array([1, 1, 2, 0])
    return {"boxes": boxes, "scores": scores, "labels": labels, "masks": np.ones((4, 28, 28), np.float32)}


def test_masks_of_objects_that_a_network_has_learned() -> None:
    """The photo has twice the sides of the network's input."""
    image = np.zeros((128, 192, 3), np.uint8)
    found, (request,) = finish(learned().analyse(image), found_objects)
    assert request.array.shape == (64, 96, 3)
    assert [(entry.label, entry.bbox) for entry in found.instances] == [
        ("square", (16, 16, 64, 64)), ("square", (48, 16, 64, 64)), ("bar", (128, 0, 32, 128)),
    ]  # fmt: skip
    first, second, _ = (filled(entry.rle) for entry in found.instances)
    assert first[16:80, 16:80].all() and first.sum() == 64 * 64 and not (first & second).any()
    assert second[16:80, 80:112].all() and second.sum() == 32 * 64
    assert named(found) == ["square", "bar"] and found.segments[0].area == 96 * 64
    assert (found.pixels[:, 128:160] == 2).all()
    sure = finish(learned(conf=0.5, classes=("square",)).analyse(image), found_objects)[0]
    assert len(sure.instances) == 2 and named(sure) == ["square"]
    assert named(finish(learned(classes=("bar",)).analyse(image), found_objects)[0]) == ["bar"]
    with pytest.raises(UsageError, match="no scores to average"):
        learned(flip=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_answers_that_are_not_finite(bad: float) -> None:
    for options, answer in (
        ({}, {"logits": np.full((21, 5, 9), bad)}),
        ({"foreground": True}, {"matte": np.full((1, 32, 32), bad)}),
    ):
        with pytest.raises(InputError, match="not finite; try --precision fp32"):
            segmented(lambda request, answer=answer: answer, **options)


def smooth_matte(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 4)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC)) * 0.8 + 0.1


def published(matte: np.ndarray, width: int, height: int) -> np.ndarray:
    """What the authors' program and those after it show: least to 0, largest to 1, 8 bits, Lanczos to the photo."""
    least, most = matte.min(), matte.max()
    grey = ((matte - least) / (most - least) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("seed", range(3))
def test_matte_is_the_published_programs(seed: int) -> None:
    matte = smooth_matte(seed)
    found, (request,) = finish(task(foreground=True).analyse(PHOTO), lambda request: {"matte": matte[None]})
    expected = Image.fromarray(PHOTO).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(request.array, np.asarray(expected))
    assert request.model == "foreground"
    difference = np.abs(found.pixels.astype(int) - published(matte, PHOTO.shape[1], PHOTO.shape[0]))
    assert difference.max() <= 3 and difference.mean() < 1  # rounded here, cut off there


def test_foreground_is_what_is_half_opaque() -> None:
    found = segmented(lambda request: {"matte": smooth_matte()[None]}, PHOTO, foreground=True)
    (entry,) = found.segments
    inside = found.pixels >= 128
    assert (entry.label, entry.area) == ("foreground", inside.sum())
    np.testing.assert_array_equal(filled(entry.rle), inside)
    np.testing.assert_array_equal(task(foreground=True).alpha(found), found.pixels)


def test_nothing_in_front_is_no_segment() -> None:
    found = segmented(lambda request: {"matte": np.full((1, 32, 32), 0.01, np.float32)}, foreground=True)
    assert found.segments == () and found.pixels.max() <= 3


def test_stretches_what_stands_out() -> None:
    np.testing.assert_allclose(stretched(np.array([[0.1, 0.35, 0.6]])), [[0, 0.5, 1]])
    faint = np.array([[0.0, 0.2, 0.4]])
    np.testing.assert_array_equal(stretched(faint), faint)
    np.testing.assert_array_equal(stretched(np.full((2, 2), 0.7)), np.full((2, 2), 0.7))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_matte_goes_into_any_format(suffix: str) -> None:
    segment = task(foreground=True)
    found = segmented(lambda request: {"matte": smooth_matte()[None]}, PHOTO, foreground=True)
    assert suffix in segment.picture_endings
    image = reopened(encode(segment.draw(Photo(PHOTO), found, suffix), suffix))
    assert np.abs(np.asarray(image.convert("L")).astype(int) - found.pixels).mean() < 2
    assert segment.overlay(Photo(PHOTO), found, suffix).pixels.shape == PHOTO.shape


@pytest.mark.parametrize(
    ("options", "roles"),
    [({}, ("segment",)), ({"instances": True}, ("segment", "detect")), ({"foreground": True}, ("foreground",))],
)
def test_says_what_its_models_are_made_for(options: dict, roles: tuple[str, ...]) -> None:
    assert SegmentOptions(**options).roles == roles


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 32}, "--scale 32"),
        ({"scale": 4098}, "--scale 4098"),
        ({"scales": ()}, "--scales"),
        ({"scales": (0.2,)}, "--scales"),
        ({"scales": (float("nan"),)}, "--scales"),
        ({"conf": 0.0}, "--conf 0"),
        ({"conf": float("nan")}, "--conf nan"),
        ({"foreground": True, "flip": True}, "--foreground knows no classes"),
        ({"foreground": True, "scale": 65}, "--foreground knows no classes"),
        ({"foreground": True, "instances": True}, "--foreground knows no classes"),
        ({"foreground": True, "classes": ("cat",)}, "--foreground knows no classes"),
    ],
)
def test_rejects_options_that_do_not_go(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SegmentOptions(**options)


def test_record_and_release() -> None:
    found = segmented(find(((cell(4, 2), 0, 0.9),), CAT, BACKGROUND), SQUARE, instances=True)
    record = found.as_dict()
    assert list(record) == ["segments", "instances", "instances_from"]
    assert record["segments"][0]["rle"]["size"] == [128, 128]
    assert record["instances"][0]["bbox"] == [8.0, 24.0, 24.0, 24.0]
    assert task().release(found).pixels is None and task().release(found).segments == found.segments
