"""A single look: a grid of cells, each with a few boxes and one class.

Source: Redmon et al. 2016, "You Only Look Once", sec. 2; convolutions in the place of its two connected layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS, BOXES = 7, 2  # S and B, sec. 2
VALUES = 5  # of a box: x, y, sqrt w, sqrt h, confidence
LEAK = 0.1  # of the leaky ReLU, eq. 2
LEAST_SIDE = 1e-3  # of the input's side: the logarithm of a side needs one
LEAST_SCORE = 1e-4  # a score's distance from 0 and 1: nearer, rounding moves the logarithm of its odds


class GridHead(nn.Module):
    """The coarsest map (N, C, H, W) to boxes (N, cells, cells, boxes, 5) and classes (N, cells, cells, classes).

    A box is x and y of its centre in parts of its cell, the square roots of its width and height in parts of the
    input, and its confidence; all are linear, as are the classes' probabilities.
    """

    def __init__(self, in_channels: int, classes: int, channels: int = 256, cells: int = CELLS, boxes: int = BOXES):
        super().__init__()
        self.cells, self.boxes = cells, boxes
        self.enter = _layer(in_channels, channels, 1)
        self.convolutions = nn.Sequential(_layer(channels, channels, 3), _layer(channels, channels, 3))
        self.predict = nn.Conv2d(channels, boxes * VALUES + classes, 1)
        nn.init.normal_(self.predict.weight, std=0.01)
        nn.init.zeros_(self.predict.bias)
        with torch.no_grad():  # boxes begin in the middle of their cell, a quarter of the input wide and high
            self.predict.bias[: boxes * VALUES].view(boxes, VALUES).copy_(torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.adaptive_avg_pool2d(self.enter(x), self.cells)
        x = self.predict(self.convolutions(x)).permute(0, 2, 3, 1)
        boxes, classes = x.split([self.boxes * VALUES, x.shape[-1] - self.boxes * VALUES], dim=-1)
        return boxes.unflatten(-1, (self.boxes, VALUES)), classes


def corners_of(boxes: Tensor) -> Tensor:
    """Corner boxes (N, cells, cells, boxes, 4), x1, y1, x2, y2 in parts of the input's side, of a grid's boxes."""
    centres, halves = _centres(boxes), boxes[..., 2:4] ** 2 / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def decode_grid(boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Class logits (N, anchors, classes) and box codes (N, anchors, 4) of anchors that are the whole input each.

    A score is the confidence of the box times the probability of the class (eq. 1).
    """
    boxes, classes = boxes.float(), classes.float()
    scores = boxes[..., 4:].clamp(0, 1) * classes[..., None, :].clamp(0, 1)
    logits = torch.logit(scores, eps=LEAST_SCORE)
    codes = whole_codes(_centres(boxes), boxes[..., 2:4] ** 2)
    return logits.flatten(1, 3), codes.flatten(1, 3)


def whole_codes(centres: Tensor, sizes: Tensor) -> Tensor:
    """Box codes (..., 4) ty, tx, th, tw relative to the whole input, of x, y and width, height in parts of its side."""
    return torch.cat([centres.flip(-1) - 0.5, sizes.flip(-1).clamp(min=LEAST_SIDE).log()], dim=-1)


def _centres(boxes: Tensor) -> Tensor:
    """Centres x, y in parts of the input of boxes (N, cells, cells, boxes, 5) that state them in parts of a cell."""
    cells = boxes.shape[1]
    numbers = torch.arange(cells, device=boxes.device, dtype=boxes.dtype)
    columns, rows = numbers.view(1, 1, cells, 1), numbers.view(1, cells, 1, 1)
    x, y = (boxes[..., 0] + columns) / cells, (boxes[..., 1] + rows) / cells
    return torch.stack([x, y], dim=-1)


def _layer(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK))
