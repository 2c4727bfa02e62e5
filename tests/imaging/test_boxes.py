"""Boxes against torchvision's own operators, and anchors by the paper's arithmetic."""

import numpy as np
import pytest
import torch
from torchvision import ops

from cnncli.imaging.boxes import (
    anchor_boxes,
    areas,
    decode_boxes,
    lies_in_larger,
    overlaps,
    stated_anchors,
    suppress,
    suppress_per_class,
    whole_anchors,
)

NOTHING = np.zeros((0, 4), np.float32)
NO_SCORES = np.zeros(0, np.float32)


def crowd(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that overlap a lot, with scores that all differ."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 50, (count, 2))], axis=1).astype(np.float32)
    return boxes, random.permutation(count).astype(np.float32) / count


def test_overlaps_match_torchvision() -> None:
    boxes, _ = crowd(80)
    expected = ops.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose([overlaps(box, boxes) for box in boxes], expected, atol=1e-6)


def test_areas_match_torchvision() -> None:
    boxes, _ = crowd(20)
    np.testing.assert_allclose(areas(boxes), ops.box_area(torch.from_numpy(boxes)).numpy(), rtol=1e-6)


def test_empty_boxes_overlap_nothing() -> None:
    point = np.array([5, 5, 5, 5], np.float32)
    assert overlaps(point, np.array([[5, 5, 5, 5], [0, 0, 9, 9]], np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_suppresses_as_torchvision_does(seed: int, threshold: float) -> None:
    boxes, scores = crowd(200, seed)
    expected = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).tolist()
    assert suppress(boxes, scores, threshold).tolist() == expected


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_suppresses_per_class_as_torchvision_does(seed: int, threshold: float) -> None:
    boxes, scores = crowd(300, seed)
    classes = np.random.default_rng(seed).integers(0, 7, 300)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes)
    expected = ops.batched_nms(*tensors, threshold).tolist()
    assert suppress_per_class(boxes, scores, classes, threshold).tolist() == expected


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, [0, 1]), (0.49, [0])])
def test_equal_overlap_stays(threshold: float, kept: list[int]) -> None:
    # 10 x 10 in 10 x 20: 100 shared of 200
    boxes = np.array([[0, 0, 10, 20], [0, 0, 10, 10]], np.float32)
    assert suppress(boxes, np.array([0.9, 0.8], np.float32), threshold).tolist() == kept


def test_first_of_equal_scores_is_the_better() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.5, 0.5, 0.5, 0.7], np.float32)
    assert suppress(boxes, scores[:3].copy(), 0.5).tolist() == [0, 2]
    assert suppress(boxes, scores, 0.5).tolist() == [3, 2]


def test_equal_scores_of_classes_keep_their_order() -> None:
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [60, 0, 69, 9]], np.float32)
    scores = np.array([0.5, 0.5, 0.9, 0.5], np.float32)
    assert suppress_per_class(boxes, scores, np.array([7, 3, 3, 1]), 0.5).tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize(("threshold", "lies"), [(0.49, True), (0.5, False)])
def test_tells_what_lies_in_a_larger_box(threshold: float, lies: bool) -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    half = np.array([[5, 0, 25, 10]], np.float32)  # 50 of 100 shared
    assert lies_in_larger(box, half, threshold) is lies
    assert not lies_in_larger(half[0], box[None], 0.1)
    assert not lies_in_larger(box, box[None], 0.1)
    assert not lies_in_larger(box, NOTHING, 0.1)


def test_suppresses_nothing_of_nothing() -> None:
    assert suppress(NOTHING, NO_SCORES, 0.5).shape == (0,)
    kept = suppress_per_class(NOTHING, NO_SCORES, np.zeros(0, np.int64), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


@pytest.mark.parametrize(("size", "count"), [(320, 19_206), (448, 37_629)])  # 9 (40² + 20² + 10² + 5² + 3²) etc.
def test_counts_anchors(size: int, count: int) -> None:
    anchors = anchor_boxes(size)
    assert anchors.shape == (count, 4)
    assert anchors.dtype == np.float32


def test_first_anchors_by_hand() -> None:
    """Stride 8, so the first centre is 4; side 24 times the octave, its ratio width to height 1, 2, 1/2."""
    root, second, third = 2**0.5, 24 * 2 ** (1 / 3), 24 * 2 ** (2 / 3)
    expected = [
        (side, side) if shape == 1 else (side / root, side * root) if shape == 2 else (side * root, side / root)
        for side in (24, second, third)
        for shape in (1, 2, 0.5)
    ]
    anchors = anchor_boxes(320)
    np.testing.assert_allclose(anchors[:9, 2:], expected, rtol=1e-6)
    assert (anchors[:9, :2] == 4).all()


def test_anchors_go_along_rows_then_columns() -> None:
    anchors = anchor_boxes(320)
    assert anchors[9].tolist() == [4, 12, 24, 24]
    assert anchors[9 * 40].tolist() == [12, 4, 24, 24]
    assert anchors[9 * 1600].tolist() == [8, 8, 48, 48]


def test_strides_need_not_be_whole() -> None:
    coarse = anchor_boxes(448)[-9 * 16 :: 9]
    assert coarse[0].tolist() == [56, 56, 336, 336]  # 448 / 4 = 112: not 128
    assert coarse[-1, :2].tolist() == [392, 392]
    np.testing.assert_allclose(anchor_boxes(320)[-9 * 9, 2:], 3 * 320 / 3, rtol=1e-6)


def test_decodes_by_arithmetic() -> None:
    anchors = np.array([[100, 200, 40, 20], [100, 200, 40, 20]], np.float32)
    codes = np.array([[0, 0, 0, 0], [0.5, -1, np.log(2), np.log(0.5)]], np.float32)
    # second: centre y 100 + 0.5 * 40 = 120, x 200 - 20 = 180; height 80, width 10
    expected = [[190, 80, 210, 120], [175, 80, 185, 160]]
    np.testing.assert_allclose(decode_boxes(codes, anchors), expected, rtol=1e-6)


def test_whole_anchors_are_the_input() -> None:
    np.testing.assert_allclose(decode_boxes(np.zeros((2, 4), np.float32), whole_anchors(60, 2)), [[0, 0, 60, 60]] * 2)


def test_recipes_state_their_anchors() -> None:
    np.testing.assert_array_equal(stated_anchors({"input": [96, 96]}), anchor_boxes(96))
    np.testing.assert_array_equal(stated_anchors({"input": [96, 96], "anchors": 98}), whole_anchors(96, 98))
