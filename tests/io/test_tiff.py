"""TIFF: the kinds that Pillow leaves as they are stored, against arithmetic."""

import zlib

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InputError
from cnncli.io.images import decode
from tests.io.pictures import encoded, on_white, photo, shown, tiff

VALUES = np.array([0, 1000, 30000, 65535])
BYTE_ORDERS = {"<": "<u2", ">": ">u2"}


def grey(content: bytes) -> list[int]:
    """The first row, after a look that it is grey."""
    pixels = decode(content).pixels
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("values", [VALUES, VALUES // 300], ids=["full", "dark"])
def test_reads_16_bits(order: str, values: np.ndarray) -> None:
    content = tiff(4, 1, [16], 1, values.astype(BYTE_ORDERS[order]).tobytes(), order=order)
    assert grey(content) == np.rint(values / 257).tolist()


@pytest.mark.parametrize("compression", [1, 8])
def test_turns_16_bits_round_where_white_is_zero(compression: int) -> None:
    data = VALUES.astype("<u2").tobytes()
    content = tiff(4, 1, [16], 0, zlib.compress(data) if compression == 8 else data, compression=compression)
    assert grey(content) == (255 - np.rint(VALUES / 257)).tolist()


@pytest.mark.parametrize(
    ("bits", "photometric", "stored", "expected"),
    [
        (8, 0, bytes([0, 10, 200, 255]), [255, 245, 55, 0]),
        (1, 0, b"\x50", [255, 0, 255, 0]),
        (1, 1, b"\x50", [0, 255, 0, 255]),
    ],
)
def test_turns_8_bits_round(bits: int, photometric: int, stored: bytes, expected: list[int]) -> None:
    assert grey(tiff(4, 1, [bits], photometric, stored)) == expected


def test_reads_12_bits() -> None:
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # 0, 2048, 4095, 4095
    assert grey(tiff(4, 1, [12], 1, packed)) == [0, 128, 255, 255]


def test_reads_signed_8_bits() -> None:
    stored = np.array([-128, -1, 0, 127], np.int8).tobytes()
    assert grey(tiff(4, 1, [8], 1, stored, tags={339: ("H", [2])})) == [0, 127, 128, 255]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 2**30, 2**31, 2**32 - 1], 1, [0, 64, 128, 255]),
        ([0, 257, 25700, 65535], 1, [0, 1, 100, 255]),
        ([0, 10, 100, 255], 1, [0, 10, 100, 255]),
        ([-1000, 0, 0, 1000], 2, [0, 128, 128, 255]),
        ([7, 7, 7, 2**20], 2, [0, 0, 0, 255]),
    ],
)
def test_reads_32_bit_numbers(values: list[int], kind: int, expected: list[int]) -> None:
    stored = np.array(values).astype("<u4" if kind == 1 else "<i4").tobytes()
    assert grey(tiff(4, 1, [32], 1, stored, tags={339: ("H", [kind])})) == expected


def real(values: list[float], photometric: int = 1) -> bytes:
    return tiff(4, 1, [32], photometric, np.array(values, "<f4").tobytes(), tags={339: ("H", [3])})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.25, 0.5, 1], [0, 64, 128, 255]),
        ([-0.02, 0, 0.5, 1.03], [0, 0, 128, 255]),
        ([0, 10, 100, 255], [0, 10, 100, 255]),
        ([-3, 10, 100, 258], [0, 10, 100, 255]),
        ([0, 257, 25700, 65535], [0, 1, 100, 255]),
        ([-1, 0, 0.5, 1], [0, 128, 191, 255]),
        ([-3e38, 0, 0, 3e38], [0, 128, 128, 255]),
        ([5e9, 5e9, 5e9, 5e9], [0, 0, 0, 0]),
    ],
)
def test_reads_real_numbers(values: list[float], expected: list[int]) -> None:
    assert grey(real(values)) == expected


