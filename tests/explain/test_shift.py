"""A photo that moves: numbers against arithmetic, windows against the networks' own inputs."""

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnncli.catalog import MODELS, TASKS, resolve
from cnncli.errors import InputError, UsageError
from cnncli.explain import shift_measures as measures
from cnncli.explain.shift import Mover, ShiftTask
from cnncli.explain.shift_dense import FollowMask, FollowPicture
from cnncli.explain.shift_follow import Follower, FollowLabel, FollowObject
from cnncli.explain.shift_session import FOLLOWERS
from cnncli.explain.shift_windows import DIRECTIONS, Shift, Travel, covering, stretching, unscaled
from cnncli.imaging.geometry import Geometry
from cnncli.io.images import Photo
from cnncli.io.store import model_path
from cnncli.io.weights import read_info
from cnncli.results.classify import Classification, Label
from cnncli.results.denoise import Denoised
from cnncli.results.detect import Detection, Detections
from cnncli.results.segment import Segmentation
from cnncli.tasks.base import Outputs, Request
from cnncli.tasks.sobel import Sobel, SobelOptions, fixed_weights

FILTER = fixed_weights(SobelOptions()).info
FOLLOWED = [name for name, entry in MODELS.items() if entry.task in FOLLOWERS]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def answered(task: ShiftTask, image: np.ndarray) -> Any:
    """The result of a task that asks no network."""
    steps = task.analyse(image)
    with pytest.raises(StopIteration) as end:
        next(steps)
    return end.value.value


# --- measures


def test_consistency_is_the_part_of_equal_labels() -> None:
    labels = ["cat", "cat", "dog", "cat", "cat"]
    assert measures.neighbour_consistency(labels) == 2 / 4
    assert measures.pair_consistency(labels) == 6 / 10
    assert measures.changes(labels) == [2, 3]


def test_best_match_overlaps_most() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    others = np.array([[20, 20, 30, 30], [0, 0, 10, 5], [5, 0, 15, 10]], np.float32)
    assert measures.best_match(box, others) == (1, 0.5)
    assert measures.best_match(box, others[:1]) is None
    assert measures.best_match(box, others[:0]) is None


def test_moved_back_boxes_are_cut() -> None:
    boxes = np.array([[0, 2, 10, 12]])
    np.testing.assert_array_equal(measures.moved_back(boxes, (3, 4), (5, 5, 50, 14)), [[5, 6, 13, 14]])


def test_distance_of_middles() -> None:
    assert measures.distance(np.array([0, 0, 2, 2]), np.array([3, 4, 5, 6])) == 5


def test_overlap_of_masks() -> None:
    first, second = np.array([[0, 1, 1, 2]]), np.array([[0, 1, 2, 2]])
    assert measures.agreement(first, second) == 3 / 4
    assert measures.mean_overlap(first, second, 0) == 1 / 2
    assert measures.mean_overlap(first, second, 2) == pytest.approx((1 + 1 / 2) / 2)
    assert measures.mean_overlap(first * 0, second * 0, 0) is None


# --- windows


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 90), st.integers(1, 9), st.sampled_from(list(DIRECTIONS)), st.integers(0, 2),
    st.sampled_from([covering, stretching, unscaled]),
)  # fmt: skip
def test_windows_differ_by_one_step_alone(height, width, reach, direction, margin, make) -> None:
    shift, image = Shift(reach, direction), noise(height, width, 3)
    try:
        travel = unscaled(image, shift, margin) if make is unscaled else make(image, (14, 11), shift, "bilinear")
    except InputError:
        down, right = (reach * step for step in shift.step)
        assert make is unscaled
        assert height - 2 * down <= 2 * margin or width - 2 * right <= 2 * margin
        return
    windows = [travel.window(number) for number in range(travel.count)]
    assert {window.shape for window in windows} == {(*travel.size, 3)}
    assert travel.pixels.shape[:2] == shift.around(travel.size)
    parts = [window[travel.shared(number)] for number, window in enumerate(windows)]
    assert parts[0].size
    for before, now in itertools.pairwise(parts):
        np.testing.assert_array_equal(before, now)
    down, right = shift.step
    np.testing.assert_array_equal(
        windows[0][down:, right:], windows[1][: travel.size[0] - down, : travel.size[1] - right]
    )


