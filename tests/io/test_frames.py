"""Frames come in order, each whole; damage ends them with a sentence."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from cnncli.errors import InputError
from cnncli.io.frames import Frame, picture_frames, video_frames
from cnncli.io.images import DEFAULT_MAX_PIXELS
from tests.io.pictures import ORIENTATION, encoded, photo, reopened, shown

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

COUNT, RATE = 12, 10
VIDEOS = {"mp4": "mp4v", "avi": "MJPG", "mkv": "mp4v"}


def video(path: Path, fourcc: str | None = None, size: tuple[int, int] = (64, 48)) -> Path:
    """Frames of one grey each, 20 brighter than the one before."""
    code = cv2.VideoWriter_fourcc(*(fourcc or VIDEOS[path.suffix[1:]]))
    writer = cv2.VideoWriter(str(path), code, RATE, size)
    for number in range(COUNT):
        writer.write(np.full((size[1], size[0], 3), number * 20, np.uint8))
    writer.release()
    return path


def taken(frames: Iterable[Frame]) -> tuple[list[Frame], str | None]:
    """The frames up to the end or an InputError, and its text."""
    found = []
    try:
        for frame in frames:
            found.append(frame)
    except InputError as error:
        return found, str(error)
    return found, None


@pytest.mark.parametrize("suffix", VIDEOS)
def test_yields_the_frames_of_a_video(suffix: str, tmp_path: Path) -> None:
    frames = list(video_frames(str(video(tmp_path / f"a.{suffix}"))))
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.seconds for frame in frames] == pytest.approx([number / RATE for number in range(COUNT)], abs=0.001)
    greys = [frame.photo.pixels.mean() for frame in frames]
    assert greys == pytest.approx([number * 20 for number in range(COUNT)], abs=6)


def test_gives_rgb(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48))
    writer.write(np.full((48, 64, 3), (250, 120, 10), np.uint8))  # BGR
    writer.release()
    (frame,) = video_frames(str(tmp_path / "a.avi"))
    assert frame.photo.pixels.shape == (48, 64, 3)
    assert frame.photo.pixels.mean(axis=(0, 1)) == pytest.approx([10, 120, 250], abs=8)


@pytest.mark.parametrize("name", [b"caf\xe9.avi", b"%03d.avi", b"a:b.avi", b"a\nb.avi", b"-x.avi", b"clip_01.avi"])
def test_reads_a_video_of_any_name(name: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.rename(video(tmp_path / "plain.avi"), name)
    assert len(list(video_frames(os.fsdecode(name)))) == COUNT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a video that can be decoded"),
        (b"hello\n" * 1000, "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "not a video"),
    ],
)
def test_says_that_it_is_no_video(content: bytes, message: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(video_frames(str(tmp_path / "a.mp4")))


@pytest.mark.parametrize(("name", "message"), [("none.mp4", "no such file"), (".", "is a folder"), ("a\0", "no such")])
def test_says_why_a_video_is_not_read(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        list(video_frames(f"{tmp_path}/{name}"))


@pytest.mark.parametrize(("suffix", "part"), [("avi", 0.85), ("mkv", 0.6)])
def test_says_that_a_video_is_cut_short(suffix: str, part: float, tmp_path: Path) -> None:
    path = video(tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    frames, failure = taken(video_frames(str(path)))
    assert 0 < len(frames) < COUNT
    assert failure == f"damaged (the video ends after {len(frames)} of about {COUNT} frames)"


def test_refuses_frames_over_the_limit(tmp_path: Path) -> None:
    path = str(video(tmp_path / "a.avi"))
    assert len(list(video_frames(path, 64 * 48))) == COUNT
    with pytest.raises(InputError, match="limit of 3,071 pixels"):
        list(video_frames(path, 64 * 48 - 1))


def pages() -> list[Image.Image]:
    """Four different pictures of few colours."""
    return [photo().rotate(angle).quantize(64).convert("RGB") for angle in (0, 90, 180, 45)]


def animated(image_format: str, **options) -> bytes:
    first, *rest = pages()
    return encoded(first, image_format, save_all=True, append_images=rest, **options)


ANIMATIONS = [
    ("GIF", {}),
    ("GIF", {"disposal": 2}),
    ("PNG", {}),
    ("PNG", {"default_image": True}),
    ("WEBP", {"lossless": True}),
    ("AVIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"big_tiff": True}),
]


@pytest.mark.parametrize(("image_format", "options"), ANIMATIONS)
def test_matches_pillow_on_every_frame(image_format: str, options: dict) -> None:
    content = animated(image_format, **options)
    frames = list(picture_frames("a", content))
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert {frame.seconds for frame in frames} == {None}
    for frame, expected in zip(frames, ImageSequence.Iterator(reopened(content)), strict=True):
        assert np.array_equal(frame.photo.pixels, shown(expected))


@pytest.mark.parametrize(("image_format", "options"), ANIMATIONS)
def test_yields_the_good_frames_of_a_cut_file(image_format: str, options: dict) -> None:
    content = animated(image_format, **options)
    whole = [frame.photo.pixels for frame in picture_frames("a", content)]
    counts = set()
    for cut in range(len(content) // 40, len(content) * 29 // 30, len(content) // 40):
        frames, failure = taken(picture_frames("a", content[:cut]))
        assert all(np.array_equal(frame.photo.pixels, pixels) for frame, pixels in zip(frames, whole, strict=False))
        assert failure or len(frames) == len(whole)
        counts.add(len(frames))
    if image_format not in ("WEBP", "AVIF"):  # their readers refuse a cut file as a whole
        assert counts >= {0, 1, 2, 3}


@pytest.mark.parametrize("more", [0, 1, 5, 12])
def test_says_that_a_gif_is_cut_between_frames(more: int) -> None:
    content = animated("GIF")
    _, third, _ = (place for place in range(len(content)) if content.startswith(b"!\xf9\4", place))
    frames, failure = taken(picture_frames("a", content[: third + more]))
    assert len(frames) == 2 and "damaged (" in failure


def test_names_the_damaged_frame_of_a_tiff() -> None:
    content = bytearray(animated("TIFF", compression="tiff_adobe_deflate"))
    image = reopened(bytes(content))
    image.seek(2)
    (strip,) = image.tag_v2[273]
    content[strip + 20 : strip + 60] = bytes(40)
    frames, failure = taken(picture_frames("a", bytes(content)))
    assert len(frames) == 2 and failure.startswith("frame 2: damaged")


def test_names_the_damaged_frame_of_a_png() -> None:
    content = bytearray(animated("PNG"))
    second = content.index(b"fdAT", content.index(b"fdAT") + 4)
    content[second + 50] ^= 1
    frames, failure = taken(picture_frames("a", bytes(content)))
    assert len(frames) == 2 and failure == "frame 2: damaged (the checksum of its pixels is wrong)"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_yields_an_ordinary_picture_once(image_format: str) -> None:
    assert len(list(picture_frames("a", encoded(photo(), image_format)))) == 1


def test_yields_one_picture_of_a_phone_s_photo_with_previews() -> None:
    content = encoded(photo(), "MPO", save_all=True, append_images=[photo(30, 20)])
    assert reopened(content).n_frames == 2
    assert len(list(picture_frames("a", content))) == 1


@pytest.mark.parametrize("image_format", ["TIFF", "WEBP", "PNG"])
def test_turns_every_frame_upright(image_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {"lossless": True} if image_format == "WEBP" else {}
    frames = list(picture_frames("a", animated(image_format, exif=exif, **options)))
    assert {frame.photo.pixels.shape for frame in frames} == {(90, 60, 3)}


def test_refuses_a_page_over_the_limit() -> None:
    content = encoded(photo(), "TIFF", save_all=True, append_images=[photo(100, 100)])
    frames, failure = taken(picture_frames("a", content, 90 * 60))
    assert len(frames) == 1 and "100 x 100 is over the limit" in failure


def test_refuses_a_frame_that_grows_over_the_limit() -> None:
    content = bytearray(animated("GIF"))
    second = content.index(b",\0\0\0\0\x5a\0\x3c\0", content.index(b",\0\0\0\0\x5a\0\x3c\0") + 1)
    content[second + 5 : second + 9] = b"\x50\xc3\x50\xc3"
    frames, failure = taken(picture_frames("a", bytes(content), DEFAULT_MAX_PIXELS))
    assert len(frames) == 1 and "limit" in failure


def test_ends_a_chain_of_pages_that_leads_back() -> None:
    content = bytearray(encoded(photo(), "TIFF"))
    first = int.from_bytes(content[4:8], "little")
    entries = int.from_bytes(content[first : first + 2], "little")
    end = first + 2 + 12 * entries
    content[end : end + 4] = content[4:8]
    assert len(list(picture_frames("a", bytes(content)))) == 1


def test_says_that_the_first_frame_is_damaged() -> None:
    with pytest.raises(InputError, match=r"^damaged"):
        next(iter(picture_frames("a", encoded(photo(), "GIF")[:500])))


def test_reads_in_memory() -> None:
    """The path is for messages; the content may have come from elsewhere."""
    buffer = io.BytesIO()
    photo().save(buffer, "PNG")
    assert next(picture_frames("/none", buffer.getvalue())).photo.pixels.shape == (60, 90, 3)
