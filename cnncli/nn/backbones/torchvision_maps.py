"""torchvision's classification networks as backbones: their layers and names, the maps of each stride as outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import torchvision
from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone, parts_of
from cnncli.nn.heads.classify import PublishedHead
from cnncli.nn.pooling import GlobalMean

Steps = Callable[[nn.Module], Sequence[str]]  # of a network: the paths of the parts that make its maps


def wrapped(name: str, steps: Steps, kind: type[ChainBackbone] = ChainBackbone, **options: Any) -> ChainBackbone:
    """torchvision's network `name` without its classification end; `options` are those of torchvision's builder."""
    network = torchvision_network(name, **options)
    least = max(torchvision.models.get_model_weights(name).DEFAULT.meta["min_size"])
    return kind(name, network, steps(network), least)


def end_of(maps: Sequence[str], vectors: Sequence[str] = (), **options: Any) -> Callable[..., PublishedHead]:
    """A function of name, classes and dropout that gives the classification end of torchvision's network.

    `maps` and `vectors` are paths of its parts, see PublishedHead; `options` those of torchvision's builder.
    """

    def published_head(name: str, classes: int, dropout: float | None) -> PublishedHead:
        network = torchvision_network(name, num_classes=classes, **options)
        return PublishedHead(parts_of(network, (*maps, *vectors)), maps, vectors, dropout)

    return published_head


def torchvision_network(name: str, **options: Any) -> nn.Module:
    """The network with random parameters, its global means in a form that graphs like."""
    network = torchvision.models.get_model(name, weights=None, **options)
    for parent in list(network.modules()):
        for child, layer in parent.named_children():
            if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
                setattr(parent, child, GlobalMean())
    return network


def children_of(part: str) -> Steps:
    """The children of one part, in order."""
    return lambda network: [f"{part}.{name}" for name, _ in network.get_submodule(part).named_children()]
