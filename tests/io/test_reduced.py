"""Decoding in a reduced size: only of what is far larger than needed, and the same picture."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli import Predictor
from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io.images import decode, decode_reduced
from tests.conftest import records


def jpeg(photo: Path, side: int, **options: object) -> bytes:
    """A photo enlarged so that its shorter side has `side` px."""
    with Image.open(photo) as image:
        factor = side / min(image.size)
        size = round(image.width * factor), round(image.height * factor)
        file = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def test_far_larger_photos_have_twice_what_is_needed(photos: Path) -> None:
    content = jpeg(photos / "coffee.png", 1600)
    photo, whole = decode_reduced(content, DEFAULT_MAX_PIXELS, 200), decode(content)
    assert photo.pixels.shape == (400, 600, 3)
    assert photo.size == whole.size == (2400, 1600)
    assert photo.whole().pixels.shape == (1600, 2400, 3)
    shrunk = np.asarray(Image.fromarray(whole.pixels).reduce(4)).astype(int)
    assert np.abs(photo.pixels.astype(int) - shrunk).mean() < 1


@pytest.mark.parametrize(("side", "least"), [(1599, 200), (400, 260)])
def test_others_are_decoded_whole(side: int, least: int, photos: Path) -> None:
    content = jpeg(photos / "coffee.png", side)
    photo = decode_reduced(content, DEFAULT_MAX_PIXELS, least)
    assert photo.full_size is None
    assert np.array_equal(photo.pixels, decode(content).pixels)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_are_turned_upright(orientation: int, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(photos / "coffee.png", 1600, exif=exif)
    photo, whole = decode_reduced(content, DEFAULT_MAX_PIXELS, 200), decode(content)
    assert (photo.orientation, photo.size) == (orientation, whole.size)
    shrunk = np.asarray(Image.fromarray(whole.pixels).reduce(4)).astype(int)
    assert np.abs(photo.pixels.astype(int) - shrunk).mean() < 1


def test_damage_is_told_at_any_size(photos: Path) -> None:
    content = jpeg(photos / "coffee.png", 1600)
    with pytest.raises(InputError, match="damaged"):
        decode_reduced(content[: len(content) // 2], DEFAULT_MAX_PIXELS, 200)
    with pytest.raises(InputError, match="max-pixels"):
        decode_reduced(content, 1000, 200)


def test_png_is_decoded_whole(photos: Path) -> None:
    photo = decode_reduced((photos / "coffee.png").read_bytes(), DEFAULT_MAX_PIXELS, 20)
    assert photo.full_size is None


def test_records_and_pictures_are_of_the_whole_photo(here, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(jpeg(photos / "chelsea.png", 2400))
    common = ("-m", "efficientnet_lite2", "large.jpg", "--format", "jsonl")
    (fast,) = records(here("classify", *common).stdout)
    (drawn,) = records(here("classify", *common, "--out", "labelled.png").stdout)
    (full,) = records(here("classify", *common, "--decode", "full").stdout)
    assert (fast["width"], fast["height"]) == (full["width"], full["height"]) == (3608, 2400)
    assert drawn["classes"] == fast["classes"]
    assert fast["run"] != full["run"]
    assert fast["classes"][0]["label"] == full["classes"][0]["label"]
    assert fast["classes"][0]["score"] == pytest.approx(full["classes"][0]["score"], abs=0.02)
    with Image.open(tmp_path / "labelled.png") as picture:
        assert picture.size == (3608, 2400)
    predicted = Predictor("classify", model="efficientnet_lite2")(tmp_path / "large.jpg")
    assert predicted[0]["classes"] == fast["classes"]


def test_refuses_other_ways(here) -> None:
    done = here("classify", "x.jpg", "--decode", "half")
    assert done.returncode == 2
    assert b"--decode half: choose auto, full or device" in done.stderr
