"""Classification head: one score per class from the coarsest feature map."""

from torch import Tensor, nn

from cnncli.nn.blocks import ConvNormAct


class ClassifyHead(nn.Module):
    """Optional 1x1 convolution to `hidden` channels, global mean, dropout, linear layer.

    Returns logits (N, classes) and the pooled features (N, hidden or channels) that `--embed` writes.
    """

    def __init__(self, channels: int, classes: int, hidden: int | None = None, dropout: float = 0.2):
        super().__init__()
        self.widen = ConvNormAct(channels, hidden) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden or channels, classes)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        features = self.widen(feature_map).mean(dim=(2, 3))
        return self.classifier(self.dropout(features)), features
