"""A process for each device: what goes wrong in one, and that nothing is lost, doubled or left behind."""

import _thread
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.config import RunConfig
from cnncli.engine.device import part_of
from cnncli.errors import CnncliError, DeviceError, InputError, OutputError, UsageError, WeightsError
from cnncli.io.images import Photo
from cnncli.io.sources import Input
from cnncli.results.record import Record, Run
from cnncli.run.items import Item
from cnncli.run.pipeline import LEAST_WINDOW, Outcome
from cnncli.run.predictor import Predictor
from cnncli.run.processes import AHEAD, CHUNK, DEADLY
from cnncli.run.runner import run_items
from cnncli.run.session import Session
from cnncli.tasks.base import BaseTask, Request

# of Python 3.12 on: the test runner has threads; the command has none that matters (see run.forks)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
SECONDS = 20  # within which whatever is waited for has happened


@dataclass(frozen=True)
class Sum:
    value: Any

    def as_dict(self) -> dict[str, Any]:
        return {"sum": self.value}


class SumTask(BaseTask):
    name = "sum"
    result_key = "sum"

    def decode(self, number: int) -> Photo:
        """Stands for what tasks decode by a method of theirs."""
        return Photo(np.full((2, 2, 3), number, np.uint8))

    def analyse(self, image: np.ndarray) -> Iterator:
        outputs = yield Request("sum", image)
        if image.flat[0] == 255:
            return Sum(lambda: "functions can't be pickled")
        return Sum(int(outputs["sum"]))


class SumEngine:
    name, device, preferred_batch, parallel_calls, shares_cores, turn = "sum", "cpu", 2, 1, False, 1

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        if (batch == 254).any():
            raise ZeroDivisionError("of the engine")
        return {"sum": batch.reshape(len(batch), -1).sum(1, dtype=np.int64)}


TASK = SumTask()
RUN = Run("sum", None, None, "sum", "cpu,cpu", "", "sum")


def on_a_device(number: int) -> Session:
    return Session(TASK, {"sum": SumEngine()}, replace(RUN, device=f"cpu:{number}"), "fp32")


def failing_with(error: Exception) -> Callable[[int], Session]:
    def open_on(number: int) -> Session:
        raise error

    return open_on


class Marks:
    """Says in which process an item was finished."""

    def write(self, item: Item, photo: Photo, result: Sum) -> Mapping[str, Any]:
        return {"pid": os.getpid()}


class Full:
    """A disk without room for the fourth picture."""

    def write(self, item: Item, photo: Photo, result: Sum) -> Mapping[str, Any]:
        if item.index == 3:
            raise OutputError("3.png: can't be written (no space left)")
        return {}


class UnspeakableError(CnncliError):
    """Can be pickled, but not made again from what was."""

    def __init__(self, first: str, second: str):
        super().__init__(f"{first} {second}")


def load(index: int, seconds: float = 0.0) -> Photo:
    time.sleep(seconds)
    return TASK.decode(index % 200)


def expected(index: int) -> int:
    return index % 200 * 12


def die() -> Photo:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("is dead")


def die_once(marker: Path, index: int) -> Photo:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return load(index)
    return die()


def fail() -> Photo:
    raise InputError("no such file")


def wait_for(path: Path, index: int) -> Photo:
    deadline = time.monotonic() + SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return load(index)


def item(index: int, loading: Callable[[], Photo] | None = None, **fields: Any) -> Item:
    return Item(index, Input(f"{index}.png", ""), loading or partial(load, index), **fields)


def start(
    items: Iterable[Item], open_on: Callable[[int], Session] = on_a_device, products: Any = (), count: int = 2
) -> Iterator[tuple[Record, Outcome]]:
    session = Session(TASK, {}, RUN, "fp32", ("cpu",) * count, open_on)
    return run_items(session, items, RunConfig(workers=4), products or [Marks()])


def sums(answers: Iterable[tuple[Record, Outcome]]) -> list[Any]:
    """Of each record its sum or failure; the records are checked to come in order, each with its own outcome."""
    found = []
    for number, (record, outcome) in enumerate(answers):
        assert record.index == outcome.item.index == number
        found.append(record.failure or outcome.result.value)
    return found


