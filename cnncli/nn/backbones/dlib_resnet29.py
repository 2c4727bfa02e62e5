"""dlib's ResNet-29 for faces: a ResNet-34 with fewer layers and half of the filters, and skips without parameters.

Sources: King 2017, description of dlib_face_recognition_resnet_model_v1; He et al. 2016, "Deep Residual Learning",
option A of sec. 3.3 (zero-padded skips). The source's per-channel scale and shift are folded into the convolutions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM_CHANNELS = 32
EMBEDDING = 128

# output channels of each residual block, and whether it halves the map
BLOCKS = (
    *((32, False),) * 3,
    (64, True),
    *((64, False),) * 3,
    (128, True),
    *((128, False),) * 2,
    (256, True),
    *((256, False),) * 2,
    (256, True),
)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input, or to its 2x2 mean where the block halves the map."""

    def __init__(self, in_channels: int, out_channels: int, halves: bool):
        super().__init__()
        stride, padding = (2, 0) if halves else (1, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip = nn.AvgPool2d(2) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(add_extended(self.layers(x), self.skip(x)))


def add_extended(first: Tensor, second: Tensor) -> Tensor:
    """Sum of two maps (N, C, H, W), either of which may be smaller on an axis: zeros follow it there."""
    axes = zip(first.shape[1:], second.shape[1:], strict=True)
    shape = [max(one, other) for one, other in axes]
    return _extended(first, shape) + _extended(second, shape)


def _extended(x: Tensor, shape: list[int]) -> Tensor:
    channels, rows, columns = (wanted - size for wanted, size in zip(shape, x.shape[1:], strict=True))
    return F.pad(x, (0, columns, 0, rows, 0, channels)) if channels or rows or columns else x


class DlibResNet29(nn.Module):
    """Aligned faces (N, 3, 150, 150), RGB, normalised, to embeddings (N, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, STEM_CHANNELS, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2))
        blocks = []
        previous = STEM_CHANNELS
        for channels, halves in BLOCKS:
            blocks.append(ResidualBlock(previous, channels, halves))
            previous = channels
        self.blocks = nn.Sequential(*blocks)
        self.embed = nn.Linear(previous, EMBEDDING, bias=False)

    def forward(self, faces: Tensor) -> tuple[Tensor]:
        features = torch.mean(self.blocks(self.stem(faces)), dim=(2, 3))
        return (self.embed(features),)
