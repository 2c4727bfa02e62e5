"""VGG: blocks of 3x3 convolutions, each followed by a 2x2 max-pool, as torchvision has them.

Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", table 1;
11, 13, 16 and 19 layers are its columns A, B, D and E. Batch norm (`_bn`) is later than the paper.
"""

from functools import partial
from itertools import groupby

from torch import nn

from cnncli.nn.backbones.chain import ChainBackbone
from cnncli.nn.backbones.torchvision_maps import children_of, end_of, wrapped


class VGG(ChainBackbone):
    """Maps at strides 1 to 16, the ends of the five blocks, and the last pool's at 32."""

    def __init__(self, name: str, network: nn.Module, steps: list[str], least_size: int):
        super().__init__(name, network, steps, least_size)
        self.pools = tuple(step for step in steps if isinstance(network.get_submodule(step), nn.MaxPool2d))

    @property
    def blocks(self) -> list[nn.Sequential]:
        """The five blocks without their pools: who pools by himself can keep the places of the maxima."""
        runs = groupby(self.steps, key=lambda step: step in self.pools)
        return [nn.Sequential(*map(self.network.get_submodule, run)) for is_pool, run in runs if not is_pool]


vgg = partial(wrapped, steps=children_of("features"), kind=VGG)
vgg11, vgg11_bn = partial(vgg, "vgg11"), partial(vgg, "vgg11_bn")
vgg13, vgg13_bn = partial(vgg, "vgg13"), partial(vgg, "vgg13_bn")
vgg16, vgg16_bn = partial(vgg, "vgg16"), partial(vgg, "vgg16_bn")
vgg19, vgg19_bn = partial(vgg, "vgg19"), partial(vgg, "vgg19_bn")
published_head = end_of(maps=("avgpool",), vectors=("classifier",))
