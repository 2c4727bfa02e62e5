"""EfficientNet: inverted residuals with squeeze-and-excite; width, depth and size scale together. torchvision's layers.

Source: Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", table 1 and sec. 4.
"""

from functools import partial

from torch import nn

from cnncli.nn.backbones.torchvision_maps import end_of, wrapped


def steps(network: nn.Module) -> list[str]:
    """Stem and stages; the last convolution, to four times the channels, belongs to the classification end."""
    return [f"features.{number}" for number in range(len(network.features) - 1)]


efficientnet_b0 = partial(wrapped, "efficientnet_b0", steps)
efficientnet_b1 = partial(wrapped, "efficientnet_b1", steps)
efficientnet_b2 = partial(wrapped, "efficientnet_b2", steps)
efficientnet_b3 = partial(wrapped, "efficientnet_b3", steps)
efficientnet_b4 = partial(wrapped, "efficientnet_b4", steps)
efficientnet_b5 = partial(wrapped, "efficientnet_b5", steps)
efficientnet_b6 = partial(wrapped, "efficientnet_b6", steps)
efficientnet_b7 = partial(wrapped, "efficientnet_b7", steps)
published_head = end_of(maps=("features.8", "avgpool"), vectors=("classifier",))
