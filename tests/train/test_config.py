"""Options of training are checked where they enter."""

from pathlib import Path

import pytest

from cnncli.errors import UsageError
from cnncli.train.config import TrainConfig


def config(**options) -> TrainConfig:
    return TrainConfig(**{"task": "classify", "data": "photos", "out": Path("run"), **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs 0: give at least 1"),
        ({"schedule": "linear"}, "--schedule linear: choose cosine, step or constant"),
        ({"optimizer": "lion"}, "--optimizer lion: choose sgd, adam or adamw"),
        ({"augment": "much"}, "--augment much"),
        ({"norm": "layer"}, "--norm layer"),
        ({"output_stride": 4}, "--output-stride 4: choose 8, 16 or 32"),
        ({"precision": "int8"}, "--precision int8"),
        ({"device": "tpu"}, "--device tpu"),
        ({"val": 1.5}, "--val 1.5"),
        ({"lr": 0.0}, "--lr 0"),
        ({"lr": float("inf")}, "--lr inf"),
        ({"ema": 1.0}, "--ema 1"),
        ({"seed": -1}, "--seed -1"),
        ({"workers": -1}, "--workers -1"),
        ({"unfreeze_at": 2}, "--unfreeze-at ends what --freeze begins"),
    ],
)
def test_rejects(options: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        config(**options)
    assert message in str(error.value)


def test_tells_what_a_continued_run_may_not_change() -> None:
    earlier = config().as_dict()
    assert config(device="cuda", workers=3, resume=True, patience=4).conflicts(earlier) == []
    assert config(lr=0.1, epochs=30).conflicts(earlier) == ["--epochs", "--lr"]


def test_rejects_choices_that_a_head_does_not_know() -> None:
    with pytest.raises(UsageError, match=r"--set margin: .*classify with head linear"):
        config(options=(("margin", 1),)).check_options(("gamma",), "linear")
