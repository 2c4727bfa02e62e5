"""What detectors lower: anchors under focal loss, cells of a grid, one box a photo, points.

True boxes are corners x1, y1, x2, y2 of a padded batch (N, M, 4) with labels (N, M); a label of -1 is no object.
Losses are means over the photos or over what has been matched, as their papers have them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_convert, box_iou, sigmoid_focal_loss

from cnncli.nn.heads.grid import corners_of

POSITIVE, NEGATIVE = 0.5, 0.4  # overlaps from which an anchor is an object, and below which it is none; between neither
ALPHA, GAMMA = 0.25, 1.5  # of the focal loss; Tan, Pang & Le 2020, sec. 5.1
HUBER_DELTA, BOX_WEIGHT = 0.1, 50.0  # of the box codes, in the same paper's code
LEAST_SIDE = 1.0  # px, of a box whose side's logarithm is taken
COORDINATES, NO_OBJECT = 5.0, 0.5  # lambda_coord and lambda_noobj: Redmon et al. 2016, sec. 2.2
BETA = 0.05  # of the input's side: where the smooth L1 loss of a box or a point turns straight
POINT_LOSSES = ("smooth_l1", "mse")


def anchor_loss(
    class_logits: Tensor, box_codes: Tensor, anchors: Tensor, boxes: Tensor, labels: Tensor, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """EfficientDet's loss of logits (N, A, classes) and codes (N, A, 4) for anchors (A, 4); boxes in pixels.

    Focal loss over all anchors but the doubtful, Huber loss over the codes of those that are objects, both by the
    number of the latter (Tan, Pang & Le 2020, sec. 5.1).
    """
    class_logits, box_codes = class_logits.float(), box_codes.float()
    corners = box_convert(anchors[:, [1, 0, 3, 2]], "cxcywh", "xyxy")
    truths = [
        _anchor_truth(corners, own[kinds >= 0], kinds[kinds >= 0]) for own, kinds in zip(boxes, labels, strict=True)
    ]
    numbers, targets = (torch.stack(part) for part in zip(*truths, strict=True))
    objects = numbers >= 0
    count = objects.sum().clamp(min=1)
    wanted = torch.full_like(class_logits, smoothing / 2)
    photo, anchor = torch.nonzero(objects, as_tuple=True)
    wanted[photo, anchor, numbers[photo, anchor]] = 1 - smoothing / 2
    focal = sigmoid_focal_loss(class_logits, wanted, ALPHA, GAMMA, reduction="none").sum(dim=2)
    class_loss = (focal * (numbers != Matcher.BETWEEN_THRESHOLDS)).sum() / count
    codes = box_codes_of(targets, anchors)
    huber = F.huber_loss(box_codes, codes, delta=HUBER_DELTA, reduction="none").mean(dim=2)
    box_loss = (huber * objects).sum() / count
    return {"loss": class_loss + BOX_WEIGHT * box_loss, "class_loss": class_loss, "box_loss": box_loss}


def _anchor_truth(corners: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of each anchor, given as corners (A, 4): its object's label, -1 for none or -2 where in doubt, and box.

    An object that no anchor fits well is that of the anchors which fit it best.
    """
    if not len(boxes):
        return labels.new_full((len(corners),), Matcher.BELOW_LOW_THRESHOLD), torch.ones_like(corners).cumsum(dim=1)
    matches = Matcher(POSITIVE, NEGATIVE, allow_low_quality_matches=True)(box_iou(boxes, corners))
    first = matches.clamp(min=0)
    return torch.where(matches >= 0, labels[first], matches), boxes[first]


