"""What a detector to be trained is made of: its head's options, and the detector that it may start from."""

from dataclasses import dataclass
from typing import Any

from cnncli.catalog import HEADS
from cnncli.errors import UsageError
from cnncli.io.weights import ModelInfo, read_info
from cnncli.nn.torchvision_networks import PREFIX
from cnncli.train.config import FROM_HERE, FROM_SCRATCH, TrainConfig
from cnncli.train.losses_boxes import POINT_LOSSES
from cnncli.train.pretrained import find_pretrained

DEFAULT_BACKBONE, DEFAULT_HEAD = "efficientnet_lite0", "efficientdet"


@dataclass(frozen=True)
class Kind:
    """What a head knows: its own options, and px of the input's side where none are asked for."""

    options: tuple[str, ...]
    size: int
    smooths: bool  # whether its loss has a target for classes that --label-smoothing can soften


KINDS = {
    "efficientdet": Kind(("channels", "cells"), 320, True),  # as the shipped EfficientDet-Lite0
    "grid": Kind(("channels",), 224, False),  # 7 cells of 32 px, the coarsest stride of most backbones
    "localize": Kind(("gamma",), 224, True),
    "landmarks": Kind(("loss",), 224, False),
}


@dataclass(frozen=True)
class Plan:
    """A backbone, a head's entries in the weights file, and the side of the input in px.

    `earlier`: what a detector of the same kind says of itself, where training starts from one.
    """

    kind: str
    backbone: str
    head: dict[str, Any]
    size: int
    earlier: ModelInfo | None


def make_plan(config: TrainConfig) -> Plan:
    """What the options ask for. UsageError for what the head does not know."""
    kind = config.head or DEFAULT_HEAD
    _check(config, kind)
    backbone, earlier = _start(config, kind)
    size = config.size or (earlier.recipe["input"][0] if earlier else KINDS[kind].size)
    return Plan(kind, backbone, _head(config, kind, earlier), size, earlier)


def _check(config: TrainConfig, kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"--head {kind}: detect has the heads {', '.join(HEADS['detect'])}")
    config.check_options(KINDS[kind].options, kind)
    if config.mixup:
        raise UsageError("--mixup: two photos in one would have the boxes of both; leave it out for detect")
    if config.label_smoothing and not KINDS[kind].smooths:
        raise UsageError(f"--label-smoothing: head {kind} has no cross entropy to smooth; leave it out")
    if config.dropout is not None and kind != "localize":
        raise UsageError(f"--dropout: head {kind} has none; leave it out")
    if kind == "efficientdet" and config.norm == "instance":
        raise UsageError(
            "--norm instance: EfficientDet's coarsest maps have too few cells for it; choose batch or group"
        )
    _check_options(config)


def _check_options(config: TrainConfig) -> None:
    for name in ("channels", "cells"):
        count = config.option(name, 1)
        if not isinstance(count, int) or count < 1:
            raise UsageError(f"--set {name}={count}: give a whole number from 1")
    gamma = config.option("gamma", 1.0)
    if not isinstance(gamma, (int, float)) or not 0 <= gamma < float("inf"):
        raise UsageError(f"--set gamma={gamma}: give 0 or more")
    loss = config.option("loss", POINT_LOSSES[0])
    if loss not in POINT_LOSSES:
        raise UsageError(f"--set loss={loss}: choose {' or '.join(POINT_LOSSES)}")


def _start(config: TrainConfig, kind: str) -> tuple[str, ModelInfo | None]:
    """The backbone and, where --pretrained names a detector of this kind with it, what that says of itself."""
    own = config.backbone or DEFAULT_BACKBONE
    if config.pretrained in (FROM_HERE, FROM_SCRATCH):
        return own, None
    info = read_info(find_pretrained(config.pretrained, own))
    backbone = config.backbone or info.backbone.removeprefix(PREFIX)
    same = info.task == "detect" and info.backbone == backbone and info.head.get("kind", DEFAULT_HEAD) == kind
    return backbone, info if same else None


def _head(config: TrainConfig, kind: str, earlier: ModelInfo | None) -> dict[str, Any]:
    """The head's entries: those of the detector that training starts from, or the defaults."""
    options = {name: config.option(name, None) for name in ("channels", "cells")}
    chosen = {name: value for name, value in options.items() if value is not None}
    if earlier is not None:
        _check_same(config, earlier, chosen)
        return {**earlier.head, "kind": kind}
    head: dict[str, Any] = {"kind": kind, "backbone": config.backbone_options}
    if kind == "efficientdet":
        norm = {} if config.norm == "none" else {"norm": config.norm or "batch"}
        return {**head, "channels": 64, "cells": 3, **norm, **chosen}  # Tan, Pang & Le 2020, table 1: D0
    if kind == "localize" and config.dropout is not None:
        head["dropout"] = config.dropout
    return {**head, **chosen}


def _check_same(config: TrainConfig, earlier: ModelInfo, chosen: dict[str, Any]) -> None:
    """UsageError where options ask for another network than that of the file to start from."""
    other = [f"--set {name}" for name, value in chosen.items() if earlier.head.get(name) != value]
    other += [f"--{name}" for name in ("norm", "dropout") if getattr(config, name) is not None]
    other += ["--output-stride"] * (config.output_stride is not None) + ["--antialias"] * config.antialias
    if other:
        raise UsageError(f"{other[0]}: the network is that of --pretrained {config.pretrained}; leave one of them out")