def descendants(pid: int) -> set[int]:
    """All processes below one; those that have ended and were not waited for, too."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    return {child for word in words for child in {int(word), *descendants(int(word))}}


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """After each test there is no process that was not there before."""
    before = descendants(os.getpid())
    yield
    assert descendants(os.getpid()) == before


def test_keeps_the_order_whatever_the_times() -> None:
    dice = random.Random(1)
    items = [item(index, partial(load, index, dice.choice([0, 0, 0, 0.03]))) for index in range(300)]
    answers = list(start(items))
    assert sums(answers) == [expected(index) for index in range(300)]
    assert len({record.extra["pid"] for record, _ in answers}) == 2
    assert {record.run.device for record, _ in answers} == {"cpu:0", "cpu:1"}


def test_answers_without_any_input() -> None:
    assert sums(start([])) == []


def test_each_process_gets_its_part_of_the_workers() -> None:
    seen = []

    def open_on(number: int) -> Session:
        seen.append(number)
        return on_a_device(number)

    session = Session(TASK, {}, RUN, "fp32", ("cpu", "cpu", "cpu"), open_on)
    records = [record for record, _ in run_items(session, map(item, range(30)), RunConfig(workers=5), [Threads()])]
    assert {record.extra["workers"] for record in records} <= {2, 1}
    assert not seen  # in this process
    assert [part_of(5, 3, number) for number in range(3)] == [2, 2, 1]
    assert [part_of(1, 3, number) for number in range(3)] == [1, 1, 1]


class Threads:
    def write(self, item: Item, photo: Photo, result: Sum) -> Mapping[str, Any]:
        return {"workers": sum(thread.name == "cnncli-worker" for thread in threading.enumerate())}


def test_does_not_wait_for_more_where_the_list_still_arrives() -> None:
    answered = threading.Event()

    def arriving() -> Iterator[Item]:
        yield item(0)
        assert answered.wait(SECONDS)
        yield item(1)

    found = []
    for record, _ in start(arriving()):
        found.append(record.index)
        answered.set()
    assert found == [0, 1]


def test_bounds_what_waits_for_a_slow_one(tmp_path: Path) -> None:
    read = []

    def reading() -> Iterator[Item]:
        yield item(0, partial(wait_for, tmp_path / "go", 0))
        for index in range(1, 1000):
            read.append(index)
            yield item(index)

    def let_go() -> None:
        count = -1
        while count != len(read) or count < LEAST_WINDOW:  # it has come to a halt
            count = len(read)
            time.sleep(0.5)
        halted.append(count)
        (tmp_path / "go").touch()

    halted: list[int] = []
    waiter = threading.Thread(target=let_go)
    waiter.start()
    assert sums(start(reading())) == [expected(index) for index in range(1000)]
    waiter.join()
    assert halted[0] <= AHEAD * 2 * LEAST_WINDOW + 2 * CHUNK + 2


def test_damaged_inputs_and_inputs_to_skip_are_as_ever() -> None:
    items = [item(0), item(1, fail), item(2, skipped=True), item(3, partial(TASK.decode, 7), photo_bytes=12)]
    answers = list(start(items))
    assert [record.failure for record, _ in answers] == [None, "no such file", None, None]
    assert answers[2][0].extra == {"skipped": True}
    assert answers[3][1].result.value == 7 * 12


def test_a_killed_process_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    items = [
        item(index, partial(die_once, tmp_path / str(index), index) if index in (20, 150) else None)
        for index in range(300)
    ]
    assert sums(start(items)) == [expected(index) for index in range(300)]


@pytest.mark.parametrize("deadly", [{0}, {40}, {299}, {70, 200}, {0, 1}, {10, 11, 12, 13}], ids=str)
def test_a_deadly_input_becomes_a_failed_record(deadly: set[int]) -> None:
    items = [item(index, die if index in deadly else None) for index in range(300)]
    assert sums(start(items)) == [DEADLY if index in deadly else expected(index) for index in range(300)]


def test_a_single_deadly_input_fails_alone() -> None:
    ((record, outcome),) = start([item(0, die)])
    assert record.failure == DEADLY
    assert set(outcome.ms) == {"decode", "prepare", "infer", "interpret"}  # that records of pairs add up


def test_gives_up_where_every_process_dies() -> None:
    with pytest.raises(DeviceError, match=r"\d+ processes in a row have died.*--resume"):
        list(start(item(index, die) for index in range(100)))


@pytest.mark.parametrize("kind", [DeviceError, WeightsError, UsageError])
def test_an_error_in_opening_is_raised_here(kind: type[CnncliError]) -> None:
    with pytest.raises(kind, match=r"^cuda:7: there is none$"):
        list(start(map(item, range(50)), failing_with(kind("cuda:7: there is none"))))


def test_an_output_error_ends_the_run() -> None:
    with pytest.raises(OutputError, match=r"^3.png: can't be written \(no space left\)$"):
        list(start(map(item, range(50)), products=[Full()]))


def test_a_bug_comes_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="of the engine") as raised:
        list(start([item(0), item(1, partial(TASK.decode, 254))]))
    assert "in run" in str(raised.value.__cause__) and "test_processes.py" in str(raised.value.__cause__)


def test_an_error_that_cannot_be_sent_is_described() -> None:
    with pytest.raises(RuntimeError, match="UnspeakableError: one two"):
        list(start([item(0)], failing_with(UnspeakableError("one", "two"))))


def test_a_result_that_cannot_be_sent_fails_alone() -> None:
    answers = list(start([item(0), item(1, partial(TASK.decode, 255)), item(2)]))
    assert [record.ok for record, _ in answers] == [True, False, True]
    assert "internal error" in answers[1][0].failure and "pickle" in answers[1][1].bug


def test_an_item_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(start([item(0, lambda: load(0))]))


def test_an_error_of_the_source_is_raised() -> None:
    def reading() -> Iterator[Item]:
        yield item(0)
        raise UsageError("the inputs have changed")

    with pytest.raises(UsageError, match="the inputs have changed"):
        list(start(reading()))


def test_a_predictor_has_one_device() -> None:
    with pytest.raises(UsageError, match="--device cpu,cpu: a Predictor runs on one device; name one, such as cpu"):
        Predictor("classify", device="cpu,cpu")


def test_ends_its_processes_when_it_is_closed() -> None:
    running = start(item(index, partial(load, index, 0.05)) for index in range(1000))
    next(running)
    assert len(descendants(os.getpid())) >= 3
    running.close()  # the fixture looks


def test_ends_a_process_that_hangs(tmp_path: Path) -> None:
    running = start([item(0), item(1, partial(time.sleep, 60))])
    next(running)
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < 10


def test_an_interrupt_leaves_no_process() -> None:
    timer = threading.Timer(0.5, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        list(start(item(index, partial(load, index, 0.05)) for index in range(10_000)))


KILLED = """
import sys
from functools import partial
from tests.run.test_processes import item, load, start
for record, _ in start(item(index, partial(load, index, 0.05)) for index in range(10_000)):
    print(record.index, flush=True)
"""


def test_no_process_outlives_a_killed_one() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout.readline() == b"0\n"
        below = descendants(process.pid)
        process.kill()
    assert len(below) == 3
    assert until(lambda: not any(map(exists, below)))
