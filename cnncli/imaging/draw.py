"""Marks and words on a picture, readable on any background and at any size."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BAND = (0, 0, 0, 168)  # black, two thirds opaque: white text on it has a contrast over 4.5 on any photo
TEXT = (255, 255, 255, 255)
BAR = (86, 180, 233, 255)  # sky blue of Okabe & Ito's palette, told apart by colour-blind readers
LONGEST_LABEL = 250  # characters that are measured; no picture shows more
PALETTE = (  # Okabe & Ito 2008, "Color universal design", without black and grey
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
DARK = (32, 32, 32)
MINIMUM_TEXT = 8  # px; below, letters can't be told apart


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's built-in scalable font (Aileron), `size` px high."""
    return ImageFont.load_default(size)


def text_size(width: int, height: int) -> int:
    """Height of text in px for a picture: a part of its short side, but legible."""
    return max(MINIMUM_TEXT, min(round(min(width, height) / 22), round(height / 8)))


def caption_lines(image: np.ndarray, lines: list[tuple[str, float]]) -> np.ndarray:
    """A copy of the picture (H, W, 3) with lines of text and their scores (0..1, as bars) in a band at its foot.

    A picture too small for the text is enlarged first, by whole pixels.
    """
    picture = legible(Image.fromarray(image))
    size = text_size(*picture.size)
    face = font(size)
    row = round(size * 1.5)
    shown = lines[: max(1, int(picture.height * 0.6 / row))]
    band_height = row * len(shown) + row // 4
    foot = (0, max(0, picture.height - band_height), picture.width, picture.height)
    overlay = Image.new("RGBA", (picture.width, foot[3] - foot[1]), BAND)
    draw = ImageDraw.Draw(overlay)
    first = overlay.height - band_height + row // 8
    for number, (text, score) in enumerate(shown):
        _caption_row(draw, (picture.width, first + number * row), row, face, text, score)
    picture.paste(Image.alpha_composite(picture.crop(foot).convert("RGBA"), overlay).convert("RGB"), foot)
    return np.asarray(picture)


