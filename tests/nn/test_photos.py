"""Photos made on a device: Pillow's decoding and resizing, OpenCV's letterbox, to one grey level."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import NotDecodedError
from cnncli.imaging.geometry import resize_and_crop
from cnncli.io.encoded import EncodedPhoto, decode_later
from cnncli.io.images import upright as upright_array
from cnncli.nn import photos
from cnncli.nn.photos import Letterbox, ResizedCrop, classify_front, detect_front, upright
from tests.conftest import PHOTOS
from tests.io.pictures import ORIENTATION, encoded, photo, reopened, shown

SIZES = [(451, 300), (512, 512), (300, 451), (91, 61), (61, 91), (260, 260), (297, 400), (8, 60), (3, 2), (1, 1)]
OPENED = {path.stem: Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.[pj][np]g"))}
PICTURES = {**OPENED, **{f"{width}x{height}": photo(width, height) for width, height in SIZES}}
GEOMETRIES = {"short side and crop": (297, (260, 260)), "crop larger": (40, (64, 48)), "crop wider": (64, (50, 90))}


def later(content: bytes) -> EncodedPhoto:
    encoded_photo = decode_later(content, DEFAULT_MAX_PIXELS).pixels
    assert isinstance(encoded_photo, EncodedPhoto)
    return encoded_photo


def turned(orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(photo(90, 60), "JPEG", exif=exif, **options)


def difference(made: torch.Tensor, expected: np.ndarray) -> np.ndarray:
    assert made.dtype == torch.uint8
    assert made.shape == (1, *expected.shape)
    assert made.is_contiguous()
    return np.abs(made[0].numpy().astype(int) - expected)


def boxed(image: Image.Image, size: int, fill: int) -> np.ndarray:
    """The image in the top left of a square, by OpenCV."""
    scale = size / max(image.size)
    inner = [max(1, int(length * scale)) for length in image.size]
    canvas = np.full((size, size, 3), fill, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(shown(image), inner, interpolation=cv2.INTER_LINEAR)
    return canvas


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
@pytest.mark.parametrize("picture", PICTURES)
def test_resizes_and_crops_as_the_cpu_does(picture: str, resampling: str, geometry: str) -> None:
    short, crop = GEOMETRIES[geometry]
    content = encoded(PICTURES[picture], "JPEG", quality=92)
    made = ResizedCrop(short, crop, resampling)([later(content)])
    found = difference(made, resize_and_crop(shown(reopened(content)), short, crop, resampling)[0])
    assert found.max() <= 1
    assert found.mean() < 0.02


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
def test_resizes_and_crops_as_torchvision_does(resampling: str, geometry: str) -> None:
    short, crop = GEOMETRIES[geometry]
    content = encoded(OPENED["coffee"], "JPEG", quality=92)
    steps = [v2.Resize(short, v2.InterpolationMode(resampling), antialias=True), v2.CenterCrop(crop)]
    expected = np.asarray(v2.Compose(steps)(reopened(content)))
    assert difference(ResizedCrop(short, crop, resampling)([later(content)]), expected).max() <= 1


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(("size", "fill"), [(448, 127), (96, 0)])
def test_letterboxes_as_opencv_does(size: int, fill: int, picture: str) -> None:
    content = encoded(PICTURES[picture], "JPEG", quality=92)
    found = difference(Letterbox(size, fill)([later(content)]), boxed(reopened(content), size, fill))
    assert found.max() <= 1
    assert found.mean() < 0.05
    assert not found.any() or max(PICTURES[picture].size) < size  # equal, unless enlarged


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shapes_photos_upright(orientation: int) -> None:
    content = turned(orientation, quality=95)
    expected = ImageOps.exif_transpose(reopened(content))
    cropped = ResizedCrop(48, (40, 44), "bicubic")([later(content)])
    assert difference(cropped, resize_and_crop(shown(expected), 48, (40, 44), "bicubic")[0]).max() <= 1
    assert difference(Letterbox(64, 9)([later(content)]), boxed(expected, 64, 9)).max() <= 1


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_turns_as_arrays_are_turned(orientation: int | None) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    expected = upright_array(pixels, orientation)
    turned_pixels = upright(torch.from_numpy(pixels).permute(2, 0, 1), orientation)
    assert np.array_equal(turned_pixels.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decodes_as_pillow_does(mode: str, options: dict) -> None:
    content = encoded(photo(91, 61).convert(mode), "JPEG", **options)
    (pixels,) = photos.decode_photos([later(content)], torch.device("cpu"))
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), shown(reopened(content)))


def test_a_batch_gives_what_each_gives_alone() -> None:
    batch = [later(encoded(photo(width, height), "JPEG")) for width, height in SIZES]
    for front in (ResizedCrop(40, (32, 36), "bicubic"), Letterbox(50, 127)):
        made = front(batch)
        assert len(made) == len(batch)
        assert all(torch.equal(made[i], front([one])[0]) for i, one in enumerate(batch))


def test_names_the_photos_that_it_cannot_decode() -> None:
    good, content = later(encoded(photo(), "JPEG")), turned(6)
    half = EncodedPhoto(content[: len(content) // 2], 60, 90, 6)
    not_turned = EncodedPhoto(content, 90, 60, 6)
    with pytest.raises(NotDecodedError) as caught:
        Letterbox(64, 0)([good, half, later(content), not_turned])
    assert [id(one) for one in caught.value.photos] == [id(half), id(not_turned)]
    with pytest.raises(NotDecodedError) as caught:
        Letterbox(64, 0)([not_turned])
    assert caught.value.photos == [not_turned]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), torch.AcceleratorError("a broken device")])
def test_does_not_blame_photos_for_the_device(error: RuntimeError, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(photos, "decode_jpeg", fail)
    with pytest.raises(type(error)):
        Letterbox(64, 0)([later(encoded(photo(), "JPEG"))])


def test_leaves_nothing_in_a_checkpoint() -> None:
    assert not Letterbox(64, 0).state_dict()


@pytest.mark.parametrize("decode", ["auto", "full"])
def test_other_ways_of_decoding_have_no_front(decode: str) -> None:
    task = SimpleNamespace(options=SimpleNamespace(decode=decode))
    assert classify_front(task) is detect_front(task) is None


def test_fronts_follow_the_recipe() -> None:
    recipe = {"resize": 40, "input": [32, 36], "filter": "bilinear"}
    task = SimpleNamespace(options=SimpleNamespace(decode="device"), model=SimpleNamespace(recipe=recipe), fill=9)
    content = encoded(photo(), "JPEG")
    expected, _ = resize_and_crop(shown(reopened(content)), 40, (32, 36), "bilinear")
    assert difference(classify_front(task)([later(content)]), expected).max() <= 1
    assert difference(detect_front(task)([later(content)]), boxed(reopened(content), 32, 9)).max() <= 1
