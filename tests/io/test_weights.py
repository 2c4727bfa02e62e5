"""A weights file tells what it is, and any damage to it is found before a number is used."""

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cnncli.catalog import MODELS
from cnncli.errors import OutputError, WeightsError
from cnncli.io.store import installed_models, model_path, pulled_folder, shipped_folder
from cnncli.io.weights import ModelInfo, file_hashes, load_weights, read_info, save_weights

INFO = ModelInfo(
    name="tiny",
    task="classify",
    backbone="none",
    head={"name": "linear", "classes": 3},
    classes=("tench", "goldfish", "größter Hai"),
    recipe={"resize": 8, "input": [8, 8], "filter": "bicubic"},
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    outputs=("logits", "features"),
    licence="Apache-2.0",
    source={"package": "none", "version": "1"},
    measured={"top1": 12.5},
)
TENSORS = {
    "layer.weight": np.arange(12, dtype=np.float16).reshape(3, 4),
    "layer.bias": np.array([0.5, -1, 2], np.float32),
    "steps": np.array(7),
}
GRAPH = bytes(range(256)) * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, INFO, TENSORS, GRAPH)
    return path


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[..., None]:
    """Assert that a file of this content is refused with one sentence that names it."""

    def check(content: bytes, message: str | None = None) -> None:
        path = tmp_path / "broken.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            load_weights(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)

    return check


def header_length(content: bytes) -> int:
    return struct.unpack("<Q", content[:8])[0]


def with_metadata(metadata: Any, tensors: Mapping[str, np.ndarray] = TENSORS) -> bytes:
    """A safetensors file as another program would write it."""
    plain = safetensors.numpy.save(dict(tensors))
    length = header_length(plain)
    header = json.loads(plain[8 : 8 + length]) | {"__metadata__": metadata}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + plain[8 + length :]


def entries(**changes: Any) -> dict[str, Any]:
    plain = safetensors.numpy.save(dict(TENSORS))
    payload = plain[8 + header_length(plain) :]
    whole = dataclasses.asdict(INFO) | {"format": 1, "tensors_sha256": hashlib.sha256(payload).hexdigest()}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def test_round_trip(file: Path) -> None:
    weights = load_weights(file)
    assert weights.info == INFO == read_info(file)
    assert weights.graph == GRAPH
    assert set(weights.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert weights.tensors[name].dtype == tensor.dtype and np.array_equal(weights.tensors[name], tensor)


def test_round_trip_without_graph(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", INFO, TENSORS, None)
    assert load_weights(tmp_path / "a.safetensors").graph is None


def test_is_read_by_the_safetensors_library(file: Path) -> None:
    tensors = safetensors.numpy.load_file(file)
    assert all(np.array_equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_states_the_hash_of_the_file(file: Path) -> None:
    content = file.read_bytes()
    whole, payload = hashlib.sha256(content), hashlib.sha256(content[8 + header_length(content) :])
    assert load_weights(file).sha256 == whole.hexdigest()
    assert file_hashes(file) == (whole.hexdigest(), payload.hexdigest())


def test_says_that_a_file_can_t_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/a.safetensors: can't be written .No such file"):
        save_weights(tmp_path / "none" / "a.safetensors", INFO, TENSORS, GRAPH)


@pytest.mark.parametrize("part", ["header", "tensors"])
def test_finds_every_changed_byte(part: str, file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    start = 8 + header_length(content)
    check = content.index(b'"check"')  # the hash itself: without its name, the file is as one of another program
    places = range(0, start, 3) if part == "header" else range(start, len(content))
    for place in (place for place in places if not check <= place < check + 10):
        broken = bytearray(content)
        broken[place] ^= 1
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(WeightsError, match="broken: "):
            load_weights(tmp_path / "broken")


def test_finds_a_changed_label(file: Path, refuses) -> None:
    refuses(file.read_bytes().replace(b"goldfish", b"goldfisk"), "damaged, its header doesn't match its hash")


def test_finds_a_changed_number(file: Path, refuses) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x40
    refuses(bytes(content), "damaged, its tensors don't match the hash in its header")


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_finds_a_truncated_file(part: float, file: Path, refuses) -> None:
    content = file.read_bytes()
    refuses(content[: int(len(content) * part)], "cut short|damaged|not a safetensors file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file, or cut short"),
        (b"PK\3\4" + bytes(100), "not a safetensors file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "its header would be 9223372036854775808 bytes long"),
        (struct.pack("<Q", 99_000_000) + b"{}", "its header would be 99000000 bytes long"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"{}", "without cnncli's metadata"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "not a safetensors file"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc", "not a safetensors file"),
    ],
)
def test_refuses_other_files(content: bytes, message: str, refuses) -> None:
    refuses(content, message)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "without cnncli's metadata; see weights/README.md"),
        (None, "without cnncli's metadata"),
        (5, "without cnncli's metadata"),
        ("cnncli", "without cnncli's metadata"),
        ({"cnncli": 5}, "its metadata is incomplete"),
        ({"cnncli": "no json"}, "its metadata is incomplete"),
        ({"cnncli": "[]"}, "its metadata is incomplete"),
        ({"cnncli": "{}"}, "its metadata is incomplete"),
        ({"cnncli": "[" * 100_000}, "its metadata is incomplete"),
        ({"cnncli": json.dumps(entries(classes=None))}, "its metadata is incomplete .'classes'"),
        ({"cnncli": json.dumps(entries(classes=5))}, "its metadata is incomplete"),
        ({"cnncli": json.dumps(entries(format=2))}, "written by a later cnncli .format 2.; update cnncli"),
        ({"cnncli": json.dumps(entries(tensors_sha256=None))}, "tensors don't match"),
        ({"cnncli": json.dumps(entries()), "graph": "QUJD!!!!"}, "its graph can't be read"),
        ({"cnncli": json.dumps(entries()), "graph": 5}, "its graph can't be read"),
    ],
)
def test_refuses_other_metadata(metadata: Any, message: str, refuses) -> None:
    refuses(with_metadata(metadata), message)


def test_loads_a_file_without_hash_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_metadata({"cnncli": json.dumps(entries())}))
    assert load_weights(path).info == INFO