def legible(picture: Image.Image, least: int = 160) -> Image.Image:
    """A picture too small for words, enlarged by whole pixels."""
    factor = -(-least // max(1, min(picture.size)))
    if factor == 1 or max(picture.size) * factor > 4096:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _caption_row(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], row: int, face: ImageFont.FreeTypeFont, text: str, score: float
) -> None:
    width, top = corner
    margin = row // 3
    number = f"{score:.1%}"
    bar_right = width - margin - round(face.getlength("100.0%")) - margin
    bar_left = round(width * 0.6)
    text_right = bar_left - margin
    if bar_right - bar_left < row * 2:  # a narrow picture: no bar, the number right behind the words
        text_right = bar_right
    else:
        draw.rectangle((bar_left, top + row // 3, bar_left + (bar_right - bar_left) * score, top + row * 2 // 3), BAR)
    draw.text((margin, top + row // 2), _shortened(text, face, text_right - margin), TEXT, face, anchor="lm")
    draw.text((width - margin, top + row // 2), number, TEXT, face, anchor="rm")


def _shortened(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of a label as fits, on one line."""
    text = " ".join(text.split())
    if face.getlength(text[:LONGEST_LABEL]) <= width and len(text) <= LONGEST_LABEL:
        return text
    text = text[:LONGEST_LABEL]
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


Boxed = tuple[str, int, float, tuple[float, float, float, float]]  # label, colour number, score, x y width height
Corners = tuple[float, float, float, float]  # left, top, right, bottom


Points = Sequence[tuple[float, float]]  # x, y in pixels


def draw_boxes(image: np.ndarray, boxes: list[Boxed], points: Sequence[Points] = ()) -> np.ndarray:
    """A copy of the picture (H, W, 3) with boxes and their labels, the best on top; small pictures are enlarged.

    `points` of each box, where it has any, are dots of its colour.
    """
    original = Image.fromarray(image)
    picture = legible(original)
    factor = picture.width / original.width
    draw = ImageDraw.Draw(picture)
    thickness = max(2, round(min(picture.size) / 240))
    face = font(max(11, text_size(*picture.size) * 3 // 4))
    placed = [_scaled(box, factor) for *_, box in boxes]
    for (_, number, _, _), corners in reversed(list(zip(boxes, placed, strict=True))):
        outline(draw, corners, PALETTE[number % len(PALETTE)], thickness)
    for (_, number, _, _), places in zip(boxes, points, strict=False):
        for x, y in places:
            dot(draw, (x * factor, y * factor), PALETTE[number % len(PALETTE)], 1.5 * thickness)
    plates = Plates(draw, picture.size, face)
    for (label, number, score, _), corners in zip(boxes, placed, strict=True):
        plates.write_at_box(f"{label} {score:.0%}", corners, PALETTE[number % len(PALETTE)], thickness)
    return np.asarray(picture)


class Plates:
    """Labels on coloured plates, none over another where there is room for all."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int], face: ImageFont.FreeTypeFont):
        self._draw = draw
        self._size = size
        self._face = face
        self._taken: list[Corners] = []

    def write_at_box(self, text: str, corners: Corners, colour: tuple[int, int, int], margin: int) -> None:
        self._write(text, _plate(self._size, corners, self._face, text, margin), colour)

    def write_centred(self, text: str, centre: tuple[float, float], colour: tuple[int, int, int]) -> None:
        width, height = self._face.getlength(text) + self._face.size * 0.5, round(self._face.size * 1.3)
        left = min(max(0.0, centre[0] - width / 2), max(0.0, self._size[0] - width))
        top = min(max(0.0, centre[1] - height / 2), max(0.0, self._size[1] - height))
        self._write(text, (left, top, left + width, top + height), colour)

    def _write(self, text: str, plate: Corners, colour: tuple[int, int, int]) -> None:
        free = _free_place(plate, self._taken, self._size[1])
        self._taken.append(free)
        _write_on_plate(self._draw, free, text, self._face, colour)


def _scaled(box: tuple[float, float, float, float], factor: float) -> Corners:
    x, y, width, height = (value * factor for value in box)
    return x, y, x + width, y + height


def outline(draw: ImageDraw.ImageDraw, corners: Corners, colour: tuple[int, int, int], thickness: int) -> None:
    """A rectangle in its colour between dark lines, so that it shows on a photo of the same colour."""
    left, top, right, bottom = corners
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), None, DARK, thickness + 2)
    draw.rectangle(corners, None, colour, thickness)


def dot(draw: ImageDraw.ImageDraw, centre: tuple[float, float], colour: tuple[int, int, int], radius: float) -> None:
    """A disc in its colour within a dark ring."""
    x, y = centre
    draw.ellipse((x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1), DARK)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _plate(size: tuple[int, int], corners: Corners, face: ImageFont.FreeTypeFont, text: str, margin: int) -> Corners:
    """Where a label goes: above its box where there is room, inside it where not, never outside the picture."""
    width, height = face.getlength(text) + 2 * margin, round(face.size * 1.3)
    left = min(max(0.0, corners[0]), max(0.0, size[0] - width))
    top = corners[1] - height if corners[1] >= height else min(max(0.0, corners[1]), max(0.0, size[1] - height))
    return left, top, left + width, top + height


def _free_place(plate: Corners, others: list[Corners], bottom: int) -> Corners:
    """The plate, moved down line by line until it covers no other; as it is where there is no such place."""
    left, top, right, end = plate
    height = end - top
    moved = plate
    while any(_touch(moved, other) for other in others):
        top += height
        moved = (left, top, right, top + height)
        if moved[3] > bottom:
            return plate
    return moved


def _touch(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write_on_plate(
    draw: ImageDraw.ImageDraw, plate: Corners, text: str, face: ImageFont.FreeTypeFont, colour: tuple[int, int, int]
) -> None:
    left, top, right, bottom = plate
    draw.rectangle(plate, colour)
    red, green, blue = colour
    dark_plate = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    ink = (255, 255, 255) if dark_plate else (0, 0, 0)
    draw.text(((left + right) / 2, (top + bottom) / 2), text, ink, face, anchor="mm")
