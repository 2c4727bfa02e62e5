"""Every kind of pixels in every format, read back by Pillow, OpenCV and tifffile."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from cnncli.errors import InputError
from cnncli.imaging.masks import palette
from cnncli.io.images import decode
from cnncli.io.pictures import (
    ALPHA_ENDINGS,
    DEEP_ENDINGS,
    INDEXED_ENDINGS,
    NUMBER_ENDINGS,
    WRITTEN_FORMATS,
    Picture,
    can_write,
    encode,
    holds_numbers,
    on_white,
)
from cnncli.io.png import check_pixels, chunks
from cnncli.io.stored import decode_stored
from tests.io.pictures import photo, reopened, shown

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RGB = shown(photo())
FADING = np.tile(np.linspace(0, 255, RGB.shape[1]).astype(np.uint8), (len(RGB), 1))
KINDS = {
    "grey": RGB[..., 0],
    "grey and alpha": np.dstack([RGB[..., 0], FADING]),
    "colour": RGB,
    "colour and alpha": np.dstack([RGB, FADING]),
}
LOSSY = {".jpg": 4, ".jpeg": 4, ".webp": 4, ".avif": 6, ".gif": 4}  # mean difference in grey levels that they may have
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def deep(pixels: np.ndarray) -> np.ndarray:
    """uint16 of which no lower half is zero or the upper half alone."""
    return pixels.astype(np.uint16) * 257 - (pixels > 100)


def exif() -> bytes:
    block = Image.Exif()
    block[0x010F] = "Maker"
    return block.tobytes()


def read_by_opencv(content: bytes) -> np.ndarray:
    """Of any type, channels in the order of RGB."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    orders = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return pixels if pixels.ndim == 2 else pixels[..., orders[pixels.shape[2]]]


def of_255(pixels: np.ndarray) -> np.ndarray:
    """Real numbers (H, W, 3)."""
    colours = pixels.astype(np.float64) * (255 / np.iinfo(pixels.dtype).max)
    return np.dstack([colours] * 3) if colours.ndim == 2 else colours


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp", ".ppm", ".tga", ".jp2"])
def test_writes_and_reads_back(suffix: str) -> None:
    assert np.array_equal(decode(encode(Picture(RGB), suffix)).pixels, RGB)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", WRITTEN_FORMATS)
@pytest.mark.parametrize("depth", [8, 16])
def test_writes_every_kind_in_every_format(suffix: str, kind: str, depth: int) -> None:
    """As Pillow shows it, in 8 bits: with its transparency, or on white where the format has none."""
    pixels = KINDS[kind] if depth == 8 else deep(KINDS[kind])
    image = reopened(encode(Picture(pixels), suffix))
    assert image.format == WRITTEN_FORMATS[suffix]
    has_alpha = kind.endswith("alpha")
    assert image.has_transparency_data == (has_alpha and suffix in ALPHA_ENDINGS)
    picture = decode(encode(Picture(pixels), suffix)).pixels
    difference = np.abs(picture - of_255(on_white(pixels) if has_alpha else pixels))
    assert difference.mean() < LOSSY[suffix] if suffix in LOSSY else difference.max() < 1.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", DEEP_ENDINGS)
def test_writes_16_bits(suffix: str, kind: str) -> None:
    pixels = deep(KINDS[kind])
    content = encode(Picture(pixels), suffix)
    if suffix == ".ppm" and kind.endswith("alpha"):
        pixels = on_white(pixels)
    elif kind == "grey and alpha":
        pixels = pixels[..., [0, 0, 0, 1]]
    read = read_by_opencv(content)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, pixels)
    again = decode_stored(content)
    np.testing.assert_array_equal(again.pixels, pixels if pixels.ndim == 2 else pixels[..., :3])
    assert (again.alpha is not None) == (pixels.ndim == 3 and pixels.shape[2] == 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("suffix", WRITTEN_FORMATS)
def test_writes_extreme_shapes(suffix: str, size: tuple[int, int]) -> None:
    for pixels in (np.full((*size, 3), 77, np.uint8), np.full(size, 77 * 257, np.uint16)):
        picture = decode(encode(Picture(pixels), suffix)).pixels
        assert picture.shape == (*size, 3) and np.abs(picture.astype(int) - 77).max() < 4


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".gif", ".ppm"])
def test_lays_transparency_on_white(suffix: str) -> None:
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:8, :, 3] = 255
    picture = decode(encode(Picture(rgba), suffix)).pixels.astype(int)
    assert picture[:6].max() < 3 and picture[10:].min() > 252


def test_on_white_by_arithmetic() -> None:
    rgba = np.array([[[0, 100, 255, 255], [0, 100, 255, 0], [0, 100, 255, 51]]], np.uint8)
    assert on_white(rgba).tolist() == [[[0, 100, 255], [255, 255, 255], [204, 224, 255]]]
    assert on_white(np.array([[[0, 13107]]], np.uint16)).tolist() == [[52428]]  # a fifth of black on white


