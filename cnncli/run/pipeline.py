"""The streaming loop: decode, batch, infer, interpret and write overlap; outcomes come in the order of inputs.

One thread (the caller's) schedules; a feeder reads the items; worker threads load images and drive the tasks'
generators; engine threads run the models. Memory is bounded by the number of items in flight and by the bytes of
photos that they still hold.
"""

import contextlib
import queue
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cnncli.config import RunConfig
from cnncli.engine.base import Engine, answers_of
from cnncli.engine.device import available_cpus
from cnncli.errors import CnncliError, InputError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import Photo
from cnncli.run.feeder import Feeder
from cnncli.run.items import Item
from cnncli.run.workers import WorkerPool
from cnncli.tasks.base import Outputs, Request, Result, Task

PHOTO_BUDGET = 512 << 20  # bytes of decoded photos kept, for drawing or as frames; past it, nothing new is started
WORK_BUDGET = 1 << 30  # bytes that tasks fill meanwhile; past it, the next image waits before its first request
FEED_AHEAD = 8  # items read before there is room for them
LEAST_WINDOW = 32  # items in flight: enough for slow and fast ones to even out
STAGES = ("decode", "prepare", "infer", "interpret")  # whose times an outcome tells
TICK = 0.25  # seconds between looks at the clock while decoders run