@pytest.mark.parametrize("taught", [False, True])
def test_refuses_a_kind_of_number_that_numpy_lacks(refuses, taught: bool) -> None:
    if taught:
        pytest.importorskip("ml_dtypes")
    header = {
        "__metadata__": {"cnncli": json.dumps(entries(tensors_sha256=hashlib.sha256(bytes(4)).hexdigest()))},
        "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    refuses(struct.pack("<Q", len(text)) + text + bytes(4), "store them as float16")


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_never_unpickles(protocol: int, tmp_path: Path, refuses) -> None:
    refuses(pickle.dumps(Trap(tmp_path / "mark"), protocol) + bytes(1000))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["none.safetensors", "none/a.safetensors"])
def test_says_that_a_file_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file; see 'cnncli weights list'"):
        load_weights(tmp_path / name)


def test_says_that_it_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"can't be read .Is a directory"):
        load_weights(tmp_path)


@pytest.fixture(params=MODELS)
def shipped(request: pytest.FixtureRequest) -> Path:
    return shipped_folder() / f"{request.param}.safetensors"


@pytest.mark.parametrize("name", ["other.safetensors", "no ending", "caf\udce9.safetensors"])
@pytest.mark.parametrize("way", [shutil.copy, os.symlink], ids=["copy", "link"])
def test_loads_under_another_name(name: str, way: Callable, shipped: Path, tmp_path: Path) -> None:
    way(shipped, tmp_path / name)
    assert load_weights(tmp_path / name).info.name == shipped.stem


def test_ships_complete_files(shipped: Path) -> None:
    info = read_info(shipped)
    assert (info.name, info.task) == (shipped.stem, MODELS[shipped.stem].task)
    for entry in ("backbone", "recipe", "mean", "std", "outputs", "licence", "source"):
        assert getattr(info, entry), f"{entry} is not stated"


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if entry.task == "classify"])
def test_ships_classes_in_their_usual_order(name: str) -> None:
    info = read_info(shipped_folder() / f"{name}.safetensors")
    assert len(set(info.classes)) == 1000
    assert [info.classes[number] for number in (0, 1, 207, 999)] == [
        "tench", "goldfish", "golden retriever", "toilet tissue"
    ]  # fmt: skip
    assert {"input", "resize", "filter"} <= set(info.recipe) and set(info.outputs) == {"logits", "features"}
    assert info.licence == "Apache-2.0" and info.measured


def test_ships_sound_files(shipped: Path) -> None:
    weights = load_weights(shipped)
    assert weights.sha256 == hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert weights.graph and all(np.isfinite(tensor).all() for tensor in weights.tensors.values())


def test_finds_models_by_name() -> None:
    for name in MODELS:
        assert model_path(name) == shipped_folder() / f"{name}.safetensors"
    assert {path.stem for path in installed_models()} >= set(MODELS)


def test_finds_pulled_models(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CNNCLI_CACHE", str(tmp_path))
    pulled_folder().mkdir()
    path = pulled_folder() / "resnet50.IMAGENET1K_V2.safetensors"
    save_weights(path, INFO, TENSORS, None)
    assert model_path("resnet50.IMAGENET1K_V2") == path and path in list(installed_models())


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("resnet50.IMAGENET1K_V2", "cnncli weights pull resnet50.IMAGENET1K_V2"), ("resnet", "cnncli weights list")],
)
def test_says_where_a_model_comes_from(name: str, way_out: str) -> None:
    with pytest.raises(WeightsError, match=way_out):
        model_path(name)
