"""Every mode of Pillow becomes RGB; transparency lies on white."""

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InputError
from cnncli.io.images import decode
from cnncli.io.modes import to_rgb
from tests.io.pictures import encoded, on_white, photo, shown

RGBA = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_matches_pillow(mode: str) -> None:
    image = photo().convert(mode)
    assert np.array_equal(to_rgb(image), shown(image))


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_lays_transparency_on_white(mode: str) -> None:
    rgba = Image.fromarray(RGBA)
    image = {"La": lambda: rgba.convert("LA").convert("La")}.get(mode, lambda: rgba.convert(mode))()
    straight = image.convert("LA") if mode == "La" else image
    assert np.abs(to_rgb(image) - on_white(np.asarray(straight.convert("RGBA")))).max() <= 1


def test_lays_a_palette_with_alpha_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 255, 200, 100, 50, 0], "RGBA")
    image.putpixel((1, 0), 1)
    assert to_rgb(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TGA"])
def test_reads_transparent_files(image_format: str) -> None:
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    pixels = decode(encoded(Image.fromarray(RGBA), image_format, **options)).pixels
    assert np.abs(pixels - on_white(RGBA)).max() <= 1


def test_reads_a_transparent_gif() -> None:
    image = photo().quantize(8)
    pixels = decode(encoded(image, "GIF", transparency=3)).pixels
    expected = shown(image).copy()
    expected[np.asarray(image) == 3] = 255
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_divides_16_bits_by_257(mode: str) -> None:
    values = np.arange(0, 65536, 13, np.uint16).reshape(1, -1)
    stored = values.astype(">u2" if mode == "I;16B" else "<u2")
    image = Image.frombytes(mode, (values.shape[1], 1), stored.tobytes())
    assert np.array_equal(to_rgb(image)[..., 0], np.rint(values / 257))


@pytest.mark.parametrize("most", [65535, 1023])
def test_reads_a_dark_pgm_of_16_bits(most: int) -> None:
    values = np.array([[0, 100, 200, 255]])
    content = b"P5 4 1 %d\n" % most + values.astype(">u2").tobytes()
    assert np.abs(decode(content).pixels[..., 0] - values * 255 / most).max() <= 0.51


def test_reads_a_portable_float_map() -> None:
    content = b"Pf\n4 1\n-1.0\n" + np.array([0, 0.25, 0.5, 1], "<f4").tobytes()
    assert decode(content).pixels[0, :, 0].tolist() == [0, 64, 128, 255]


def test_refuses_nan() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        to_rgb(Image.fromarray(np.array([[0, np.nan]], np.float32)))
