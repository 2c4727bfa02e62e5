"""YuNet against the runtimes that its file was published for: OpenCV's FaceDetectorYN and ONNX Runtime."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.imaging.faces import STRIDES, Faces, decode_faces, pad_to_step
from cnncli.io.store import shipped_folder
from cnncli.io.weights import Weights, load_weights
from cnncli.nn.assemble import build
from cnncli.nn.faces import FaceFinder
from tests.nn.face_pictures import astronaut, pictures, small_picture

GOLDEN = Path(__file__).parent / "golden_faces" / "yunet.npz"  # made by make.py beside it
PARAMETERS = 53_104  # published: the convolutions of the source file
PUBLISHED_OUTPUTS = {"class_scores": "cls", "object_scores": "obj", "boxes": "bbox", "points": "kps"}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(shipped_folder() / "yunet.safetensors")


@pytest.fixture(scope="module")
def engine(weights: Weights) -> OnnxEngine:
    return OnnxEngine(weights, threads=1, parallel_calls=1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN))


def find(engine: OnnxEngine, picture: np.ndarray) -> Faces:
    padded = pad_to_step(picture)
    answers = [output[0] for output in engine.run(padded[None]).values()]
    return decode_faces(*answers, size=padded.shape[:2], threshold=0.6)


def test_counts_the_published_parameters(weights: Weights) -> None:
    assert sum(parameter.numel() for parameter in build(weights.info).parameters()) == PARAMETERS


@pytest.mark.parametrize("name", pictures())
def test_finds_the_faces_that_opencv_finds(engine: OnnxEngine, golden: dict[str, np.ndarray], name: str) -> None:
    faces, expected = find(engine, pictures()[name]), golden[name]
    np.testing.assert_allclose(faces.boxes, expected[:, :4], atol=0.01)
    np.testing.assert_allclose(faces.points.reshape(-1, 10), expected[:, 4:14], atol=0.01)
    np.testing.assert_allclose(faces.scores, expected[:, 14], atol=1e-4)


@pytest.mark.parametrize("output", PUBLISHED_OUTPUTS)
def test_outputs_match_onnx_runtime(engine: OnnxEngine, golden: dict[str, np.ndarray], output: str) -> None:
    levels = [golden[f"{PUBLISHED_OUTPUTS[output]}_{stride}"] for stride in STRIDES]
    assert engine.run(small_picture()[None])[output] == pytest.approx(np.concatenate(levels, axis=1), abs=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (64, 160), (320, 320)])
def test_engines_agree_at_any_size(weights: Weights, engine: OnnxEngine, size: tuple[int, int]) -> None:
    photo = astronaut()[60 : 60 + size[0], 150 : 150 + size[1]]
    batch = np.stack([photo, photo[:, ::-1]])
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(batch)
    for output, values in engine.run(batch).items():
        cells = sum(size[0] // stride * (size[1] // stride) for stride in STRIDES)
        assert values.shape[:2] == (2, cells)
        np.testing.assert_allclose(values, by_torch[output], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_sees_blue_first() -> None:
    """A stem that passes on its first channel alone reads the last of RGB."""
    network = FaceFinder()
    torch.nn.init.zeros_(network.backbone.stem[0].weight)[:, 0, 1, 1] = 1
    blue, red = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    blue[:, 2], red[:, 0] = 255, 255
    of_black, of_blue, of_red = (network(picture)[2] for picture in (torch.zeros(1, 3, 32, 32), blue, red))
    assert torch.equal(of_red, of_black)
    assert not torch.equal(of_blue, of_black)


def test_matches_opencv_on_portraits(engine: OnnxEngine, data_set) -> None:
    """OpenCV reads the published file `face_detection_yunet_2023mar.onnx` in the folder `onnx` of the test data."""
    model = data_set("onnx") / "face_detection_yunet_2023mar.onnx"
    detector = cv2.FaceDetectorYN.create(str(model), "", (300, 300), score_threshold=0.6, nms_threshold=0.3)
    for path in sorted(data_set("lfw").glob("*.jpg"))[:100]:
        portrait = np.asarray(Image.open(path).convert("RGB").resize((300, 300), Image.Resampling.BICUBIC))
        expected = detector.detect(np.ascontiguousarray(portrait[:, :, ::-1]))[1]
        expected = expected[np.argsort(-expected[:, 14])]
        faces = find(engine, portrait)
        np.testing.assert_allclose(faces.boxes, expected[:, :4], atol=0.5)
        np.testing.assert_allclose(faces.points.reshape(-1, 10), expected[:, 4:14], atol=0.5)
