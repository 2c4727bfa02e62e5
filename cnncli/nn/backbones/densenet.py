"""DenseNet: each layer of a block takes all maps before it, as torchvision has them.

Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1.
"""

from functools import partial

from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.backbones.torchvision_maps import end_of, wrapped


def densenet(name: str, dropout: float = 0) -> ChainBackbone:
    """Maps: the first convolution's, those of the transitions before they pool, and the last. `dropout`: per layer."""
    return wrapped(name, _steps, drop_rate=dropout)


def _steps(network: nn.Module) -> list[str]:
    """Transitions are taken apart, to get their maps before they are halved."""
    network.features.add_module("relu5", nn.ReLU(inplace=True))  # torchvision applies it without a layer
    steps = []
    for name, part in network.features.named_children():
        inner = [layer for layer, _ in part.named_children()] if name.startswith("transition") else []
        steps += [f"features.{name}.{layer}" for layer in inner] or [f"features.{name}"]
    return steps


densenet121 = partial(densenet, "densenet121")
densenet161 = partial(densenet, "densenet161")
densenet169 = partial(densenet, "densenet169")
densenet201 = partial(densenet, "densenet201")
published_head = end_of(maps=(), vectors=("classifier",))
