"""What a denoiser is asked to be: kind and size of its network, and the noise that it learns to remove."""

from typing import Any

from cnncli.errors import UsageError
from cnncli.nn.denoisers import SIGMA_RANGE
from cnncli.nn.denoising_unet import BILINEAR, TRANSPOSED
from cnncli.train.config import TrainConfig
from cnncli.train.patches import Noise

DEFAULT_HEAD = "unet"
# What a head knows, and what it is where nothing is asked for
HEADS: dict[str, dict[str, Any]] = {
    "unet": {"features": 32, "depth": 4, "upsampling": BILINEAR, "norm": "none", "residual": True, "blind": False},
    "dncnn": {"features": 64, "layers": 17, "norm": "batch", "residual": True, "blind": True},  # Zhang et al. 2017
    "ffdnet": {"features": 96, "layers": 12, "residual": False, "blind": False},  # the shipped network
}
LIMITS = {"features": (4, 512), "depth": (1, 5), "layers": (3, 40)}
CHOICES = {"upsampling": (BILINEAR, TRANSPOSED)}
FLAGS = ("residual", "blind")
OF_NOISE = ("sigma", "bits", "grey", "patches")
DEFAULT_SIGMA = (0.0, 55.0)  # of DnCNN-B, Zhang et al. 2017, sec. IV-A
DEFAULT_GREY = 0.1
DEFAULT_SIZE = 64
MOST_SIGMA = 255
OF_OTHERS = ("antialias", "output_stride", "dropout", "mixup", "label_smoothing")  # what no denoiser has


def head_of(config: TrainConfig) -> dict[str, Any]:
    """What the weights file says of the network. UsageError for what no such network knows."""
    kind = config.head or DEFAULT_HEAD
    if kind not in HEADS:
        raise UsageError(f"--head {kind}: choose {', '.join(HEADS)}")
    if config.backbone not in (None, kind):
        raise UsageError(f"--backbone {config.backbone}: denoisers are whole networks; choose one by --head instead")
    for name in OF_OTHERS:
        if getattr(config, name):
            raise UsageError(f"--{name.replace('_', '-')}: denoisers know no such thing")
    defaults = HEADS[kind]
    config.check_options((*(name for name in defaults if name != "norm"), *OF_NOISE), kind)
    head = {name: config.option(name, value) for name, value in defaults.items() if name != "norm"}
    for name, value in head.items():
        _check(name, value)
    return {"kind": kind, **head, **_norm(config, kind)}


def _check(name: str, value: Any) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        raise UsageError(f"--set {name}={value}: choose {' or '.join(CHOICES[name])}")
    if name in FLAGS and not isinstance(value, bool):
        raise UsageError(f"--set {name}={value}: choose true or false")
    if name in LIMITS:
        low, high = LIMITS[name]
        if not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"--set {name}={value}: give a whole number from {low} to {high}")


def _norm(config: TrainConfig, kind: str) -> dict[str, str]:
    default = HEADS[kind].get("norm")
    if default is None:
        if config.norm not in (None, "none"):
            raise UsageError(f"--norm {config.norm}: an FFDNet has no normalisation")
        return {}
    if config.norm in ("group", "instance"):
        raise UsageError(f"--norm {config.norm}: depends on the whole photo, so that tiles of it would differ; "
                         "choose batch or none")  # fmt: skip
    return {"norm": config.norm or default}


def noise_of(config: TrainConfig) -> Noise:
    """Noise by the options `sigma` ("25" or "0:55", of 255), `bits` (8 or float) and `grey` (a part of the patches)."""
    bits, grey, patches = config.option("bits", 8), config.option("grey", DEFAULT_GREY), config.option("patches", None)
    if str(bits) not in ("8", "float"):
        raise UsageError(f"--set bits={bits}: choose 8 (as a photo file holds them) or float")
    if not isinstance(grey, (int, float)) or not 0 <= grey <= 1:
        raise UsageError(f"--set grey={grey}: give a part of the patches from 0 to 1")
    if patches is not None and (not isinstance(patches, int) or patches < 1):
        raise UsageError(f"--set patches={patches}: give at least 1 of each photo")
    return Noise(_sigma_range(config.option("sigma", DEFAULT_SIGMA)), str(bits) == "8", float(grey))


def _sigma_range(sigma: Any) -> tuple[float, float]:
    """ "25", "0:55", a number or a pair as least and most noise level."""
    parts = sigma if isinstance(sigma, (tuple, list)) else str(sigma).split(":")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low = high = -1.0
    if len(parts) > 2 or not 0 <= low <= high <= MOST_SIGMA or high == 0:
        raise UsageError(
            f"--set sigma={sigma}: give a noise level of 255, as 25, or a range, as 0:55 ({SIGMA_RANGE[1]} is a lot)"
        )
    return low, high


def patch_side(config: TrainConfig, step: int) -> int:
    """Side of the training patches in px, a multiple of the network's step."""
    size = config.size or max(DEFAULT_SIZE, 2 * step)
    if size % step:
        near = max(step, round(size / step) * step)
        raise UsageError(f"--size {size}: this network takes multiples of {step} px, as {near}")
    return size