def test_frames_lie_in_the_photo() -> None:
    travel = covering(noise(200, 304, 3), (40, 40), Shift(10, "diagonal"), "bilinear")
    first, last = travel.frame(0), travel.frame(10)
    assert first.tolist() == [52, 0, 212, 160]  # 200 px become 50, in the middle of 304
    assert last.tolist() == [92, 40, 252, 200]


@pytest.mark.parametrize("size", [(300, 451), (333, 250), (37, 512), (900, 700)], ids=str)
@pytest.mark.parametrize("name", FOLLOWED)
def test_network_sees_windows_as_they_are(name: str, size: tuple[int, int]) -> None:
    info = read_info(model_path(name))
    kind, follower, options = FOLLOWERS[info.task]
    inner = resolve(TASKS[kind].analyser)({info.task: info}, options(info))
    if info.task == "denoise" and min(size) < 60:
        with pytest.raises(InputError, match="narrow"):  # 24 px at each edge are padding's
            follower(info, name).travel(noise(*size, 3), Shift(3))
        return
    travel = follower(info, name).travel(noise(*size, 3), Shift(3))
    window = travel.window(1)
    seen = next(inner.analyse(window)).array
    if info.task == "denoise":
        np.testing.assert_array_equal(np.rint(seen[: travel.size[0], : travel.size[1], :3] * 255), window)
    elif info.task == "classify":
        top, left = (round((side - crop) / 2) for side, crop in zip(travel.size, seen.shape[:2], strict=True))
        np.testing.assert_array_equal(seen, window[top : top + seen.shape[0], left : left + seen.shape[1]])
    else:
        np.testing.assert_array_equal(seen[: travel.size[0], : travel.size[1]], window)


@pytest.mark.parametrize("shift", [(0, "right"), (129, "right"), (8, "up")])
def test_rejects_shifts(shift: tuple[int, str]) -> None:
    with pytest.raises(UsageError, match=r"^--(range|direction) "):
        Shift(*shift)


# --- answers


class Striped:
    """A hand-made classifier: the label is "even" or "odd" by the first pixel's value, or by every `period` of it."""

    decode = None
    name = "classify"

    def __init__(self, period: int):
        self.period = period

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Classification]:
        odd = int(image[0, 0, 0]) // self.period % 2
        best, other = Label(("even", "odd")[odd], odd, 0.75), Label(("odd", "even")[odd], 1 - odd, 0.25)
        return Classification((best, other))
        yield


class Unscaled(FollowLabel):
    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        return unscaled(image, shift, 0)


@pytest.mark.parametrize(
    ("period", "neighbours", "pairs"),
    [(1, 0, (10 + 6) / 36), (3, 6 / 8, (15 + 3) / 36), (100, 1, 1)],
)
def test_consistency_of_a_label_by_parity(period: int, neighbours: float, pairs: float) -> None:
    """9 windows: parity changes at every step; every third leaves 3 + 3 of one label and 3 of the other."""
    image = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (30, 40, 3))
    task = ShiftTask([Mover(Striped(period), Unscaled(FILTER, "striped"))], Shift(8, "right"))
    entries = answered(task, image).entries
    assert entries["consistency"] == neighbours
    assert entries["consistency_all_pairs"] == pytest.approx(pairs, abs=1e-7)
    spread = 0 if neighbours == 1 else 0.5
    assert entries["score_spread"] == spread
    first = np.array([label == entries["label"] for label in entries["labels"]])
    assert entries["scores"] == np.where(first, 0.75, 0.25).tolist()
    assert entries["score_deviation"] == pytest.approx(0.5 * math.sqrt(first.mean() * (1 - first.mean())), abs=1e-7)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_sobel_is_exactly_equivariant(direction: str) -> None:
    task = ShiftTask([Mover(Sobel({}, SobelOptions()), FollowPicture(FILTER, "sobel"))], Shift(5, direction))
    entries = answered(task, noise(40, 50, 3)).entries
    assert entries["exact"] is True
    assert entries["psnr"] is None
    assert entries["psnrs"] == [None] * 6
    assert entries["equal"] == 1


