"""torchvision's official classification weights, by enum name (`resnet50.IMAGENET1K_V2`), made into weights files."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

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
        raise UsageError(f"torchvision has no classification network '{network}'; it has {', '.join(known)}")
    entries = torchvision.models.get_model_weights(network).__members__
    if member not in entries:
        raise UsageError(f"{network} has no weights '{member}'; choose {', '.join(f'{network}.{e}' for e in entries)}")
    return _entry(name, network, entries[member])


def _entry(name: str, network: str, weights: torchvision.models.WeightsEnum) -> OfficialWeights:
    match = HASH_IN_URL.search(weights.url)
    if match is None:
        raise WeightsError(f"{name}: torchvision states no hash for it, so it can't be checked")
    preset = weights.transforms()
    info = ModelInfo(
        name=name,
        task="classify",
        backbone=PREFIX + network,
        head={},
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


def convert(entry: OfficialWeights, downloaded: Path, target: Path) -> None:
    """Make a weights file, its graph included, of a downloaded state dict; nothing is unpickled but tensors."""
    try:
        state = torch.load(downloaded, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{entry.url}: is no state dict of tensors ({error})") from error
    network = build(entry.info).eval()
    try:
        network.network.load_state_dict(_renamed(state))
    except (RuntimeError, AttributeError) as error:
        raise WeightsError(f"{entry.url}: does not fit torchvision's {entry.name}") from error
    save_weights(target, entry.info, tensors_of(network), graph_of(network, entry.info))


OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's DenseNet files still have names with a dot that Python's modules may no longer have."""
    return {OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}
