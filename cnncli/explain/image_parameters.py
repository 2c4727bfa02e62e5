"""Pictures as parameters that are easy to optimise, and the small movements that keep them natural.

Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill: preconditioning, and transformation
robustness; the numbers are those of the code beside it (lucid).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

NOISE = 0.01  # standard deviation of the spectrum's numbers that a picture begins with
# square root of the covariance of red, green and blue in photos of ImageNet
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
FINEST = 0.15  # cycles per pixel, above which waves are damped: what networks see there is noise to us
EDGE = 1 / 512  # distance from black and white at which a photo's pixels are held, where the sigmoid has no end
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
MOST_DEGREES = 10
JITTER = 1 / 16  # of the size, to either side


class FourierImage:
    """A picture (1, C, H, W) in 0..1 whose `spectrum` is what is optimised, one number as important as another.

    Frequencies are scaled to the energy that they have in photos, colours decorrelated, and a sigmoid keeps the range.
    """

    def __init__(self, channels: int, size: tuple[int, int], generator: torch.Generator, device: torch.device):
        self.size = size
        rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]
        frequencies = (rows**2 + columns**2).sqrt().clamp(min=1 / max(size))
        self._scale = (1 / (frequencies * (1 + (frequencies / FINEST) ** 4).sqrt())).to(device)
        self._colours = _mixing(channels).to(device)
        noise = NOISE * torch.randn(1, channels, *frequencies.shape, 2, generator=generator)
        self.spectrum = noise.to(device).requires_grad_(True)

    def picture(self) -> Tensor:
        waves = torch.view_as_complex(self.spectrum) * self._scale
        mixed = torch.fft.irfft2(waves, s=self.size, norm="ortho") / 4
        return torch.einsum("ij,njhw->nihw", self._colours, mixed).sigmoid()

    def begin_with(self, photo: Tensor) -> None:
        """Take the numbers that give a photo (1, C, H, W) in 0..1, black and white a little off."""
        values = torch.einsum("ij,njhw->nihw", self._colours.inverse(), photo.clamp(EDGE, 1 - EDGE).logit())
        waves = torch.fft.rfft2(4 * values, norm="ortho") / self._scale
        self.spectrum = torch.view_as_real(waves).contiguous().detach().requires_grad_(True)


def _mixing(channels: int) -> Tensor:
    """From uncorrelated numbers to colours (C, C); other channels than red, green and blue stay as they are."""
    if channels != 3:
        return torch.eye(channels)
    colours = torch.tensor(COLOURS)
    return colours / colours.norm(dim=0).max()


def moved(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (N, C, H, W), jittered, turned and scaled a little, all alike; mirrored where they end."""
    angle = math.radians(MOST_DEGREES) * (2 * _random(generator) - 1)
    scale = SCALES[int(torch.randint(len(SCALES), (), generator=generator))]
    shift = [2 * JITTER * (2 * _random(generator) - 1) for _ in range(2)]
    height, width = pictures.shape[2:]
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    movement = [[cosine, -sine * height / width, shift[0]], [sine * width / height, cosine, shift[1]]]
    grid = F.affine_grid(
        torch.tensor([movement], device=pictures.device).expand(len(pictures), -1, -1),
        list(pictures.shape),
        align_corners=False,
    )
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _random(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def total_variation(pictures: Tensor) -> Tensor:
    """Sum of the squared differences of neighbours, of each picture.

    Source: Mahendran & Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", eq. 4, beta 2.
    """
    down, across = pictures.diff(dim=2), pictures.diff(dim=3)
    return down.square().sum((1, 2, 3)) + across.square().sum((1, 2, 3))


def off_grey(pictures: Tensor) -> Tensor:
    """Squared distance from grey, of each picture: the 2-norm of the same source."""
    return (pictures - 0.5).square().sum((1, 2, 3))
