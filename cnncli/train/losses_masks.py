"""How far answers for pixels are from their masks."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from cnncli.imaging.masks import IGNORE
from cnncli.train.recipe import Batch, Meter


def pixel_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (N, classes, h, w) of cells to those of the pixels, (N, classes, *size)."""
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def pixel_cross_entropy(logits: Tensor, masks: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean over labelled pixels, 0 where there are none: logits (N, classes, H, W), masks (N, H, W), 255 open."""
    flat = logits.permute(0, 2, 3, 1).flatten(0, 2)  # as vectors: the loss of maps has no fixed order of adding up
    total = F.cross_entropy(
        flat, masks.reshape(-1).long(), ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (masks != IGNORE).sum().clamp(min=1)


class MaskMeter(Meter):
    """Mean intersection over union of the classes that occur in the masks, and pixel accuracy, in percent.

    Counted on the pixels of the masks, as `cnncli eval segment` does.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False)
        self.loss = MeanMetric()

    def update(self, model: nn.Module, batch: Batch) -> None:
        for images, masks in of_one_size(batch):
            logits = model(images)[0]
            for answer, mask in zip(logits, masks, strict=True):
                scores = pixel_logits(answer[None], mask.shape)
                self.loss.update(pixel_cross_entropy(scores, mask[None]), (mask != IGNORE).sum())
                self.confusion.update(scores.argmax(dim=1), mask[None].long())

    def compute(self) -> dict[str, float]:
        counts = self.confusion.compute().double()  # rows are the truth
        right, truth = counts.diagonal(), counts.sum(dim=1)
        union = truth + counts.sum(dim=0) - right
        occurring = truth > 0
        return {
            "loss": float(self.loss.compute()),
            "mIoU": 100 * float((right[occurring] / union[occurring]).mean()),
            "pixel_accuracy": 100 * float(right.sum() / truth.sum()),
        }


def of_one_size(batch: Batch) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Images of equal size together, without what fills them up, and the masks of each."""
    images, masks, sizes = batch["images"], batch["masks"], batch["sizes"].tolist()
    for height, width in dict.fromkeys((size[0], size[1]) for size in sizes):
        places = [place for place, size in enumerate(sizes) if (size[0], size[1]) == (height, width)]
        chosen = torch.tensor(places, device=images.device)
        yield images[chosen, :height, :width], [masks[place, : sizes[place][2], : sizes[place][3]] for place in places]
