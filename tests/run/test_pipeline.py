"""The streaming loop with a task and an engine of our own, whose every delay and failure is known."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from cnncli.config import RunConfig
from cnncli.engine.base import answers_of
from cnncli.errors import DeviceError, InputError, NotDecodedError, OutOfMemoryError, OutputError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import Photo
from cnncli.io.sources import Input
from cnncli.run import pipeline
from cnncli.run.items import Item
from cnncli.run.pipeline import Outcome, Pipeline
from cnncli.tasks.base import BaseTask, Request


@dataclass(frozen=True)
class Sum:
    value: int

    def as_dict(self) -> dict[str, int]:
        return {"sum": self.value}


class SumTask(BaseTask):
    """Asks twice (the second time for the first answer plus one), as a detector and its embedder would."""

    name = "sum"

    def analyse(self, image: np.ndarray) -> Iterator:
        first = yield Request("sum", image[: 1 + image[0, 0, 0] % 2])
        second = yield Request("sum", first["sum"] + 1)
        return Sum(int(second["sum"]))


class SumEngine:
    """Sums each item; remembers the batches and how many calls ran at once."""

    name, device, preferred_batch, turn = "sum", "cpu", 4, 1

    def __init__(self, parallel_calls: int = 2, memory: int = 1 << 30, delay: float = 0.0):
        self.parallel_calls = parallel_calls
        self.shares_cores = parallel_calls > 1
        self.batches: list[tuple] = []
        self._memory = memory
        self._delay = delay
        self._running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            self._running += 1
            self.most_running = max(self.most_running, self._running)
            self.batches.append(batch.shape)
        time.sleep(self._delay)
        with self._lock:
            self._running -= 1
        if len(batch) > self._memory:
            raise OutOfMemoryError("full")
        return {"sum": batch.reshape(len(batch), -1).sum(1, dtype=np.int64)}


def item(index: int, load=None) -> Item:
    pixels = np.full((4, 4, 3), index % 251, np.uint8)
    return Item(index, Input(f"{index}.png", ""), load or (lambda: Photo(pixels)))


def expected(index: int) -> int:
    value = index % 251
    return value * 12 * (1 + value % 2) + 1


def run(items, engine=None, finish=None, **options) -> list[Outcome]:
    return list(Pipeline(SumTask(), {"sum": engine or SumEngine()}, RunConfig(**options), finish).run(items))


def raising(error: BaseException):
    def load() -> Photo:
        raise error

    return load


def sleeping(seconds: float):
    def load() -> Photo:
        time.sleep(seconds)
        return Photo(np.zeros((4, 4, 3), np.uint8))

    return load


@pytest.mark.parametrize("batch_size", [None, 1, 3, 64])
@pytest.mark.parametrize("workers", [1, 4])
def test_answers_in_the_order_of_inputs(batch_size: int | None, workers: int) -> None:
    outcomes = run(map(item, range(400)), batch_size=batch_size, workers=workers)
    assert [outcome.item.index for outcome in outcomes] == list(range(400))
    assert [outcome.result.value for outcome in outcomes] == [expected(index) for index in range(400)]


def test_slow_inputs_do_not_change_the_order() -> None:
    items = [item(index, sleeping(0.05) if index % 7 == 0 else None) for index in range(60)]
    assert [outcome.item.index for outcome in run(items, workers=4)] == list(range(60))


def test_batches_hold_equal_shapes_and_at_most_the_size() -> None:
    engine = SumEngine()
    run(map(item, range(200)), engine, batch_size=16)
    assert max(shape[0] for shape in engine.batches) == 16
    assert sum(shape[0] for shape in engine.batches) == 400


def test_no_more_calls_at_once_than_the_engine_allows() -> None:
    engine = SumEngine(parallel_calls=2, delay=0.002)
    run(map(item, range(60)), engine)
    assert engine.most_running == 2


def test_failures_become_outcomes() -> None:
    items = [item(0), item(1, raising(InputError("broken"))), item(2, raising(MemoryError())), item(3)]
    outcomes = run(items)
    assert [outcome.failure for outcome in outcomes] == [None, "broken", "does not fit into memory", None]


def test_bugs_become_failures_with_a_traceback() -> None:
    outcomes = run([item(0, raising(ZeroDivisionError("x"))), item(1)])
    assert "internal error (ZeroDivisionError" in outcomes[0].failure
    assert "raise error" in outcomes[0].bug
    assert outcomes[1].result.value == expected(1)


def test_cuts_off_what_hangs_and_goes_on() -> None:
    items = [item(index, sleeping(30) if index in (2, 3, 5) else None) for index in range(50)]
    start = time.monotonic()
    outcomes = run(items, workers=2, decode_timeout=0.3)
    assert time.monotonic() - start < 10
    assert [outcome.item.index for outcome in outcomes if outcome.failure] == [2, 3, 5]
    assert "within 0.3 seconds" in outcomes[2].failure


def test_halves_batches_that_do_not_fit() -> None:
    engine = SumEngine(memory=3)
    outcomes = run(map(item, range(40)), engine, batch_size=16)
    assert [outcome.result.value for outcome in outcomes] == [expected(index) for index in range(40)]


def test_ends_where_a_single_item_does_not_fit() -> None:
    with pytest.raises(DeviceError, match="--device cpu"):
        run(map(item, range(4)), SumEngine(memory=0))


def test_errors_of_the_source_end_the_run() -> None:
    def items() -> Iterator[Item]:
        yield item(0)
        raise InputError("the list broke")

    with pytest.raises(InputError, match="the list broke"):
        run(items())


def test_write_errors_end_the_run() -> None:
    def finish(*arguments):
        raise OutputError("disk full")

    with pytest.raises(OutputError):
        run(map(item, range(3)), finish=finish)


def test_finish_gets_photo_and_result() -> None:
    def finish(done: Item, photo: Photo, result: Sum) -> dict:
        return {"output": f"{done.file} {photo.pixels.shape} {result.value}"}

    (outcome,) = run([item(7)], finish=finish)
    assert outcome.extra == {"output": f"7.png (4, 4, 3) {expected(7)}"}


def test_skipped_items_are_not_loaded() -> None:
    from dataclasses import replace

    outcomes = run([replace(item(0, raising(AssertionError())), skipped=True), item(1)])
    assert outcomes[0].result is None
    assert outcomes[0].failure is None


def test_reads_only_a_window_ahead() -> None:
    read = []

    def items() -> Iterator[Item]:
        for index in range(5000):
            read.append(index)
            yield item(index)

    pipeline = Pipeline(SumTask(), {"sum": SumEngine()}, RunConfig())
    outcomes = pipeline.run(items())
    for _ in range(3):
        next(outcomes)
    time.sleep(0.2)
    assert len(read) < 100
    outcomes.close()


def test_kept_photos_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.run.pipeline.PHOTO_BUDGET", 10 * 48)
    alive = SimpleNamespace(now=0, most=0)

    def load() -> Photo:
        alive.now += 1
        alive.most = max(alive.most, alive.now)
        return Photo(np.zeros((4, 4, 3), np.uint8))

    def finish(*arguments) -> dict:
        alive.now -= 1
        return {}

    outcomes = run([item(index, load) for index in range(100)], finish=finish, batch_size=64, workers=2)
    assert len(outcomes) == 100
    assert alive.most <= 10 + 2 * 2 + 2  # the budget, and what two workers have before it is weighed


def test_what_tasks_fill_meanwhile_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.run.pipeline.WORK_BUDGET", 5)
    alive = SimpleNamespace(now=0, most=0)
    lock = threading.Lock()

    class Greedy(SumTask):
        def working_bytes(self, image: np.ndarray) -> int:
            return 100 if image[0, 0, 0] == 7 else 2  # more than there is: it still gets its turn, alone

        def analyse(self, image: np.ndarray) -> Iterator:
            first = yield Request("sum", image[:1])
            with lock:
                alive.now += self.working_bytes(image)
                alive.most = max(alive.most, alive.now)
            second = yield Request("sum", first["sum"] + 1)
            with lock:
                alive.now -= self.working_bytes(image)
            return Sum(int(second["sum"]))

    for batch_size in (None, 16):
        pipeline = Pipeline(Greedy(), {"sum": SumEngine()}, RunConfig(batch_size=batch_size, workers=3))
        outcomes = list(pipeline.run(map(item, range(60))))
        assert [outcome.item.index for outcome in outcomes] == list(range(60))
        assert not any(outcome.failure for outcome in outcomes)
    assert alive.most == 100


def test_results_leave_their_pixels_behind() -> None:
    class Heavy(SumTask):
        def release(self, result: Sum) -> Sum:
            return Sum(-result.value)

    def finish(done: Item, photo: Photo, result: Sum) -> dict:
        return {"output": result.value}

    (outcome,) = Pipeline(Heavy(), {"sum": SumEngine()}, RunConfig(), finish).run([item(3)])
    assert (outcome.extra["output"], outcome.result.value) == (expected(3), -expected(3))


def test_answers_while_the_source_waits() -> None:
    gate = threading.Event()

    def items() -> Iterator[Item]:
        yield item(0)
        gate.wait(20)
        yield item(1)

    outcomes = Pipeline(SumTask(), {"sum": SumEngine()}, RunConfig(batch_size=64)).run(items())
    assert next(outcomes).item.index == 0
    gate.set()
    assert next(outcomes).item.index == 1


def test_threads_end_with_the_run() -> None:
    before = threading.active_count()
    run(map(item, range(20)))
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def even_items(count: int) -> list[Item]:
    """Images of one shape."""
    return [item(2 * index) for index in range(count)]


@pytest.mark.parametrize("shares_cores", [False, True])
def test_an_engine_with_a_turn_gets_full_batches(shares_cores: bool) -> None:
    engine = SumEngine(parallel_calls=2)
    engine.shares_cores, engine.turn = shares_cores, 8
    outcomes = run(even_items(101), engine, workers=2)
    assert [outcome.result.value for outcome in outcomes] == [expected(2 * index) for index in range(101)]
    sizes = [shape[0] for shape in engine.batches if len(shape) == 4]  # of the images; the task asks once more for each
    assert sum(sizes) == 101
    assert sizes.count(engine.preferred_batch) >= 20  # of 25 that are full at best


def test_a_turn_waits_for_no_input_that_is_not_there_yet() -> None:
    """The source gives three items, and goes on only when their answers are out."""
    engine = SumEngine(parallel_calls=1)
    engine.turn = 8
    answered = threading.Semaphore(0)

    def source() -> Iterator[Item]:
        for index, one in enumerate(even_items(9)):
            if index and index % 3 == 0:
                for _ in range(3):
                    assert answered.acquire(timeout=20)
            yield one

    for _ in Pipeline(SumTask(), {"sum": engine}, RunConfig(workers=2)).run(source()):
        answered.release()
    assert sum(shape[0] for shape in engine.batches) == 18


class _Encoding(BaseTask):
    """A task whose images are decoded by its engine."""

    def analyse(self, image):
        outputs = yield Request("sum", image)
        return Sum(int(outputs["sum"]))


def test_photos_that_wait_for_a_device_count_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PHOTO_BUDGET", 5000)
    engine = _DecodingEngine(parallel_calls=1)
    engine.turn = engine.preferred_batch = 64
    loaded: list[int] = []

    def photo(index: int) -> Photo:
        loaded.append(index)
        return Photo(EncodedPhoto(b"1".zfill(1000), 4, 4), full_size=(4, 4))

    items = (Item(index, Input(str(index), ""), partial(photo, index)) for index in range(200))
    for count, _ in enumerate(Pipeline(_Encoding(), {"sum": engine}, RunConfig(workers=2)).run(items)):
        assert len(loaded) - count <= 5 + 2 * 6  # what the budget holds, and twice what workers have at once


@pytest.mark.parametrize("photos", [12, 5])
def test_halves_of_a_batch_may_each_hold_what_can_not_be_decoded(photos: int) -> None:
    """A batch that does not fit is halved, and each half names its own."""
    odd = [EncodedPhoto(b"no number" if index % 2 else str(index).encode(), 4, 4) for index in range(photos)]
    answers = answers_of(_DecodingEngine(memory=4), odd)
    assert answers == [None if index % 2 else {"sum": index} for index in range(photos)]


class _DecodingEngine(SumEngine):
    """Knows photos that hold a number in words; the rest it hands back."""

    def run(self, batch):
        if isinstance(batch, np.ndarray):
            return super().run(batch)
        if len(batch) > self._memory:
            raise OutOfMemoryError("full")
        foreign = [photo for photo in batch if not photo.content.isdigit()]
        if foreign:
            raise NotDecodedError(foreign)
        return {"sum": np.array([int(photo.content) for photo in batch])}


def test_what_a_device_can_not_decode_goes_the_way_of_the_cpu() -> None:
    def whole(index: int) -> Photo:
        if index % 5 == 2:
            raise InputError("damaged")
        return Photo(np.full((1, 1, 1), 7, np.uint8))

    def photo(index: int) -> Photo:
        content = b"no number" if index % 5 in (1, 2) else str(index).encode()
        return Photo(EncodedPhoto(content, 4, 4), full_size=(4, 4), reload=partial(whole, index))

    engine = _DecodingEngine(parallel_calls=1)
    engine.turn = 4
    items = [Item(index, Input(str(index), ""), partial(photo, index)) for index in range(40)]
    outcomes = list(Pipeline(_Encoding(), {"sum": engine}, RunConfig(workers=2)).run(items))
    for index, outcome in enumerate(outcomes):
        if index % 5 == 2:
            assert outcome.failure == "damaged"
        else:
            assert outcome.result.value == (7 if index % 5 == 1 else index)
