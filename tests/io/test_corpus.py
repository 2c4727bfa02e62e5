"""1163 odd and broken files: each gives a picture or one sentence, soon; what Pillow and we both read has one size."""

import csv
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from cnncli.errors import InputError
from cnncli.io.images import DEFAULT_MAX_PIXELS, Photo, decode, read_file
from cnncli.io.stored import decode_stored

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

TOLERATED_JPEGS = 19  # that Pillow reads past what libjpeg-turbo reports as damage
FILES = 1163


class Outcome(NamedTuple):
    """What became of a file; `row` is its line of the manifest, `failure` the text of an InputError."""

    path: Path
    row: dict[str, str]
    photo: Photo | None
    failure: str | None
    seconds: float


@cache
def outcomes_in(folder: Path, reader: Callable[[bytes], Photo]) -> tuple[Outcome, ...]:
    with open(folder / "manifest.csv", newline="") as file:
        return tuple(outcome_of(folder / row["file"], row, reader) for row in csv.DictReader(file))


def outcome_of(path: Path, row: dict[str, str], reader: Callable[[bytes], Photo]) -> Outcome:
    photo = failure = None
    start = time.perf_counter()
    try:
        photo = reader(read_file(path, DEFAULT_MAX_PIXELS))
    except InputError as error:
        failure = str(error)
    return Outcome(path, row, photo, failure, time.perf_counter() - start)


@pytest.fixture
def outcomes(data_set) -> tuple[Outcome, ...]:
    return outcomes_in(data_set("badinput"), decode)


@pytest.fixture
def stored(data_set) -> tuple[Outcome, ...]:
    """Of the same files, read for what they store."""
    return outcomes_in(data_set("badinput"), decode_stored)


def test_answers_for_every_file(outcomes, stored) -> None:
    assert len(outcomes) == len(stored) == FILES
    for outcome in (*outcomes, *stored):
        assert (outcome.photo is None) != (outcome.failure is None)
        assert outcome.failure is None or (outcome.failure and "\n" not in outcome.failure)


def test_answers_soon(outcomes, stored) -> None:
    slowest = max((*outcomes, *stored), key=lambda outcome: outcome.seconds)
    assert slowest.seconds < 2, slowest.path


def test_reads_what_is_stored_wherever_it_shows_a_picture(outcomes, stored) -> None:
    for shown, kept in zip(outcomes, stored, strict=True):
        assert kept.failure == shown.failure or (kept.failure and shown.failure), kept.path
        if kept.photo is not None:
            assert kept.photo.pixels.shape[:2] == shown.photo.pixels.shape[:2], kept.path
            assert kept.photo.orientation == shown.photo.orientation, kept.path


def test_what_is_stored_looks_like_what_is_shown(outcomes, stored) -> None:
    """Laid on white, in 8 bits; numbers of no known white aside."""
    compared = 0
    for shown, kept in zip(outcomes, stored, strict=True):
        if kept.photo is not None and kept.photo.pixels.dtype in (np.uint8, np.uint16):
            assert np.abs(laid_on_white(kept.photo) - shown.photo.pixels).max() < 1.6, kept.path
            compared += 1
    assert compared > 700


def laid_on_white(photo: Photo) -> np.ndarray:
    """A stored picture as real numbers 0..255, (H, W, 1) or (H, W, 3)."""
    white = np.iinfo(photo.pixels.dtype).max
    alpha = 1.0 if photo.alpha is None else photo.alpha[..., None] / white
    return (photo.pixels.reshape(*photo.pixels.shape[:2], -1) / white * alpha + 1 - alpha) * 255


def test_agrees_with_pillow_on_the_size(outcomes) -> None:
    compared = 0
    for outcome in outcomes:
        if outcome.photo is not None and outcome.row["w"]:
            stated = {int(outcome.row["w"]), int(outcome.row["h"])}
            assert set(outcome.photo.pixels.shape[:2]) == stated, outcome.path
            compared += 1
    assert compared > 700


def test_fails_only_where_a_decoder_reports_damage(outcomes) -> None:
    refused = [outcome for outcome in outcomes if outcome.row["pillow"] == "ok" and outcome.failure]
    assert all(outcome.failure.startswith("damaged (") for outcome in refused)
    jpegs = [outcome for outcome in refused if outcome.row["format"] == "JPEG"]
    others = [outcome for outcome in refused if outcome.row["format"] != "JPEG"]
    assert len(jpegs) == TOLERATED_JPEGS
    for outcome in others:  # libpng refuses them as well
        assert outcome.row["format"] == "PNG" and cv2.imread(str(outcome.path)) is None, outcome.path


def test_shows_no_part_of_what_pillow_fails_to_load(outcomes) -> None:
    assert not [outcome.path for outcome in outcomes if outcome.row["pillow"] == "open-only" and outcome.photo]
