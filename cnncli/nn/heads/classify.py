"""Classification heads: one score per class from the coarsest feature map."""

from collections.abc import Sequence

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


class PublishedHead(nn.Module):
    """The end that a network was published with, under the names of its layers: `maps`, flattening, then `vectors`.

    Both are paths of parts of `network`; without `maps` the feature map's mean is taken. Returns logits (N, classes)
    and features (N, F): what enters the last layer, or without `vectors` (a network that ends in a convolution) the
    mean of the feature map. `dropout` is that of all its layers of dropout, or of a new one before the last layer where
    it has none; None leaves it as published.
    """

    def __init__(
        self, network: nn.Module, maps: Sequence[str], vectors: Sequence[str] = (), dropout: float | None = None
    ):
        super().__init__()
        self.network = network
        self.maps = tuple(maps)
        self.vectors = tuple(vectors)
        dropouts = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
        for layer in dropouts:
            layer.p = layer.p if dropout is None else dropout
        self.dropout = nn.Dropout(dropout) if dropout and not dropouts else nn.Identity()

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        x = feature_map
        for path in self.maps:
            x = self.network.get_submodule(path)(x)
        if not self.vectors:
            return x.flatten(1), feature_map.mean(dim=(2, 3))
        *inner, last = self._vector_layers()
        features = x.flatten(1) if self.maps else x.mean(dim=(2, 3))
        for layer in inner:
            features = layer(features)
        return last(self.dropout(features)), features

    def _vector_layers(self) -> list[nn.Module]:
        parts = [self.network.get_submodule(path) for path in self.vectors]
        return [layer for part in parts for layer in (part if isinstance(part, nn.Sequential) else [part])]
