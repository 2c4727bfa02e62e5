"""Top patches against a plain search."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.best_patches import Best, FoundPatch, equal_sized
from cnncli.explain.patches import PeakEngine, Peaks, TopPatches, cells_of, peaks
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject

WHOLE = (slice(None), slice(None))


@pytest.fixture(scope="module")
def lite() -> Subject:
    return open_subject(EngineConfig(model="efficientnet_lite0", device="cpu", threads=1))


def inputs(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), np.uint8)


def test_maps_of_a_batch_are_those_of_each_input(lite: Subject) -> None:
    batch = inputs(3)
    found = PeakEngine(lite, "12", (3, 17)).run(batch)["maps"]
    for number, pixels in enumerate(batch):
        with torch.no_grad(), lite.watched("backbone.stages.2.0.layers.2.0") as given:
            lite.network(lite.normalised(pixels))
        for place, channel in enumerate((3, 17)):
            np.testing.assert_allclose(found[number, place], given[0][0, channel].numpy(), atol=1e-4)


def test_peaks_inside_a_part_of_the_input() -> None:
    maps = np.random.default_rng(1).normal(size=(3, 6, 8)).astype(np.float32)
    activations, cells = peaks(maps, (slice(1, 5), slice(2, 8)))
    for number, (row, column) in enumerate(cells):
        assert maps[number, row, column] == activations[number] == maps[number, 1:5, 2:].max()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ((slice(None), slice(None)), (slice(0, 4), slice(0, 8))),
        ((slice(20), slice(40)), (slice(0, 2), slice(0, 8))),
        ((slice(21), slice(5, 40)), (slice(0, 3), slice(1, 8))),
        ((slice(0, 1), slice(39, 40)), (slice(0, 1), slice(7, 8))),
    ],
)
def test_cells_that_a_part_of_the_input_has(part: tuple[slice, slice], expected: tuple[slice, slice]) -> None:
    assert cells_of(part, (40, 40), (4, 8)) == expected


def outcome(index: int, found: Peaks) -> Any:
    item = SimpleNamespace(file=f"{index}.png", index=index, extra={})
    return SimpleNamespace(item=item, result=found)


class FourCells:
    """An engine whose layer has maps of 2 x 2 cells over inputs of 8 px, each cell with 4 of them and 1 around."""

    channels = (5, 6)

    def maps(self, size: tuple[int, int]) -> Any:
        return self

    def seen(self, cell: tuple[int, int]) -> tuple[int, int, int, int]:
        return 3 * cell[1], 3 * cell[0], 5, 5


def test_keeps_the_best_of_many_with_ties_to_the_first() -> None:
    strengths = np.random.default_rng(3).integers(0, 40, (200, 2)).astype(np.float32)  # with many ties
    engine: Any = FourCells()
    best = Best(engine, 7)
    for index, values in enumerate(strengths):
        best.add(
            outcome(index, Peaks(values, np.zeros((2, 2), int), np.zeros((8, 8, 3), np.uint8), (0, 0, 8, 8), WHOLE))
        )
    for place, row in enumerate(best.rows()):
        expected = sorted(range(200), key=lambda index: (-strengths[index, place], index))[:7]
        assert [patch.file for patch in row] == [f"{index}.png" for index in expected]
        assert [patch.activation for patch in row] == strengths[expected, place].tolist()
        assert {patch.channel for patch in row} == {engine.channels[place]}


def test_a_patch_and_its_place_in_the_photo() -> None:
    seen = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    engine: Any = FourCells()
    best = Best(engine, 1)
    best.add(outcome(0, Peaks(np.array([2.5, 1]), np.array([[0, 1], [1, 1]]), seen, (0, 0, 160, 80), WHOLE)))
    first, second = (row[0] for row in best.rows())
    assert first.as_dict(1) == {
        "file": "0.png", "channel": 5, "rank": 1, "activation": 2.5, "cell": [0, 1], "box": [60, 0, 100, 50]
    }  # fmt: skip
    np.testing.assert_array_equal(first.pixels, seen[:5, 3:])
    assert second.box == (60, 30, 100, 50)


def patch(window: tuple[int, int, int, int], value: int) -> FoundPatch:
    pixels = np.full((window[3], window[2], 3), value, np.uint8)
    return FoundPatch("a.png", 0, 1.0, (0, 0), window, (10, 10), window, pixels)


def test_patches_that_a_border_cut_off_lie_where_they_belong() -> None:
    patches = [patch((2, 2, 6, 6), 9), patch((0, 4, 4, 6), 9), patch((6, 7, 4, 3), 9)]
    whole, left, corner = (pixels[..., 0] == 9 for pixels in equal_sized(patches))
    assert whole.all()
    assert whole.shape == left.shape == corner.shape == (6, 6)
    assert left[:, 2:].all()
    assert not left[:, :2].any()
    assert corner[:3, :4].all()
    assert corner.sum() == 12


@pytest.mark.parametrize(("settings", "words"), [({"count": 0}, "1 to 100"), ({"count": 101}, "1 to 100")])
def test_rejects(settings: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TopPatches("12", (3,), **settings)


def test_rejects_channels_that_the_layer_lacks(lite: Subject) -> None:
    with pytest.raises(UsageError, match="channels 0 to 39"):
        PeakEngine(lite, "12", (40,)).run(inputs(1))
