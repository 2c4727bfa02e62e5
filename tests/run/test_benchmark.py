"""Stages of a benchmark over engines and tasks of our own, whose every delay is known."""

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cnncli.config import RunConfig
from cnncli.errors import OutOfMemoryError
from cnncli.io.sources import Input
from cnncli.run.benchmark_forward import dialogue, forward_stages, interpret_rate
from cnncli.run.benchmark_photos import sample_of, spread
from cnncli.run.benchmark_stages import Stage, bound_of, limit_of, rate_of
from cnncli.tasks.base import BaseTask, Request


def inputs(count: int) -> list[Input]:
    return [Input(f"{number:05}.jpg", "") for number in range(count)]


@pytest.mark.parametrize(("listed", "most"), [(1000, 200), (999, 200), (201, 200), (7, 3)])
def test_spreads_over_the_whole_list(listed: int, most: int) -> None:
    chosen, count = spread(inputs(listed), most)
    numbers = [int(source.file[:5]) for source in chosen]
    gaps = {later - earlier for earlier, later in itertools.pairwise([-1, *numbers])}
    assert (len(chosen), count, numbers[-1]) == (most, listed, listed - 1)
    assert gaps <= {listed // most, -(-listed // most)}


def test_takes_all_of_a_short_list() -> None:
    assert spread(inputs(5), 200) == (inputs(5), 5)
    assert spread([], 200) == ([], 0)


def test_samples_what_can_be_decoded_in_an_order_that_stays(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "03.png").write_bytes(b"broken")
    sources = [Input(str(path), "") for path in sorted(tmp_path.iterdir())]
    sample = sample_of(sources, 10, 1 << 20)
    names = [Path(file).stem for file in sample.files]
    assert sorted(names) == ["01", "05", "07", "09", "11", "13", "15", "17", "19"]
    assert names != sorted(names)
    assert sample.photos == [Path(file).read_bytes() for file in sample.files]
    assert sample == sample_of(sources, 10, 1 << 20)
    assert sample.listed == 20


def test_bound_on_shared_cores_adds_their_times() -> None:
    rates = {"decode + prepare": 300.0, "forward": 150.0, "interpret": 10.0}
    assert bound_of(rates, shared=True) == pytest.approx(100)
    assert bound_of({"decode + prepare": 300.0}, shared=True) == pytest.approx(300)


def test_bound_on_a_device_is_its_slowest_part() -> None:
    rates = {"decode + prepare": 300.0, "forward": 150.0, "copy": 120.0, "interpret": 10.0}
    assert bound_of(rates, shared=False) == 120
    assert (limit_of(rates), limit_of({**rates, "interpret": 1e4})) == ("interpret", "copy")


def test_milliseconds_are_those_of_the_rate() -> None:
    assert Stage("decode", 250.0, 2).as_dict() == {
        "stage": "decode", "images_per_s": 250.0, "ms_per_image": 4.0, "threads": 2,
    }  # fmt: skip


def test_rate_adds_up_over_threads() -> None:
    rate = rate_of(time.sleep, [0.01, 0.03], 3, 0.3)
    assert 3 / 0.02 * 0.4 < rate < 3 / 0.02 * 1.3  # a busy machine sleeps longer
    worth = rate_of(time.sleep, [0.01, 0.03], 3, 0.3, worth=lambda seconds: 100 * seconds)
    assert 3 * 100 * 0.4 < worth < 3 * 100 * 1.01


def test_an_error_in_one_thread_ends_all() -> None:
    def fail(argument: int) -> None:
        if argument:
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        rate_of(fail, [0, 1], 2, 0.01)


class TwoSizes(BaseTask):
    """Asks for 10 elements, then for 30."""

    name = "two"

    def analyse(self, image: np.ndarray) -> Iterator:
        yield Request("net", np.zeros((10,), np.uint8))
        yield Request("net", np.zeros((30,), np.uint8))
        time.sleep(0.002)
        return SimpleNamespace(as_dict=dict)


class SleepingEngine:
    """Takes a time for each call and a time for each element; more than `memory` elements don't fit."""

    name, device, preferred_batch, shares_cores, turn, parallel_calls = "sleep", "cpu", 2, False, 1, 1

    def __init__(self, call: float, element: float, memory: int = 1 << 30):
        self._call, self._element, self._memory = call, element, memory

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        if batch.size > self._memory:
            raise OutOfMemoryError("too much")
        time.sleep(self._call + self._element * batch.size)
        return {"values": np.zeros((len(batch), 5), np.float32)}


def session_of(engine: SleepingEngine, device: str = "cpu") -> SimpleNamespace:
    run = SimpleNamespace(engine=engine.name, device=device)
    return SimpleNamespace(task=TwoSizes(), engines={"net": engine}, run=run)


def measured(engine: SleepingEngine, device: str = "cpu") -> tuple:
    session = session_of(engine, device)
    dialogues = [dialogue(session, np.zeros((1, 1, 3), np.uint8)) for _ in range(3)]
    return forward_stages(session, dialogues, RunConfig(), 0.2)


def test_forward_counts_all_requests_of_a_photo() -> None:
    stages, _, _ = measured(SleepingEngine(0.0, 0.0002))
    assert 1 / 0.008 * 0.4 < stages[0].rate < 1 / 0.008 * 1.01  # 40 elements a photo


def test_forward_bound_takes_the_best_batch() -> None:
    stages, rates, figures = measured(SleepingEngine(0.01, 0.0))
    assert set(figures["forward_by_batch"]) == {"1", "2", "4", "8", "16"}
    assert figures["best_batch"] == 16
    assert 16 / 0.02 * 0.4 < figures["forward_bound_images_per_s"] < 16 / 0.02 * 1.01  # two calls for 16 photos
    assert [stage.name for stage in stages] == ["forward (batch 2)", "forward, best (batch 16)"]
    assert rates == {"forward": stages[1].rate}


@pytest.mark.parametrize(
    "engine", [SleepingEngine(0.001, 0.0, memory=150), SleepingEngine(0.0, 0.0005)], ids=["memory", "time"]
)
def test_forward_stops_growing(engine: SleepingEngine) -> None:
    """Where memory ends (30 * 8 do not fit), and where a call outlasts its time (0.1 s)."""
    _, _, figures = measured(engine)
    assert {"1", "2", "4"} <= set(figures["forward_by_batch"])
    assert "16" not in figures["forward_by_batch"]


def test_copies_are_rates_of_what_a_photo_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnncli.engine import torch_timing

    def pace_to(batch: np.ndarray, device: str, seconds: float) -> float:
        assert (batch.shape, device) == ((2, 30), "cuda:0")  # the largest, at the run's batch
        return 4000.0

    def pace_back(outputs: Sequence[np.ndarray], device: str, seconds: float) -> float:
        assert [value.shape for value in outputs] == [(2, 5)]
        return 8000.0

    monkeypatch.setattr(torch_timing, "bytes_to", pace_to)
    monkeypatch.setattr(torch_timing, "bytes_back", pace_back)
    stages, rates, _ = measured(SleepingEngine(0.001, 0.0), device="cuda:0")
    found = {stage.name: stage.rate for stage in stages[2:]}
    assert found == {"copy to the device": 4000 / (10 + 30), "copy back": 8000 / (2 * 5 * 4)}
    assert rates["copy"] == 100


def test_pace_of_copies_is_in_bytes() -> None:
    from cnncli.engine.torch_timing import bytes_back, bytes_to

    batch = np.zeros((4, 256, 256, 3), np.uint8)
    start = time.perf_counter()
    for _ in range(20):
        batch.copy()
    plain = 20 * batch.nbytes / (time.perf_counter() - start)
    for pace in (bytes_to(batch, "cpu", 0.02), bytes_back([batch, batch], "cpu", 0.02)):
        assert plain / 50 < pace < plain * 50  # of the order of any copy of bytes; images are 1e6 times fewer


def test_interpretation_is_timed_after_the_first_request() -> None:
    session = session_of(SleepingEngine(0.0, 0.0))
    image = np.zeros((1, 1, 3), np.uint8)
    rate = interpret_rate(session.task, [(image, dialogue(session, image))], 3, 0.2)
    assert 3 / 0.002 * 0.4 < rate < 3 / 0.002 * 1.01


def test_network_alone_runs_on_the_device_of_the_engine() -> None:
    import torch

    from cnncli.engine.torch_timing import seconds_a_call

    seen = []

    def network(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append((images.shape, images.device.type))
        time.sleep(0.01)
        return (images,)

    spent = seconds_a_call(network, np.zeros((2, 3), np.uint8), "cpu", 0.1)
    assert 0.01 < spent < 0.05
    assert set(seen) == {((2, 3), "cpu")}
