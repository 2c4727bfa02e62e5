"""`cnncli eval` as a user calls it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import records


@pytest.fixture
def labelled(tmp_path: Path, photos: Path) -> Path:
    """Two classes; one photo of the second is labelled wrongly on purpose."""
    for folder, names in {"Egyptian_cat": ["chelsea.png"], "espresso": ["coffee.png", "rocket.jpg"]}.items():
        (tmp_path / "set" / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(photos / name, tmp_path / "set" / folder / name)
    return tmp_path / "set"


def test_eval_counts_what_is_right(cnncli, labelled: Path) -> None:
    figures = json.loads(cnncli("eval", "classify", labelled, "--json").stdout)
    assert figures["photos"] == 3
    assert figures["top1"] == pytest.approx(66.67)
    assert [entry["top1"] for entry in figures["classes"]] == [100, 50]
    assert {"label": "espresso", "predicted": "espresso", "photos": 1} in figures["confusion"]


def test_eval_prints_the_same_for_people(cnncli, labelled: Path) -> None:
    text = cnncli("eval", "classify", labelled).stdout.decode()
    assert "top-1 66.67 %" in text
    assert "confusion matrix" in text


def test_eval_keeps_going_over_broken_photos(cnncli, labelled: Path, tmp_path: Path) -> None:
    (labelled / "espresso" / "broken.jpg").write_bytes(b"")
    done = cnncli("eval", "classify", labelled, "--json", "--records", "r.jsonl")
    assert done.returncode == 1
    figures = json.loads(done.stdout)
    assert (figures["photos"], figures["failed"], figures["top1"]) == (4, 1, 50.0)
    assert len(records((tmp_path / "r.jsonl").read_bytes())) == 4


def test_eval_explains_a_wrong_layout(cnncli, tmp_path: Path) -> None:
    done = cnncli("eval", "classify", tmp_path)
    assert done.returncode == 2
    assert b"one subfolder per class" in done.stderr
