"""Boxes drawn on photos of every size and content."""

import numpy as np
import pytest

from cnncli.imaging.draw import DARK, PALETTE, draw_boxes

BOX = ("cat", 3, 0.91, (200.0, 150.0, 240.0, 180.0))


def grey(width: int, height: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def changed(picture: np.ndarray, value: int = 128) -> np.ndarray:
    return (picture != value).any(axis=2)


def where_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


def test_leaves_its_input_alone() -> None:
    image = grey(640, 480)
    assert changed(draw_boxes(image, [BOX])).any()
    assert not changed(image).any()


def test_draws_nothing_of_nothing() -> None:
    np.testing.assert_array_equal(draw_boxes(grey(640, 480), []), grey(640, 480))


def test_outlines_where_the_box_is() -> None:
    picture = draw_boxes(grey(640, 480), [BOX])
    assert picture.shape == (480, 640, 3)
    colour = where_colour(picture, PALETTE[3])
    assert colour[200:300, 200].all()
    assert colour[200:300, 440].all()
    assert colour[330, 200:440].all()
    assert not changed(picture)[160:320, 210:430].any()
    assert not changed(picture)[340:].any()
    assert not changed(picture)[:, :190].any()


@pytest.mark.parametrize("number", range(len(PALETTE)))
def test_shows_on_a_photo_of_its_own_colour(number: int) -> None:
    image = np.broadcast_to(np.array(PALETTE[number], np.uint8), (480, 640, 3))
    picture = draw_boxes(image, [("cat", number, 0.9, BOX[3])])
    dark = where_colour(picture, DARK)
    assert dark[200:300, 199].all()
    assert dark[200:300, 441].all()


def test_colour_goes_by_the_number_of_the_class() -> None:
    one, other = (draw_boxes(grey(640, 480), [("cat", number, 0.9, BOX[3])]) for number in (1, 2))
    again = draw_boxes(grey(640, 480), [("cat", 1 + len(PALETTE), 0.9, BOX[3])])
    assert (one != other).any()
    np.testing.assert_array_equal(one, again)


def test_writes_the_label_and_the_score() -> None:
    pictures = [
        draw_boxes(grey(640, 480), [(label, 3, score, BOX[3])])
        for label, score in (("cat", 0.91), ("cow", 0.91), ("cat", 0.25))
    ]
    for other in pictures[1:]:
        rows, columns = np.nonzero((pictures[0] != other).any(axis=2))
        assert len(rows)
        assert rows.max() < 150
        assert columns.min() >= 195


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    plates = [where_colour(draw_boxes(grey(640, 480), [(name, 3, 0.9, BOX[3])]), PALETTE[3]) for name in ("cat", "dog")]
    single = max(plate[:150].sum() for plate in plates)
    both = draw_boxes(grey(640, 480), [("cat", 3, 0.9, BOX[3]), ("dog", 5, 0.8, BOX[3])])
    for number in (3, 5):
        assert where_colour(both, PALETTE[number]).sum() > 0.6 * single


def test_best_box_is_on_top() -> None:
    better, worse = ("cat", 3, 0.9, BOX[3]), ("dog", 5, 0.5, BOX[3])
    picture = draw_boxes(grey(640, 480), [better, worse])
    assert where_colour(picture, PALETTE[3])[250:300, 440].all()


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 640.0, 480.0),
        (630.0, 0.0, 10.0, 5.0),
        (0.0, 479.0, 3.0, 1.0),
        (100.0, 100.0, 0.0, 0.0),
        (639.99, 479.99, 0.01, 0.01),
    ],
)
def test_label_stays_in_the_picture(box: tuple[float, float, float, float]) -> None:
    alone = where_colour(draw_boxes(grey(640, 480), [BOX]), PALETTE[3])[:148].sum()
    assert where_colour(draw_boxes(grey(640, 480), [("cat", 3, 0.91, box)]), PALETTE[3]).sum() >= 0.9 * alone


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (30, 20), (5000, 2), (2, 5000), (159, 4096)])
def test_takes_any_shape(width: int, height: int) -> None:
    box = ("a label much longer than the picture is wide " * 5, 3, 0.5, (0.0, 0.0, float(width), float(height)))
    picture = draw_boxes(grey(width, height), [box])
    assert picture.shape[0] % height == 0
    assert picture.shape[0] // height == picture.shape[1] // width
    assert changed(picture).any()


@pytest.mark.parametrize("text", ["", "Žluťoučký 猫 🐈", "two\nlines", "\x1b[31m"])
def test_takes_any_label(text: str) -> None:
    assert changed(draw_boxes(grey(640, 480), [(text, 3, 0.5, BOX[3])])).any()


def test_points_are_dots_of_their_boxes_colour() -> None:
    places = [(300.0, 200.0), (330.0, 260.0)]
    picture = draw_boxes(grey(640, 480), [("face", 3, 0.9, BOX[3])], [places])
    for x, y in places:
        assert picture[int(y), int(x)].tolist() == list(PALETTE[3])
    alone = draw_boxes(grey(640, 480), [("face", 3, 0.9, BOX[3])])
    rows, columns = np.nonzero((picture != alone).any(axis=2))
    assert np.ptp(rows) < 60 + 20
    assert np.ptp(columns) < 30 + 20
