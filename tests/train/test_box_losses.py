"""Detectors' losses against their formulas, written out for a few boxes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cnncli.imaging.boxes import anchor_boxes, decode_boxes
from cnncli.nn.heads.grid import corners_of
from cnncli.train.losses_boxes import (
    anchor_loss,
    box_codes_of,
    grid_loss,
    grid_truth,
    largest,
    localize_loss,
    point_loss,
)

ANCHORS = torch.tensor([[10.0, 10, 20, 20], [10, 30, 20, 20], [40, 40, 20, 20], [40, 46, 20, 20]])  # yc xc h w
NONE = torch.zeros(1, 1, 4), torch.full((1, 1), -1)


def overlap(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def focal(logit: float, is_object: bool) -> float:
    """Lin et al. 2017, eq. 5, with alpha 0.25 and gamma 1.5."""
    probability = 1 / (1 + math.exp(-logit))
    if is_object:
        return -0.25 * (1 - probability) ** 1.5 * math.log(probability)
    return -0.75 * probability**1.5 * math.log(1 - probability)


def test_codes_are_those_that_the_task_decodes() -> None:
    random = np.random.default_rng(0)
    anchors = anchor_boxes(64)
    low = random.uniform(0, 40, (len(anchors), 2))
    boxes = np.concatenate([low, low + random.uniform(2, 30, low.shape)], axis=1).astype(np.float32)
    codes = box_codes_of(torch.from_numpy(boxes), torch.from_numpy(anchors)).numpy()
    np.testing.assert_allclose(decode_boxes(codes, anchors), boxes, atol=1e-3)


def test_background_is_all_focal_loss() -> None:
    logits = torch.tensor([[[1.0, -2.0], [0.5, 0.0], [-3.0, -3.0], [2.0, 1.0]]])
    losses = anchor_loss(logits, torch.randn(1, 4, 4), ANCHORS, *NONE)
    assert float(losses["loss"]) == pytest.approx(sum(focal(value, False) for value in logits.flatten().tolist()))
    assert float(losses["box_loss"]) == 0


def test_an_object_is_that_of_the_anchors_that_fit() -> None:
    """It is the third anchor itself; the fourth overlaps it by 14 of 26, which is over 0.5, so it is its too."""
    boxes, labels = torch.tensor([[[30.0, 30, 50, 50]]]), torch.tensor([[1]])
    logits = torch.tensor([[[0.3, -1.0]] * 4])
    codes = torch.zeros(1, 4, 4)
    losses = anchor_loss(logits, codes, ANCHORS, boxes, labels)
    negatives = 4 * focal(0.3, False) + 2 * focal(-1.0, False)
    assert overlap([30, 30, 50, 50], [36, 30, 56, 50]) > 0.5
    assert float(losses["class_loss"]) == pytest.approx((negatives + 2 * focal(-1.0, True)) / 2, rel=1e-5)
    # the fourth should say -6 / 20 across: Huber's 0.1 * (0.3 - 0.05), a quarter of it the mean over four codes
    assert float(losses["box_loss"]) == pytest.approx(0.1 * (0.3 - 0.05) / 4 / 2, rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(float(losses["class_loss"] + 50 * losses["box_loss"]), rel=1e-6)


def test_doubtful_anchors_are_neither() -> None:
    """The third overlaps the box by 18 x 20 of 20 x 20 and the fourth by 0.43: in doubt."""
    boxes, labels = torch.tensor([[[28.0, 30, 48, 50]]]), torch.tensor([[0]])
    assert 0.4 < overlap([28, 30, 48, 50], [36, 30, 56, 50]) < 0.5
    logits = torch.tensor([[[0.3], [0.1], [-0.4], [5.0]]])
    losses = anchor_loss(logits, torch.zeros(1, 4, 4), ANCHORS, boxes, labels)
    expected = focal(0.3, False) + focal(0.1, False) + focal(-0.4, True)
    assert float(losses["class_loss"]) == pytest.approx(expected, rel=1e-5)


def test_an_object_that_fits_none_has_the_nearest_anchor() -> None:
    boxes, labels = torch.tensor([[[1.0, 1, 4, 4]]]), torch.tensor([[0]])  # 9 of the first one's 400 px
    logits = torch.tensor([[[0.3], [0.1], [-0.4], [0.2]]])
    losses = anchor_loss(logits, torch.zeros(1, 4, 4), ANCHORS, boxes, labels)
    expected = focal(0.3, True) + sum(focal(value, False) for value in (0.1, -0.4, 0.2))
    assert float(losses["class_loss"]) == pytest.approx(expected, rel=1e-5)


def test_right_anchors_cost_nothing() -> None:
    boxes, labels = torch.tensor([[[28.0, 30, 50, 54], [0, 0, 0, 0]]]), torch.tensor([[1, -1]])
    codes = box_codes_of(boxes[:, :1], ANCHORS)
    logits = torch.full((1, 4, 2), -20.0)
    logits[0, 2:, 1] = 20
    assert float(anchor_loss(logits, codes, ANCHORS, boxes, labels)["loss"]) == pytest.approx(0, abs=1e-6)


def test_smoothing_softens_the_targets() -> None:
    logits = torch.zeros(1, 4, 1)
    plain = anchor_loss(logits, torch.zeros(1, 4, 4), ANCHORS, *NONE)["loss"]
    soft = anchor_loss(logits, torch.zeros(1, 4, 4), ANCHORS, *NONE, smoothing=0.2)["loss"]
    assert float(plain) == pytest.approx(4 * focal(0, False))
    assert float(soft) != pytest.approx(float(plain))


def by_hand(cells: Tensor, classes: Tensor, boxes: Tensor, labels: Tensor) -> float:
    """Redmon et al. 2016, eq. 3, cell by cell for one photo."""
    side = cells.shape[0]
    corners = corners_of(cells[None])[0]
    total = 0.5 * float((cells[..., 4] ** 2).sum())
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
        x, y = (box[0] + box[2]) / 2 * side, (box[1] + box[3]) / 2 * side
        row, column = int(y), int(x)
        overlaps = [overlap(corner, box) for corner in corners[row, column].tolist()]
        best = max(range(len(overlaps)), key=overlaps.__getitem__)
        guess = cells[row, column, best].tolist()
        width, height = math.sqrt(box[2] - box[0]), math.sqrt(box[3] - box[1])
        wanted = (x - column, y - row, width, height)
        total += 5 * sum((one - other) ** 2 for one, other in zip(guess[:4], wanted, strict=True))
        total += (guess[4] - overlaps[best]) ** 2 - 0.5 * guess[4] ** 2
        kinds = classes[row, column].tolist()
        total += sum((kind - (number == label)) ** 2 for number, kind in enumerate(kinds))
    return total


def test_grid_loss_is_the_papers_sum() -> None:
    torch.manual_seed(0)
    cells, classes = torch.rand(2, 4, 4, 3, 5), torch.randn(2, 4, 4, 5)
    boxes = torch.tensor([[[0.05, 0.1, 0.35, 0.3], [0.5, 0.5, 0.9, 0.95]], [[0.3, 0.6, 0.8, 0.7], [0, 0, 0, 0]]])
    labels = torch.tensor([[3, 0], [1, -1]])
    expected = [
        by_hand(cells[0], classes[0], boxes[0], labels[0]),
        by_hand(cells[1], classes[1], boxes[1, :1], labels[1, :1]),
    ]
    assert float(grid_loss(cells, classes, boxes, labels)["loss"]) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_right_grid_costs_nothing() -> None:
    cells, classes = torch.zeros(1, 7, 7, 2, 5), torch.zeros(1, 7, 7, 3)
    box = torch.tensor([[[0.1, 0.2, 0.5, 0.36]]])  # centre 0.3, 0.28: cell (1, 2), at 0.1 and 0.96 of it
    cells[0, 1, 2, 1] = torch.tensor([0.1, 0.96, 0.4**0.5, 0.16**0.5, 1.0])
    classes[0, 1, 2, 2] = 1
    assert float(grid_loss(cells, classes, box, torch.tensor([[2]]))["loss"]) == pytest.approx(0, abs=1e-6)


def test_empty_photos_only_say_that_nothing_is_there() -> None:
    cells = torch.zeros(1, 7, 7, 2, 5)
    cells[..., 4] = 0.5
    assert float(grid_loss(cells, torch.randn(1, 7, 7, 3), *NONE)["loss"]) == pytest.approx(98 * 0.5 * 0.25)


def test_largest_object_of_a_cell_counts() -> None:
    boxes = torch.tensor([[[0.2, 0.2, 0.8, 0.8], [0.45, 0.45, 0.55, 0.55], [0.9, 0.9, 1.0, 1.0], [0, 0, 0, 0]]])
    truth, numbers = grid_truth(boxes, torch.tensor([[4, 2, 1, -1]]), 7)
    assert int(numbers[0, 3, 3]) == 4
    np.testing.assert_allclose(truth[0, 3, 3], [0.2, 0.2, 0.8, 0.8])
    assert int(numbers[0, 6, 6]) == 1
    assert int((numbers >= 0).sum()) == 2


def test_largest_object_of_a_photo_counts() -> None:
    boxes = torch.tensor([[[0, 0, 0.2, 0.2], [0, 0, 0.5, 0.9]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
    box, label = largest(boxes, torch.tensor([[5, 6], [-1, -1]]))
    assert label.tolist() == [6, -1]
    np.testing.assert_allclose(box[0], [0, 0, 0.5, 0.9])


def test_nothing_has_no_place() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]])
    boxes = torch.tensor([[[0.2, 0.2, 0.6, 0.4]], [[0, 0, 0, 0]]])
    labels = torch.tensor([[1], [-1]])
    found = torch.tensor([[0.5, 0.3, 0.4, 0.2], [0.9, 0.9, 0.9, 0.9]])  # the first is 0.1 too far right
    losses = localize_loss(logits, found, boxes, labels, gamma=3.0)
    normal = [sum(math.exp(value) for value in row) for row in logits.tolist()]
    entropy = (math.log(normal[0]) - 2.0 + math.log(normal[1]) - 3.0) / 2
    distance = (0.1 - 0.05 / 2) / 2  # smooth L1 beyond beta, over two photos
    assert float(losses["class_loss"]) == pytest.approx(entropy, rel=1e-5)
    assert float(losses["box_loss"]) == pytest.approx(distance, rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(entropy + 3 * distance, rel=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [("mse", 0.3**2 + 0.01**2), ("smooth_l1", 0.3 - 0.025 + 0.01**2 / 0.1)])
def test_unknown_points_do_not_count(kind: str, expected: float) -> None:
    found = torch.tensor([[[0.5, 0.5], [9.0, 9.0]]])
    points = torch.tensor([[[0.2, 0.51], [0.0, 0.0]]])
    known = torch.tensor([[True, False]])
    assert float(point_loss(found, points, known, kind)["loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(point_loss(found, points, ~known & known, kind)["loss"]) == 0
