"""Reads items ahead in a thread of its own: a list that still arrives, or a slow disk, must not hold up answers."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

FED, END = "fed", "end"  # keys of what is reported


class Feeder:
    """Passes each item to `report(FED, item)`, at most `ahead` more than were taken; at the end `report(END, error)`.

    The error is None, or what reading the items raised.
    """

    def __init__(self, items: Iterable[Any], ahead: int, report: Callable[[Any, Any], None]):
        self._items = items
        self._report = report
        self._room = threading.Semaphore(ahead)
        self._closed = False
        threading.Thread(target=self._feed, name="cnncli-feeder", daemon=True).start()

    def taken(self) -> None:
        """One item was taken: there is room for another."""
        self._room.release()

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
                self._report(FED, item)
        except BaseException as raised:  # raised again by whoever waits for the items
            error = raised
        self._report(END, error)
