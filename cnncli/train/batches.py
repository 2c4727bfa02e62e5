"""Batches of examples, the same whatever the number of processes and of loading workers."""

import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from cnncli.errors import UsageError
from cnncli.train.recipe import Examples, Recipe

VALIDATION = -1  # in the place of the epoch: validation examples are the same in every one
SEED_LIMIT = 2**63


def mixed(*numbers: int) -> int:
    """A seed made of several numbers, by the multiplier of a 64-bit congruential generator (Knuth, MMIX)."""
    seed = 0
    for number in numbers:
        seed = ((seed + number + 1) * 6364136223846793005 + 1442695040888963407) % SEED_LIMIT
    return seed


class Seeded(Dataset):
    """Examples by (epoch, index), drawn with a generator that is seeded for just that one."""

    def __init__(self, examples: Examples, seed: int):
        self.examples = examples
        self.seed = seed

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        epoch, index = place
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mixed(self.seed, epoch, index))
            return self.examples.example(index)


class TrainingOrder(Sampler):
    """The batches of an epoch that one process of several takes, as lists of (epoch, index).

    Steps are cut from one order that all processes share; each takes its slice of every batch. What is left at the
    end of the order is dropped: another epoch's order will have it elsewhere.
    """

    def __init__(self, recipe: Recipe, batch_size: int, rank: int, processes: int):
        self.recipe, self.rank, self.processes = recipe, rank, processes
        self.batch_size = min(batch_size, len(recipe.train) // processes * processes)
        if batch_size % processes or not self.batch_size:
            raise UsageError(f"--batch-size {batch_size}: {processes} processes can't share it evenly")
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.recipe.train) // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = self.recipe.order(self.epoch)
        share = self.batch_size // self.processes
        for step in range(len(order) // self.batch_size):
            first = step * self.batch_size + self.rank * share
            yield [(self.epoch, index) for index in order[first : first + share]]


class ValidationOrder(Sampler):
    """Every validation example once, over all processes together."""

    def __init__(self, count: int, batch_size: int, rank: int, processes: int):
        places = [(VALIDATION, index) for index in range(rank, count, processes)]
        self.batches = [places[first : first + batch_size] for first in range(0, len(places), batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)


def _leave_signals_to_the_run(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; the run ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def loader(recipe: Recipe, examples: Examples, order: Sampler, workers: int, pinned: bool) -> DataLoader:
    """A loader of the order's batches; its workers stay for the whole run."""
    return DataLoader(
        Seeded(examples, recipe.config.seed),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=recipe.collate,
        worker_init_fn=_leave_signals_to_the_run,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # of the workers' base seed, which would else be drawn from the global one
    )
