"""torchvision's official weights: found by name, fetched from a server on this machine, equal to torchvision's own."""

import functools
import hashlib
import http.server
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cnncli import Predictor
from cnncli.cli.weights import pull
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError, WeightsError
from cnncli.io.store import pulled_folder
from cnncli.io.weights import ModelInfo, load_weights
from cnncli.nn import official
from cnncli.nn.checkpoint import COUNTER
from cnncli.nn.official import OfficialWeights, convert, find
from cnncli.tasks.classify import Classify, ClassifyOptions
from tests.conftest import PHOTOS
from tests.nn.networks import randomised, softmax

PHOTO = PHOTOS / "chelsea.png"
ENTRIES = [
    f"{network}.{member}"
    for network in torchvision.models.list_models(module=torchvision.models)
    for member, weights in torchvision.models.get_model_weights(network).__members__.items()
    if weights.meta["categories"]
]

# small ones, each with something of its own: a plain one; one without a linear layer; one with heads that the graph
# leaves out and a second normalisation; one whose layers ask for their version
NETWORKS = ["resnet18", "squeezenet1_1", "googlenet", "mnasnet0_5"]


def own_network(name: str) -> torch.nn.Module:
    """torchvision's network as it is after loading official weights, with random ones.

    float16 holds them exactly: any difference between this network and a converted file is a mistake.
    """
    options = {"transform_input": True, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, **options)
    return randomised(network, side=224).half().float()


def own_answer(network: torch.nn.Module, name: str, photo: Image.Image) -> np.ndarray:
    """Probabilities (1000,) of torchvision's network for a photo, prepared as torchvision's weights say."""
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    with torch.no_grad():
        return softmax(network(transforms(photo)[None]).numpy())[0]


def prepared(info: ModelInfo, photo: Image.Image) -> np.ndarray:
    task = Classify({"classify": info}, ClassifyOptions())
    return task.prepare(np.asarray(photo))[None]


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


@pytest.mark.parametrize("name", ENTRIES)
def test_finds_every_entry(name: str) -> None:
    entry = find(name)
    weights = torchvision.models.get_weight(name_of_enum(name))
    assert re.fullmatch("[0-9a-f]{8,64}", entry.sha256_prefix)
    assert entry.sha256_prefix in entry.url
    assert entry.size == pytest.approx(weights.meta["_file_size"] * 2**20, rel=1e-3)
    assert len(entry.info.classes) == 1000
    preset = weights.transforms()
    assert np.divide(entry.info.mean, 255).tolist() == pytest.approx(preset.mean)
    assert np.divide(entry.info.std, 255).tolist() == pytest.approx(preset.std)


def name_of_enum(name: str) -> str:
    network, _, member = name.partition(".")
    return f"{torchvision.models.get_model_weights(network).__name__}.{member}"


def recipes() -> dict[str, str]:
    """One entry for each way of preparing."""
    return {str(sorted(find(name).info.recipe.items())): name for name in ENTRIES}


