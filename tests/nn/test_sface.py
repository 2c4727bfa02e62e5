"""SFace against ONNX Runtime on the published files, float32 and quantised."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import WeightsError
from cnncli.imaging.faces import align, cosine_distance, decode_faces, pad_to_step
from cnncli.io.store import shipped_folder
from cnncli.io.weights import Weights, load_weights
from cnncli.nn.assemble import build
from cnncli.nn.backbones.sface import PReLU
from cnncli.nn.faces import embedder
from tests.nn.face_pictures import chips

GOLDEN = Path(__file__).parent / "golden_faces" / "sface.npz"  # made by make.py beside it
PARAMETERS = 9_642_880  # published: the source file's, without the statistics of batch norm


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(shipped_folder() / "sface.safetensors")


@pytest.fixture(scope="module")
def engine(weights: Weights) -> OnnxEngine:
    return OnnxEngine(weights, threads=1, parallel_calls=1)


def test_counts_the_published_parameters(weights: Weights) -> None:
    assert sum(parameter.numel() for parameter in build(weights.info).parameters()) == PARAMETERS


def test_matches_the_quantised_file_in_onnx_runtime(engine: OnnxEngine) -> None:
    expected = np.load(GOLDEN)["dequantised"]
    embeddings = engine.run(chips("sface"))["embedding"]
    errors = np.linalg.norm(embeddings - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < 0.005  # stored in float16; OpenCV's versions differ by a grey level in the chips
    assert cosine_distance(embeddings, expected).max() < 1e-4


def test_is_close_to_the_float32_file_in_onnx_runtime(engine: OnnxEngine) -> None:
    distances = cosine_distance(engine.run(chips("sface"))["embedding"], np.load(GOLDEN)["float32"])
    assert distances.max() < 0.003


def test_engines_agree(weights: Weights, engine: OnnxEngine) -> None:
    by_onnx = engine.run(chips("sface"))["embedding"]
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(chips("sface"))["embedding"]
    assert by_onnx.shape == (4, 128)
    assert np.linalg.norm(by_onnx - by_torch) < 1e-4 * np.linalg.norm(by_torch)
    assert cosine_distance(by_onnx, by_torch).max() < 1e-4


def test_activation_matches_torch() -> None:
    own, reference = PReLU(3), torch.nn.PReLU(3)
    slopes = torch.tensor([0.25, -0.5, 1.5])
    for layer in (own, reference):
        layer.load_state_dict({"weight": slopes})
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(own(x), reference(x))


def test_rejects_an_embedder_that_is_not_in_the_catalog() -> None:
    with pytest.raises(WeightsError, match="'nonesuch' is not in this version's catalog"):
        embedder("nonesuch", {}, 0)


def test_matches_onnx_runtime_on_portraits(weights: Weights, engine: OnnxEngine, data_set) -> None:
    """The published file `face_recognition_sface_2021dec.onnx` is in the folder `onnx` of the test data."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every parameter that is an input too
    model = data_set("onnx") / "face_recognition_sface_2021dec.onnx"
    published = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    finder = OnnxEngine(load_weights(shipped_folder() / "yunet.safetensors"), threads=1, parallel_calls=1)
    distances = []
    for path in sorted(data_set("lfw").glob("*.jpg"))[:100]:
        chip = aligned(finder, np.asarray(Image.open(path).convert("RGB").resize((300, 300))), weights)
        expected = published.run(None, {"data": chip.transpose(2, 0, 1)[None].astype(np.float32)})[0]
        distances.append(cosine_distance(engine.run(chip[None])["embedding"], expected))
    assert np.mean(distances) < 0.001
    assert np.max(distances) < 0.003


def aligned(finder: OnnxEngine, portrait: np.ndarray, weights: Weights) -> np.ndarray:
    padded = pad_to_step(portrait)
    answers = [output[0] for output in finder.run(padded[None]).values()]
    faces = decode_faces(*answers, size=padded.shape[:2], threshold=0.6)
    recipe = weights.info.recipe
    return align(portrait, faces.points[0], np.array(recipe["template"]), tuple(recipe["input"]))
