"""Decoders that put values back where the encoder's max-pooling took them from: SegNet and deconvnet.

Sources: Badrinarayanan, Kendall & Cipolla 2017, "SegNet"; Noh, Hong & Han 2015, "Learning Deconvolution Network for
Semantic Segmentation". Both mirror a VGG network, whose `blocks` are its convolutions between two poolings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.nn.heads.upsampling import ConvNormReLU

Places = list[tuple[Tensor, Tensor]]  # of each pooling: the map before it, and where each of its maxima was


def pooled(blocks: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, Places]:
    """Run blocks of convolutions, each followed by 2x2 max-pooling: the last map, and where its values came from."""
    places = []
    for block in blocks:
        before = block(x)
        x, indices = F.max_pool2d(before, 2, return_indices=True)
        places.append((before, indices))
    return x, places


def unpooled(x: Tensor, before: Tensor, indices: Tensor) -> Tensor:
    """Values (N, C, h, w) at the places of the maxima in a map of the size of `before`, zero elsewhere.

    A scatter in place of F.max_unpool2d, for which there is no operator in ONNX.
    """
    empty = torch.zeros_like(before, dtype=x.dtype).flatten(2)
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).view_as(before)


class SegNetDecoder(nn.Module):
    """From the last pooled map of VGG's blocks to logits (N, classes, H, W): unpooling and convolutions by turns."""

    def __init__(self, blocks: Sequence[nn.Module], classes: int, dropout: float):
        super().__init__()
        self.stages = nn.ModuleList(_mirrored(block, ConvNormReLU) for block in reversed(blocks))
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Conv2d(_sizes(blocks[0])[0][1], classes, 3, padding=1)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        for stage, (before, indices) in zip(self.stages, reversed(places), strict=True):
            x = stage(unpooled(x, before, indices))
        return self.score(self.dropout(x))


class TransposedNormReLU(nn.Sequential):
    """Transposed 3x3 convolution (the map keeps its size), or a larger one that begins at a single cell."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int | tuple[int, int] = 3):
        padding = 1 if kernel == 3 else 0
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class DeconvNetDecoder(nn.Module):
    """From the last pooled map (N, C, *cells) to a code of one cell, and back to logits (N, classes, H, W).

    The code's two layers have biases in place of batch norm: one cell a photo is too few to measure a spread.
    """

    def __init__(self, blocks: Sequence[nn.Module], cells: tuple[int, int], code: int, classes: int, dropout: float):
        super().__init__()
        deepest = _sizes(blocks[-1])[-1][1]
        self.code = nn.Sequential(
            nn.Conv2d(deepest, code, cells), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(code, code, 1), nn.ReLU()
        )
        self.open = TransposedNormReLU(code, deepest, cells)
        self.stages = nn.ModuleList(_mirrored(block, TransposedNormReLU) for block in reversed(blocks))
        self.score = nn.Conv2d(_sizes(blocks[0])[0][1], classes, 1)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        x = self.open(self.code(x))
        for stage, (before, indices) in zip(self.stages, reversed(places), strict=True):
            x = stage(unpooled(x, before, indices))
        return self.score(x)


def _sizes(block: nn.Module) -> list[tuple[int, int]]:
    """Channels in and out of each convolution of a block."""
    return [(layer.in_channels, layer.out_channels) for layer in block.modules() if isinstance(layer, nn.Conv2d)]


def _mirrored(block: nn.Module, layer: type[nn.Sequential]) -> nn.Sequential:
    """As many layers as the block has convolutions, back to the channels that it takes; never back to colours."""
    sizes = _sizes(block)
    return nn.Sequential(*(layer(out, into if into > 3 else out) for into, out in reversed(sizes)))
