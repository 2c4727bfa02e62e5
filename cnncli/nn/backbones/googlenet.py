"""GoogLeNet: inception modules, and two further classifiers inside that only training asks; torchvision's layers.

Source: Szegedy et al. 2015, "Going Deeper with Convolutions", table 1 and fig. 3. As torchvision's it has batch norm,
and 3x3 convolutions where the paper has 5x5. Its published weights want pixels in -1..1, a mean and std of 127.5.
"""

from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.backbones.torchvision_maps import end_of, torchvision_network, wrapped

BUILDER = {"init_weights": False, "aux_logits": False}  # torch's own initial values, as the layers are normalised
AUXILIARY = {"aux1": "inception4a", "aux2": "inception4d"}  # and the step whose maps it takes, fig. 3


def steps(network: nn.Module) -> list[str]:
    names = [name for name, _ in network.named_children()]
    return names[: names.index("inception5b") + 1]


def googlenet() -> ChainBackbone:
    return wrapped("googlenet", steps, **BUILDER)


published_head = end_of(maps=("avgpool",), vectors=("dropout", "fc"), **BUILDER)


def auxiliary_heads(name: str, classes: int) -> dict[str, nn.Module]:
    """Heads by the step of the backbone whose maps they take; logits (N, classes) of each."""
    network = torchvision_network(name, num_classes=classes, init_weights=False)
    return {step: network.get_submodule(head) for head, step in AUXILIARY.items()}
