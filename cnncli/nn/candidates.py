"""What of a detector's dense answer leaves the device: the few candidates that a threshold could let through.

A photo has millions of class logits, 14 MB in float32, of which some dozens matter. The order and the choice among
equals are those of the NumPy version in `tasks.detect`, which reads either form.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Candidates(nn.Module):
    """Class logits (N, anchors, classes) and box codes (N, anchors, 4) to the best `count` of the wanted classes.

    Returns logits (N, K), box codes (N, K, 4) and `index` (N, K), ascending: anchor * classes + class.
    """

    outputs = ("class_logits", "box_codes", "index")

    def __init__(self, classes: int, wanted: Sequence[int], count: int):
        super().__init__()
        mask = torch.full((classes,), -torch.inf)
        mask[torch.as_tensor(wanted)] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.count = count

    def forward(self, class_logits: Tensor, box_codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes = class_logits.shape[2]
        flat = (class_logits.float() + self.mask).flatten(1)
        _, index = flat.topk(min(self.count, flat.shape[1]), dim=1)
        index = index.sort(dim=1).values
        codes = box_codes.gather(1, (index // classes)[..., None].expand(-1, -1, 4))
        return flat.gather(1, index), codes, index


def detection_candidates(task: Any) -> Candidates | None:
    """The step of a `tasks.detect.Detect`; a model of points has one candidate, and needs none."""
    if "points" in task.model.outputs:
        return None
    return Candidates(len(task.labels), task.wanted, task.most_candidates)
