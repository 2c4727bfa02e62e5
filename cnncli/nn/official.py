"""torchvision's official classification weights, by enum name (`resnet50.IMAGENET1K_V2`), made into weights files."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torchvision.transforms._presets import ImageClassification

from cnncli.errors import UsageError, WeightsError
from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import graph_of, tensors_of
from cnncli.nn.torchvision_networks import PREFIX

HASH_IN_URL = re.compile(r"-([0-9a-f]{8,64})\.pth$")  # torch.hub's convention: the first digits of the SHA-256
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet, whose terms apply to the images"


@dataclass(frozen=True)
class OfficialWeights:
    """One entry of torchvision's weights: where it is, how it is checked, what is known of it."""

    name: str
    url: str
    sha256_prefix: str
    size: int  # bytes, rounded by the publisher
    info: ModelInfo


def find(name: str) -> OfficialWeights:
    """The entry `network.WEIGHTS`. UsageError, with the choices, where there is none for classification."""
    network, _, member = name.partition(".")
    known = torchvision.models.list_models(module=torchvision.models)
    if network not in known:
        close = difflib.get_close_matches(network, known, 3)
        choices = f"perhaps {' or '.join(close)}" if close else f"it has {', '.join(known)}"
        raise UsageError(f"torchvision has no classification network '{network}'; {choices}")
    members = torchvision.models.get_model_weights(network).__members__
    entries = {member: weights for member, weights in members.items() if weights.meta["categories"]}
    if member not in entries:  # features alone, such as vgg16.IMAGENET1K_FEATURES, classify nothing
        choices = ", ".join(f"{network}.{entry}" for entry in entries)
        raise UsageError(f"{network} has no classification weights '{member}'; choose {choices}")
    return _entry(name, network, entries[member])


def entries() -> Iterator[tuple[OfficialWeights, int, int]]:
    """All of torchvision's classification weights, with the parameters and multiply-adds that it states."""
    for network in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(network):  # each once, without the alias DEFAULT
            if weights.meta["categories"]:
                entry = _entry(f"{network}.{weights.name}", network, weights)
                yield entry, weights.meta["num_params"], round(weights.meta["_ops"] * 1e9)


def _entry(name: str, network: str, weights: torchvision.models.WeightsEnum) -> OfficialWeights:
    match = HASH_IN_URL.search(weights.url)
    if match is None:
        raise WeightsError(f"{name}: torchvision states no hash for it, so it can't be checked")
    preset = weights.transforms()
    info = ModelInfo(
        name=name,
        task="classify",
        backbone=PREFIX + network,
        head=_builder_options(network, preset),
        classes=tuple(weights.meta["categories"]),
        recipe={
            "input": [preset.crop_size[0], preset.crop_size[0]],
            "resize": preset.resize_size[0],
            "filter": preset.interpolation.value,
        },
        mean=tuple(255 * value for value in preset.mean),
        std=tuple(255 * value for value in preset.std),
        outputs=("logits", "features"),
        licence=LICENCE,
        source={"package": "torchvision", "file": weights.url, "sha256": match[1] + "…"},
        measured={"published_top1": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]},
    )
    return OfficialWeights(name, weights.url, match[1], round(weights.meta["_file_size"] * (1 << 20)), info)


def _builder_options(network: str, preset: ImageClassification) -> dict[str, int]:
    """What torchvision's builder has to know beside the number of classes."""
    return {"image_size": preset.crop_size[0]} if network.startswith("vit_") else {}


def convert(
    entry: OfficialWeights, downloaded: Path, target: Path, notify: Callable[[str], None] = lambda message: None
) -> None:
    """Make a weights file, its graph included, of a downloaded state dict; nothing is unpickled but tensors.

    A network that can't be exported is stored without a graph, which the torch engine does not need.
    """
    try:
        state = torch.load(downloaded, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{entry.url}: is no state dict of tensors ({reason})") from error
    network = build(entry.info).eval()
    try:
        _rename_old_densenet(state)
        network.network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise WeightsError(f"{entry.url}: does not fit torchvision's {entry.name}") from error
    try:
        graph = graph_of(network, entry.info)
    except WeightsError as error:
        notify(f"{entry.name}: {error}; it runs with --engine torch")
        graph = None
    save_weights(target, entry.info, tensors_of(network), graph)


OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


def _rename_old_densenet(state: dict[str, torch.Tensor]) -> None:
    """torchvision's DenseNet files still have names with a dot that Python's modules may no longer have.

    In place, because the dict carries the versions of its layers, which MNASNet asks for.
    """
    for name in list(state):
        state[OLD_DENSENET.sub(r"\1\2", name)] = state.pop(name)
