"""1163 odd and broken files: each gives a picture or one sentence, soon; what Pillow and we both read has one size."""

import csv
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest

from cnncli.errors import InputError
from cnncli.io.images import DEFAULT_MAX_PIXELS, Photo, decode, read_file

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
def outcomes_in(folder: Path) -> tuple[Outcome, ...]:
    with open(folder / "manifest.csv", newline="") as file:
        return tuple(outcome_of(folder / row["file"], row) for row in csv.DictReader(file))


def outcome_of(path: Path, row: dict[str, str]) -> Outcome:
    photo = failure = None
    start = time.perf_counter()
    try:
        photo = decode(read_file(path, DEFAULT_MAX_PIXELS))
    except InputError as error:
        failure = str(error)
    return Outcome(path, row, photo, failure, time.perf_counter() - start)


@pytest.fixture
def outcomes(data_set) -> tuple[Outcome, ...]:
    return outcomes_in(data_set("badinput"))


def test_answers_for_every_file(outcomes) -> None:
    assert len(outcomes) == FILES
    for outcome in outcomes:
        assert (outcome.photo is None) != (outcome.failure is None)
        assert outcome.failure is None or (outcome.failure and "\n" not in outcome.failure)


def test_answers_soon(outcomes) -> None:
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    assert slowest.seconds < 2, slowest.path


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
