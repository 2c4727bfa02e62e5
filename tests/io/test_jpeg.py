"""JPEG: the pixels are those of libjpeg-turbo, and damage is said, never shown."""

import re
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from cnncli.errors import InputError
from cnncli.io.images import decode
from cnncli.io.jpeg import START_OF_SCAN
from tests.conftest import PHOTOS
from tests.io.pictures import encoded, photo, reopened, shown

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1", "4:4:0"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100}, {"quality": 5}])
def test_matches_pillow(subsampling: str, options: dict) -> None:
    content = encoded(photo(91, 61), "JPEG", subsampling=subsampling.replace("4:4:0", "4:2:0"), **options)
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


def test_matches_pillow_on_a_camera_photo() -> None:
    path = PHOTOS / "rocket.jpg"
    assert np.array_equal(decode(path.read_bytes()).pixels, shown(Image.open(path)))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_matches_pillow_in_other_colours(mode: str, options: dict) -> None:
    content = encoded(photo().convert(mode), "JPEG", **options)
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


def test_reads_components_stored_as_rgb() -> None:
    content = encoded(photo(), "JPEG", keep_rgb=True, quality=95)
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


def without(content: bytes, at: float, length: int = 300) -> bytes:
    """The file with a stretch of its entropy-coded data cut out."""
    scan = START_OF_SCAN.search(content).start()
    place = scan + int((len(content) - scan) * at)
    return content[:place] + content[place + length :]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 8}], ids=str)
@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_refuses_a_damaged_scan(mode: str, options: dict, at: float) -> None:
    broken = without(encoded(photo(400, 300).convert(mode), "JPEG", quality=90, **options), at)
    assert shown(reopened(broken)).shape == (300, 400, 3), "Pillow shows it all the same"
    with pytest.raises(InputError, match=r"^damaged \(.+\)$"):
        decode(broken)


def test_shows_the_first_of_several_pictures() -> None:
    content = encoded(photo(), "MPO", save_all=True, append_images=[photo(30, 20)])
    assert reopened(content).format == "MPO"
    assert np.array_equal(decode(content).pixels, shown(reopened(content)))


def test_reads_a_photo_with_a_film_behind_it() -> None:
    """As phones store "motion photos"; by chance, a film's bytes hold many marks of a scan."""
    content = encoded(photo(), "JPEG")
    film = np.random.default_rng(0).bytes(1 << 20) + b"\xff\xda" * 1000
    assert np.array_equal(decode(content + film).pixels, shown(reopened(content)))


def test_refuses_a_bomb_of_scans() -> None:
    content = encoded(photo(), "JPEG", progressive=True)
    last = [match.start() for match in START_OF_SCAN.finditer(content)][-1]
    with pytest.raises(InputError, match="more than 500 scans"):
        decode(content[:last] + content[last:-2] * 600 + content[-2:])


def test_refuses_a_bomb_of_scans_of_single_components() -> None:
    """A baseline file may have a scan for each component, and damaged ones again and again."""
    content = encoded(photo(), "JPEG", subsampling=0)
    head = content[: START_OF_SCAN.search(content).start()]
    scans = b"".join(b"\xff\xda\x00\x08\x01" + bytes([1 + number % 3, 0]) + b"\x00\x3f\x00" for number in range(600))
    with pytest.raises(InputError, match="more than 500 scans"):
        decode(head + scans + content[-2:])


def test_counts_the_scans_of_a_progressive_photo() -> None:
    content = encoded(photo(), "JPEG", progressive=True)
    assert len(START_OF_SCAN.findall(content)) == len(re.findall(rb"\xff\xda", content)) == 10


def cmyk_with_profile(profile: bytes | None) -> bytes:
    return encoded(photo().convert("CMYK"), "JPEG", quality=95, icc_profile=profile)


@pytest.mark.parametrize("profile", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_takes_the_plain_formula_where_a_profile_is_unusable(profile: bytes) -> None:
    assert np.array_equal(decode(cmyk_with_profile(profile)).pixels, decode(cmyk_with_profile(None)).pixels)


def red_profile() -> bytes:
    """An ICC profile (version 2, lut8) by which every mix of inks is red, but for all of them together."""
    identity, red, black = bytes(range(256)), bytes([136, 208, 195]), bytes([0, 128, 128])  # Lab: red is 53, 80, 67
    table = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *[65536 * (i % 4 == 0) for i in range(9)])
    table += identity * 4 + red * 15 + black + identity * 3
    size = 128 + 4 + 12 + len(table)
    header = struct.pack(">I4x4s4s4s4s12x4s", size, b"\2\x10\0\0", b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)  # illuminant D50
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_follows_the_profile_of_inks(image_format: str) -> None:
    content = encoded(photo().convert("CMYK"), image_format, icc_profile=red_profile())
    assert np.abs(decode(content).pixels.astype(int) - [255, 0, 0]).max() < 10