def test_a_picture_that_stays_is_not() -> None:
    """White where row and column are of one parity, in pixels of the window: steps of two leave it."""
    shift = Shift(4, "right")
    travel = unscaled(noise(20, 30, 3), shift, 0)
    board = np.uint8(np.indices(travel.size).sum(axis=0) % 2 * 255)
    entries = FollowPicture(FILTER, "board").trace(travel, [Denoised(0, 0, board)] * 5).entries
    assert entries["psnrs"] == [None, 0, None, 0, None]  # all wrong by white: 0 dB
    assert (entries["exact"], entries["psnr"], entries["equal"]) == (False, 0, 0.5)


def follow_boxes(boxes: Sequence[Any], shift: Shift) -> dict[str, Any]:
    """What is said of detections in windows of 100 x 100 pixels of a photo twice as large."""
    pixels = np.zeros((*shift.around((100, 100)), 3), np.uint8)
    travel = Travel(shift, pixels, (100, 100), Geometry(0.5, 0.5))
    return FollowObject(FILTER, "boxes").trace(travel, [Detections(tuple(found)) for found in boxes]).entries


def box(x: float, y: float, label: str = "dog", score: float = 0.5) -> Detection:
    return Detection(label, 1, score, (x, y, 20, 20))


def test_a_box_that_moves_along_is_equivariant() -> None:
    boxes = [[box(40 - k, 40 - k), box(10, 10, "cat")] for k in range(5)]
    entries = follow_boxes(boxes, Shift(4, "diagonal"))
    assert entries["label"] == "dog"
    assert entries["bbox"] == [80, 80, 40, 40]
    assert entries["ious"] == [1] * 5
    assert (entries["equivariance"], entries["position_error"], entries["found"]) == (1, 0, 1)


def test_a_box_that_stays_is_off_by_the_shift() -> None:
    entries = follow_boxes([[box(40, 40)]] * 5, Shift(4, "diagonal"))
    expected = [(20 - k) ** 2 / (800 - (20 - k) ** 2) for k in range(5)]
    assert entries["ious"] == pytest.approx(expected, abs=1e-6)
    assert entries["equivariance"] == pytest.approx(np.mean(expected[1:]), abs=1e-6)
    assert entries["position_errors"][:4] == pytest.approx([k * math.sqrt(2) for k in range(4)], abs=1e-3)
    assert expected[4] < 0.5  # so that it counts as lost
    assert entries["position_errors"][4] is None
    assert entries["scores"][4] is None
    assert entries["found"] == 3 / 4


def test_a_box_of_another_label_is_not_the_object() -> None:
    entries = follow_boxes([[box(40, 40)], [box(40, 40, "cat")], []], Shift(2, "right"))
    assert entries["ious"] == [1, 0, 0]
    assert (entries["found"], entries["position_error"]) == (0, None)


def test_a_box_at_the_edge_is_compared_where_all_windows_show_it() -> None:
    """Cut by the first window's edge, larger in those that show more of it, it is the same in the shared part."""
    boxes = [[Detection("dog", 1, 0.5, (90 - k, 40, 10 + k, 20))] for k in range(4)]
    assert follow_boxes(boxes, Shift(3, "right"))["ious"] == [1] * 4


