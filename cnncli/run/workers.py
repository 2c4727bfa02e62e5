"""Threads that can be given up: a decoder that hangs in C can't be stopped, only left behind."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

FINISHING = 2.0  # seconds that a pool waits for jobs under way when it is closed
Job = Callable[[], Any]


class _Worker:
    """What a thread is busy with; `abandoned` once its job has been answered for."""

    def __init__(self) -> None:
        self.key: Any = None
        self.since: float | None = None
        self.abandoned = False


class WorkerPool:
    """`count` daemon threads. `submit` runs `job()` and passes `key` and its outcome to `report`.

    Urgent jobs go first (an image on its way out frees memory, one on its way in takes it) and are never overdue.
    """

    def __init__(self, count: int, report: Callable[[Any, Any], None], name: str):
        self._report = report
        self._name = name
        self._jobs: deque[tuple[Any, Job, bool]] = deque()
        self._condition = threading.Condition()
        self._workers: list[_Worker] = []
        self._closed = False
        for _ in range(count):
            self._start_worker()

    def submit(self, key: Any, job: Job, urgent: bool = False) -> None:
        with self._condition:
            if urgent:
                self._jobs.appendleft((key, job, urgent))
            else:
                self._jobs.append((key, job, urgent))
            self._condition.notify()

    def overdue(self, seconds: float) -> list[Any]:
        """Keys of the not urgent jobs that have run longer than this; their threads are abandoned and replaced."""
        limit = time.monotonic() - seconds
        with self._condition:
            late = [worker for worker in self._workers if worker.since is not None and worker.since < limit]
            keys = [worker.key for worker in late]
            for worker in late:
                worker.abandoned = True
                self._workers.remove(worker)
                self._start_worker()
        return keys

    def close(self) -> None:
        """Let the threads end after the jobs they are at; waiting jobs are dropped.

        Waits a moment for these: a process that ends while a picture is being written leaves half a file behind.
        """
        with self._condition:
            self._closed = True
            self._jobs.clear()
            self._condition.notify_all()
            self._condition.wait_for(lambda: all(worker.key is None for worker in self._workers), FINISHING)

    def _start_worker(self) -> None:
        worker = _Worker()
        self._workers.append(worker)
        threading.Thread(target=self._work, args=(worker,), name=self._name, daemon=True).start()

    def _work(self, worker: _Worker) -> None:
        while True:
            with self._condition:
                while not self._jobs and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                worker.key, job, urgent = self._jobs.popleft()
                worker.since = None if urgent else time.monotonic()
            try:
                outcome = job()
            except BaseException as error:  # reported to, and judged by, whoever waits for the outcome
                outcome = error
            key = worker.key
            with self._condition:
                if worker.abandoned:
                    return
                worker.key = worker.since = None
                if self._closed:
                    self._condition.notify_all()
            self._report(key, outcome)
