"""Marks and words on a picture, readable on any background and at any size."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BAND = (0, 0, 0, 168)  # black, two thirds opaque: white text on it has a contrast over 4.5 on any photo
TEXT = (255, 255, 255, 255)
BAR = (86, 180, 233, 255)  # sky blue of Okabe & Ito's palette, told apart by colour-blind readers
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
    picture = _legible(Image.fromarray(image))
    size = text_size(*picture.size)
    face = font(size)
    shown = lines[: max(1, int(picture.height * 0.6 / (size * 1.5)))]
    row = round(size * 1.5)
    overlay = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(overlay)
    top = picture.height - row * len(shown) - row // 4
    draw.rectangle((0, top, picture.width, picture.height), fill=BAND)
    for number, (text, score) in enumerate(shown):
        _caption_row(draw, (picture.width, top + row // 8 + number * row), row, face, text, score)
    return np.asarray(Image.alpha_composite(picture.convert("RGBA"), overlay).convert("RGB"))


def _legible(picture: Image.Image, least: int = 160) -> Image.Image:
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
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
