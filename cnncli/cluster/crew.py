"""Workers that Ray places, one part each at a time; a lost one is replaced and its part done again.

Ray's own retries are off: a part that ends its worker must come back here, where it is halved (`parts.PartQueue`).
The main thread waits on a queue of Python's, and so hears signals, rather than inside of Ray.
"""

import queue
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cnncli import __version__
from cnncli.cluster.connection import Share
from cnncli.cluster.packages import import_ray
from cnncli.cluster.parts import Part, PartQueue
from cnncli.cluster.worker import Answer, Worker
from cnncli.errors import CnncliError, DeviceError, UsageError

PATIENCE = 10.0  # seconds until somebody is told that no worker has a place
MOST_FALSE_STARTS = 3  # of each worker, in a row
TICK = 0.25  # seconds between looks at signals
Notify = Callable[[str], None]


class Crew:
    """At most `share.workers` workers, each made by `Worker(*arguments)` on a machine with room for it.

    Work begins with the first that stands, and goes to those too that get their place later: machines may join.
    """

    def __init__(self, share: Share, arguments: tuple[Any, ...], notify: Notify):
        self._ray = import_ray()
        self._share = share
        self._arguments = arguments
        self._notify = notify
        self._events: queue.SimpleQueue[tuple[Any, Part | None, Any]] = queue.SimpleQueue()
        self._references: dict[Any, Any] = {}  # of the call under way, by worker; Ray forgets what nobody holds
        self._busy = 0
        self._idle: list[Any] = []
        self._false_starts = 0

    def answers(self, parts: PartQueue) -> Iterator[tuple[Part, Answer]]:
        """Each part with its answer, as they are done."""
        for _ in range(self._share.workers):
            self._hire()
        while True:
            self._hand_out(parts)
            if self._idle and not self._busy:
                return  # nothing is left, and nothing can come back
            worker, part, outcome = self._next()
            del self._references[worker]
            if part is None:
                self._welcome(worker, outcome)
                continue
            self._busy -= 1
            answer = self._answer_of(worker, part, outcome, parts)
            if answer is not None:
                yield part, answer

    def _hire(self) -> None:
        place = {"num_cpus": self._share.cpus, "num_gpus": self._share.gpus, "max_restarts": 0}
        worker = self._ray.remote(Worker).options(**place).remote(*self._arguments)
        self._call(worker, None, worker.version.remote())

    def _call(self, worker: Any, part: Part | None, reference: Any) -> None:
        self._references[worker] = reference
        reference.future().add_done_callback(partial(self._report, worker, part))

    def _report(self, worker: Any, part: Part | None, future: Any) -> None:
        self._events.put((worker, part, future.exception() or future.result()))

    def _hand_out(self, parts: PartQueue) -> None:
        while self._idle and (part := parts.next()) is not None:
            worker = self._idle.pop()
            self._busy += 1
            self._call(worker, part, worker.answer.remote(part))

    def _next(self) -> tuple[Any, Part | None, Any]:
        """The next call that is done: its worker, its part (None: the worker's start), and what it gave."""
        waited = 0.0
        while True:
            try:
                return self._events.get(timeout=TICK)
            except queue.Empty:
                waited += TICK
            if waited == PATIENCE and not self._busy:
                wanted = f"{self._share.cpus} CPUs and {self._share.gpus:g} GPUs"
                found = self._ray.available_resources()
                free = f"{found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs"
                self._notify(f"waiting for the cluster: a worker takes {wanted}, and there are {free} free")

    def _welcome(self, worker: Any, outcome: Any) -> None:
        """Take a new worker in; one that does not stand is replaced. DeviceError where that is in vain."""
        if isinstance(outcome, BaseException):
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS * self._share.workers:
                raise DeviceError(
                    f"workers do not start ({_last_line(outcome)}); is cnncli installed on every machine?"
                )
            self._hire()
            return
        if outcome != __version__:
            raise UsageError(f"a machine has cnncli {outcome}, this one {__version__}; install the same everywhere")
        self._false_starts = 0
        self._idle.append(worker)

    def _answer_of(self, worker: Any, part: Part, outcome: Any, parts: PartQueue) -> Answer | None:
        """The answer to a part, or None where the part goes back into the queue."""
        if isinstance(outcome, Answer):
            self._idle.append(worker)
            return outcome
        if isinstance(outcome, CnncliError):
            raise outcome
        if not isinstance(outcome, self._ray.exceptions.RayError):
            raise outcome
        self._notify(f"a worker was lost over inputs {part.start} to {part.stop - 1}, which are looked at again")
        parts.lost(part)  # the worker died, or met what it does not know how to answer
        self._ray.kill(worker)
        self._hire()
        return None


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
