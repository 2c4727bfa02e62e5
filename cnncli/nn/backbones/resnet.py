"""ResNet: residual blocks, as torchvision has them (strides at the 3x3 convolutions of the bottlenecks).

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
"""

from functools import partial

from torch import nn

from cnncli.nn.backbones.torchvision_maps import end_of, wrapped

STEPS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def steps(network: nn.Module) -> tuple[str, ...]:
    return STEPS


resnet18 = partial(wrapped, "resnet18", steps)
resnet34 = partial(wrapped, "resnet34", steps)
resnet50 = partial(wrapped, "resnet50", steps)
resnet101 = partial(wrapped, "resnet101", steps)
resnet152 = partial(wrapped, "resnet152", steps)
published_head = end_of(maps=("avgpool",), vectors=("fc",))
