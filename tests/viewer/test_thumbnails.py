"""Small pictures: their sizes, their uprightness, their colours."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco

from cnncli.errors import InputError
from cnncli.imaging.masks import run_lengths
from cnncli.viewer.entries import Area
from cnncli.viewer.thumbnails import of_areas, of_file


def opened(uri: str) -> Image.Image:
    head, _, content = uri.partition(";base64,")
    assert head in ("data:image/webp", "data:image/png")
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
@pytest.mark.parametrize("size", [64, 200])
def test_shows_the_photo_in_the_size_asked_for(photos: Path, name: str, size: int) -> None:
    made = of_file(str(photos / name), size)
    with Image.open(photos / name) as photo:
        upright = ImageOps.exif_transpose(photo).convert("RGB")
    assert (made.width, made.height) == upright.size
    thumbnail = opened(made.uri).convert("RGB")
    assert max(thumbnail.size) == size
    resized = upright.resize(thumbnail.size, Image.Resampling.LANCZOS)
    difference = np.asarray(thumbnail, float) - np.asarray(resized, float)
    assert np.abs(difference).mean() < 8  # of 255, by the coarse colours of a lossy format


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_turns_photos_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:40, :60, 0] = 255
    pixels[40:, 60:, 2] = 255
    image, path = Image.fromarray(pixels), tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)
    made = of_file(str(path), 40)
    with Image.open(path) as photo:
        upright = ImageOps.exif_transpose(photo).convert("RGB")
    assert (made.width, made.height) == upright.size
    thumbnail = opened(made.uri).convert("RGB")
    expected = np.asarray(upright.resize(thumbnail.size), float)
    assert np.abs(np.asarray(thumbnail, float) - expected).mean() < 8


def test_reads_inks_and_grey(tmp_path: Path) -> None:
    for mode in ("CMYK", "L"):
        path = tmp_path / f"{mode}.jpg"
        Image.new(mode, (90, 60), (0, 255, 255, 0) if mode == "CMYK" else 90).save(path)
        expected = (255, 0, 0) if mode == "CMYK" else (90, 90, 90)
        centre = opened(of_file(str(path), 64).uri).convert("RGB").getpixel((20, 20))
        assert np.abs(np.subtract(centre, expected)).max() < 12


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_rejects_what_is_no_photo(tmp_path: Path, photos: Path, content: bytes | None) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes((photos / "rocket.jpg").read_bytes()[:30_000] if content is None else content)
    with pytest.raises(InputError):
        of_file(str(path), 64)
    with pytest.raises(InputError, match="no such file"):
        of_file(str(tmp_path / "gone.jpg"), 64)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_colours_areas_as_another_decoder_reads_them() -> None:
    lower, left = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    lower[25:], left[:, :13] = True, True
    areas = [Area(run_lengths(lower), "#0a0b0c"), Area(run_lengths(left), "#f0e0d0")]
    picture = np.asarray(opened(of_areas(areas, 60) or "").convert("RGBA"))
    expected = np.zeros((40, 60, 4), np.uint8)
    for area, colour in zip(areas, ((10, 11, 12, 255), (240, 224, 208, 255)), strict=True):
        expected[coco.decode(area.rle).astype(bool)] = colour
    inside = expected[..., 3] > 0
    assert np.array_equal(picture[inside], expected[inside]) and not picture[~inside][:, 3].any()


def test_areas_are_no_larger_than_they_are_seen() -> None:
    mask = np.zeros((300, 900), bool)
    mask[:, 450:] = True
    picture = opened(of_areas([Area(run_lengths(mask), "#ffffff")], 64) or "").convert("RGBA")
    assert picture.size == (128, 43)
    assert np.array_equal(np.asarray(picture)[..., 3] > 0, np.tile(np.arange(128) >= 64, (43, 1)))
    assert of_areas([], 64) is None
