"""Layers that several networks share. Shapes are (N, C, H, W)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Cells to add before and after an axis of `size` for TensorFlow's SAME padding.

    The output has ceil(size / stride) cells; an odd total puts the extra cell after.
    """
    rest = size % stride  # written so that a graph for any size needs no more than a remainder
    total = max(kernel - (stride if rest == 0 else rest), 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, computed from the size of the map.

    At stride 2 an even map is padded on the far side only, which no fixed symmetric padding reproduces.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        top, bottom = same_padding(x.shape[2], rows, self.stride[0])
        left, right = same_padding(x.shape[3], columns, self.stride[1])
        if top == bottom and left == right:  # symmetric: the convolution pads by itself, with no copy of the map
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        return super().forward(F.pad(x, (left, right, top, bottom)))


class SameMaxPool2d(nn.Module):
    """Max-pooling with SAME padding by minus infinity."""

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = same_padding(x.shape[2], self.kernel, self.stride)
        left, right = same_padding(x.shape[3], self.kernel, self.stride)
        return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), self.kernel, self.stride)


def convolution(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
    dilation: int = 1,
    symmetric: bool = False,
) -> nn.Conv2d:
    """A convolution to ceil(size / stride) cells, kernel odd: SAME, or `symmetric`, with as many cells on either side.

    The two are equal at stride 1 and on odd maps. A symmetric one needs no size, so its graph takes maps of any.
    """
    kind, padding = (nn.Conv2d, dilation * (kernel // 2)) if symmetric else (SameConv2d, 0)
    return kind(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias)


class ConvNormAct(nn.Sequential):
    """Convolution, batch normalisation and, unless it is the linear end of a block, ReLU6.

    `folded`: the normalisation is part of the convolution, which then has a bias. `symmetric`: see `convolution`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
        folded: bool = False,
        eps: float = 1e-3,
        dilation: int = 1,
        symmetric: bool = False,
    ):
        layers: list[nn.Module] = [
            convolution(in_channels, out_channels, kernel, stride, groups, folded, dilation, symmetric)
        ]
        if not folded:
            layers.append(nn.BatchNorm2d(out_channels, eps=eps))
        if activate:
            layers.append(nn.ReLU6())
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1; the input is added when shape allows.

    Source: Sandler et al. 2018, "MobileNetV2", fig. 4; expansion 1 has no expanding convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expansion: int,
        folded: bool = False,
        dilation: int = 1,
        symmetric: bool = False,
    ):
        super().__init__()
        hidden = in_channels * expansion
        layers = [] if expansion == 1 else [ConvNormAct(in_channels, hidden, folded=folded)]
        layers.append(
            ConvNormAct(
                hidden, hidden, kernel, stride, groups=hidden, folded=folded, dilation=dilation, symmetric=symmetric
            )
        )
        layers.append(ConvNormAct(hidden, out_channels, activate=False, folded=folded))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)