Finish = Callable[[Item, Photo, Result], Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one item. `bug` is a traceback, where our own code is to blame for the failure."""

    item: Item
    failure: str | None = None
    result: Result | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)
    bug: str | None = None


class _Flight:
    """An item between its load and its outcome."""

    def __init__(self, item: Item):
        self.item = item
        self.photo: Photo | None = None
        self.reload: Callable[[], Photo] | None = None  # by the CPU, where a device is to decode it
        self.undecoded = 0  # bytes that are held until then
        self.size: tuple[int, int] | None = None
        self.orientation: int | None = None
        self.steps: Generator[Request, Outputs, Result] | None = None
        self.ms = dict.fromkeys(STAGES, 0.0)
        self.held = item.photo_bytes
        self.work = 0  # bytes, see Task.working_bytes
        self.admitted = False  # to what it works with

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[stage] += (time.perf_counter() - start) * 1000

    def outcome(self, **fields: Any) -> Outcome:
        width, height = self.size or (None, None)
        return Outcome(self.item, width=width, height=height, orientation=self.orientation, ms=self.ms, **fields)


class Pipeline:
    """Runs a task over items. `finish` is called in a worker with each result and its photo, to write pictures.

    With `batch_size` set, batches are filled before they run; otherwise an engine's `turn` says how much is collected
    for it. Nothing waits when no more images are on their way.
    """

    def __init__(self, task: Task, engines: Mapping[str, Engine], config: RunConfig, finish: Finish | None = None):
        self.task = task
        self.engines = engines
        self.config = config
        self.finish = finish

    def run(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Outcomes of the items, in their order. DeviceError and OutputError end the run where it stands."""
        loop = _Loop(self, items)
        try:
            yield from loop.outcomes()
        finally:
            loop.close()

    def begin(self, flight: _Flight, load: Callable[[], Photo] | None = None) -> Request | Outcome:
        """Load an image and take its task to the first request (in a worker)."""
        with flight.timed("decode"):
            photo = (load or flight.item.load)()
        flight.size = photo.size
        flight.orientation = photo.orientation
        flight.photo = photo if self.finish else None
        if isinstance(photo.pixels, EncodedPhoto):
            flight.reload, flight.undecoded = photo.reload, photo.pixels.nbytes
        elif not flight.admitted:  # a photo that comes back from a device is
            flight.work = self.task.working_bytes(photo.pixels)
        flight.steps = self.task.analyse(photo.pixels)
        return self._step(flight, "prepare", lambda steps: next(steps))

    def advance(self, flight: _Flight, outputs: Outputs) -> Request | Outcome:
        """Hand a task the outputs it asked for (in a worker)."""
        return self._step(flight, "interpret", lambda steps: steps.send(outputs))

    def _step(self, flight: _Flight, stage: str, step: Callable[[Any], Request]) -> Request | Outcome:
        try:
            with flight.timed(stage):
                return step(flight.steps)
        except StopIteration as end:
            result = end.value
        extra = self.finish(flight.item, flight.photo.whole(), result) if self.finish else {}
        return flight.outcome(result=self.task.release(result), extra=extra)


def window_of(config: RunConfig, engines: Mapping[str, Engine]) -> int:
    """How many items a run with these engines has in flight at most."""
    needed = [LEAST_WINDOW, 2 * (config.workers or available_cpus())]
    for engine in engines.values():
        batch, turn = config.batch_size or engine.preferred_batch, config.batch_size or engine.turn
        calls = 1 if engine.shares_cores else engine.parallel_calls
        # a batch in each call, one that fills, and one that is decoded meanwhile
        needed += [2 * turn, max(4, calls + 2) * batch]
    return max(needed)


class _Loop:
    """The state of one run: what is in flight, what waits for a batch, what waits for its turn to come out."""

    def __init__(self, pipeline: Pipeline, items: Iterable[Item]):
        self.pipeline = pipeline
        self.events: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        config, engines = pipeline.config, pipeline.engines
        workers = config.workers or available_cpus()
        # Calls of an engine that shares the workers' cores go to their own threads, first in the queue: with as many
        # threads as cores none is interrupted while its data is in the cache.
        sharing = [engine.parallel_calls for engine in engines.values() if engine.shares_cores]
        self.workers = WorkerPool(max(workers, *sharing, 1), self._report, "cnncli-worker")
        self.callers = {
            name: self.workers
            if engine.shares_cores
            else WorkerPool(engine.parallel_calls, self._report, "cnncli-engine")
            for name, engine in engines.items()
        }
        self.batch_size = {name: config.batch_size or engine.preferred_batch for name, engine in engines.items()}
        self.turn = {name: config.batch_size or engine.turn for name, engine in engines.items()}
        self.most_working = 2 * workers + 2  # every worker has its next job waiting, and few photos are yet unweighed
        self.window = window_of(config, engines)
        self.feeder = Feeder(items, FEED_AHEAD, self._report)
        self.flights: dict[int, _Flight] = {}  # started, by position
        self.working: set[int] = set()  # positions that a worker has or will have
        self.calls = dict.fromkeys(engines, 0)  # batches in each engine
        self.buckets: dict[tuple, list[tuple[int, Request]]] = {}
        self.running: set[tuple] = set()  # buckets whose turn it is
        self.ready: dict[int, Outcome] = {}
        self.next_in = self.next_out = 0
        self.held = 0
        self.work = 0
        self.waiting: deque[tuple[int, Request]] = deque()  # first requests of images that do not fit beside the others

    def close(self) -> None:
        self.feeder.close()
        for pool in (self.workers, *self.callers.values()):
            pool.close()

    def outcomes(self) -> Iterator[Outcome]:
        while True:
            self._admit()
            self._dispatch()
            if self.next_out in self.ready:
                yield self.ready.pop(self.next_out)
                self.next_out += 1
            elif self.feeder.exhausted and not self.feeder.backlog and self.next_out == self.next_in:
                return
            else:
                self._wait()

    def _report(self, key: Any, outcome: Any) -> None:
        self.events.put((key, outcome))

    def _admit(self) -> None:
        """Start items while there is room."""
        while self.feeder.backlog and self._has_room():
            item = self.feeder.take()
            position, self.next_in = self.next_in, self.next_in + 1
            if item.skipped:
                self.ready[position] = Outcome(item)
                continue
            flight = self.flights[position] = _Flight(item)
            self.held += flight.held
            self.working.add(position)
            self.workers.submit(position, partial(self.pipeline.begin, flight))

    @property
    def _in_flight(self) -> int:
        return self.next_in - self.next_out

    def _has_room(self) -> bool:
        return self._in_flight < self.window and len(self.working) < self.most_working and self.held < PHOTO_BUDGET

    def _dispatch(self) -> None:
        """Make calls for the buckets whose turn it is: of full batches, as long as these can still fill up."""
        fills = bool(self.working) and self.held < PHOTO_BUDGET // 2 and self._in_flight < self.window * 3 // 4
        for key in list(self.buckets):
            name, waiting = key[0], self.buckets[key]
            size, turn = self.batch_size[name], self.turn[name]
            if key not in self.running and fills and len(waiting) < turn:
                continue
            self.running.add(key)
            full = min(size, turn) if self.working else 1
            while len(waiting) >= (full if fills or self.calls[name] else 1) and self._takes_calls(name):
                self._call(name, waiting[:size])
                del waiting[:size]
            if len(waiting) < full:
                self.running.discard(key)
            if not waiting:
                del self.buckets[key]

    def _takes_calls(self, name: str) -> bool:
        return self.calls[name] < self.pipeline.engines[name].parallel_calls

    def _call(self, name: str, members: list[tuple[int, Request]]) -> None:
        positions = tuple(position for position, _ in members)
        engine = self.pipeline.engines[name]
        arrays = [request.array for _, request in members]
        flights = [self.flights[position] for position in positions]

        def run() -> list[Outputs | None]:
            start = time.perf_counter()
            answers = answers_of(engine, arrays)
            elapsed = (time.perf_counter() - start) * 1000 / len(arrays)
            for flight in flights:
                flight.ms["infer"] += elapsed
            return answers

        def run_and_advance() -> list[Any]:
            return [self._advanced(flight, rows) for flight, rows in zip(flights, run(), strict=True)]

        # going on in the same thread saves a change of threads, where these share the cores with the engine
        work = run_and_advance if engine.shares_cores else run

        self.calls[name] += 1
        self.callers[name].submit((name, positions), work, urgent=True)

    def _wait(self) -> None:
        """Take in one event, or notice decoders that hang."""
        try:
            key, outcome = self.events.get(timeout=TICK if self.working else None)
        except queue.Empty:
            self._cut_off()
            return
        if self.feeder.hears(key, outcome):
            return
        if isinstance(key, int):
            self._step_done(key, outcome)
        else:
            self._call_done(*key, outcome)

    def _cut_off(self) -> None:
        limit = self.pipeline.config.decode_timeout
        for position in self.workers.overdue(limit):
            self._step_done(position, InputError(f"gave no picture within {limit:g} seconds; see --decode-timeout"))

    def _step_done(self, position: int, outcome: Any) -> None:
        self.working.discard(position)
        flight = self.flights[position]
        if isinstance(outcome, Request):
            self._hold(flight)
            if self._fits(flight):
                self._enqueue(position, outcome)
            else:
                self.waiting.append((position, outcome))
            return
        if isinstance(outcome, BaseException):
            outcome = _failed(flight, outcome)
        self.held -= flight.held
        self.work -= flight.work if flight.admitted else 0
        del self.flights[position]
        self.ready[position] = outcome
        while self.waiting and self._fits(self.flights[self.waiting[0][0]]):
            self._enqueue(*self.waiting.popleft())

    def _fits(self, flight: _Flight) -> bool:
        """Admit an image to the memory that it works with, where there is enough; to the first in any case."""
        if not flight.admitted and (not self.work or self.work + flight.work <= WORK_BUDGET):
            flight.admitted = True
            self.work += flight.work
        return flight.admitted

    def _enqueue(self, position: int, request: Request) -> None:
        self.buckets.setdefault(request.kind, []).append((position, request))

    def _hold(self, flight: _Flight) -> None:
        if not flight.held:
            flight.held = flight.photo.pixels.nbytes if flight.photo is not None else flight.undecoded
            self.held += flight.held

    def _advanced(self, flight: _Flight, rows: Outputs) -> Any:
        """The next request or outcome of a flight; an error is its outcome too, as of any step."""
        try:
            return self.pipeline.advance(flight, rows)
        except BaseException as error:  # judged where all steps' are
            return error

    def _call_done(self, name: str, positions: tuple[int, ...], outcome: Any) -> None:
        self.calls[name] -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        advanced = self.pipeline.engines[name].shares_cores
        for position, rows in zip(positions, outcome, strict=True):
            self.working.add(position)
            flight = self.flights[position]
            if advanced:
                self._step_done(position, rows)
            elif rows is None:
                self.workers.submit(position, partial(self.pipeline.begin, flight, flight.reload))
            else:
                self.workers.submit(position, partial(self.pipeline.advance, flight, rows), urgent=True)


def _failed(flight: _Flight, error: BaseException) -> Outcome:
    """A failed outcome for what is the input's fault or a bug; anything else ends the run."""
    if isinstance(error, InputError):
        return flight.outcome(failure=str(error))
    if isinstance(error, MemoryError):
        return flight.outcome(failure="does not fit into memory")
    if isinstance(error, CnncliError) or not isinstance(error, Exception):
        raise error
    bug = "".join(traceback.format_exception(error))
    return flight.outcome(failure=f"internal error ({type(error).__name__}: {error})", bug=bug)
