"""Sobel's and Scharr's filters as a convolution of fixed weights: the derivatives of `imaging.filters` in torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.imaging.filters import kernel_taps, response_bound, response_type

# A convolution may run by Winograd's transform, F(4x4, 3x3) of Lavin & Gray 2016, whose float32 errs by up to 2e-6 of
# the largest sum: up to this bound by 0.3, which rounding to whole numbers removes. Only 8-bit images stay below it,
# which TensorFloat-32 holds as well.
FLOAT32_BOUND = 2**17


class Derivatives(nn.Module):
    """Image (N, C, H + margins, W + margins), padded by `imaging.filters.padded`, to gx and gy (N, C, H, W).

    uint8 and uint16 give int16 or int32 equal to those of `imaging.filters.derivatives`; floats give float64.
    """

    weight: Tensor  # (2, 1, K, K); whole numbers, which no change of a model's precision rounds

    def __init__(self, kernel: str):
        super().__init__()
        self.kernel = kernel
        smoothing, derivative = (torch.tensor(taps, dtype=torch.int32) for taps in kernel_taps(kernel))
        across = torch.outer(smoothing, derivative)
        self.register_buffer("weight", torch.stack([across, across.T])[:, None], persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        work = self._working_type(image.dtype)
        planes = image.to(work).flatten(0, 1)[:, None]
        responses = F.conv2d(planes, self.weight.to(work)).unflatten(0, image.shape[:2])
        if not image.is_floating_point():
            responses = responses.round_().to(self._response_type(image.dtype))
        gx, gy = responses.unbind(2)
        return gx, gy

    def _working_type(self, sample_type: torch.dtype) -> torch.dtype:
        if sample_type.is_floating_point:
            return torch.float64
        bound = response_bound(self.kernel, torch.iinfo(sample_type).max)
        return torch.float32 if bound < FLOAT32_BOUND else torch.float64

    def _response_type(self, sample_type: torch.dtype) -> torch.dtype:
        whole = response_type(self.kernel, np.uint8 if sample_type == torch.uint8 else np.uint16)
        return torch.int16 if whole == np.int16 else torch.int32


class ImageDerivatives(Derivatives):
    """The same with channels last, as images are stored: (N, H + margins, W + margins, C) to gx, gy (N, H, W, C)."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        gx, gy = super().forward(images.permute(0, 3, 1, 2))
        return gx.permute(0, 2, 3, 1), gy.permute(0, 2, 3, 1)


def derivatives(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`head`: the name of the `kernel`."""
    return ImageDerivatives(head["kernel"])
