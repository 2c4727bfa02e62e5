"""Layers that halve maps with care, or see as far without halving them. Shapes are (N, C, H, W)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BINOMIAL = (1.0, 2.0, 1.0)  # the filter "triangle-3" of Zhang 2019, sec. 4.1, outer product with itself


class BlurPool(nn.Module):
    """Every second cell of the blurred map: (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2)).

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", sec. 3.2. Edges are repeated rather
    than mirrored as there, since a map of one cell has nothing to mirror.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor(BINOMIAL)
        kernel = torch.outer(row, row) / row.sum() ** 2
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.kernel.to(x.dtype).expand(channels, 1, 3, 3), stride=2, groups=channels)


class BlurredConv2d(nn.Conv2d):
    """A convolution of the blurred and halved map; its parameters are those of `conv`, a convolution of stride 1 or 2.

    `conv` itself is not strided here: the blur halves the map.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.blur = BlurPool()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.blur(x))


class DensePool(nn.Module):
    """A max- or average pool at every cell; the cells of its windows lie `dilation` apart.

    Windows begin where those of `pool` do, so that its values are among these; the map keeps its size, as windows at
    the far edge see minus infinity (maximum) or the edge repeated (mean).
    """

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d, dilation: int):
        super().__init__()
        self.kernel = pool.kernel_size
        self.dilation = dilation
        self.before = pool.padding * dilation
        self.after = dilation * (self.kernel - 1) - self.before
        self.takes_mean = isinstance(pool, nn.AvgPool2d)

    def forward(self, x: Tensor) -> Tensor:
        sides = (self.before, self.after) * 2
        if not self.takes_mean:
            return F.max_pool2d(F.pad(x, sides, value=-torch.inf), self.kernel, 1, dilation=self.dilation)
        channels = x.shape[1]
        kernel = x.new_full((channels, 1, self.kernel, self.kernel), 1 / self.kernel**2)
        return F.conv2d(F.pad(x, sides, mode="replicate"), kernel, dilation=self.dilation, groups=channels)


class SlowPool(nn.Module):
    """A max- or average pool of stride 2 taken at every cell, then blurred and halved; as large as the pool's own map.

    Source: Zhang 2019, eq. 6 and 8.
    """

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d):
        super().__init__()
        if isinstance(pool, nn.AvgPool2d):
            self.pool: nn.Module = nn.AvgPool2d(pool.kernel_size, 1, pool.padding)
        else:
            self.pool = nn.MaxPool2d(pool.kernel_size, 1, pool.padding, pool.dilation)
        self.beyond = int(pool.ceil_mode)  # cells that a last window may reach past the far edge
        self.blur = BlurPool()

    def forward(self, x: Tensor) -> Tensor:
        if self.beyond:
            x = F.pad(x, (0, 1, 0, 1), value=-torch.inf)
        return self.blur(self.pool(x))


class GlobalMean(nn.Module):
    """The mean of each map, (N, C, 1, 1): AdaptiveAvgPool2d(1), in a graph one node.

    torch's own keeps the layout of its input in memory, which the exporter writes as a dozen nodes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)