def test_no_object_is_a_failure() -> None:
    with pytest.raises(InputError, match="boxes finds no object"):
        follow_boxes([[]] * 3, Shift(2, "right"))
    with pytest.raises(InputError, match="none to follow"):
        follow_boxes([[Detection("dog", 1, 0.5, (0, 0, 2, 2))]] * 3, Shift(2, "right"))


def masks(moving: bool, name: str, level: int) -> dict[str, Any]:
    """Of a square of 20 pixels a side in windows of 40, that moves 2 pixels or stays."""
    shift = Shift(2, "right")
    travel = Travel(shift, np.zeros((40, 42, 3), np.uint8), (40, 40), Geometry(1.0, 1.0))
    whole = np.zeros((40, 42), np.uint8)
    whole[10:30, 10:30] = level
    shown = [whole[:, k : k + 40] if moving else whole[:, :40] for k in range(3)]
    follower = FollowMask(read_info(model_path(name)), name)
    return follower.trace(travel, [Segmentation((), None, mask) for mask in shown]).entries


@pytest.mark.parametrize(("name", "level"), [("deeplabv3_mobilenetv2", 12), ("u2netp", 200)])
def test_masks_that_move_along_agree(name: str, level: int) -> None:
    entries = masks(True, name, level)
    assert entries["agreements"] == entries["ious"] == [1, 1, 1]


@pytest.mark.parametrize(("name", "level"), [("deeplabv3_mobilenetv2", 12), ("u2netp", 200)])
def test_masks_that_stay_disagree_at_their_edges(name: str, level: int) -> None:
    """Of 40 x 38 shared pixels 2 columns of 20 change with each step; 20 - k of 20 + k columns stay."""
    entries = masks(False, name, level)
    expected = [1 - 40 * k / (40 * 38) for k in range(3)]
    assert entries["agreements"] == pytest.approx(expected, abs=1e-6)
    assert entries["agreement"] == pytest.approx(np.mean(expected[1:]), abs=1e-6)
    assert entries["ious"] == pytest.approx([1, 19 / 21, 18 / 22], abs=1e-6)


def test_no_foreground_has_no_overlap() -> None:
    entries = masks(True, "deeplabv3_mobilenetv2", 0)
    assert (entries["agreement"], entries["iou"]) == (1, None)


def test_a_second_model_is_asked_by_its_own_name() -> None:
    class Asking(Striped):
        def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Classification]:
            outputs = yield Request("classify", image)
            best = int(outputs["logits"])
            return Classification((Label(str(best), best, 1.0), Label(str(1 - best), 1 - best, 0.0)))

    movers = [Mover(Asking(1), Unscaled(FILTER, "one")), Mover(Asking(1), Unscaled(FILTER, "two"), "against ")]
    steps = ShiftTask(movers, Shift(3, "down")).analyse(noise(20, 20, 3))
    asked, request, result = [], next(steps), None
    while result is None:
        asked.append(request.model)
        try:  # the first model always says 0, the second 0 and 1 in turn
            request = steps.send({"logits": 0 if request.model == "classify" else len(asked) % 2})
        except StopIteration as end:
            result = end.value
    assert asked == ["classify"] * 4 + ["against classify"] * 4
    assert result.entries["consistency"] == 1
    assert (result.entries["against"]["model"], result.entries["against"]["consistency"]) == ("two", 0)


def test_every_follower_has_its_figure_in_the_record() -> None:
    followers: set[type[Follower]] = {follower for _, follower, _ in FOLLOWERS.values()}
    assert {follower.figure for follower in followers} == {"consistency", "equivariance", "agreement", "equal"}


def test_draws_a_picture_of_a_grey_photo() -> None:
    task = ShiftTask([Mover(Sobel({}, SobelOptions()), FollowPicture(FILTER, "sobel"))], Shift(5, "down"))
    image = noise(60, 50)
    result = answered(task, image)
    drawn = task.draw(Photo(image), result, ".png").pixels
    assert drawn.dtype == np.uint8
    assert Image.fromarray(drawn).width > 1000
    assert task.release(result).tracks == ()
