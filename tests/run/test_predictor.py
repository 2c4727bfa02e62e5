"""The library gives the records of the command, for whatever form images come in."""

import io
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
from tests.cli.tasks import WITH_MODELS, analyser, form
from tests.cli.test_contract import assert_same_answers
from tests.conftest import records

pytestmark = pytest.mark.parametrize("task", TASKS)


def test_gives_the_records_of_the_command(task: str, album: Path, cnncli) -> None:
    files = [str(path) for path in sorted(album.iterdir()) if path.suffix in (".png", ".jpg")]
    assert Predictor(task)([*files, "missing.jpg"]) == records(cnncli(*form(task), *files, "missing.jpg").stdout)


def test_takes_paths_bytes_arrays_and_pillow_images(task: str, album: Path) -> None:
    cat = album / "chelsea.png"
    with Image.open(cat) as picture:
        picture.load()
    answers = Predictor(task)([str(cat), cat, cat.read_bytes(), np.asarray(picture), picture])
    assert [answer["file"] for answer in answers] == [str(cat), str(cat), "#2", "#3", "#4"]
    own = {"file": "", "index": 0, "exif_orientation": None}  # an array has no EXIF
    assert_same_answers([{**answer, **own} for answer in answers[1:]], [{**answers[0], **own}] * 4)


def test_takes_a_single_image(task: str, album: Path) -> None:
    predictor = Predictor(task)
    assert len(predictor(album / "chelsea.png")) == 1
    assert len(predictor(np.zeros((8, 9, 3), np.uint8))) == 1
    assert predictor([]) == []


def test_bad_items_never_raise(task: str) -> None:
    bad = [
        "missing.jpg",
        b"junk",
        np.zeros((4, 4), np.int64),
        np.full((4, 4, 3), np.nan, np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
    ]
    answers = Predictor(task)([*bad, np.zeros((4, 4, 3), np.uint8)])
    assert [answer["ok"] for answer in answers] == [False] * 6 + [True]


def test_survives_pickling(task: str, album: Path) -> None:
    predictor = Predictor(task)
    before = predictor(album / "chelsea.png")
    assert pickle.loads(pickle.dumps(predictor))(album / "chelsea.png") == before


def test_rejects_wrong_options(task: str) -> None:
    with pytest.raises(UsageError, match="no option nonsense"):
        Predictor(task, nonsense=1)
    with pytest.raises(UsageError, match="choose from"):
        Predictor("divine")
    error, words = (WeightsError, "weights list") if task in WITH_MODELS else (UsageError, "runs no model")
    with pytest.raises(error, match=words):
        Predictor(task, model="nothing")(np.zeros((4, 4, 3), np.uint8))


def test_pictures_are_those_of_the_command(task: str, album: Path, here, tmp_path: Path) -> None:
    files = [album / "chelsea.png", album / "rocket.jpg"]
    suffix = ".npy" if ".npy" in analyser(task).picture_endings else ".png"
    assert here(*form(task), *files, "--out-dir", "out", "--suffix", suffix).returncode == 0
    *pictures, nothing = Predictor(task).pictures([*files, "missing.png"])
    assert nothing is None
    for file, picture in zip(files, pictures, strict=True):
        written = tmp_path / "out" / f"{file.stem}{suffix}"
        expected = np.load(written) if suffix == ".npy" else np.asarray(Image.open(io.BytesIO(written.read_bytes())))
        assert picture.dtype == expected.dtype
        np.testing.assert_array_equal(picture, expected)


def test_import_is_light(task: str) -> None:
    program = "import sys, cnncli; assert not {'numpy', 'cv2', 'torch', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
