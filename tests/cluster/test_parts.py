"""Every input is done once: whatever is done already, and whoever dies over it."""

import itertools
import random

import pytest

from cnncli.cluster.entries import Entry
from cnncli.cluster.parts import DIED, LARGEST, SMALLEST, Part, PartQueue, sized, unfinished
from cnncli.errors import DeviceError, UsageError


def entries(count: int) -> list[Entry]:
    return [Entry(f"{number}.jpg") for number in range(count)]


def unchecked(stretch: range, found: list[Entry]) -> None:
    assert [entry.file for entry in found] == [f"{number}.jpg" for number in stretch]


@pytest.mark.parametrize("seed", range(20))
def test_parts_and_what_is_done_cover_the_inputs_once(seed: int) -> None:
    chance = random.Random(seed)
    total, size = chance.randint(0, 60), chance.randint(1, 9)
    cuts = sorted({0, total, *(chance.randint(0, total) for _ in range(12))})
    stretches = [range(start, stop) for start, stop in itertools.pairwise(cuts)]
    done = [stretch for stretch in stretches if chance.random() < 0.5]
    parts = list(unfinished(iter(entries(total)), size, done, unchecked))
    assert all(len(part.entries) <= size for part in parts)
    assert all(entry.file == f"{part.start + n}.jpg" for part in parts for n, entry in enumerate(part.entries))
    covered = [n for stretch in [*done, *(range(part.start, part.stop) for part in parts)] for n in stretch]
    assert sorted(covered) == list(range(total))


def test_inputs_that_have_gone_are_noticed() -> None:
    with pytest.raises(UsageError, match="fewer than have records"):
        list(unfinished(iter(entries(5)), 4, [range(8, 12)], unchecked))


def test_names_are_read_as_they_are_needed() -> None:
    read = []
    stream = (read.append(entry) or entry for entry in entries(100))
    parts = unfinished(stream, 10, [], unchecked)
    next(parts), next(parts)
    assert len(read) == 20


@pytest.mark.parametrize(("count", "workers", "size"), [(1, 2, SMALLEST), (1600, 2, 100), (10**5, 2, LARGEST)])
def test_size_fits_the_number_of_workers(count: int, workers: int, size: int) -> None:
    found, rest = sized(iter(entries(count)), workers)
    assert found == size
    assert list(rest) == entries(count)


def work(queue: PartQueue, deadly: set[int]) -> tuple[dict[int, str | None], int]:
    """What becomes of each input where these end whoever opens them, and how many workers that takes."""
    answered: dict[int, str | None] = {}
    deaths = 0
    while (part := queue.next()) is not None:
        if any(part.start + n in deadly and entry.failure is None for n, entry in enumerate(part.entries)):
            queue.lost(part)
            deaths += 1
            continue
        for index, entry in enumerate(part.entries, part.start):
            assert index not in answered
            answered[index] = entry.failure
    return answered, deaths


@pytest.mark.parametrize("deadly", [set(), {0}, {63}, {5, 6, 40}])
def test_deadly_inputs_fail_alone(deadly: set[int]) -> None:
    parts = iter([Part(0, tuple(entries(32))), Part(32, tuple(entries(32)))])
    answered, deaths = work(PartQueue(parts), deadly)
    assert answered == {index: DIED if index in deadly else None for index in range(64)}
    assert deaths <= len(deadly) * (2 + 5)  # the part twice, then log2(32) halvings


def test_a_part_that_is_lost_once_comes_back_whole() -> None:
    part = Part(0, tuple(entries(8)))
    queue = PartQueue(iter([part]))
    taken = queue.next()
    assert taken == part
    queue.lost(part)
    again = queue.next()
    assert again is not None and again.entries == part.entries
    assert queue.next() is None


def test_a_cluster_that_kills_every_worker_ends_the_run() -> None:
    with pytest.raises(DeviceError, match="--resume goes on"):
        work(PartQueue(iter([Part(0, tuple(entries(300)))])), set(range(300)))
