"""Regions and mattes on photos of every size and content."""

import numpy as np
import pytest

from cnncli.imaging.draw import DARK, PALETTE
from cnncli.imaging.overlay import WASHED_OUT, Region, draw_matte, draw_regions, numbered_colour

COLOUR = (0, 200, 40)


def grey(width: int, height: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def box(width: int, height: int, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def where_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


MASK = box(640, 480, 200, 100, 500, 400)


def test_leaves_its_input_alone() -> None:
    image = grey(640, 480)
    assert (draw_regions(image, [Region("cat", MASK, COLOUR)]) != image).any()
    assert (draw_matte(image, np.zeros((480, 640), np.uint8)) != image).any()
    assert (image == 128).all() and MASK.sum() == 90_000


def test_draws_nothing_of_nothing() -> None:
    np.testing.assert_array_equal(draw_regions(grey(640, 480), []), grey(640, 480))


def test_mixes_the_colour_with_the_photo_inside_alone() -> None:
    picture = draw_regions(grey(640, 480), [Region("", MASK, COLOUR)])
    assert (picture[110:200, 210:490] == [64, 164, 84]).all()  # the mean of 128 and the colour
    outside = ~box(640, 480, 197, 97, 503, 403)
    assert (picture[outside] == 128).all()


def test_outlines_in_colour_between_dark_lines() -> None:
    picture = draw_regions(grey(640, 480), [Region("", MASK, COLOUR)])
    assert where_colour(picture, COLOUR)[150:350, 200].all() and where_colour(picture, COLOUR)[100, 250:450].all()
    assert where_colour(picture, DARK)[150:350, 198].all()


def test_outlines_holes_too() -> None:
    mask = MASK & ~box(640, 480, 300, 200, 400, 300)
    picture = draw_regions(grey(640, 480), [Region("", mask, COLOUR)])
    assert where_colour(picture, COLOUR)[210:290, 299:301].any(axis=1).all()
    assert (picture[210:290, 310:390] == 128).all()


def test_writes_a_label_for_each_region_within_it() -> None:
    other = box(640, 480, 20, 20, 180, 90)
    regions = [Region("cat", MASK, COLOUR), Region("dog", other, PALETTE[1])]
    with_words, without = (
        draw_regions(grey(640, 480), [Region(word and region.label, region.mask, region.colour) for region in regions])
        for word in ("word", "")
    )
    changed = (with_words != without).any(axis=2)
    assert changed[MASK].sum() > 100 and changed[other].sum() > 100
    assert not changed[~MASK & ~other].any()


@pytest.mark.parametrize(("width", "height", "factor"), [(1, 1, 160), (40, 27, 6), (90, 60, 3)])
def test_enlarges_small_pictures_and_draws_thin_lines_on_them(width: int, height: int, factor: int) -> None:
    picture = draw_regions(grey(width, height), [Region("", np.ones((height, width), bool), COLOUR)])
    assert picture.shape == (height * factor, width * factor, 3)
    assert where_colour(picture, COLOUR).mean() < 0.05 and where_colour(picture, (64, 164, 84)).mean() > 0.85


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 3), (30, 20), (5000, 2), (2, 5000), (4000, 160), (159, 4096)]
)
@pytest.mark.parametrize("label", ["cat 83%", "", "a label much longer than the picture is wide " * 5, "two\nlines 猫"])
def test_takes_any_shape_and_label(width: int, height: int, label: str) -> None:
    mask = np.zeros((height, width), bool)
    mask[-1, -1] = True
    picture = draw_regions(grey(width, height), [Region(label, mask, COLOUR)])
    assert picture.shape[0] % height == 0 and picture.shape[0] // height == picture.shape[1] // width
    assert (picture != 128).any()


@pytest.mark.parametrize(("left", "top"), [(0, 0), (620, 0), (0, 460), (620, 460)])
def test_label_of_a_region_at_the_edge_is_whole(left: int, top: int) -> None:
    """Its plate is as large as in the middle of the picture."""

    def plate(x: int, y: int) -> int:
        mask = box(640, 480, x, y, x + 20, y + 20)
        return int(where_colour(draw_regions(grey(640, 480), [Region("diningtable 26%", mask, COLOUR)]), COLOUR).sum())

    assert plate(left, top) >= 0.9 * plate(310, 230)


def test_colours_go_round() -> None:
    assert [numbered_colour(number) for number in range(len(PALETTE))] == list(PALETTE)
    assert numbered_colour(len(PALETTE)) == PALETTE[0]


def test_matte_by_arithmetic() -> None:
    image = np.array([[[255, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 0]]], np.uint8)
    picture = draw_matte(image, np.array([[255, 0, 51, 0]], np.uint8))
    pale = 255 - (255 - 85) * WASHED_OUT  # the mean of the channels is 85
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert np.abs(picture[0, 1] - pale).max() <= 0.5
    assert np.abs(picture[0, 2] - (np.array([51, 0, 0]) + 0.8 * pale)).max() <= 0.5
    assert np.abs(picture[0, 3] - (255 - 255 * WASHED_OUT)).max() <= 0.5