@pytest.mark.parametrize("name", recipes().values())
def test_prepares_as_the_entry_says(name: str, photo: Image.Image) -> None:
    info = find(name).info
    expected = torchvision.models.get_weight(name_of_enum(name)).transforms()(photo)
    grey = expected.permute(1, 2, 0).numpy() * info.std + info.mean
    assert np.abs(prepared(info, photo)[0] - grey).max() < 1.01


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonesuch.DEFAULT", "no classification network 'nonesuch'; it has alexnet, "),
        ("resnet51.DEFAULT", "no classification network 'resnet51'; perhaps resnet50"),
        ("fcn_resnet50.DEFAULT", "no classification network 'fcn_resnet50'; "),
        ("resnet50", "no classification weights ''; choose resnet50.IMAGENET1K_V1, resnet50.IMAGENET1K_V2"),
        ("resnet50.V3", "no classification weights 'V3'"),
        ("vgg16.IMAGENET1K_FEATURES", "no classification weights 'IMAGENET1K_FEATURES'; choose vgg16.IMAGENET1K_V1"),
    ],
)
def test_rejects_other_names(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        find(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_converts_to_what_torchvision_answers(name: str, tmp_path: Path, photo: Image.Image) -> None:
    network, target = own_network(name), tmp_path / "converted.safetensors"
    torch.save(network.state_dict(), tmp_path / "state.pth")
    convert(find(f"{name}.DEFAULT"), tmp_path / "state.pth", target)
    weights = load_weights(target)
    # a photo that needs no resizing: a network with random weights makes much of a grey level
    short = weights.info.recipe["resize"]
    photo = photo.resize((short + 40, short))
    expected = own_answer(network, name, photo)
    assert 0.02 < expected.max() < 0.999  # a score that a mistake would change
    images = prepared(weights.info, photo)
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(images)
    by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(images)
    np.testing.assert_allclose(softmax(by_torch["logits"])[0], expected, atol=2e-4)
    np.testing.assert_allclose(softmax(by_onnx["logits"])[0], expected, atol=2e-4)
    scale = np.abs(by_torch["features"]).max()
    np.testing.assert_allclose(by_onnx["features"] / scale, by_torch["features"] / scale, atol=1e-4)
    assert by_onnx["features"].ndim == 2
    assert len(weights.graph) < 300_000


def test_reads_the_old_names_of_densenet() -> None:
    state = {
        "features.denseblock1.denselayer12.norm.1.running_mean": 1,
        "features.conv0.weight": 2,
        "classifier.bias": 3,
    }
    official._rename_old_densenet(state)
    assert state == {
        "features.denseblock1.denselayer12.norm1.running_mean": 1,
        "features.conv0.weight": 2,
        "classifier.bias": 3,
    }
    own = torchvision.models.densenet121(weights=None).state_dict()
    own = {name: tensor for name, tensor in own.items() if not name.endswith(COUNTER)}  # younger than those files
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): tensor for name, tensor in own.items()}
    assert old.keys() != own.keys()
    official._rename_old_densenet(old)
    assert old.keys() == own.keys()


def test_vision_transformers_take_the_size_of_their_weights() -> None:
    for member, size in (("IMAGENET1K_V1", 224), ("IMAGENET1K_SWAG_E2E_V1", 384)):
        info = find(f"vit_b_16.{member}").info
        with torch.device("meta"):
            network = official.build(info).network
            official_one = torchvision.models.vit_b_16(image_size=size)
        assert network.encoder.pos_embedding.shape == official_one.encoder.pos_embedding.shape
        assert info.recipe["input"] == [size, size]


NAME = "squeezenet1_1.IMAGENET1K_V1"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A network and the folder with its state dict, as a publisher has it."""
    folder = tmp_path_factory.mktemp("published")
    network = own_network("squeezenet1_1")
    torch.save(network.state_dict(), folder / "state.pth")
    return network, folder


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`serve(file)` makes a file on a server of this machine the place of the official weights."""
    servers = []

    def start(file: Path, **changes) -> None:
        handler = functools.partial(Quiet, directory=file.parent)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        content = file.read_bytes()
        facts = {"sha256_prefix": hashlib.sha256(content).hexdigest()[:8], "size": len(content), **changes}
        url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        monkeypatch.setattr(official, "find", lambda name: changed(find(name), url=url, **facts))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def changed(entry: OfficialWeights, **changes) -> OfficialWeights:
    return replace(entry, **changes)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


def left() -> list[str]:
    return [path.name for path in pulled_folder().iterdir()]


def test_pulls_and_answers(
    published, serve, capfd: pytest.CaptureFixture[str], photo: Image.Image, tmp_path: Path
) -> None:
    network, folder = published
    photo = photo.resize((300, 256))
    photo.save(tmp_path / "photo.png")
    serve(folder / "state.pth")
    assert pull(NAME) == 0
    target = pulled_folder() / f"{NAME}.safetensors"
    assert capfd.readouterr().out == f"{target}\n"
    assert left() == [target.name]
    expected = own_answer(network, "squeezenet1_1", photo)
    for engine in ("onnx", "torch"):
        (record,) = Predictor("classify", model=NAME, engine=engine, top_k=3)(tmp_path / "photo.png")
        assert record["model"] == NAME
        best = [entry["index"] for entry in record["classes"]]
        assert best == np.argsort(-expected)[:3].tolist()
        assert [entry["score"] for entry in record["classes"]] == pytest.approx(expected[best], abs=1e-3)


