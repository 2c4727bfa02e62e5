"""Networks by name, without their numbers: of a weights file, or a backbone of the catalog with its published end."""

import difflib
import os
from pathlib import Path

import torch
from torch import nn

from cnncli.catalog import BACKBONES, MODELS
from cnncli.errors import UsageError, WeightsError
from cnncli.io.store import SUFFIX, model_path
from cnncli.io.weights import ModelInfo, read_info
from cnncli.nn.assemble import build, classifier, default_head
from cnncli.nn.tracing import Shape

USUAL_SIDE = 224  # px, of ImageNet's networks since AlexNet
OWN_SIDES = {"lenet5": 32}  # px, of the paper


def named_network(name: str, classes: int | None = None) -> tuple[nn.Module, Shape]:
    """A network on the "meta" device and the input (C, H, W) that it is made for.

    `name`: a model, a weights file, a backbone, whose classifier has `classes` (1000), or torchvision's official
    weights ("resnet50.IMAGENET1K_V2"), which need not be here. UsageError where it is none of these.
    """
    info = _info(name)
    with torch.device("meta"):
        if info is None:
            side = OWN_SIDES.get(name, USUAL_SIDE)
            return classifier(name, default_head(name), classes or 1000), (3, side, side)
        if classes is not None:
            raise UsageError(f"--classes: {name} has {len(info.classes)} of its own; leave it out")
        return build(info), (len(info.mean), *info.recipe["input"])


def _info(name: str) -> ModelInfo | None:
    """What a weights file says of itself; None for a backbone."""
    if name.endswith(SUFFIX) or os.sep in name:
        return read_info(Path(name))
    try:
        return read_info(model_path(name))
    except WeightsError:
        if name in BACKBONES:
            return None
    if "." in name:
        from cnncli.nn.official import find

        return find(name).info
    near = difflib.get_close_matches(name, [*MODELS, *BACKBONES], 3)
    hint = f"perhaps {' or '.join(near)}; " if near else ""
    raise UsageError(f"there is no network '{name}'; {hint}see 'cnncli models list --backbones'")


def network_macs(name: str) -> int:
    """Multiply-adds of a network for one input of its own size."""
    from cnncli.nn.layer_table import macs_of
    from cnncli.nn.tracing import trace

    return sum(map(macs_of, trace(*named_network(name))))