def box_codes_of(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Codes (..., 4) ty, tx, th, tw of corner boxes relative to anchors: the inverse of imaging.boxes.decode_boxes."""
    centred = box_convert(boxes, "xyxy", "cxcywh")[..., [1, 0, 3, 2]]
    shifts = (centred[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    return torch.cat([shifts, (centred[..., 2:].clamp(min=LEAST_SIDE) / anchors[..., 2:]).log()], dim=-1)


def grid_loss(cells: Tensor, classes: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Redmon et al. 2016, eq. 3, of a grid's boxes (N, S, S, B, 5) and classes (N, S, S, C).

    True boxes are in parts of the input's side. The box that overlaps a cell's object most is responsible for it; its
    confidence is to be that overlap.
    """
    cells, classes = cells.float(), classes.float()
    truth, numbers = grid_truth(boxes, labels, cells.shape[1])
    has_object = numbers >= 0
    overlap = box_iou(corners_of(cells.detach()), truth[..., None, :])[..., 0].nan_to_num()  # of two empty boxes
    best = overlap.argmax(dim=-1, keepdim=True)
    chosen = cells.gather(3, best[..., None].expand(-1, -1, -1, 1, cells.shape[-1]))[..., 0, :]
    responsible = torch.zeros_like(cells[..., 4]).scatter(-1, best, 1.0) * has_object[..., None]
    place = ((chosen[..., :4] - _in_cells(truth)) ** 2).sum(dim=-1) * has_object
    sure = (chosen[..., 4] - overlap.amax(dim=-1)) ** 2 * has_object
    unsure = cells[..., 4] ** 2 * (1 - responsible)
    wanted = F.one_hot(numbers.clamp(min=0), classes.shape[-1]).to(classes.dtype)
    kind = ((classes - wanted) ** 2).sum(dim=-1) * has_object
    count = len(cells)
    box_loss, class_loss = place.sum() / count, kind.sum() / count
    object_loss = (sure.sum() + NO_OBJECT * unsure.sum()) / count
    total = COORDINATES * box_loss + object_loss + class_loss
    return {"loss": total, "box_loss": box_loss, "object_loss": object_loss, "class_loss": class_loss}


def grid_truth(boxes: Tensor, labels: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The box (N, S, S, 4) and label (N, S, S) of each cell in which an object's centre lies; -1 where none does.

    Of several objects in a cell the largest counts.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    order = (size[..., 0] * size[..., 1]).argsort(dim=1, stable=True)
    boxes, labels = boxes.gather(1, order[..., None].expand(-1, -1, 4)), labels.gather(1, order)
    centres = ((boxes[..., :2] + boxes[..., 2:]) / 2 * cells).long().clamp(0, cells - 1)
    truth = boxes.new_zeros(len(boxes), cells, cells, 4)
    numbers = labels.new_full((len(boxes), cells, cells), -1)
    photos = torch.arange(len(boxes), device=boxes.device)
    for place in range(boxes.shape[1]):  # the largest last, one a photo at a time: the order in which they are written
        where = photos, centres[:, place, 1], centres[:, place, 0]
        real = labels[:, place] >= 0
        truth[where] = torch.where(real[:, None], boxes[:, place], truth[where])
        numbers[where] = torch.where(real, labels[:, place], numbers[where])
    return truth, numbers


def _in_cells(corners: Tensor) -> Tensor:
    """Corner boxes (N, S, S, 4) as a grid states them: centre in parts of its cell, roots of width and height."""
    centred = box_convert(corners, "xyxy", "cxcywh")
    places = centred[..., :2] * corners.shape[1]
    return torch.cat([places - places.floor(), centred[..., 2:].clamp(min=0).sqrt()], dim=-1)


def localize_loss(
    logits: Tensor, found: Tensor, boxes: Tensor, labels: Tensor, gamma: float, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Of logits (N, classes + 1) and boxes (N, 4) x, y, width, height: the class's loss + gamma [something] the box's.

    Boxes in parts of the input's side. The truth is a photo's largest object, or nothing, the last class.
    """
    truth, numbers = largest(boxes, labels)
    something = numbers >= 0
    wanted = torch.where(something, numbers, logits.shape[1] - 1)
    class_loss = F.cross_entropy(logits.float(), wanted, label_smoothing=smoothing)
    centred = box_convert(truth, "xyxy", "cxcywh")
    distance = F.smooth_l1_loss(found.float(), centred, beta=BETA, reduction="none").sum(dim=1)
    box_loss = (distance * something).mean()
    return {"loss": class_loss + gamma * box_loss, "class_loss": class_loss, "box_loss": box_loss}


def largest(boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The largest object of each photo: box (N, 4) and label (N,), -1 where there is none."""
    size = boxes[..., 2:] - boxes[..., :2]
    areas = torch.where(labels >= 0, size[..., 0] * size[..., 1], -1.0)
    place = areas.argmax(dim=1, keepdim=True)
    return boxes.gather(1, place[..., None].expand(-1, -1, 4))[:, 0], labels.gather(1, place)[:, 0]


def point_loss(found: Tensor, points: Tensor, known: Tensor, kind: str) -> dict[str, Tensor]:
    """Of points (N, K, 2) in parts of the input's side; only those that are `known` (N, K) count."""
    found = found.float()
    if kind == "mse":
        distance = (found - points) ** 2
    else:
        distance = F.smooth_l1_loss(found, points, beta=BETA, reduction="none")
    return {"loss": (distance.sum(dim=2) * known).sum() / known.sum().clamp(min=1)}
