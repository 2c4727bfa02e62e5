"""What a file stores: its own depth, channels and transparency, upright, with its profile and EXIF block."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cnncli.errors import InputError
from cnncli.io.images import Photo, decode
from cnncli.io.stored import decode_stored
from tests.io.pictures import ORIENTATION, encoded, photo, png, png_chunk, reopened, shown, tiff
from tests.io.test_png import filtered

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

HEIGHT, WIDTH = 5, 7
RANDOM = np.random.default_rng(0)
SAMPLES = {
    8: RANDOM.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8),
    16: RANDOM.integers(0, 65536, (HEIGHT, WIDTH, 4), np.uint16),
}
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by the number of channels
TRANSPOSED = {  # EXIF 2.3, orientation: what puts the stored rows and columns upright
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


def channels(depth: int, count: int) -> np.ndarray:
    """(H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) or (H, W, 4)."""
    return SAMPLES[depth][..., 0] if count == 1 else SAMPLES[depth][..., :count]


def png_of(samples: np.ndarray, depth: int, *extra: bytes) -> bytes:
    count = 1 if samples.ndim == 2 else samples.shape[2]
    rows = filtered(samples.reshape(len(samples), -1), depth)
    return png(samples.shape[1], samples.shape[0], depth, COLOUR_TYPES[count], rows, *extra)


def turned_by(orientation: int) -> bytes:
    return png_chunk(b"eXIf", struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, orientation, 0, 0))


def written_by_tifffile(samples: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, samples, **{"photometric": photometric, "metadata": None, **options})
    return buffer.getvalue()


def check(stored: Photo, samples: np.ndarray) -> None:
    """Type, shape and values are those of the samples, whose even channel is alpha."""
    has_alpha = samples.ndim == 3 and samples.shape[2] in (2, 4)
    colours = samples[..., :-1] if has_alpha else samples
    if has_alpha and samples.shape[2] == 2:
        colours = colours[..., 0]
    assert stored.pixels.dtype == samples.dtype and stored.pixels.flags.c_contiguous
    np.testing.assert_array_equal(stored.pixels, colours)
    assert (stored.alpha is not None) == has_alpha
    if has_alpha:
        assert stored.alpha.dtype == samples.dtype
        np.testing.assert_array_equal(stored.alpha, samples[..., -1])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_reads_png_as_it_is(depth: int, count: int) -> None:
    check(decode_stored(png_of(channels(depth, count), depth)), channels(depth, count))


@pytest.mark.parametrize("orientation", TRANSPOSED)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_turns_png_upright_once(depth: int, count: int, orientation: int) -> None:
    stored = decode_stored(png_of(channels(depth, count), depth, turned_by(orientation)))
    check(stored, TRANSPOSED[orientation](channels(depth, count)))
    assert stored.orientation == orientation and stored.exif is None


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_spreads_few_bits_to_eight(depth: int) -> None:
    values = RANDOM.integers(0, 2**depth, (HEIGHT, WIDTH))
    check(decode_stored(png_of(values, depth)), (values * 255 // (2**depth - 1)).astype(np.uint8))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_becomes_alpha(depth: int) -> None:
    white = 2**depth - 1
    values = RANDOM.integers(0, white + 1, (HEIGHT, WIDTH))
    key = int(values[0, 0])
    stored = decode_stored(png_of(values, depth, png_chunk(b"tRNS", struct.pack(">H", key))))
    kind, most = (np.uint16, 65535) if depth == 16 else (np.uint8, 255)
    check(stored, np.dstack([values * (most // white), np.where(values == key, 0, most)]).astype(kind))


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_becomes_alpha(depth: int) -> None:
    colours, white = channels(depth, 3), 2**depth - 1
    stored = decode_stored(png_of(colours, depth, png_chunk(b"tRNS", struct.pack(">3H", *colours[2, 3]))))
    alpha = np.where((colours == colours[2, 3]).all(axis=2), 0, white).astype(colours.dtype)
    check(stored, np.dstack([colours, alpha]))


def test_one_bit_of_difference_is_not_the_transparent_colour() -> None:
    """Of 16 bits, whose upper halves are those of the key."""
    colours = np.array([[[0x1234] * 3, [0x1235] * 3]], np.uint16)
    stored = decode_stored(png_of(colours, 16, png_chunk(b"tRNS", struct.pack(">3H", *[0x1234] * 3))))
    assert stored.alpha.tolist() == [[0, 65535]]


@pytest.mark.parametrize("alphas", [None, bytes([128, 0])])
def test_reads_a_palette_as_colours(alphas: bytes | None) -> None:
    colours = bytes([10, 20, 30, 200, 100, 50])
    chunks = [png_chunk(b"PLTE", colours), *([png_chunk(b"tRNS", alphas)] if alphas else [])]
    expected = np.array([[[10, 20, 30, 128], [200, 100, 50, 0]]], np.uint8)
    check(decode_stored(png(2, 1, 8, 3, b"\0\0\1", *chunks)), expected if alphas else expected[..., :3])


def test_reads_the_picture_before_an_animation_of_16_bits() -> None:
    colours = channels(16, 3)
    control = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    frame = struct.pack(">I", 1) + zlib.compress(filtered(np.zeros((HEIGHT, WIDTH * 3), int), 16))
    content = png_of(colours, 16, png_chunk(b"acTL", struct.pack(">II", 1, 0)))
    end = content.index(b"IEND") - 4
    animated = content[:end] + png_chunk(b"fcTL", control) + png_chunk(b"fdAT", frame) + content[end:]
    check(decode_stored(animated), colours)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_reads_tiff_as_it_is(depth: int, count: int, byteorder: str) -> None:
    extra = {"extrasamples": ["unassalpha"]} if count == 4 else {}
    content = written_by_tifffile(channels(depth, count), byteorder=byteorder, **extra)
    check(decode_stored(content), channels(depth, count))


@pytest.mark.parametrize("compression", [1, 5, 8, 32773], ids=["none", "lzw", "deflate", "packbits"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_reads_compressed_tiff(depth: int, count: int, compression: int) -> None:
    samples = channels(depth, count)
    in_order = samples if count == 1 else cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(".tif", in_order, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert done
    check(decode_stored(content.tobytes()), samples)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("orientation", TRANSPOSED)
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_turns_tiff_upright_once(depth: int, count: int, orientation: int, compression: int) -> None:
    samples = channels(depth, count)
    strip = samples.astype(f"<u{depth // 8}").tobytes()
    tags = {274: ("H", [orientation]), **({338: ("H", [2])} if count == 4 else {})}
    strip = zlib.compress(strip) if compression == 8 else strip
    photometric = 1 if count == 1 else 2
    content = tiff(WIDTH, HEIGHT, [depth] * count, photometric, strip, compression=compression, tags=tags)
    stored = decode_stored(content)
    check(stored, TRANSPOSED[orientation](samples))
    assert stored.orientation == orientation


@pytest.mark.parametrize("depth", [8, 16])
def test_divides_colours_by_an_alpha_that_multiplied_them(depth: int) -> None:
    white = 2**depth - 1
    rgba = channels(depth, 4).astype(float)
    rgba[..., 3] = np.maximum(rgba[..., 3], white // 4)
    rgba[0, 0, 3] = 0
    part = rgba[..., 3:] / white
    multiplied = np.dstack([np.rint(rgba[..., :3] * part), rgba[..., 3]]).astype(f"u{depth // 8}")
    stored = decode_stored(written_by_tifffile(multiplied, extrasamples=["assocalpha"]))
    np.testing.assert_array_equal(stored.alpha, rgba[..., 3])
    seen = rgba[..., 3] > 0
    assert (
        np.abs(stored.pixels[seen] - rgba[seen][:, :3]).max() <= 4
    )  # the rounding above, times 4 at a quarter's alpha
    assert not stored.pixels[0, 0].any()


@pytest.mark.parametrize("depth", [8, 16])
def test_leaves_out_a_channel_of_no_known_use(depth: int) -> None:
    content = written_by_tifffile(channels(depth, 4), extrasamples=["unspecified"])
    check(decode_stored(content), channels(depth, 3))


@pytest.mark.parametrize("depth", [8, 16])
def test_turns_grey_round_where_white_is_zero(depth: int) -> None:
    content = written_by_tifffile(channels(depth, 1), photometric="miniswhite")
    check(decode_stored(content), 2**depth - 1 - channels(depth, 1))


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32, np.int8])
def test_keeps_numbers_of_other_kinds(kind: type) -> None:
    numbers = (RANDOM.random((HEIGHT, WIDTH)) * 200 - (0 if kind == np.uint32 else 100)).astype(kind)
    check(decode_stored(written_by_tifffile(numbers)), numbers)


def test_keeps_signed_16_bits_as_32() -> None:
    numbers = RANDOM.integers(-30000, 30000, (HEIGHT, WIDTH)).astype(np.int16)
    check(decode_stored(written_by_tifffile(numbers)), numbers.astype(np.int32))


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<i4", ">i4"])
def test_gives_numbers_in_the_machines_own_byte_order(kind: str) -> None:
    numbers = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(kind)
    stored = decode_stored(written_by_tifffile(numbers, byteorder=kind[0]))
    assert stored.pixels.dtype.isnative
    np.testing.assert_array_equal(stored.pixels, numbers)


def test_turns_real_numbers_round_where_white_is_zero() -> None:
    numbers = RANDOM.random((HEIGHT, WIDTH)).astype(np.float32)
    check(decode_stored(written_by_tifffile(numbers, photometric="miniswhite")), 1 - numbers)


def test_spreads_12_bits_to_16() -> None:
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # 0, 2048, 4095, 4095
    check(decode_stored(tiff(4, 1, [12], 1, packed)), np.array([[0, 32776, 65535, 65535]], np.uint16))  # * 65535 / 4095


@pytest.mark.parametrize("photometric", [0, 1])
def test_reads_one_bit_as_black_and_white(photometric: int) -> None:
    levels = [0, 255, 0, 255] if photometric else [255, 0, 255, 0]
    check(decode_stored(tiff(4, 1, [1], photometric, b"\x50")), np.array([levels], np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        decode_stored(written_by_tifffile(np.full((2, 2), value, np.float32)))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("white", [65535, 1023, 256])
@pytest.mark.parametrize("count", [1, 3])
def test_reads_pnm_in_its_full_depth(count: int, white: int, plain: bool) -> None:
    values = RANDOM.integers(0, white + 1, channels(16, count).shape)
    kind = ("P2" if count == 1 else "P3") if plain else ("P5" if count == 1 else "P6")
    text = "# a comment\n".join(" ".join(map(str, row)) + "\n" for row in values.reshape(HEIGHT, -1))
    body = text.encode() if plain else values.astype(">u2").tobytes()
    content = f"{kind}\n# made by hand\n{WIDTH} {HEIGHT}\n{white}\n".encode() + body
    check(decode_stored(content), np.rint(values * 65535 / white).astype(np.uint16))


@pytest.mark.parametrize("count", [1, 3])
def test_reads_pnm_of_8_bits(count: int) -> None:
    content = encoded(Image.fromarray(channels(8, count)), "PPM")
    check(decode_stored(content), channels(8, count))


@pytest.mark.parametrize(
    "content",
    [
        b"P6 2 2 65535\n" + bytes(23),
        b"P5 2 2 1023\n" + bytes(7),
        b"P3 2 1 65535\n1 2 3 4 5",
        b"P3 2 1 1000\n1 2 3 4 5 1001",
        b"P3 2 1 1000\n1 2 3 4 5 -6",
        b"P2 2 1 1000\n1 x",
        "P2 2 1 1000\n1 ä".encode(),
    ],
)
def test_refuses_damaged_pnm(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^damaged"):
        decode_stored(content)


def test_turns_inks_to_colours_without_their_profile() -> None:
    for image_format in ("TIFF", "JPEG"):
        content = encoded(photo().convert("CMYK"), image_format, icc_profile=b"profile of inks")
        stored = decode_stored(content)
        np.testing.assert_array_equal(stored.pixels, decode(content).pixels)
        assert stored.icc is None


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", TRANSPOSED)
def test_reads_jpeg_upright(mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(photo().convert(mode), "JPEG", exif=exif)
    check(decode_stored(content), np.asarray(ImageOps.exif_transpose(reopened(content))))


@pytest.mark.parametrize("orientation", TRANSPOSED)
def test_reads_webp_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(photo().convert("RGBA"), "WEBP", exif=exif, lossless=True)
    np.testing.assert_array_equal(decode_stored(content).pixels, shown(ImageOps.exif_transpose(reopened(content))))


CAMERA = {0x010F: "Maker", 0x0110: "Camera 7"}  # make and model
TAKEN = {0x9003: "2024:05:06 07:08:09", 0x829A: 0.008}  # date and exposure, in a block of their own
WITH_EXIF = ["JPEG", "PNG", "WEBP", "AVIF"]


@pytest.mark.parametrize("image_format", WITH_EXIF)
def test_keeps_exif_without_the_orientation(image_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.update(CAMERA)
    exif.get_ifd(0x8769).update(TAKEN)
    stored = decode_stored(encoded(photo(), image_format, exif=exif))
    kept = Image.Exif()
    kept.load(stored.exif)
    assert {tag: kept[tag] for tag in CAMERA} == CAMERA
    assert kept.get_ifd(0x8769)[0x9003] == TAKEN[0x9003]
    assert float(kept.get_ifd(0x8769)[0x829A]) == pytest.approx(TAKEN[0x829A])
    assert ORIENTATION not in kept
    assert stored.pixels.shape == (90, 60, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_reads_a_picture_with_damaged_exif(image_format: str) -> None:
    content = encoded(photo(), image_format, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    stored = decode_stored(content)
    np.testing.assert_array_equal(stored.pixels, shown(reopened(content)))
    assert (stored.exif, stored.orientation) == (None, None)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_keeps_the_profile(image_format: str) -> None:
    profile = bytes(range(256)) * 300  # longer than one segment of a JPEG
    if image_format == "AVIF":
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_stored(encoded(photo(), image_format, icc_profile=profile)).icc == profile


def test_keeps_the_profile_of_16_bits() -> None:
    profile = png_chunk(b"iCCP", b"name\0\0" + zlib.compress(b"profile" * 9))
    assert decode_stored(png_of(channels(16, 3), 16, profile)).icc == b"profile" * 9


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_refuses_damaged_png(depth: int, count: int) -> None:
    content = png_of(channels(depth, count), depth)
    for broken in (content[:-30], content[:50]):
        with pytest.raises(InputError, match=r"^damaged"):
            decode_stored(broken)
    place = content.index(b"IDAT") + 10
    with pytest.raises(InputError, match="checksum"):
        decode_stored(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def test_refuses_what_fails_once(data_set) -> None:
    """Were its EXIF asked for before, Pillow's second attempt would give a picture that is partly made up."""
    content = (data_set("badinput") / "imagetestsuite_png" / "c-e585afb2ecf50c04eaf0dedb71602cb8.png").read_bytes()
    with pytest.raises(InputError, match=r"^damaged"):
        decode_stored(content)


@pytest.mark.parametrize("read", [decode, decode_stored])
def test_refuses_empty_and_too_large(read) -> None:
    with pytest.raises(InputError, match="empty file"):
        read(b"")
    with pytest.raises(InputError, match="over the limit of 34 pixels"):
        read(png_of(channels(16, 3), 16), HEIGHT * WIDTH - 1)
    with pytest.raises(InputError, match="over the limit of 3 pixels"):
        read(b"P6 2 2 65535\n" + bytes(24), 3)
