"""Where training starts from: the parameters of a weights file, copied where names and shapes agree."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cnncli.errors import WeightsError
from cnncli.io.store import SUFFIX, installed_models, model_path, shipped_folder
from cnncli.io.weights import load_weights, read_info
from cnncli.nn.torchvision_networks import PREFIX, TRANSFORM_INPUT
from cnncli.train.config import FROM_HERE, FROM_SCRATCH

INCEPTION_PIXELS = (127.5,) * 3, (127.5,) * 3
TRUNK = "backbone."  # what parameters of the backbone are called in whole models


def find_pretrained(wanted: str, backbone: str | None) -> Path | None:
    """The weights file to start from: a file or model by name, "auto": one of this backbone on this machine.

    None where there is none, or where none is wanted.
    """
    if wanted == FROM_SCRATCH:
        return None
    if wanted != FROM_HERE:
        return Path(wanted) if wanted.endswith(SUFFIX) or "/" in wanted else model_path(wanted)
    if backbone is None:
        return None
    own = shipped_folder() / f"{backbone}{SUFFIX}"
    return own if own.is_file() else next(_made_of(backbone), None)


def _made_of(backbone: str) -> Iterator[Path]:
    """Files of classifiers with this backbone, in whatever spelling."""
    for path in installed_models():
        try:
            info = read_info(path)
        except WeightsError:
            continue
        if info.task == "classify" and info.backbone in (backbone, PREFIX + backbone):
            yield path


def start_from(network: nn.Module, path: Path) -> tuple[int, int]:
    """Copy a file's parameters and statistics into a network; how many of the network's were found, of how many.

    WeightsError where nothing fits. A head for other classes has another shape, and stays as it is.
    """
    weights = load_weights(path)
    own = network.state_dict()
    found = {
        name: array for name in own if (array := _array(weights.tensors, name, tuple(own[name].shape))) is not None
    }
    if not found:
        raise WeightsError(f"{path}: has nothing for this network, it is a {weights.info.backbone}; see --pretrained")
    with torch.no_grad():
        for name, array in found.items():
            own[name].copy_(torch.from_numpy(array))
    stored = sum(not name.endswith("num_batches_tracked") for name in own)  # counters are not stored
    return len(found), stored


def _array(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The file's tensor of this name: whole torchvision networks and bare backbones call it without `backbone.`."""
    for candidate in (name, name.removeprefix(TRUNK), TRUNK + name):
        if candidate in tensors and tensors[candidate].shape == shape:
            return tensors[candidate]
    return None


def pixels_of(path: Path | None, backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation (0..255) of the pixels that a network is trained on: those it has been trained on before."""
    if path is not None:
        info = read_info(path)
        if info.backbone.removeprefix(PREFIX) in TRANSFORM_INPUT:
            return INCEPTION_PIXELS  # torchvision turns ImageNet's into these inside those networks
        return info.mean, info.std
    if backbone.startswith("efficientnet_lite"):
        return (127.0,) * 3, (128.0,) * 3  # as published, see nn.backbones.efficientnet_lite
    return (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's
