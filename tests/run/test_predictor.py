"""The library gives the records of the command, for whatever form images come in."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli import Predictor
from cnncli.catalog import TASKS
from cnncli.errors import UsageError, WeightsError
from tests.cli.test_contract import assert_same_answers
from tests.conftest import records

pytestmark = pytest.mark.parametrize("task", TASKS)


def test_gives_the_records_of_the_command(task: str, cnncli, photos: Path) -> None:
    files = [str(path) for path in sorted(photos.iterdir()) if path.suffix in (".png", ".jpg")]
    assert Predictor(task)([*files, "missing.jpg"]) == records(cnncli(task, *files, "missing.jpg").stdout)


def test_takes_paths_bytes_arrays_and_pillow_images(task: str, photos: Path) -> None:
    cat = photos / "chelsea.png"
    picture = Image.open(cat)
    answers = Predictor(task)([str(cat), cat, cat.read_bytes(), np.asarray(picture), picture])
    assert [answer["file"] for answer in answers] == [str(cat), str(cat), "#2", "#3", "#4"]
    own = {"file": "", "index": 0, "exif_orientation": None}  # an array has no EXIF
    assert_same_answers([{**answer, **own} for answer in answers[1:]], [{**answers[0], **own}] * 4)


def test_takes_a_single_image(task: str, photos: Path) -> None:
    predictor = Predictor(task)
    assert len(predictor(photos / "chelsea.png")) == 1
    assert len(predictor(np.zeros((8, 9, 3), np.uint8))) == 1
    assert predictor([]) == []


def test_bad_items_never_raise(task: str) -> None:
    bad = [
        "missing.jpg",
        b"junk",
        np.zeros((4, 4), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
    ]
    answers = Predictor(task)([*bad, np.zeros((4, 4, 3), np.uint8)])
    assert [answer["ok"] for answer in answers] == [False] * 5 + [True]


def test_survives_pickling(task: str, photos: Path) -> None:
    predictor = Predictor(task)
    before = predictor(photos / "chelsea.png")
    assert pickle.loads(pickle.dumps(predictor))(photos / "chelsea.png") == before


def test_rejects_wrong_options(task: str) -> None:
    with pytest.raises(UsageError, match="no option nonsense"):
        Predictor(task, nonsense=1)
    with pytest.raises(UsageError, match="choose from"):
        Predictor("divine")
    with pytest.raises(WeightsError, match="weights list"):
        Predictor(task, model="nothing")(np.zeros((4, 4, 3), np.uint8))


def test_import_is_light(task: str) -> None:
    program = "import sys, cnncli; assert not {'numpy', 'cv2', 'torch', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
