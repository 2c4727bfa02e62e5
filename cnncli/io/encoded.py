"""Photos that stay in their files' bytes until a device decodes them."""

import io
from dataclasses import dataclass

from PIL import Image

from cnncli.io.images import JPEG_START, TURNED, Photo, decode, open_image, orientation_of
from cnncli.io.jpeg import PROGRESSIVE, SCAN_LIMIT, read_head

END_OF_IMAGE = b"\xff\xd9"
GREY = ((1, 1),)
COLOURS = {(luma, (1, 1), (1, 1)) for luma in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2))}  # 4:4:4 to 4:1:0
COLOURED_AS_RGB = b"RGB"  # numbers of components by which libjpeg knows colours that are no YCbCr
TRAILER = 1 << 12  # bytes that programs leave behind a picture's end; more may hide that its own end is missing
MOST_PIXELS = 1 << 26  # a batch of larger photos leaves a GPU little memory, and one must always fit
EXTREME = 8  # times the short side: the whole long side is resized on the device, the CPU computes only its crop


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """A JPEG that a GPU's decoder should read: 8 bits, grey or YCbCr, complete. `width` and `height` are upright.

    Stands in the place of an image's array (H, W, 3), and of a network's input made of it.
    """

    content: bytes
    width: int
    height: int
    orientation: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, 3

    @property
    def nbytes(self) -> int:
        return len(self.content)


def decode_later(content: bytes, max_pixels: int, most_side: int | None = None) -> Photo:
    """A photo whose `pixels` are an EncodedPhoto, where a device reads this file as the CPU does; else as `decode`.

    Photos whose shorter side is over `most_side` px are decoded too. InputError as of `decode`, but damage inside the
    file is the device's to notice. `reload` is the CPU's own reading.
    """
    if content[:2] != JPEG_START:
        return decode(content, max_pixels)
    image = open_image(io.BytesIO(content), max_pixels)
    if not (_is_plain(image, most_side) and _is_readable(content, image)):
        return decode(content, max_pixels)
    orientation = orientation_of(image)
    width, height = image.size[::-1] if orientation in TURNED else image.size
    photo = EncodedPhoto(content, width, height, orientation)
    return Photo(photo, orientation, full_size=(width, height), reload=lambda: decode(content, max_pixels))


def _is_plain(image: Image.Image, most_side: int | None) -> bool:
    """Whether a photo has colours and a shape that are worth the device's time."""
    short, long = sorted(image.size)
    return (
        image.format in ("JPEG", "MPO")
        and (image.mode == "L" or (image.mode == "RGB" and image.info.get("adobe_transform") in (None, 1)))
        and long <= EXTREME * short
        and short * long <= MOST_PIXELS
        and (most_side is None or short <= most_side)
    )


def _is_readable(content: bytes, image: Image.Image) -> bool:
    """Whether a JPEG is coded in a way that all decoders know, and has its end."""
    head = read_head(content)
    if head is None or head.bits != 8 or head.components == COLOURED_AS_RGB:
        return False
    if head.sampling != GREY and head.sampling not in COLOURS:
        return False
    if not head.is_one_scan and head.frame != PROGRESSIVE:  # what nvJPEG reads; no lossless, no arithmetic coding
        return False
    end = content.rfind(END_OF_IMAGE, head.end)  # thumbnails, which have their own, lie before the first scan
    return end >= 0 and len(content) - end <= TRAILER and content.count(b"\xff\xda") <= SCAN_LIMIT