def test_keeps_what_is_there_unless_told(published, serve, capfd: pytest.CaptureFixture[str]) -> None:
    target = pulled_folder() / f"{NAME}.safetensors"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"there")
    assert pull(NAME, overwrite=False) == 0
    assert target.read_bytes() == b"there"
    serve(published[1] / "state.pth", sha256_prefix="00000000")
    with pytest.raises(WeightsError):
        pull(NAME, overwrite=True)
    assert target.read_bytes() == b"there"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha256_prefix": "0123abcd"}, r"SHA-256 [0-9a-f]{16}… is not 0123abcd…; nothing was kept"),
        ({"size": 5_500_000}, r"bytes, expected about 5,500,000; nothing was kept"),
    ],
)
def test_leaves_nothing_of_another_file(published, serve, change: dict, sentence: str) -> None:
    serve(published[1] / "state.pth", **change)
    with pytest.raises(WeightsError, match=sentence):
        pull(NAME)
    assert left() == []


def test_leaves_nothing_where_there_is_no_file(published, serve, tmp_path: Path) -> None:
    (tmp_path / "gone.pth").write_bytes(b"soon")
    serve(tmp_path / "gone.pth")
    (tmp_path / "gone.pth").unlink()
    with pytest.raises(WeightsError, match=r"can't be fetched \(.*Not Found.*\)|can't be fetched \(.*not found"):
        pull(NAME)
    assert left() == []


class Malicious:
    """A pickle whose loading writes a file."""

    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return Path.write_text, (self.victim, "was here")


def as_zip(attack: object, file: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1), "attack": attack}, file)


def as_legacy(attack: object, file: Path) -> None:
    torch.save({"attack": attack}, file, _use_new_zipfile_serialization=False)


def as_plain_pickle(attack: object, file: Path) -> None:
    file.write_bytes(pickle.dumps({"attack": attack}))


@pytest.mark.parametrize("write", [as_zip, as_legacy, as_plain_pickle])
def test_never_runs_code_of_a_pickle(serve, tmp_path: Path, write: Callable[[object, Path], None]) -> None:
    victim, file = tmp_path / "victim", tmp_path / "state.pth"
    write(Malicious(victim), file)
    if write is as_plain_pickle:
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert victim.read_text() == "was here"  # the attack works on whoever unpickles
    victim.unlink()
    serve(file)
    with pytest.raises(WeightsError, match="is no state dict of tensors") as caught:
        pull(NAME)
    assert "\n" not in str(caught.value)
    assert not victim.exists()
    assert left() == []


@pytest.mark.parametrize(
    "content",
    [{"features.0.weight": torch.zeros(3)}, {"a": 1}, [torch.zeros(1)], torch.zeros(1), {1: torch.zeros(1)}],
    ids=["another shape", "no tensors", "list", "tensor", "numbered"],
)
def test_leaves_nothing_of_another_state_dict(serve, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "state.pth")
    serve(tmp_path / "state.pth")
    with pytest.raises(WeightsError, match=f"does not fit torchvision's {NAME}"):
        pull(NAME)
    assert left() == []


def test_stores_without_a_graph_what_cant_be_exported(
    published,
    serve,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    photo: Image.Image,
) -> None:
    def fail(*arguments, **options):
        raise ValueError("unsupported operator\nand much advice")

    monkeypatch.setattr(torch.onnx, "export", fail)
    network, folder = published
    serve(folder / "state.pth")
    assert pull(NAME) == 0
    message = (
        f"{NAME}: this network can't be written as an ONNX graph (unsupported operator); it runs with --engine torch"
    )
    assert message in capfd.readouterr().err.splitlines()[-1]
    (record,) = Predictor("classify", model=NAME, engine="torch")(PHOTO)
    assert record["classes"][0]["index"] == own_answer(network, "squeezenet1_1", photo).argmax()
    with pytest.raises(WeightsError, match="has no graph for the onnx engine; use --engine torch"):
        Predictor("classify", model=NAME, engine="onnx")(PHOTO)