@pytest.mark.parametrize("suffix", INDEXED_ENDINGS)
@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(256).reshape(16, 16),
        np.full((5, 7), 255),
        np.zeros((5, 7)),
        np.where(np.arange(35).reshape(5, 7) % 3, 15, 255),
        np.full((1, 1), 12),
    ],
    ids=["all", "last", "first", "two", "one pixel"],
)
def test_keeps_class_numbers_and_their_colours(suffix: str, numbers: np.ndarray) -> None:
    numbers = numbers.astype(np.uint8)
    image = reopened(encode(Picture(numbers, palette()), suffix))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), numbers)
    np.testing.assert_array_equal(shown(image), np.array(palette(), np.uint8).reshape(-1, 3)[numbers])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (1, 9, 3), (9, 1)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_keeps_numbers(kind: type, shape: tuple[int, ...]) -> None:
    low = 0 if np.dtype(kind).kind == "u" else -100
    numbers = np.random.default_rng(0).uniform(low, 200, shape).astype(kind)
    as_tiff, as_npy = encode(Picture(numbers), ".tif"), encode(Picture(numbers), ".npy")
    with tifffile.TiffFile(io.BytesIO(as_tiff)) as file:
        assert len(file.pages) == 1
        read = file.asarray().reshape(shape)
    for again in (read, np.load(io.BytesIO(as_npy), allow_pickle=False), read_by_opencv(as_tiff)):
        assert again.dtype == kind
        np.testing.assert_array_equal(again, numbers)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".png", ".ppm", ".jpg", ".bmp"])
def test_writes_real_numbers_as_brightness(suffix: str, kind: type) -> None:
    """From 0 to 1, what lies outside clipped; 16 bits where the format has them."""
    numbers = np.linspace(-0.5, 1.5, 64 * 64).reshape(64, 64).astype(kind)
    stored = decode_stored(encode(Picture(numbers), suffix)).pixels
    white = np.iinfo(stored.dtype).max
    assert stored.dtype == (np.uint16 if suffix in DEEP_ENDINGS else np.uint8)
    assert np.abs(stored / white - np.clip(numbers, 0, 1)).max() <= (0.01 if suffix == ".jpg" else 0.51 / white + 1e-7)


def test_reads_back_the_numbers_that_it_reads() -> None:
    for kind in (np.float32, np.int32, np.int16):
        numbers = np.linspace(-100, 100, 35).reshape(5, 7).astype(kind)
        np.testing.assert_array_equal(decode_stored(encode(Picture(numbers), ".tiff")).pixels, numbers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".avif"])
def test_keeps_profile_and_exif(suffix: str, kind: str, depth: int) -> None:
    pixels = KINDS[kind] if depth == 8 else deep(KINDS[kind])
    image = reopened(encode(Picture(pixels, icc=PROFILE, exif=exif()), suffix))
    image.load()
    grey_became_colour = kind == "grey and alpha" and image.mode == "RGBA"
    assert image.info.get("icc_profile") == (None if grey_became_colour else PROFILE)
    if not (suffix == ".tif" and depth == 16):  # whose tags are not written
        assert image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_a_deep_png_are_in_order_and_intact(kind: str) -> None:
    content = encode(Picture(deep(KINDS[kind]), icc=PROFILE, exif=exif()), ".png")
    check_pixels(content)
    kinds = [name for name, _, _ in chunks(content)]
    profile = [] if kind == "grey and alpha" else [b"iCCP"]  # it became colours
    assert kinds[: 2 + len(profile)] == [b"IHDR", *profile, b"eXIf"] and set(kinds[3:]) <= {b"IDAT"}
    assert Image.open(io.BytesIO(content)).verify() is None  # every checksum
    assert content[24] == 16 and struct.unpack(">II", content[16:24]) == (90, 60)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".ppm", ".tga", ".jp2"])
def test_leaves_out_what_a_format_has_no_place_for(suffix: str) -> None:
    content = encode(Picture(RGB, icc=PROFILE, exif=exif()), suffix)
    assert b"Maker" not in content and decode(content).orientation is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.png", True), ("a.b.JPG", True), ("a.webp", True), ("a", False), ("a.txt", False), ("a.psd", False)],
)
def test_knows_what_can_be_written(path: str, expected: bool) -> None:
    assert can_write(Path(path)) is expected


def test_knows_what_holds_numbers() -> None:
    assert all(holds_numbers(suffix) and holds_numbers(suffix.upper()) for suffix in NUMBER_ENDINGS)
    assert not any(holds_numbers(suffix) for suffix in (".png", ".jpg", "", ".np"))


@pytest.mark.parametrize("suffix", ["", ".txt", ".ico", ".wmf", ".h5", ".pdf"])
def test_refuses_to_write(suffix: str) -> None:
    assert not can_write(Path(f"a{suffix}"))
    with pytest.raises(InputError, match="names no image format"):
        encode(Picture(RGB), suffix)


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".gif"])
def test_says_that_a_side_is_too_long(suffix: str) -> None:
    with pytest.raises(InputError, match=r"66000 x 1 can't be written as (WEBP|JPEG|GIF) .*; use .png"):
        encode(Picture(np.zeros((1, 66000, 3), np.uint8)), suffix)
