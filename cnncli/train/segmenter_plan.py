"""What a segmenter to be trained is made of: its backbone, its head's options, and the size of its input."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cnncli.catalog import HEADS
from cnncli.errors import UsageError
from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.train.config import TrainConfig
from cnncli.train.pretrained import pixels_of

STEP = 32  # px: sides of the input are multiples, so that maps of every stride fit each other
SIZE = 256  # px of the long side
DEFAULT_BACKBONE = "efficientnet_lite0"
VGG = "vgg11_bn"  # of the heads that mirror one; the papers' VGG-16 takes twice the time
UNETS = ("unet", "unet_small")
INSTANCES = "mask-rcnn"  # the head that tells objects apart
OBJECTS = ("boxes", "scores", "labels", "masks")  # its outputs
FINEST = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Kind:
    """What a head knows beside `ignore`, the backbone that it has by default, and whether its input has one size."""

    options: tuple[str, ...] = ("channels",)
    backbone: str = DEFAULT_BACKBONE
    fixed: bool = False


KINDS = {
    "unet": Kind(("channels", "finest")),
    "fcn32": Kind(),
    "fcn16": Kind(),
    "fcn8": Kind(),
    "deeplabv3": Kind(),
    "segnet": Kind((), VGG),
    "deconvnet": Kind(("channels",), VGG, fixed=True),
    INSTANCES: Kind(),
}


def kind_of(config: TrainConfig) -> str:
    """The head asked for. UsageError for another, and for options that it does not know."""
    kind = config.head or "unet"
    if kind not in KINDS:
        raise UsageError(f"--head {kind}: segment has the heads {', '.join(HEADS['segment'])}")
    config.check_options((*(() if kind == INSTANCES else ("ignore",)), *KINDS[kind].options), kind)
    if config.mixup:
        raise UsageError("--mixup: a pixel of two photos in one would have two classes; leave it out for segment")
    if kind == INSTANCES and (config.label_smoothing or config.dropout is not None):
        raise UsageError("--label-smoothing, --dropout: head mask-rcnn has neither; leave them out")
    channels, finest = config.option("channels", 1), config.option("finest", 1)
    if not isinstance(channels, int) or channels < 1:
        raise UsageError(f"--set channels={channels}: give a whole number from 1")
    if finest not in FINEST:
        raise UsageError(f"--set finest={finest}: choose 1, 2, 4, 8 or 16")
    return kind


def describe(
    config: TrainConfig, classes: tuple[str, ...], background: int, sizes: Sequence[tuple[int, int]]
) -> ModelInfo:
    """What the finished file says of itself. `sizes`: heights and widths of the photos to train on."""
    kind = kind_of(config)
    backbone = config.backbone or KINDS[kind].backbone
    height, width = _input(config.size or SIZE, sizes)
    recipe = {"input": [height, width], "filter": "bilinear", "background": background}
    recipe |= {"objects": True} if kind == INSTANCES else {"grid": "pixels"}
    mean, std = pixels_of(None, backbone)
    info = ModelInfo(
        name=config.out.name,
        task="segment",
        backbone=backbone,
        head=_head(config, kind, backbone, (height, width)),
        classes=classes,
        recipe=recipe,
        mean=mean,
        std=std,
        outputs=OBJECTS if kind == INSTANCES else ("logits",),
        licence="yours",
        source={"trained_by": "cnncli train", "data": Path(config.data).name},
    )
    least = _least_size(info)
    if min(height, width) < least:
        raise UsageError(f"--size: the input would be {width} x {height} px, {backbone} takes {least} px at least")
    if KINDS[kind].fixed or least > STEP:
        return info
    return replace(info, recipe={**recipe, "long_side": max(height, width), "sizes": [STEP, 0]})


def _input(long_side: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Height and width of training's input: of the photos' usual shape."""
    shape = median(height / width for height, width in sizes)
    height, width = (long_side, long_side / shape) if shape > 1 else (long_side * shape, long_side)
    return max(1, round(height / STEP)) * STEP, max(1, round(width / STEP)) * STEP


def _head(config: TrainConfig, kind: str, backbone: str, size: tuple[int, int]) -> dict[str, Any]:
    head: dict[str, Any] = {"kind": kind, "backbone": dict(config.backbone_options)}
    if kind == "deeplabv3":
        head["backbone"] = {"output_stride": 16, **head["backbone"]}
    if kind == "deconvnet":
        head["cells"] = [side // STEP for side in size]
    if kind == "unet" and backbone in UNETS:
        head |= {"channels": 512, "finest": 1}  # Ronneberger et al. 2015, fig. 1
    if config.dropout is not None:
        head["dropout"] = config.dropout
    return head | {name: config.option(name, None) for name in KINDS[kind].options if config.option(name, None)}


def _least_size(info: ModelInfo) -> int:
    """The shortest side that the backbone takes, in px; UsageError where the head can't use it."""
    with torch.device("meta"):
        return build(info).backbone.least_size
