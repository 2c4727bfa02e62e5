"""Batches are the same whatever the number of processes and workers."""

import pytest
import torch

from cnncli.errors import UsageError
from cnncli.train.batches import VALIDATION, Seeded, TrainingOrder, ValidationOrder, loader
from cnncli.train.recipe import Examples
from cnncli.train.recipes.classify import ClassifyRecipe


class Draws(Examples):
    """Each example is a random number."""

    def __len__(self) -> int:
        return 10

    def example(self, index: int) -> dict:
        return {"value": torch.rand(())}


@pytest.fixture
def recipe(make_config) -> ClassifyRecipe:
    return ClassifyRecipe(make_config(augment="light"), lambda message: None)


def test_an_example_depends_on_seed_epoch_and_index_alone() -> None:
    examples = Seeded(Draws(), seed=3)
    first = examples[1, 2]["value"]
    torch.rand(5)
    assert examples[1, 2]["value"] == first
    assert len({float(examples[place]["value"]) for place in ((1, 2), (1, 3), (2, 2))}) == 3
    assert Seeded(Draws(), seed=4)[1, 2]["value"] != first


def test_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(())
    torch.manual_seed(1)
    Seeded(Draws(), seed=3)[1, 2]
    assert torch.rand(()) == expected


def test_processes_share_each_batch(recipe: ClassifyRecipe) -> None:
    whole = list(TrainingOrder(recipe, 8, 0, 1))
    halves = [list(TrainingOrder(recipe, 8, rank, 2)) for rank in range(2)]
    assert len(whole) == 3  # 24 examples
    assert [one + other for one, other in zip(*halves, strict=True)] == whole
    assert len({index for batch in whole for _, index in batch}) == 24


def test_an_epoch_has_an_order_of_its_own(recipe: ClassifyRecipe) -> None:
    order = TrainingOrder(recipe, 8, 0, 1)
    first = [[index for _, index in batch] for batch in order]
    order.epoch = 1
    assert [[index for _, index in batch] for batch in order] != first


def test_rejects_a_batch_that_processes_can_not_share(recipe: ClassifyRecipe) -> None:
    with pytest.raises(UsageError, match="--batch-size 9: 2 processes can't share it evenly"):
        TrainingOrder(recipe, 9, 0, 2)


@pytest.mark.parametrize(("count", "processes"), [(10, 1), (10, 3), (2, 4)])
def test_validation_takes_each_example_once(count: int, processes: int) -> None:
    orders = [ValidationOrder(count, 3, rank, processes) for rank in range(processes)]
    places = [place for order in orders for batch in order for place in batch]
    assert sorted(places) == [(VALIDATION, index) for index in range(count)]


@pytest.mark.timeout(120)
def test_workers_load_the_same(recipe: ClassifyRecipe) -> None:
    by_workers = [
        torch.stack(
            [batch["images"] for batch in loader(recipe, recipe.train, TrainingOrder(recipe, 8, 0, 1), n, False)]
        )
        for n in (0, 2)
    ]
    assert torch.equal(*by_workers)