def test_turns_real_numbers_round_where_white_is_zero() -> None:
    assert grey(real([0, 0.25, 0.5, 1], photometric=0)) == [255, 191, 127, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        decode(real([0, 1, value, 0]))


COLOURS = np.arange(10, 130, 10, np.uint8).reshape(1, 4, 3)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, "<u2")])
@pytest.mark.parametrize("planar", [1, 2])
def test_reads_colours(bits: int, kind: str, planar: int, compression: int) -> None:
    stored = (COLOURS.astype(np.uint16) * (257 if bits == 16 else 1)).astype(kind)
    planes = [stored.tobytes()] if planar == 1 else [stored[..., band].tobytes() for band in range(3)]
    pieces = [zlib.compress(plane) if compression == 8 else plane for plane in planes]
    content = tiff(4, 1, [bits] * 3, 2, *pieces, compression=compression, tags={284: ("H", [planar])})
    if (bits, planar, compression) == (16, 2, 1):  # Pillow takes each half of a number for one
        with pytest.raises(InputError, match="16-bit colours in separate planes"):
            decode(content)
    else:
        assert np.array_equal(decode(content).pixels, COLOURS)


@pytest.mark.parametrize("extra", [1, 2])
def test_lays_alpha_on_white(extra: int) -> None:
    grey_alpha = np.array([[[10, 255], [20, 20], [30, 128], [40, 255]]], np.uint8)
    pixels = decode(tiff(4, 1, [8, 8], 1, grey_alpha.tobytes(), tags={338: ("H", [extra])})).pixels
    value, alpha = grey_alpha[..., 0].astype(float), grey_alpha[..., 1] / 255
    expected = value + 255 * (1 - alpha) if extra == 1 else value * alpha + 255 * (1 - alpha)
    assert np.abs(pixels[..., 0] - expected).max() <= 1.01


def test_lays_coloured_alpha_on_white() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    pixels = decode(encoded(Image.fromarray(rgba), "TIFF")).pixels
    assert np.abs(pixels - on_white(rgba)).max() <= 1


def test_reads_a_palette_of_8_bit_numbers() -> None:
    colours = [0] * 768
    colours[1], colours[256 + 2], colours[512 + 3] = 255, 200, 100
    assert decode(tiff(4, 1, [8], 3, bytes(range(4)), tags={320: ("H", colours)})).pixels.tolist() == [
        [[0, 0, 0], [255, 0, 0], [0, 200, 0], [0, 0, 100]]
    ]


def test_reads_a_palette_of_16_bit_numbers() -> None:
    image = photo().quantize(16)
    assert np.array_equal(decode(encoded(image, "TIFF")).pixels, shown(image))


def test_reads_cmyk() -> None:
    image = photo().convert("CMYK")
    assert np.array_equal(decode(encoded(image, "TIFF")).pixels, shown(image))


def test_reads_lab() -> None:
    lab = np.array([[[0, 0, 0], [128, 0, 0], [255, 0, 0], [137, 80, 67]]], np.uint8)  # the last: sRGB's red, nearly
    pixels = decode(tiff(4, 1, [8] * 3, 8, lab.tobytes())).pixels
    assert np.abs(pixels[0, :3].astype(int) - [[0], [119], [254]]).max() <= 2
    assert pixels[0, 3, 0] > 240 and pixels[0, 3, 1:].max() < 40


@pytest.mark.parametrize("tile", [None, 16])
def test_refuses_a_file_without_some_of_its_pieces(tile: int | None) -> None:
    tags = {} if tile else {278: ("I", [8])}
    whole = tiff(32, 16, [8], 1, *[bytes(256)] * 2, tile=tile, tags=tags)
    assert decode(whole).pixels.shape == (16, 32, 3)
    with pytest.raises(InputError, match="strips or tiles are missing"):
        decode(tiff(32, 16, [8], 1, bytes(256), tile=tile, tags=tags))


@pytest.mark.parametrize(
    ("bits", "kind", "samples"), [(64, 3, 1), (16, 3, 1), (32, 3, 3)], ids=["double", "half", "real colours"]
)
def test_says_that_a_kind_is_not_read(bits: int, kind: int, samples: int) -> None:
    content = tiff(4, 1, [bits] * samples, 2 if samples == 3 else 1, bytes(96), tags={339: ("H", [kind] * samples)})
    with pytest.raises(InputError, match="damaged, or of a kind that is not read"):
        decode(content)
