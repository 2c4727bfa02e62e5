"""Captions are legible, stay in their band, and never fail."""

import time

import numpy as np
import pytest

from cnncli.imaging.draw import MINIMUM_TEXT, caption_lines, font, text_size

LINES = [("tabby, tabby cat", 0.71), ("tiger cat", 0.2), ("Egyptian cat", 0.04), ("lynx", 0.0), ("plastic bag", 1.0)]


def picture(width: int, height: int, value: int | None = None) -> np.ndarray:
    if value is not None:
        return np.full((height, width, 3), value, np.uint8)
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (160, 160), (4000, 3000), (481, 321)])
def test_keeps_the_size_of_a_photo(width: int, height: int) -> None:
    captioned = caption_lines(picture(width, height), LINES)
    assert captioned.shape == (height, width, 3) and captioned.dtype == np.uint8


@pytest.mark.parametrize(("width", "height", "factor"), [(1, 1, 160), (32, 32, 5), (159, 200, 2), (90, 60, 3)])
def test_enlarges_a_small_picture_by_whole_pixels(width: int, height: int, factor: int) -> None:
    image = picture(width, height)
    captioned = caption_lines(image, LINES[:1])
    assert captioned.shape == (height * factor, width * factor, 3)
    upper = height // 2  # the caption is below
    assert np.array_equal(captioned[: upper * factor], image[:upper].repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 1), (1, 5000), (4000, 10), (10, 4000), (20000, 2), (2, 20000), (161, 8)]
)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_takes_any_shape(width: int, height: int, count: int) -> None:
    captioned = caption_lines(picture(width, height), LINES[:count])
    assert captioned.shape[1] % width == 0 and captioned.shape[0] % height == 0


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 900), (161, 4000), (4000, 161)])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_draws_inside_the_band_only(width: int, height: int, count: int) -> None:
    image = picture(width, height)
    changed = (caption_lines(image, (LINES * 8)[:count]) != image).any(axis=(1, 2))
    band = np.flatnonzero(changed)[0]
    assert changed[band:].all()
    rows = min(count, max(1, int(height * 0.6 / (text_size(width, height) * 1.5))))
    assert height - band <= text_size(width, height) * 1.5 * (rows + 1)
    assert height - band <= height * 0.75 or rows == 1


def test_leaves_its_input_alone() -> None:
    image = picture(200, 200)
    before = image.copy()
    caption_lines(image, LINES)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_is_legible_on_any_ground(value: int) -> None:
    """Text against band, by WCAG's contrast: 4.5 and more."""
    captioned = caption_lines(picture(640, 480, value), [("MMMM", 0.5)]).astype(float)
    band = captioned[-3, 3]
    text = captioned[-60:, :200].reshape(-1, 3).max(axis=0)

    def luminance(colour: np.ndarray) -> float:
        part = colour / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    assert (luminance(text) + 0.05) / (luminance(band) + 0.05) >= 4.5


def bar_length(captioned: np.ndarray) -> int:
    """Pixels of the sky-blue bar in its longest row."""
    return int((np.abs(captioned.astype(int) - [86, 180, 233]).max(axis=2) < 3).sum(axis=1).max())


def test_draws_the_score_as_a_bar() -> None:
    scores = np.array([0, 0.25, 0.5, 1])
    lengths = [bar_length(caption_lines(picture(640, 480, 0), [("cat", score)])) for score in scores]
    assert lengths == pytest.approx(scores * lengths[-1], abs=2) and lengths[-1] > 50


def ink(captioned: np.ndarray) -> np.ndarray:
    """Columns that hold white text."""
    return np.flatnonzero((captioned.min(axis=2) > 200).any(axis=0))


@pytest.mark.parametrize("width", [640, 200])
def test_shortens_a_long_label(width: int) -> None:
    black = picture(width, 480, 0)
    short, long = caption_lines(black, [("W" * 10, 0)]), caption_lines(black, [("W" * 500, 0)])
    number = width - font(text_size(width, 480)).getlength("0.0%") * 1.6
    bar = width * 0.6 if width == 640 else number
    label = ink(long)[ink(long) < number]
    assert label.max() < bar
    assert label.size >= ink(short)[ink(short) < number].size
    assert np.array_equal(long, caption_lines(black, [("W" * 5000, 0)]))


def test_soon_ends_with_an_endless_label() -> None:
    start = time.perf_counter()
    caption_lines(picture(640, 480), [("word " * 200_000, 0.5)])
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb", "a\r\n\tb", "\0", "größter Hai", "猫", "\udce9", "👩‍🚀", "\u202eabc"]
)
def test_takes_any_label(text: str) -> None:
    assert caption_lines(picture(320, 240), [(text, 0.5)]).shape == (240, 320, 3)


def test_puts_a_label_on_one_line() -> None:
    black = picture(640, 480, 0)
    assert np.array_equal(caption_lines(black, [("a\n b", 0.5)]), caption_lines(black, [("a b", 0.5)]))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 480), (4000, 10), (10, 4000)])
def test_chooses_a_legible_size(width: int, height: int) -> None:
    assert MINIMUM_TEXT <= text_size(width, height) <= max(MINIMUM_TEXT, min(width, height))
