"""The models that a server keeps."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from cnncli.engine import kept, onnx_engine
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from cnncli.serve import models
from cnncli.serve.models import KeptModels, model_paths

SMALL = "yunet"


@pytest.fixture
def copies(tmp_path: Path) -> list[str]:
    """Three files of one small model."""
    return [str(shutil.copy(model_path(SMALL), tmp_path / f"{number}.safetensors")) for number in range(3)]


def test_tells_what_is_missing_once_it_was_asked_for(copies: list[str]) -> None:
    missed: list[str] = []
    store = KeptModels(missed.append)
    assert store.session(store.weights(Path(copies[0]))) is None
    assert missed == [copies[0]]
    store.keep(copies[0])
    weights = store.weights(Path(copies[0]))
    assert missed == [copies[0]] and store.session(weights) is not None


def test_weights_keep_the_name_that_the_user_gave(copies: list[str], tmp_path: Path) -> None:
    store = KeptModels()
    store.keep(copies[0])
    link = tmp_path / "link.safetensors"
    link.symlink_to(copies[0])
    assert store.weights(link).path == link
    assert store.weights(link).sha256 == load_weights(link).sha256


def test_forgets_the_oldest(copies: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MOST_MODELS", 2)
    store = KeptModels()
    for path in (copies[0], copies[1], copies[0], copies[2]):
        store.keep(path)
    assert store.names == [copies[0], copies[2]]
    monkeypatch.setattr(models, "MOST_BYTES", os.path.getsize(copies[0]) + 1)
    store.keep(copies[1])
    assert store.names == [copies[1]]


def test_reads_a_changed_file_again(copies: list[str]) -> None:
    missed: list[str] = []
    store = KeptModels(missed.append)
    store.keep(copies[0])
    shutil.copy(model_path("sface"), copies[0])
    assert store.weights(Path(copies[0])).info.name == "sface"
    assert missed == [copies[0]]
    store.keep(copies[0])
    assert store.names == [copies[0]]


def test_leaves_broken_files_alone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    store = KeptModels()
    for path in (broken, tmp_path / "missing.safetensors", tmp_path):
        store.keep(str(path))
    assert store.names == []
    with pytest.raises(WeightsError):
        store.weights(broken)


def test_loading_and_running_starts_no_thread(copies: list[str]) -> None:
    """Threads do not survive a fork."""
    before = {int(name) for name in os.listdir("/proc/self/task")}
    count = threading.active_count()
    KeptModels().keep(copies[0])
    assert {int(name) for name in os.listdir("/proc/self/task")} <= before
    assert threading.active_count() == count


def test_long_run_gets_more_threads_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load_weights(model_path("efficientnet_lite0"))
    store = KeptModels()
    store.keep(str(weights.path))
    photo = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    plain = OnnxEngine(weights, threads=2, parallel_calls=1).run(photo)
    monkeypatch.setattr(kept, "_store", store)
    monkeypatch.setattr(onnx_engine, "LONG", 0.0)
    engine = OnnxEngine(weights, threads=2, parallel_calls=1)
    assert engine._session is store.session(weights)
    first, then = engine.run(photo), engine.run(photo)
    assert engine._session is not store.session(weights)
    for name in plain:
        np.testing.assert_array_equal(first[name], plain[name])
        np.testing.assert_array_equal(then[name], plain[name])


def test_paths_of_what_is_named() -> None:
    assert [Path(path).stem for path in model_paths(["verify-face", "efficientnet_lite0", "sobel"])] == [
        "yunet", "sface", "efficientnet_lite0"
    ]  # fmt: skip
