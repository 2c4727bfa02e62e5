"""Which photos wait for a device's decoder: those that it reads as the CPU's does. All others come decoded."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnncli.config import DEFAULT_MAX_PIXELS
from cnncli.errors import InputError
from cnncli.io.encoded import EncodedPhoto, decode_later
from cnncli.io.images import decode
from cnncli.io.jpeg import START_OF_SCAN
from tests.conftest import PHOTOS
from tests.io.pictures import ORIENTATION, encoded, photo, reopened, shown

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

JPEG = encoded(photo(), "JPEG")
FRAME = b"\xff\xc0\x00\x11\x08"  # start of a baseline frame of three components of 8 bits
THUMBNAIL = b"\xff\xd8 a thumbnail \xff\xd9"
READABLE = {
    "camera": (PHOTOS / "rocket.jpg").read_bytes(),
    "progressive": encoded(photo(), "JPEG", progressive=True),
    "grey": encoded(photo().convert("L"), "JPEG"),
    "odd": encoded(photo(91, 61), "JPEG"),
    "pixel": encoded(photo(1, 1), "JPEG"),
    "restarts": encoded(photo(), "JPEG", restart_marker_blocks=2),
    "trailer": JPEG + bytes(100),
    "several": encoded(photo(), "MPO", save_all=True, append_images=[photo(50, 50)]),
    "comment": encoded(photo(), "JPEG", comment=b"\xff\xda\xff\xd9"),
    "thumbnail": encoded(photo(), "JPEG", exif=b"Exif\0\0" + THUMBNAIL),
    "filled": JPEG.replace(FRAME, b"\xff\xff\xff" + FRAME),
    **{name: encoded(photo(), "JPEG", subsampling=name) for name in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")},
}


def as_rgb() -> bytes:
    """Colours stored as they are, told by the numbers of the components alone."""
    content = encoded(photo(), "JPEG", keep_rgb=True)
    place = content.find(b"\xff\xee\x00\x0eAdobe")
    assert place > 0
    return content[:place] + content[place + 16 :]


def first_component_alone() -> bytes:
    """Its first scan states one component of three, as in files that are not interleaved."""
    place = START_OF_SCAN.search(JPEG).start()
    return JPEG[:place] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + JPEG[place + 14 :]


SCAN = START_OF_SCAN.search(JPEG).start()
OTHERS = {
    "PNG": encoded(photo(), "PNG"),
    "CMYK": encoded(photo().convert("CMYK"), "JPEG"),
    "RGB with a mark": encoded(photo(), "JPEG", keep_rgb=True),
    "RGB by numbers": as_rgb(),
    "12 bits": JPEG.replace(FRAME, b"\xff\xc0\x00\x11\x0c"),
    "lossless": JPEG.replace(FRAME, b"\xff\xc3\x00\x11\x08"),
    "arithmetic": JPEG.replace(FRAME, b"\xff\xc9\x00\x11\x08"),
    "rare sampling": JPEG.replace(b"\x03\x01\x22\x00\x02", b"\x03\x01\x31\x00\x02"),
    "sampled grey": encoded(photo().convert("L"), "JPEG", subsampling="4:2:0"),
    "one component a scan": first_component_alone(),
    "a second frame": JPEG.replace(FRAME, JPEG[JPEG.find(FRAME) : JPEG.find(FRAME) + 19] + FRAME),
    "no end": JPEG[:-2],
    "half": JPEG[: len(JPEG) // 2],
    "half with a thumbnail": READABLE["thumbnail"][: -len(JPEG) // 4],
    "an end amid the data": JPEG[: SCAN + 100] + b"\xff\xd9" + bytes(5000),
    "header alone": JPEG[:SCAN],
    "three bytes": JPEG[:3],
    "scans": JPEG[:-2] + JPEG[SCAN : SCAN + 14] * 600 + b"\xff\xd9",
    "wide": encoded(photo(401, 50), "JPEG"),
    "text": b"no picture",
    "nothing": b"",
}  # fmt: skip


def outcome(read: Callable[[], object]) -> object:
    """Pixels as a list, or the sentence of the failure."""
    try:
        return read().pixels.tolist()
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", READABLE)
def test_leaves_plain_photos_to_the_device(name: str) -> None:
    content = READABLE[name]
    later, now = decode_later(content, DEFAULT_MAX_PIXELS), decode(content)
    assert isinstance(later.pixels, EncodedPhoto)
    assert later.pixels.content == content
    assert later.pixels.nbytes == len(content)
    assert (later.size, later.orientation) == (now.size, now.orientation)
    assert later.pixels.shape == shown(reopened(content)).shape
    assert np.array_equal(later.whole().pixels, shown(reopened(content)))


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9])
def test_knows_the_upright_size(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(photo(90, 60), "JPEG", exif=exif)
    later = decode_later(content, DEFAULT_MAX_PIXELS)
    expected = ImageOps.exif_transpose(reopened(content))
    assert later.size == (later.pixels.width, later.pixels.height) == expected.size
    assert later.orientation == later.pixels.orientation == (orientation if 1 <= orientation <= 8 else None)
    assert np.array_equal(later.whole().pixels, shown(expected))


@pytest.mark.parametrize("name", OTHERS)
def test_reads_others_as_ever(name: str) -> None:
    content = OTHERS[name]
    found = outcome(lambda: decode_later(content, DEFAULT_MAX_PIXELS))
    assert found == outcome(lambda: decode(content))


def test_what_is_made_here_is_what_it_is_called() -> None:
    """Else they would be read as ever for another reason."""
    assert all(content != JPEG for content in OTHERS.values())
    assert np.abs(shown(reopened(OTHERS["RGB by numbers"])).astype(int) - np.asarray(photo())).mean() < 5
    assert decode(OTHERS["wide"]).size == (401, 50)
    for name in ("no end", "half", "half with a thumbnail", "an end amid the data", "one component a scan"):
        with pytest.raises(InputError, match="damaged"):
            decode(OTHERS[name])


def test_reads_photos_that_are_far_too_large_for_a_filter() -> None:
    assert isinstance(decode_later(JPEG, DEFAULT_MAX_PIXELS, most_side=60).pixels, EncodedPhoto)
    assert np.array_equal(decode_later(JPEG, DEFAULT_MAX_PIXELS, most_side=59).pixels, shown(reopened(JPEG)))


def test_reads_photos_that_fill_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.io.encoded.MOST_PIXELS", 90 * 60 - 1)
    assert np.array_equal(decode_later(JPEG, DEFAULT_MAX_PIXELS).pixels, shown(reopened(JPEG)))


def test_holds_the_limit_of_pixels() -> None:
    with pytest.raises(InputError, match="90 x 60 is over the limit of 5,399 pixels; see --max-pixels"):
        decode_later(JPEG, 90 * 60 - 1)
