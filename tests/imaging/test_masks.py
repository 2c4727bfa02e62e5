"""Class maps against full interpolation, run lengths against pycocotools, colours against VOC's known ones."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torch.nn import functional as F

from cnncli.imaging.masks import anchor_point, class_map, filled, palette, pasted, run_lengths, share_out

CLASSES, STRIDE = 21, 8


def smooth_logits(height: int, width: int, seed: int = 0, size: float = 5) -> np.ndarray:
    """Random logits (C, height, width) that change little from cell to cell."""
    coarse = torch.from_numpy(np.random.default_rng(seed).normal(0, size, (1, CLASSES, 5, 6)))
    return F.interpolate(coarse, size=(height, width), mode="bicubic")[0].float().numpy()


def rough_logits(height: int, width: int, seed: int = 0, size: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, (CLASSES, height, width)).astype(np.float32)


def weights(length: int, cells: int) -> np.ndarray:
    """How much each cell counts at each of `length` pixels: (length, cells), straight lines between the cells.

    Cell i lies at pixel 8 i of an input of 8 (cells - 1) + 1 pixels, over which the photo is stretched by its edges.
    """
    inner = STRIDE * (cells - 1) + 1
    place = np.clip((np.arange(length) + 0.5) * inner / length - 0.5, 0, inner - 1)
    return np.stack([np.interp(place, STRIDE * np.arange(cells), unit) for unit in np.eye(cells)], axis=1)


def full(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """(C, height, width) in float64."""
    rows, columns = weights(height, logits.shape[1]), weights(width, logits.shape[2])
    return np.einsum("yi,cij,xj->cyx", rows, logits.astype(np.float64), columns, optimize=True)


def agree(labels: np.ndarray, scores: np.ndarray, same: float = 0.999) -> None:
    """Every pixel has the class of the largest score, but for pairs that are equal within rounding; most are equal."""
    assert labels.dtype == np.uint8 and labels.shape == scores.shape[1:]
    chosen = np.take_along_axis(scores, labels[None].astype(int), axis=0)[0]
    assert (scores.max(axis=0) - chosen).max() <= 1e-4
    assert (labels == scores.argmax(axis=0)).mean() >= same


PLACES = [
    (65, 44, 513, 345),
    (65, 44, 640, 427),
    (9, 65, 100, 1000),
    (33, 33, 31, 29),
    (65, 65, 3, 70),
    (5, 4, 600, 40),
]


@pytest.mark.parametrize("make", [smooth_logits, rough_logits])
@pytest.mark.parametrize(("columns", "rows", "width", "height"), PLACES)
def test_matches_full_interpolation(make, rows: int, columns: int, height: int, width: int) -> None:
    logits = make(rows, columns)
    agree(class_map([logits], height, width, STRIDE), full(logits, height, width))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 2), (7, 5)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (9, 1), (2, 2), (44, 65)])
def test_takes_any_shape(rows: int, columns: int, height: int, width: int) -> None:
    logits = rough_logits(rows, columns)
    agree(class_map([logits], height, width, STRIDE), full(logits, height, width))
    views = [logits, rough_logits(3, 2, seed=1)]
    agree(class_map(views, height, width, STRIDE), sum(softmax(full(view, height, width)) for view in views))


def test_takes_half_precision() -> None:
    logits = smooth_logits(20, 30).astype(np.float16)
    agree(class_map([logits], 160, 240, STRIDE), full(logits, 160, 240))


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(44, 65, 427, 640), (65, 65, 640, 640)])
def test_is_nearly_torchs_way_in_two_steps(rows: int, columns: int, height: int, width: int) -> None:
    """Corners aligned to the input, then to the photo, as the measured accuracy was; that interpolates twice."""
    logits = torch.from_numpy(smooth_logits(rows, columns))[None]
    size = (STRIDE * (rows - 1) + 1, STRIDE * (columns - 1) + 1)
    to_input = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    expected = F.interpolate(to_input, size=(height, width), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert (class_map([logits[0].numpy()], height, width, STRIDE) == expected).mean() > 0.999


def test_is_torchs_way_at_the_size_of_the_input() -> None:
    logits = torch.from_numpy(rough_logits(20, 33))[None]
    size = (STRIDE * 19 + 1, STRIDE * 32 + 1)
    scores = F.interpolate(logits.double(), size=size, mode="bilinear", align_corners=True)[0].numpy()
    agree(class_map([logits[0].numpy()], *size, STRIDE), scores)


@pytest.mark.parametrize(("height", "width"), [(360, 480), (100, 33), (20, 33), (7, 5), (1, 1)])
@pytest.mark.parametrize("make", [smooth_logits, rough_logits])
def test_stride_1_is_torchs_way_for_centres_of_cells(make, height: int, width: int) -> None:
    logits = torch.from_numpy(make(20, 33))
    scores = F.interpolate(logits[None].double(), size=(height, width), mode="bilinear", align_corners=False)[0]
    agree(class_map([logits.numpy()], height, width, 1), scores.numpy())


def softmax(scores: np.ndarray) -> np.ndarray:
    return torch.from_numpy(scores).softmax(dim=0).numpy()


@pytest.mark.parametrize("size", [0.3, 5, 200], ids=["flat", "usual", "steep"])
@pytest.mark.parametrize("make", [smooth_logits, rough_logits])
def test_averages_softmax_over_views_of_any_grid(make, size: float) -> None:
    views = [make(17, 25, 0, size), make(17, 25, 1, size)[:, :, ::-1], make(9, 13, 2, size), make(33, 49, 3, size)]
    expected = sum(softmax(full(view, 130, 200)) for view in views)
    steep = size > 100  # where each view is sure of another class, all their parts are 1
    agree(class_map(views, 130, 200, STRIDE), expected, same=0 if steep else 0.999)


def test_a_view_and_its_like_say_what_one_says() -> None:
    logits = rough_logits(17, 25, size=3)
    one, two = (class_map([logits] * count, 130, 200, STRIDE) for count in (1, 2))
    assert (one == two).mean() > 0.999


def test_a_large_photo_takes_little_time_and_memory() -> None:
    logits = smooth_logits(44, 65)
    tracemalloc.start()
    start = time.perf_counter()
    class_map([logits], 4000, 6000, STRIDE)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5 and peak < 200 << 20


VOC_COLOURS = {  # of the development kit's classes, and of what is counted neither right nor wrong
    0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128),
    8: (64, 0, 0), 12: (64, 0, 128), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192),
}  # fmt: skip


def test_palette_is_vocs() -> None:
    colours = np.array(palette()).reshape(-1, 3)
    assert {number: tuple(colours[number].tolist()) for number in VOC_COLOURS} == VOC_COLOURS
    assert len(np.unique(colours, axis=0)) == 256
    assert len(palette(21)) == 63 and palette(21) == palette()[:63]


def blob(seed: int, height: int, width: int) -> np.ndarray:
    return smooth_logits(height, width, seed)[0] > 0


def test_run_lengths_by_hand() -> None:
    """Down the columns, as COCO counts: 3 outside, 2 inside, 1 outside."""
    mask = np.array([[False, True], [False, True], [False, False]])
    encoded = run_lengths(mask)
    assert encoded == {"size": [3, 2], "counts": "321"}
    np.testing.assert_array_equal(filled(encoded), mask)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of coco.decode
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (37, 53), (300, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_run_lengths_are_cocos(seed: int, height: int, width: int) -> None:
    everything = np.ones((height, width), bool)
    for mask in (blob(seed, height, width), rough_logits(height, width)[seed] > 0, everything, ~everything):
        encoded = run_lengths(mask)
        as_bytes = {"size": encoded["size"], "counts": encoded["counts"].encode()}
        assert int(coco.area(as_bytes)) == mask.sum()
        np.testing.assert_array_equal(coco.decode(as_bytes), mask)
        np.testing.assert_array_equal(filled(encoded), mask)
        assert filled(encoded).dtype == bool


def test_run_lengths_take_a_mask_of_any_layout() -> None:
    mask = blob(0, 40, 60)
    for view in (mask[:, ::-1], mask.T, mask[::2, 1::3], np.asfortranarray(mask)):
        np.testing.assert_array_equal(filled(run_lengths(view)), view)


def test_shares_by_the_nearer_centre() -> None:
    inside = np.ones((4, 12), bool)
    owner = share_out(inside, np.array([[0.0, 0.0, 8.0, 4.0], [4.0, 0.0, 8.0, 4.0]]))
    assert owner.tolist() == [[0] * 6 + [1] * 6] * 4  # centres at 4 and 8


def test_measures_in_halves_of_the_box() -> None:
    """Centres at 2 and 8, half widths 2 and 8: at 3.2 from the left both are as near."""
    owner = share_out(np.ones((1, 16), bool), np.array([[0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 16.0, 1.0]]))
    assert owner[0].tolist() == [0, 0, 0, *[1] * 13]


def test_leaves_what_no_box_holds() -> None:
    inside = np.zeros((10, 10), bool)
    inside[2:8, 2:8] = True
    owner = share_out(inside, np.array([[0.0, 0.0, 5.0, 5.0]]))
    expected = np.full((10, 10), -1)
    expected[2:5, 2:5] = 0
    np.testing.assert_array_equal(owner, expected)
    assert (share_out(inside, np.zeros((0, 4))) == -1).all()


def test_matches_every_pixel_by_itself() -> None:
    generator = np.random.default_rng(0)
    inside, boxes = (
        blob(1, 40, 60),
        np.column_stack([generator.uniform(-5, 50, (6, 2)), generator.uniform(3, 30, (6, 2))]),
    )
    rows, columns = np.mgrid[:40, :60] + 0.5
    distances = []
    for x, y, width, height in boxes:
        distance = ((columns - x - width / 2) / (width / 2)) ** 2 + ((rows - y - height / 2) / (height / 2)) ** 2
        reached = (columns > np.floor(x)) & (columns < np.ceil(x + width))
        reached &= (rows > np.floor(y)) & (rows < np.ceil(y + height))
        distances.append(np.where(reached & inside, distance, np.inf))
    expected = np.where(np.isfinite(distances).any(axis=0), np.argmin(distances, axis=0), -1)
    assert (share_out(inside, boxes) == expected).mean() > 0.999


@pytest.mark.parametrize(
    "box", [(-10.0, -10.0, 5.0, 5.0), (100.0, 2.0, 5.0, 5.0), (3.0, 100.0, 1.0, 1.0), (3, 3, 0.5, 0)]
)
def test_a_box_outside_owns_nothing_and_fails_nothing(box: tuple[float, float, float, float]) -> None:
    assert share_out(np.ones((10, 10), bool), np.array([box])).max() <= 0


@pytest.mark.parametrize("seed", range(5))
def test_label_lies_deepest_inside(seed: int) -> None:
    mask = blob(seed, 60, 90)
    x, y = anchor_point(mask)
    assert mask[int(y), int(x)]
    rows, columns = np.nonzero(~np.pad(mask, 1))
    depth = np.hypot(rows - 1 - y, columns - 1 - x).min()
    every = [np.hypot(rows - 1 - a, columns - 1 - b).min() for a, b in zip(*np.nonzero(mask), strict=True)]
    assert depth >= max(every) - 1.5  # the distance is that of a 3 x 3 neighbourhood


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (5, 5)])
def test_a_mask_of_everything_has_its_label_in_the_middle(height: int, width: int) -> None:
    x, y = anchor_point(np.ones((height, width), bool))
    assert 0 <= x < width and 0 <= y < height
    if min(height, width) > 1:
        assert (x, y) == (2, 2)


@pytest.mark.parametrize("corners", [(10, 12, 40, 30), (0, 0, 64, 48), (3.3, 7.8, 9.1, 40.2), (60, 40, 64, 48)])
def test_pastes_masks_as_torch_samples_grids(corners: tuple[float, ...]) -> None:
    part = torch.rand(14, 14)
    left, top, right, bottom = corners
    across = ((torch.arange(64) + 0.5 - left) / (right - left)) * 2 - 1
    down = ((torch.arange(48) + 0.5 - top) / (bottom - top)) * 2 - 1
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
    expected = F.grid_sample(part[None, None], places, align_corners=False, padding_mode="zeros")[0, 0]
    np.testing.assert_allclose(pasted(part.numpy(), np.array(corners), 48, 64), expected, atol=1e-4)
