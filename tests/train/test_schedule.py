"""The learning rate is a function of the step."""

import math

import pytest
import torch

from cnncli.train.schedule import rate_factor


def test_cosine_is_that_of_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert rate_factor("cosine", step, 50, warmup=0) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()


def test_rises_first() -> None:
    assert [rate_factor("constant", step, 100, warmup=0.04) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_steps_down_twice() -> None:
    factors = {round(math.log10(rate_factor("step", step, 100, warmup=0))) for step in (0, 59)}
    assert factors == {0}
    assert rate_factor("step", 60, 100, warmup=0) == pytest.approx(0.1)
    assert rate_factor("step", 85, 100, warmup=0) == pytest.approx(0.01)
