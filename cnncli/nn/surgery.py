"""Changes to a finished network that keep the names of its parameters: normalisation, blur before halving, dilation."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models.resnet import BasicBlock, Bottleneck

from cnncli.errors import UsageError
from cnncli.nn.pooling import BlurPool, BlurredConv2d, DensePool, SlowPool

GROUPS = 32  # Wu & He 2018, "Group Normalization", sec. 4
TRACED_SIDE = 512  # px: so large that what valid convolutions cut off does not hide a halving
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Tanh)


class Bias(nn.Module):
    """What remains where normalisation is left out: a number added to each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, 1, 1)


def replace_norms(network: nn.Module, norm: str) -> int:
    """Put `norm` ("batch", "group", "instance" or "none") in the place of each batch norm; how many there were."""
    found = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    if norm != "batch":
        for parent, name, layer in found:
            setattr(parent, name, _norm(norm, layer))
    return len(found)


def _norm(norm: str, old: nn.BatchNorm2d) -> nn.Module:
    channels = old.num_features
    if norm == "group":
        return nn.GroupNorm(group_count(channels), channels, eps=old.eps)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, eps=old.eps, affine=True)
    if norm == "none":
        return Bias(channels)
    raise UsageError(f"norm {norm}: choose batch, group, instance or none")


def group_count(channels: int) -> int:
    """The largest divisor of `channels` that is not above 32."""
    return max(count for count in range(1, GROUPS + 1) if channels % count == 0)


def antialias(network: nn.Module) -> None:
    """Blur each map before it is halved: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", eq. 6 to 8.

    Pools are taken at every cell and then blurred; a strided convolution becomes a dense one, blurred after its
    activation; a strided 1x1 shortcut follows the blur. The first convolution, of the image itself, stays as it is, as
    in that paper's own networks: at every cell it would cost as much as the rest.
    """
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    for parent in list(network.modules()):
        if isinstance(parent, (BasicBlock, Bottleneck)):
            _antialias_block(parent)
        elif isinstance(parent, nn.Sequential):
            _antialias_chain(parent, first)
        for name, layer in parent.named_children():
            if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)) and layer.stride == 2:
                setattr(parent, name, SlowPool(layer))


def _antialias_block(block: BasicBlock | Bottleneck) -> None:
    """ResNet's activation has no place of its own after the strided convolution: the next one blurs what it takes."""
    strided, following = ("conv1", "conv2") if isinstance(block, BasicBlock) else ("conv2", "conv3")
    conv = block.get_submodule(strided)
    if conv.stride != (1, 1):
        conv.stride = (1, 1)
        setattr(block, following, BlurredConv2d(block.get_submodule(following)))


def _antialias_chain(chain: nn.Sequential, first: nn.Conv2d) -> None:
    layers = list(chain.named_children())
    for number, (name, layer) in enumerate(layers):
        if not isinstance(layer, nn.Conv2d) or layer.stride == (1, 1) or layer is first:
            continue
        if layer.kernel_size == (1, 1):
            setattr(chain, name, BlurredConv2d(layer))
            continue
        layer.stride = (1, 1)
        name, activation = next(entry for entry in layers[number:] if isinstance(entry[1], ACTIVATIONS))
        setattr(chain, name, nn.Sequential(activation, BlurPool()))


def dilate(network: nn.Module, output_stride: int) -> set[int]:
    """Halve maps no further than to `output_stride`: later layers take their input at as wide a spacing as before.

    Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation", sec. 3.1. Every value of the
    undilated network remains, in between come new ones (where padding is symmetric, and away from the far edge). The
    strides that its layers no longer reach.
    """
    kept = set()
    parents = {child: (parent, name) for parent in network.modules() for name, child in parent.named_children()}
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    for layer, (entering, leaving) in strides_of(network, [x for x in network.modules() if isinstance(x, kinds)]):
        spacing = max(1, entering // output_stride)
        if leaving > max(entering, output_stride):
            kept.add(leaving)
        if isinstance(layer, nn.Conv2d):
            layer.stride = tuple(min(step, max(1, output_stride // entering)) for step in layer.stride)
            if layer.kernel_size != (1, 1):
                layer.dilation = (spacing, spacing)
                layer.padding = tuple(padding * spacing for padding in layer.padding)
        elif leaving > output_stride:
            parent, name = parents[layer]
            setattr(parent, name, DensePool(layer, spacing))
    return kept


def strides_of(network: nn.Module, layers: Iterable[nn.Module]) -> list[tuple[nn.Module, tuple[int, int]]]:
    """Layers in the order of their use, with the strides (powers of two) of the map that each takes and gives."""
    return [(layer, (stride_of(taken), stride_of(given))) for layer, taken, given in shapes_of(network, layers)]


def shapes_of(
    network: nn.Module, layers: Iterable[nn.Module], side: int = TRACED_SIDE
) -> list[tuple[nn.Module, torch.Size, torch.Size]]:
    """Layers in the order of their use, with the shapes (N, C, H, W) that each takes and gives; nothing is computed.

    Layers that `network` does not run are not there, those that it runs twice are there twice.
    """
    found: list[tuple[nn.Module, torch.Size, torch.Size]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, taken, given: found.append((layer, taken[0].shape, given.shape)))
        for layer in layers
    ]
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    try:
        with torch.no_grad():
            meta = {name: tensor.to("meta") for name, tensor in state.items()}
            functional_call(network, meta, torch.empty(2, 3, TRACED_SIDE, TRACED_SIDE, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def stride_of(shape: torch.Size) -> int:
    """Of a map of the traced input: the power of two that is nearest."""
    return 2 ** max(0, round(math.log2(TRACED_SIDE / shape[-1])))
