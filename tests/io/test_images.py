"""Whatever the file, `decode` gives the picture that a viewer would show, or says why there is none."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnncli.errors import InputError, InterruptedRunError
from cnncli.io import images
from cnncli.io.images import DEFAULT_MAX_PIXELS, decode, read_file, read_stream, reported_as_input_errors
from tests.io.pictures import ORIENTATION, encoded, icon, photo, png, reopened, shown, tiff

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of odd files; in the program, `images` sees to it

LOSSLESS = [
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("PPM", {}),
    ("TGA", {"compression": "tga_rle"}),
    ("PCX", {}),
    ("SGI", {}),
    ("JPEG2000", {}),
    ("QOI", {}),
]
LOSSY = [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("AVIF", {}), ("TIFF", {"compression": "jpeg"})]


@pytest.mark.parametrize(("image_format", "options"), LOSSLESS + LOSSY)
def test_matches_pillow(image_format: str, options: dict) -> None:
    content = encoded(photo(), image_format, **options)
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_upright(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(photo(), image_format, exif=exif)
    upright = decode(content)
    assert np.array_equal(upright.pixels, shown(ImageOps.exif_transpose(reopened(content))))
    assert upright.orientation == orientation


def test_turns_an_avif_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = encoded(photo(), "AVIF", exif=exif)
    assert np.array_equal(decode(content).pixels, shown(ImageOps.exif_transpose(reopened(content))))


def test_reads_heic_where_its_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(photo()).save(buffer, quality=90)
    assert np.abs(decode(buffer.getvalue()).pixels.astype(int) - shown(photo())).mean() < 4


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_ignores_an_orientation_that_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    upright = decode(encoded(photo(), "JPEG", exif=exif))
    assert (upright.pixels.shape, upright.orientation) == ((60, 90, 3), None)


def test_reads_a_picture_with_damaged_exif() -> None:
    content = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_shows_the_first_frame(image_format: str) -> None:
    first = photo().quantize(64).convert("RGB")
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = encoded(first, image_format, save_all=True, append_images=[Image.new("RGB", (90, 60), "red")], **options)
    difference = np.abs(decode(content).pixels.astype(int) - shown(first))
    assert difference.mean() < (4 if image_format == "AVIF" else 0.001)


@pytest.mark.parametrize("size", [(1, 1), (20000, 2), (2, 20000)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "TIFF", "BMP"])
def test_reads_extreme_shapes(image_format: str, size: tuple[int, int]) -> None:
    content = encoded(photo(*size), image_format)
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


def test_gives_contiguous_pixels() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    pixels = decode(encoded(photo(), "JPEG", exif=exif)).pixels
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous


TRUNCATED = [*LOSSLESS, *LOSSY, ("TIFF", {"compression": "packbits"}), ("TIFF", {"compression": "tiff_deflate"})]


@pytest.mark.parametrize(("image_format", "options"), TRUNCATED)
def test_never_shows_a_part(image_format: str, options: dict) -> None:
    content = encoded(photo(), image_format, **options)
    whole, length = decode(content).pixels, len(content)
    outcomes = []
    for cut in {*range(1, 100, 7), *range(0, length, max(1, length // 60)), *range(length - 30, length)}:
        try:
            outcomes.append(np.array_equal(decode(content[:cut]).pixels, whole))
        except InputError:
            outcomes.append("refused")
    assert False not in outcomes and "refused" in outcomes


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG"])
def test_refuses_the_half_of_a_large_file(image_format: str) -> None:
    content = encoded(photo(450, 300), image_format)
    with pytest.raises(InputError, match="damaged"):
        decode(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"hello world\n" * 100, "not an image of a known format"),
        (b"\0" * 1000, "not an image of a known format"),
        (b"%PDF-1.7\n" + b"x" * 1000, "not an image of a known format"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 1000, "damaged, or of a kind that is not read"),
        (b"\x89PNG\r\n\x1a\n", "damaged, or of a kind that is not read"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 100, "pip install 'cnncli.heif.'|damaged, or of a kind"),
        (b"P6 0 0 255\n", "holds no pixels|damaged"),
    ],
)
def test_says_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(content)


def test_refuses_postscript() -> None:
    with pytest.raises(InputError, match="EPS is not read"):
        decode(encoded(photo(), "EPS"))


class Misbehaving(Image.Image):
    format = "BMP"

    def __init__(self, error: BaseException):
        super().__init__()
        self._size = (2, 2)
        self.error = error

    def load(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("tile"), "damaged .'tile'"),
        (RecursionError("too deep\nindeed"), "damaged .too deep.$"),
        (AssertionError(), "damaged .AssertionError"),
        (SystemError("null"), "damaged .null"),
        (MemoryError(), "does not fit into memory"),
    ],
)
def test_turns_any_error_of_a_decoder_into_one_sentence(error: Exception, message: str, monkeypatch) -> None:
    monkeypatch.setattr(images, "open_image", lambda file, max_pixels: Misbehaving(error))
    with pytest.raises(InputError, match=message):
        decode(b"BM")


BLANK = b"\0" * 6252  # rows of 1 bit for 50,000 pixels, with room


def bombs() -> dict[str, bytes]:
    """Small files that state, or hold, more pixels than the limit."""
    huge = png(50000, 50000, 1, 0, BLANK)
    gif = bytearray(encoded(photo(8, 8), "GIF"))
    gif[6:10] = b"\x50\xc3\x50\xc3"  # 50,000 x 50,000
    gif_frame = bytearray(encoded(photo(8, 8), "GIF"))
    place = gif_frame.index(b",\0\0\0\0\x08\0\x08\0")
    gif_frame[place + 5 : place + 9] = b"\x50\xc3\x50\xc3"
    webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + (16383).to_bytes(3, "little") * 2
    return {
        "png": huge,
        "gif": bytes(gif),
        "gif frame": bytes(gif_frame),
        "webp": webp + b"VP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f\0\0\0\0\0\0\0\0\0\0",
        "tiff": tiff(50000, 50000, [8], 1, b"", compression=8),
        "tiff tile": tiff(10, 10, [8], 1, b"", compression=8, tile=50000),
        "bmp": encoded(photo(8, 8), "BMP").replace(b"\x08\0\0\0\x08\0\0\0", b"\x50\xc3\0\0\x50\xc3\0\0", 1),
        "icon": icon(huge),
    }


@pytest.mark.parametrize("name", bombs())
def test_refuses_bombs(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="limit"):
        decode(bombs()[name])
    assert time.perf_counter() - start < 2


MEASURED = """
import resource, sys
from cnncli.errors import InputError
from cnncli.io.images import decode
from cnncli.io.pictures import Picture, encode
import numpy
decode(encode(Picture(numpy.zeros((9, 9, 3), numpy.uint8)), ".tiff"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(sys.stdin.buffer.read())
except InputError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["icon", "tiff tile", "gif frame"])
def test_refuses_bombs_before_they_take_memory(name: str) -> None:
    command = [sys.executable, "-c", MEASURED]
    output = subprocess.run(command, input=bombs()[name], capture_output=True, check=True).stdout.decode()
    message, kilobytes = output.splitlines()
    assert "limit" in message and int(kilobytes) < 100_000


def test_allows_what_max_pixels_allows() -> None:
    content = encoded(photo(100, 100), "PNG")
    assert decode(content, 100 * 100).pixels.shape == (100, 100, 3)
    with pytest.raises(InputError, match="100 x 100 is over the limit of 9,999 pixels; see --max-pixels"):
        decode(content, 100 * 100 - 1)


def test_raises_pillows_limit_with_ours(monkeypatch) -> None:
    content = encoded(photo(), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(content).pixels.shape == (60, 90, 3)
    assert 2 * Image.MAX_IMAGE_PIXELS == DEFAULT_MAX_PIXELS


def test_reads_in_many_threads_at_once() -> None:
    """Pillow loads its readers at the first rare format, and must not lose one for the other threads."""
    code = """
import sys, threading
from cnncli.io.images import decode
content, shapes = sys.stdin.buffer.read(), []
start = threading.Barrier(8)
def work():
    start.wait()
    shapes.append(decode(content).pixels.shape)
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(shapes))
"""
    output = subprocess.run([sys.executable, "-c", code], input=encoded(photo(), "TIFF"), capture_output=True)
    assert output.stdout.strip() == b"8", output.stderr.decode()


def test_leaves_the_filters_of_warnings_alone() -> None:
    code = """
import sys, threading, warnings
from cnncli.io.images import decode
before = list(warnings.filters)
content = sys.stdin.buffer.read()
threads = [threading.Thread(target=decode, args=(content,)) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(warnings.filters == before)
"""
    content = encoded(photo(), "TIFF", tiffinfo={270: "x"})
    output = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True)
    assert (output.stdout.strip(), output.stderr) == (b"True", b"")


PRINTED = """
import contextlib, sys
from cnncli.errors import InputError
from cnncli.io.images import decode
with contextlib.suppress(InputError):
    decode(sys.stdin.buffer.read())
"""


def test_prints_nothing_that_pillow_says(caplog) -> None:
    warns = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\5\0")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        reopened(warns).getexif()
    logs = tiff(4, 1, [8], 1, bytes(4), tags={277: ("I", [2**20])})
    with pytest.raises(OSError):
        reopened(logs)
    assert "More samples per pixel than can be decoded" in caplog.text
    for content in (warns, logs):
        done = subprocess.run([sys.executable, "-c", PRINTED], input=content, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    assert read_file(path, 100) == read_file(str(path), 100) == b"content"


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.png", "no such file"), (".", "is a folder"), ("none/a.png", "no such file"), ("a\0b.png", "no such file")],
)
def test_says_why_a_file_is_not_read(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_file(f"{tmp_path}/{name}", 100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_says_that_permission_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch(mode=0o000)
    with pytest.raises(InputError, match="permission denied"):
        read_file(path, 100)


def test_says_that_a_link_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(InputError, match="can't be read"):
        read_file(tmp_path / "a.png", 100)


def test_reads_a_pipe(tmp_path: Path) -> None:
    path, content = tmp_path / "pipe", os.urandom(300_000)
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert read_file(path, 100) == content
    writer.join()


def test_reads_a_process_substitution() -> None:
    inside, outside = os.pipe()
    os.write(outside, b"content")
    os.close(outside)
    assert read_file(f"/dev/fd/{inside}", 100) == b"content"
    os.close(inside)


class Endless(io.RawIOBase):
    given = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "asks for everything at once"
        self.given += size
        return bytes(size)


def test_ends_what_has_no_end() -> None:
    stream = Endless()
    with pytest.raises(InputError, match="too large for an image"):
        read_stream(stream, 100)
    assert stream.given < 200 << 20


def test_refuses_a_file_too_large_for_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "disk.jpg"
    with open(path, "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(InputError, match="8,589,934,592 bytes is too large"):
        read_file(path, DEFAULT_MAX_PIXELS)


def test_looks_into_a_large_file_before_it_reads_it(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "disk.jpg"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    start = time.perf_counter()
    with pytest.raises(InputError, match="not an image"):
        read_file(path, DEFAULT_MAX_PIXELS)
    assert time.perf_counter() - start < 1


def test_reads_a_large_picture(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(images, "LARGE_FILE", 10)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo(), "PNG"))
    assert read_file(path, DEFAULT_MAX_PIXELS) == path.read_bytes()


def test_an_interrupt_is_no_broken_file() -> None:
    with pytest.raises(InterruptedRunError), reported_as_input_errors():
        raise InterruptedRunError("interrupted", 130)
