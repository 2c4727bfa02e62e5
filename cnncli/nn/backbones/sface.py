"""SFace: MobileNet-v1 with PReLU whose last map is read by one fully connected layer.

Sources: Zhong et al. 2021, "SFace" (the loss); Howard et al. 2017, "MobileNets", table 1 (the layers); the end,
batch norm, linear layer, batch norm, is that of Deng et al. 2019, "ArcFace".
"""

import torch
from torch import Tensor, nn

EPS = 1e-3  # of the units' batch norm, in the published file
END_EPS = 2e-5
STEM_CHANNELS = 32
EMBEDDING = 128
MAP_SIDE = 7  # cells of the last map of a face of 112 px

# output channels and stride of each depthwise separable convolution
LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)


class PReLU(nn.PReLU):
    """PReLU with a slope per channel, as a sum: ONNX Runtime's own PRelu takes half of the network's time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) + self.weight.view(-1, 1, 1) * x.clamp(max=0)


class ConvNormPReLU(nn.Sequential):
    """Convolution without bias, batch norm, PReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels, eps=EPS),
            PReLU(out_channels),
        )


class SFace(nn.Module):
    """Aligned faces (N, 3, 112, 112), RGB in -1..1, to embeddings (N, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        layers = [ConvNormPReLU(3, STEM_CHANNELS, kernel=3)]
        previous = STEM_CHANNELS
        for channels, stride in LAYERS:
            layers.append(ConvNormPReLU(previous, previous, kernel=3, stride=stride, groups=previous))
            layers.append(ConvNormPReLU(previous, channels, kernel=1))
            previous = channels
        self.layers = nn.Sequential(*layers)
        self.embed = nn.Sequential(
            nn.BatchNorm2d(previous, eps=END_EPS),
            nn.Flatten(),
            nn.Linear(previous * MAP_SIDE**2, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING, eps=END_EPS),
        )

    def forward(self, faces: Tensor) -> tuple[Tensor]:
        return (self.embed(self.layers(faces)),)
