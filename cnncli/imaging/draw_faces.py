"""Faces with their boxes and points, and two of them beside each other with a verdict."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnncli.imaging.draw import DARK, PALETTE, Plates, font, legible, outline, text_size

Box = tuple[float, float, float, float]  # x, y, width, height
Points = Sequence[tuple[float, float]]

POINT_COLOURS = ((86, 180, 233), (86, 180, 233), (240, 228, 66), (213, 94, 0), (213, 94, 0))  # eyes, nose, mouth
SAME, DIFFERENT = (0, 158, 115), (213, 94, 0)
CONTEXT = 0.35  # of a face's side, shown around it
PANEL = 360  # px, the side of each face in a comparison
MARGIN = 12  # px
LONGEST_NAME = 250  # characters that are measured; no panel shows more


def draw_faces(image: np.ndarray, faces: Sequence[tuple[str, Box, Points]]) -> np.ndarray:
    """A copy of the picture (H, W, 3) with labelled boxes and five points each; small pictures are enlarged."""
    original = Image.fromarray(image)
    picture = legible(original)
    factor = picture.width / original.width
    draw = ImageDraw.Draw(picture)
    thickness = max(2, round(min(picture.size) / 240))
    plates = Plates(draw, picture.size, font(max(11, text_size(*picture.size) * 3 // 4)))
    for number, (_, box, points) in enumerate(faces):
        _mark(draw, box, points, factor, PALETTE[number % len(PALETTE)], thickness)
    for number, (label, box, _) in enumerate(faces):
        left, top, width, height = (value * factor for value in box)
        corners = (left, top, left + width, top + height)
        plates.write_at_box(label, corners, PALETTE[number % len(PALETTE)], thickness)
    return np.asarray(picture)


def _mark(
    draw: ImageDraw.ImageDraw, box: Box, points: Points, factor: float, colour: tuple[int, int, int], thickness: int
) -> None:
    left, top, width, height = (value * factor for value in box)
    outline(draw, (left, top, left + width, top + height), colour, thickness)
    radius = max(1.5, min(width, height) / 40)
    for (x, y), point_colour in zip(points, POINT_COLOURS, strict=True):
        x, y = x * factor, y * factor
        draw.ellipse((x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1), DARK)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), point_colour)


def draw_comparison(
    sides: Sequence[tuple[np.ndarray, Box, Points]], names: Sequence[str], verdict: str, is_same: bool
) -> np.ndarray:
    """Two faces of two pictures (H, W, 3) side by side, their names above, the verdict below: RGB."""
    face = font(20)
    row = 34
    size = 2 * PANEL + 3 * MARGIN, PANEL + 2 * row + 2 * MARGIN
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, ((image, box, points), name) in enumerate(zip(sides, names, strict=True)):
        left = MARGIN + number * (PANEL + MARGIN)
        sheet.paste(_panel(image, box, points), (left, row))
        draw.text((left, row // 2), _fitting(name, face), DARK, face, anchor="lm")
    draw.rectangle((0, row + PANEL + MARGIN, size[0], size[1]), SAME if is_same else DIFFERENT)
    centre = size[0] / 2, (row + PANEL + MARGIN + size[1]) / 2
    draw.text(centre, verdict, (255, 255, 255), _narrow_enough(verdict, size[0] - 2 * MARGIN), anchor="mm")
    return np.asarray(sheet)


def _panel(image: np.ndarray, box: Box, points: Points) -> Image.Image:
    """A square around a face; black where the picture ends."""
    x, y, width, height = box
    side = max(1.0, max(width, height) * (1 + 2 * CONTEXT))
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    left, top, side = round(left), round(top), round(side)
    crop = Image.fromarray(image).crop((left, top, left + side, top + side))
    crop = crop.resize((PANEL, PANEL), Image.Resampling.BICUBIC)
    moved = [(px - left, py - top) for px, py in points]
    _mark(ImageDraw.Draw(crop), (x - left, y - top, width, height), moved, PANEL / side, PALETTE[1], 2)
    return crop


def _fitting(name: str, face: ImageFont.FreeTypeFont) -> str:
    """The end of a name that is too long for its panel, without what no font can show."""
    name = "".join(character if character.isprintable() else "?" for character in name)[-LONGEST_NAME:]
    while len(name) > 2 and face.getlength(name) > PANEL:
        name = "…" + name[2:]
    return name


def _narrow_enough(text: str, width: int) -> ImageFont.FreeTypeFont:
    """The largest font up to 20 px in which a text has no more than `width` px."""
    return next((font(size) for size in range(20, 8, -1) if font(size).getlength(text) <= width), font(8))
