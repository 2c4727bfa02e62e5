"""PNG: all depths, transparency, and the checksums that Pillow leaves out."""

import struct
import zlib

import numpy as np
import pytest

from cnncli.errors import InputError
from cnncli.io.images import decode
from cnncli.io.png import chunks
from tests.io.pictures import encoded, on_white, photo, png, png_chunk, reopened, shown

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def filtered(samples: np.ndarray, depth: int) -> bytes:
    """Rows of samples (H, N) as PNG stores them, each led by the byte of "no filter"."""
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in samples]
    else:
        bits = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:].ravel() for row in samples]
        rows = [np.packbits(row).tobytes() for row in bits]
    return b"".join(b"\0" + row for row in rows)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_reads_grey_of_every_depth(depth: int) -> None:
    most = 2**depth - 1
    values = np.random.default_rng(depth).integers(0, most + 1, (5, 17))
    pixels = decode(png(17, 5, depth, 0, filtered(values, depth))).pixels
    assert np.array_equal(pixels, np.dstack([np.rint(values * 255 / most).astype(np.uint8)] * 3))


def test_reads_48_bit_colour() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3))
    pixels = decode(png(7, 5, 16, 2, filtered(values.reshape(5, 21), 16))).pixels
    assert np.abs(pixels - values / 257).max() <= 1


@pytest.mark.parametrize(("colour_type", "channels"), [(4, 2), (6, 4)])
def test_lays_16_bit_alpha_on_white(colour_type: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    pixels = decode(png(7, 5, 16, colour_type, filtered(values.reshape(5, -1), 16))).pixels
    rgba = values[..., [0, 0, 0, 1]] if channels == 2 else values
    assert np.abs(pixels - on_white(rgba / 257)).max() <= 1.5


@pytest.mark.parametrize(("depth", "key", "other"), [(1, 0, 1), (2, 1, 2), (4, 5, 15), (8, 77, 5), (16, 4660, 13364)])
def test_lays_a_transparent_grey_on_white(depth: int, key: int, other: int) -> None:
    rows = filtered(np.array([[key, other]]), depth)
    pixels = decode(png(2, 1, depth, 0, rows, png_chunk(b"tRNS", struct.pack(">H", key)))).pixels
    assert pixels[0, :, 0].tolist() == [255, round(other * 255 / (2**depth - 1))]


def test_lays_a_transparent_colour_of_16_bits_on_white() -> None:
    rows = filtered(np.array([[0x1234, 0x1234, 0x1234, 0x3434, 0x3434, 0x3434]]), 16)
    pixels = decode(png(2, 1, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">3H", *[0x1234] * 3)))).pixels
    assert pixels[0, :, 0].tolist() == [255, 0x34]


def test_lays_a_transparent_palette_on_white() -> None:
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50])) + png_chunk(b"tRNS", bytes([128, 0]))
    pixels = decode(png(2, 1, 8, 3, b"\0\0\1", palette)).pixels
    half = on_white(np.array([[[10, 20, 30, 128]]]))
    assert np.abs(pixels[:, :1] - half).max() <= 1 and pixels[0, 1].tolist() == [255, 255, 255]


def flipped(content: bytes, at: float) -> bytes:
    """The file with one bit changed in its first chunk of pixels."""
    start, end = next((start, end) for kind, start, end in chunks(content) if kind == b"IDAT")
    broken = bytearray(content)
    broken[start + 8 + int((end - start - 12) * at)] ^= 1
    return bytes(broken)


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "RGBA", "1"])
@pytest.mark.parametrize("at", [0, 0.1, 0.5, 0.9])
def test_refuses_a_wrong_checksum(mode: str, at: float) -> None:
    """Pillow shows nearly all such pictures, wrong from there on."""
    with pytest.raises(InputError, match="the checksum of its pixels is wrong"):
        decode(flipped(encoded(photo(400, 300).convert(mode), "PNG"), at))


def test_refuses_what_fails_once(data_set) -> None:
    """Pillow's second attempt at such a file gives a picture that is partly made up."""
    content = (data_set("badinput") / "imagetestsuite_png" / "c-e585afb2ecf50c04eaf0dedb71602cb8.png").read_bytes()
    image = reopened(content)
    with pytest.raises(OSError):
        image.load()
    image.load()
    with pytest.raises(InputError, match=r"^damaged"):
        decode(content)


def test_reads_a_picture_with_a_long_text() -> None:
    text = png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"a cat, " * 400_000))
    assert decode(png(1, 1, 8, 0, b"\0\x4d", text)).pixels.tolist() == [[[77, 77, 77]]]


def test_refuses_a_bomb_of_text() -> None:
    text = png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(80 << 20)))
    with pytest.raises(InputError, match="damaged"):
        decode(png(1, 1, 8, 0, b"\0\x4d", text))


def test_turns_upright_by_exif_behind_the_pixels() -> None:
    content = encoded(photo(), "PNG")
    exif = png_chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0")
    end = content.index(b"IEND") - 4
    turned = decode(content[:end] + exif + content[end:])
    assert turned.orientation == 3 and np.array_equal(turned.pixels, shown(photo())[::-1, ::-1])
