"""Faces in pictures: marks where they belong, at any size, and words that fit."""

import numpy as np
import pytest

from cnncli.imaging.draw import PALETTE
from cnncli.imaging.draw_faces import (
    DIFFERENT,
    MARGIN,
    PANEL,
    POINT_COLOURS,
    SAME,
    draw_comparison,
    draw_faces,
)

ROW = 34  # px above the panels
GREY = 128
BOX = (200.0, 150.0, 100.0, 140.0)
POINTS = ((225.0, 200.0), (275.0, 200.0), (250.0, 230.0), (230.0, 260.0), (270.0, 260.0))


def plain(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def sheet(names: tuple[str, str] = ("a.jpg", "b.jpg"), verdict: str = "same person", is_same: bool = True, **side):
    image, box, points = side.get("image", plain(400, 500)), side.get("box", BOX), side.get("points", POINTS)
    return draw_comparison([(image, box, points)] * 2, names, verdict, is_same)


def test_marks_boxes_and_points() -> None:
    picture = draw_faces(plain(400, 500), [("90%", BOX, POINTS)])
    assert picture.shape == (400, 500, 3)
    for (x, y), colour in zip(POINTS, POINT_COLOURS, strict=True):
        assert tuple(picture[int(y), int(x)]) == colour
    for x, y in ((200, 220), (300, 220), (250, 150), (250, 290)):
        assert tuple(picture[y, x]) == PALETTE[0]
    assert (picture[300:] == GREY).all()


def test_leaves_the_photo_alone() -> None:
    photo = plain(400, 500)
    draw_faces(photo, [("90%", BOX, POINTS)])
    assert (photo == GREY).all()
    assert (draw_faces(photo, []) == photo).all()


def test_faces_have_colours_of_their_own() -> None:
    boxes = [(20.0 + 110 * number, 150.0, 90.0, 90.0) for number in range(4)]
    picture = draw_faces(plain(400, 500), [(f"{number}", box, POINTS) for number, box in enumerate(boxes)])
    for number, (x, y, width, height) in enumerate(boxes):
        assert tuple(picture[int(y + height), int(x + width / 3)]) == PALETTE[number]


def test_small_pictures_are_enlarged_with_their_marks() -> None:
    """30 px become 180: whole pixels, six times as many."""
    picture = draw_faces(plain(30, 40), [("90%", (5.0, 5.0, 20.0, 20.0), [(10.0, 12.0)] * 5)])
    assert picture.shape == (180, 240, 3)
    assert tuple(picture[150, 70]) == PALETTE[0]
    assert tuple(picture[72, 60]) == POINT_COLOURS[-1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 5000), (5000, 2), (3, 3)])
def test_draws_on_any_picture(shape: tuple[int, int]) -> None:
    box = (0.0, 0.0, float(shape[1]), float(shape[0]))
    picture = draw_faces(plain(*shape), [("90%", box, [(1.0, 1.0)] * 5)])
    assert picture.shape[0] / shape[0] == picture.shape[1] / shape[1]


def test_draws_faces_that_reach_beyond_the_picture() -> None:
    draw_faces(plain(100, 200), [("90%", (-50.0, -60.0, 400.0, 300.0), [(-9.0, -9.0)] * 5)])
    sheet(image=plain(100, 200), box=(-50.0, -60.0, 400.0, 300.0), points=[(-9.0, -9.0)] * 5)


def test_shows_both_faces_in_the_middle_of_their_panels() -> None:
    """The side of the crop: 1.7 times 140 px."""
    picture = sheet()
    assert picture.shape == (PANEL + 2 * ROW + 2 * MARGIN, 2 * PANEL + 3 * MARGIN, 3)
    factor = PANEL / 238
    for left in (MARGIN, PANEL + 2 * MARGIN):
        for (x, y), colour in zip(POINTS, POINT_COLOURS, strict=True):
            column, row = left + (x - 250) * factor + PANEL / 2, ROW + (y - 220) * factor + PANEL / 2
            assert tuple(picture[round(row), round(column)]) == colour


def test_is_black_where_the_photo_ends() -> None:
    picture = sheet(box=(0.0, 150.0, 100.0, 100.0), points=[(50.0, 200.0)] * 5)
    assert (picture[ROW + 5 : ROW + 60, MARGIN + 5 : MARGIN + 60] == 0).all()


@pytest.mark.parametrize(("is_same", "colour"), [(True, SAME), (False, DIFFERENT)])
def test_the_verdict_has_its_colour(is_same: bool, colour: tuple[int, int, int]) -> None:
    picture = sheet(is_same=is_same)
    assert tuple(picture[-3, 3]) == colour
    assert (picture[-40:] == 255).all(axis=2).any()  # its words


@pytest.mark.parametrize("size", [0.0, 0.4, 1.0, 1.5])
def test_faces_of_a_pixel_are_shown(size: float) -> None:
    for start in (0.0, 0.5, 1.5, 2.5):
        sheet(box=(start, start, size, size), points=[(start, start)] * 5)


@pytest.mark.parametrize(
    "name", ["two\nlines.png", "bad\udcff.png", "tab\there", "x" * 5000, "", "写真.png", "\u202egnp.exe", "e\u0301"]
)
def test_names_of_all_kinds_fit(name: str) -> None:
    picture = sheet(names=(name, "b.png"))
    gap = picture[:ROW, MARGIN + PANEL + 1 : 2 * MARGIN + PANEL - 1]
    assert (gap == 255).all()


def test_long_names_keep_their_end() -> None:
    start, end = (sheet(names=(f"{'folder/' * 20}{name}", "b"))[:ROW, MARGIN : MARGIN + PANEL] for name in ("a", "w"))
    assert (start != end).any()


def test_long_verdicts_fit() -> None:
    verdict = f"different persons: euclidean_l2 distance 1.999 > 1.129 ({'long_model_name_' * 5})"
    picture = sheet(verdict=verdict, is_same=False)
    band = picture[ROW + PANEL + MARGIN :]
    assert (band[:, :MARGIN] == DIFFERENT).all()
    assert (band[:, -MARGIN:] == DIFFERENT).all()
