"""`cnncli segment` as a user calls it: its masks and mattes, their encodings, cut-outs, and what it refuses."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from cnncli.results.schema import schema
from tests.conftest import PHOTOS, records

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
CAT, ASTRONAUT, COFFEE = PHOTOS / "chelsea.png", PHOTOS / "astronaut.png", PHOTOS / "coffee.png"
VOC_COLOURS = {
    0: (0, 0, 0),
    5: (128, 0, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    255: (224, 224, 192),
}
CAT_CLASS, PERSON_CLASS = 8, 15  # of PASCAL VOC


@pytest.fixture
def segmented(here):
    """Run `segment` over one photo; its record, which is valid."""

    def run(*arguments: Any) -> dict[str, Any]:
        done = here("segment", *arguments)
        assert (done.returncode, done.stderr) == (0, b"")
        (record,) = records(done.stdout)
        jsonschema.validate(record, schema("segment"))
        return record

    return run


def picture(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def decoded(rle: dict[str, Any]) -> np.ndarray:
    return coco.decode({**rle, "counts": rle["counts"].encode()}).astype(bool)


def by_label(record: dict[str, Any]) -> dict[str, int]:
    return {entry["label"]: entry["area"] for entry in record["segments"]}


def test_record_tells_what_the_mask_holds(segmented) -> None:
    record = segmented(COFFEE, "--out", "mask.png")
    mask = picture("mask.png")
    assert mask.shape == (400, 600)
    assert {entry["index"] for entry in record["segments"]} == set(np.unique(mask)) - {0}
    areas = [entry["area"] for entry in record["segments"]]
    assert areas == sorted(areas, reverse=True)
    for entry in record["segments"]:
        inside = mask == entry["index"]
        np.testing.assert_array_equal(decoded(entry["rle"]), inside)
        assert entry["area"] == inside.sum()
        assert entry["fraction"] == pytest.approx(inside.mean(), abs=1e-7)


def test_mask_has_the_colours_of_voc(segmented) -> None:
    assert by_label(segmented(CAT, "--out", "mask.png")).keys() == {"cat"}
    with Image.open("mask.png") as mask:
        assert mask.mode == "P"
        colours = np.array(mask.getpalette()).reshape(-1, 3)
    for number, colour in VOC_COLOURS.items():
        assert tuple(colours[number]) == colour
    mask = picture("mask.png")
    assert set(np.unique(mask)) == {0, CAT_CLASS}
    assert (mask[60:250, 60:350] == CAT_CLASS).mean() > 0.95  # the cat's face


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".gif"])
def test_other_formats_hold_the_same_numbers_and_colours(suffix: str, segmented) -> None:
    segmented(CAT, "--out", "mask.png")
    segmented(CAT, "--out", f"mask{suffix}")
    np.testing.assert_array_equal(picture(f"mask{suffix}"), picture("mask.png"))
    with Image.open(f"mask{suffix}") as mask:
        assert mask.mode == "P"
        assert mask.convert("RGB").getpixel((200, 150)) == VOC_COLOURS[CAT_CLASS]


def test_mask_fits_the_upright_photo(segmented) -> None:
    """Orientation 6: stored turned left, shown upright."""
    with Image.open(CAT) as cat:
        exif = Image.Exif()
        exif[0x0112] = 6
        cat.convert("RGB").transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=exif)
    record = segmented("turned.png", "--out", "turned-mask.png", "--cutout", "turned-cut.png")
    assert (record["width"], record["height"], record["exif_orientation"]) == (451, 300, 6)
    upright = segmented(CAT, "--out", "mask.png")
    assert record["segments"] == upright["segments"]
    np.testing.assert_array_equal(picture("turned-mask.png"), picture("mask.png"))
    assert picture("turned-cut.png").shape == (300, 451, 4)


def test_classes_limit_the_mask(segmented, here, tmp_path: Path) -> None:
    every = by_label(segmented(ASTRONAUT))
    assert "person" in every
    assert by_label(segmented(ASTRONAUT, "--classes", "Person", "--out", "mask.png")) == {"person": every["person"]}
    assert set(np.unique(picture("mask.png"))) == {0, PERSON_CLASS}
    assert by_label(segmented(ASTRONAUT, "--classes", "sheep,horse", "--out", "none.png")) == {}
    assert not picture("none.png").any()
    (tmp_path / "wanted.txt").write_text("person\n")
    assert by_label(segmented(ASTRONAUT, "--classes", "@wanted.txt")) == {"person": every["person"]}
    unknown = here("segment", ASTRONAUT, "--classes", "persn")
    assert unknown.returncode == 2
    assert b"perhaps person" in unknown.stderr


def test_takes_other_names(segmented, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"class {number}\n" for number in range(21)))
    assert by_label(segmented(CAT, "--labels", "names.txt")).keys() == {"class 8"}


def test_averages_over_scales_and_mirror_images(segmented) -> None:
    plain = segmented(CAT, "--out", "plain.png")
    for options in (["--flip"], ["--scales", "0.75,1,1.25"], ["--scale", "385"], ["--scales", "0.5", "--flip"]):
        record = segmented(CAT, *options, "--out", "other.png", "--overwrite")
        assert record["run"] != plain["run"]
        assert by_label(record).keys() == {"cat"}
        changed = (picture("other.png") != picture("plain.png")).mean()
        assert 0 < changed < 0.1
    segmented(CAT, "--scales", "1,1", "--out", "twice.png")  # an average of equals
    assert (picture("twice.png") != picture("plain.png")).mean() < 1e-3


def test_mirror_average_of_a_mirrored_photo_is_mirrored(segmented) -> None:
    with Image.open(CAT) as cat:
        cat.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("mirrored.png")
    segmented(CAT, "--flip", "--out", "mask.png")
    segmented("mirrored.png", "--flip", "--out", "mirrored-mask.png")
    assert (picture("mirrored-mask.png")[:, ::-1] != picture("mask.png")).mean() < 1e-3


def herd(path: str) -> None:
    """Two cats side by side, at some distance from each other."""
    canvas = Image.new("RGB", (760, 300), (128, 140, 120))
    with Image.open(CAT) as cat:
        face = cat.convert("RGB").resize((300, 200))
    canvas.paste(face, (20, 60))
    canvas.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (440, 60))
    canvas.save(path)


def test_instances_part_the_objects_of_a_class(segmented) -> None:
    herd("herd.png")
    record = segmented("herd.png", "--instances", "--out", "mask.png", "--overlay", "seen.png")
    assert set(record["further_models"]) == {"detect"}
    assert set(record["further_models"]["detect"]) == {"model", "weights_sha256"}
    cats = [entry for entry in record["instances"] if entry["label"] == "cat"]
    assert len(cats) >= 2
    taken = np.zeros((300, 760), int)
    for entry in record["instances"]:
        inside = decoded(entry["rle"])
        assert entry["area"] == inside.sum() > 0
        taken += inside
        x, y, width, height = entry["bbox"]
        rows, columns = np.nonzero(inside)
        assert y - 1 <= rows.min() <= rows.max() <= y + height
        assert x - 1 <= columns.min() <= columns.max() <= x + width
        assert (picture("mask.png")[inside] == entry["index"]).all()
    assert taken.max() == 1
    left, right = (
        sum(decoded(entry["rle"])[:, half].sum() for entry in cats) for half in (slice(330), slice(430, 760))
    )
    assert min(left, right) > 20_000
    scores = [entry["score"] for entry in record["instances"]]
    assert scores == sorted(scores, reverse=True)
    surer = segmented("herd.png", "--instances", "--conf", "0.9")
    assert surer["instances"] == [entry for entry in record["instances"] if entry["score"] >= 0.9]
    assert surer["segments"] == record["segments"]


def test_instances_heed_the_classes(segmented) -> None:
    assert segmented(CAT, "--instances", "--classes", "dog")["instances"] == []
    assert "instances" not in segmented(CAT)


def test_foreground_is_a_soft_matte(segmented) -> None:
    record = segmented(COFFEE, "--foreground", "--out", "matte.png")
    matte = picture("matte.png")
    assert (matte.shape, matte.dtype) == ((400, 600), np.uint8)
    assert record["model"] == "u2netp"
    (entry,) = record["segments"]
    assert entry["label"] == "foreground"
    np.testing.assert_array_equal(decoded(entry["rle"]), matte >= 128)
    assert entry["area"] == (matte >= 128).sum()
    assert len(np.unique(matte)) > 50
    segmented(COFFEE, "--foreground", "--out", "matte.jpg")  # grey is no class number: any format holds it
    assert np.abs(picture("matte.jpg").astype(int) - matte).mean() < 2


def test_nothing_stands_out_of_a_flat_photo(segmented) -> None:
    Image.new("RGB", (64, 48), (90, 90, 90)).save("flat.png")
    assert segmented("flat.png", "--foreground", "--out", "matte.png")["segments"] == []
    assert picture("matte.png").max() < 128


def test_cutout_is_the_photo_with_the_mask_for_alpha(segmented) -> None:
    photo = picture(CAT)[..., :3]
    for words, alpha in (
        ([], lambda mask: np.where(mask == CAT_CLASS, 255, 0)),
        (["--foreground"], lambda matte: matte),
    ):
        record = segmented(CAT, *words, "--out", "m.png", "--cutout", "c.png", "--overlay", "o.png", "--overwrite")
        assert (record["mask"], record["cutout"], record["overlay"]) == ("m.png", "c.png", "o.png")
        cutout = picture("c.png")
        np.testing.assert_array_equal(cutout[..., 3], alpha(picture("m.png")))
        np.testing.assert_array_equal(cutout[..., :3], photo)
        assert picture("o.png").shape == photo.shape
        assert (picture("o.png") != photo).any()


def test_backgrounds_lie_behind_the_cutout(segmented) -> None:
    photo = picture(CAT)[..., :3]
    with Image.open(COFFEE) as coffee:
        coffee.convert("RGB").save("behind.jpg", quality=95)
    segmented(CAT, "--foreground", "--out", "matte.png")
    part = picture("matte.png")[..., None] / 255
    for background, behind in (
        ("#ff8000", (255, 128, 0)),
        ("#0f8", (0, 255, 136)),
        ("blur", None),
        ("behind.jpg", None),
    ):
        words = [CAT, "--foreground", "--cutout", "c.png", "--background", background, "--overwrite"]
        segmented(*words)
        cutout = picture("c.png")
        assert cutout.shape == photo.shape
        np.testing.assert_array_equal(cutout[part[..., 0] == 1], photo[part[..., 0] == 1])
        if behind is not None:
            expected = photo * part + np.array(behind) * (1 - part)
            assert np.abs(cutout - expected).max() <= 0.5 + 1e-3
    segmented(CAT, "--foreground", "--cutout", "c.jpg", "--background", "#fff")  # nothing transparent: any format
    with Image.open(COFFEE) as coffee:  # 451 x 300 of 600 x 400: scaled to cover, the centre kept
        scaled = np.asarray(coffee.convert("RGB").resize((451, 301), Image.Resampling.BICUBIC)).astype(int)
    outside = part[..., 0] == 0
    assert np.abs(cutout[outside] - scaled[:300][outside]).mean() < 6


def test_blurred_background_has_the_light_of_the_photo(segmented) -> None:
    segmented(CAT, "--foreground", "--out", "matte.png", "--cutout", "c.png", "--background", "blur")
    outside = picture("matte.png") == 0
    photo, cutout = picture(CAT)[..., :3][outside].astype(float), picture("c.png")[outside].astype(float)
    assert np.abs(photo.mean(axis=0) - cutout.mean(axis=0)).max() < 8
    detail = [np.abs(cv2.Laplacian(picture(name)[..., :3], cv2.CV_64F))[outside].mean() for name in (CAT, "c.png")]
    assert detail[1] < 0.5 * detail[0]


def test_background_is_never_overwritten(here, tmp_path: Path) -> None:
    shutil.copy(COFFEE, tmp_path / "behind.png")
    before = (tmp_path / "behind.png").read_bytes()
    done = here("segment", CAT, "--cutout", "behind.png", "--background", "behind.png")
    assert done.returncode == 2
    assert (tmp_path / "behind.png").read_bytes() == before


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (1000, 3)])
def test_masks_fit_photos_of_any_shape(size: tuple[int, int], segmented) -> None:
    Image.effect_noise(size, 60).convert("RGB").save("odd.png")
    for words in ([], ["--foreground"]):
        segmented("odd.png", *words, "--out", "mask.png", "--overlay", "seen.png", "--cutout", "cut.png", "--overwrite")
        assert picture("mask.png").shape == size[::-1]
        assert picture("cut.png").shape == (*size[::-1], 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--classes", "kat"], "perhaps cat"),
        (["--classes", ","], "--classes names nothing"),
        (["--labels", "missing.txt"], "missing.txt"),
        (["--scale", "20"], "a long side from 33 to 4097"),
        (["--scales", "9"], "factors from 0.25 to 4"),
        (["--scales", "big"], "--scales big: give a number"),
        (["--conf", "1"], "--conf 1"),
        (["--foreground", "--instances"], "--foreground knows no classes"),
        (["--foreground", "--classes", "cat"], "--foreground knows no classes"),
        (["--background", "#fff"], "--background is for cut-outs"),
        (["--cutout", "c.png", "--background", "#ggg"], "no such picture; give none, #rrggbb, blur"),
        (["--cutout", "c.png", "--background", "broken.jpg"], "--background broken.jpg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(arguments: list[str], words: str, here, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    done = here("segment", CAT, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


def test_csv_columns_do_not_depend_on_the_inputs(here) -> None:
    for words in ([], ["--instances"], ["--foreground"]):
        good, bad = (here("segment", name, *words, "--format", "csv").stdout for name in (CAT, "missing.png"))
        rows = list(csv.DictReader(io.StringIO(good.decode())))
        assert list(rows[0]) == bad.decode().splitlines()[0].split(",")
        (record,) = records(here("segment", CAT, *words).stdout)
        for key in ("segments", *(["instances"] if words == ["--instances"] else [])):
            assert json.loads(rows[0][key]) == record[key]
