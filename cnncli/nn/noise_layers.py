"""What all denoisers share: which channels they see, what their last layer means, and how they begin."""

from torch import Tensor, nn

COLOURS = 3


def channels_in(blind: bool) -> int:
    """Channels that a network sees: colours, and unless it is blind the noise level."""
    return COLOURS if blind else COLOURS + 1


def seen(x: Tensor, blind: bool) -> Tensor:
    """The channels of (N, 4, H, W) that a network sees."""
    return x[:, :COLOURS] if blind else x


def cleaned(x: Tensor, answer: Tensor, residual: bool) -> Tensor:
    """The clean RGB (N, 3, H, W): the answer itself, or what stays without it."""
    return x[:, :COLOURS] - answer if residual else answer


def initialise(network: nn.Module, last: nn.Conv2d, residual: bool) -> None:
    """He et al. 2015, "Delving deep into rectifiers", eq. 10: torch's own start fades in chains without batch norm."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if residual:
        nn.init.zeros_(last.weight)
