"""Reads items ahead in a thread of its own: a list that still arrives, or a slow disk, must not hold up answers."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

_FED, _END = "fed", "end"  # keys of what is reported


class Feeder:
    """Reads at most `ahead` items more than were taken, and reports each to the thread that schedules.

    That one hands every report to `hears`. Then `backlog` are the items read and not taken, and `exhausted` says that
    no more will come.
    """

    def __init__(self, items: Iterable[Any], ahead: int, report: Callable[[Any, Any], None]):
        self._items = items
        self._report = report
        self._room = threading.Semaphore(ahead)
        self._closed = False
        self.backlog: deque[Any] = deque()
        self.exhausted = False
        threading.Thread(target=self._feed, name="cnncli-feeder", daemon=True).start()

    def take(self) -> Any:
        """The next item; there is room for another then."""
        self._room.release()
        return self.backlog.popleft()

    def hears(self, key: Any, outcome: Any) -> bool:
        """Take a report in, and whether it was the feeder's. Raises what reading the items raised."""
        if key == _FED:
            self.backlog.append(outcome)
        elif key == _END:
            self.exhausted = True
            if outcome is not None:
                raise outcome
        return key in (_FED, _END)

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        self._room.release()

    def _feed(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._room.acquire()
                if self._closed:
                    return
                self._report(_FED, item)
        except BaseException as raised:  # raised again by whoever waits for the items
            error = raised
        self._report(_END, error)
