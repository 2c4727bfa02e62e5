"""A run on several devices of one machine: a process for each, one queue for all, outcomes in the order of inputs.

The calling thread schedules: it sends items, a few at a time, to whichever process has room. What a process held that
died (a decoder's segmentation fault, the system's lack of memory) is looked at again, one item at a time, alone in a
new process: an item that ends that too becomes a failed outcome.
"""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from cnncli.config import RunConfig
from cnncli.errors import CnncliError, DeviceError
from cnncli.results.record import Run
from cnncli.run.feeder import Feeder
from cnncli.run.forks import ANSWER, FAILED, OPENED, Channel, DeviceProcess, Forker, Work
from cnncli.run.items import Item
from cnncli.run.pipeline import PHOTO_BUDGET, STAGES, TICK, Outcome
from cnncli.run.session import Session

CHUNK = 16  # items sent at once, at most
AHEAD = 4  # times what all processes hold: answers that may wait for a slow item before them
MOST_DEATHS = 3  # of a device's process in a row, without an answer in between
MOST_DEADLY = 10  # inputs in a row that ended processes alone
DIED = "died"  # what comes last of a process
DEADLY = "the process that read it has died"


def spread(session: Session, items: Iterable[Item], config: RunConfig, work: Work) -> Iterator[tuple[Run, Outcome]]:
    """Outcomes of `work` on the items, in their order, each with what the records of its process say.

    DeviceError where processes die whatever they are given; an error that ends one ends the run.
    """
    loop = _Loop(session, items, config, work)
    try:
        yield from loop.outcomes()
    finally:
        loop.close()


@dataclass(eq=False)
class _Child:
    """A process as it is seen from here. `run` and `credit` (items that it may hold) are its own once it has opened."""

    number: int  # of its device
    channel: Channel
    run: Run
    careful: bool  # gets suspects, one at a time, as long as there are any
    credit: int = 0
    held: deque[int] = field(default_factory=deque)  # positions, in the order that they were sent and are answered in

    @property
    def room(self) -> int:
        return self.credit - len(self.held)


class _TracebackError(Exception):
    """Where an error was raised in another process."""

    def __str__(self) -> str:
        return "\n" + self.args[0]


class _Loop:
    """The state of a run: what waits, what is where, what is to come out. Positions count the items taken in."""

    def __init__(self, session: Session, items: Iterable[Item], config: RunConfig, work: Work):
        self.session = session
        self.events: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self.forker = Forker(DeviceProcess(session, config, work).live)
        self.children: list[_Child] = []
        self.feeder = Feeder(items, CHUNK, self._report)
        self.flights: dict[int, Item] = {}  # by position, until they come out
        self.waiting: deque[int] = deque()  # to be sent
        self.suspects: deque[int] = deque()  # held by processes that died
        self.ready: dict[int, tuple[Run, Outcome]] = {}
        self.next_in = self.next_out = 0
        self.held = 0  # bytes of photos
        self.deaths = self.found_out = 0  # since the last answer

    def outcomes(self) -> Iterator[tuple[Run, Outcome]]:
        for number in range(len(self.session.devices)):
            self.children.append(self._started(number))
        while True:
            self._admit()
            self._hand_out()
            if self.next_out in self.ready:
                self.held -= self.flights.pop(self.next_out).photo_bytes
                yield self.ready.pop(self.next_out)
                self.next_out += 1
            elif self.feeder.exhausted and not self.feeder.backlog and self.next_out == self.next_in:
                return
            else:
                self._wait()

    def close(self) -> None:
        self.feeder.close()
        for child in self.children:
            child.channel.close()
        self.forker.close()

    def _report(self, key: Any, what: Any) -> None:
        self.events.put((key, what))

    def _started(self, number: int, careful: bool = False) -> _Child:
        """A process for a device, and a thread that hears it."""
        child = _Child(number, Channel(self.forker.fork(number), self.session.task), self.session.run, careful)
        threading.Thread(target=self._listen, args=(child,), name="cnncli-listener", daemon=True).start()
        return child

    def _listen(self, child: _Child) -> None:
        try:
            while True:
                self._report(child, child.channel.receive())
        except (EOFError, OSError):  # ended, or closed here
            self._report(child, (DIED,))
        except BaseException as error:  # of what it has sent
            self._report(child, (FAILED, error, ""))

    def _admit(self) -> None:
        """Give items their positions while there is room for them and for their answers."""
        ahead = AHEAD * max(CHUNK, sum(child.credit for child in self.children))
        while self.feeder.backlog and self.next_in - self.next_out < ahead and self.held < PHOTO_BUDGET:
            if len(self.waiting) >= CHUNK:
                return
            item = self.feeder.take()
            position, self.next_in = self.next_in, self.next_in + 1
            self.flights[position] = item
            self.held += item.photo_bytes
            if item.skipped:
                run = replace(self.session.run, device=self.session.devices[0])
                self.ready[position] = run, Outcome(item)
            else:
                self.waiting.append(position)

    def _hand_out(self) -> None:
        """Send what waits to those with room: suspects alone, the rest in shares."""
        for child in self.children:
            if child.careful and child.credit and not child.held:
                if self.suspects:
                    self._send(child, [self.suspects.popleft()])
                else:
                    child.careful = False
        while self.waiting:
            free = [child for child in self.children if not child.careful and child.room > 0]
            if not free:
                return
            child = max(free, key=lambda one: one.room)
            count = min(CHUNK, child.room, -(-len(self.waiting) // len(self.children)))
            self._send(child, [self.waiting.popleft() for _ in range(count)])
            self._admit()

    def _send(self, child: _Child, positions: list[int]) -> None:
        child.held.extend(positions)
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died, as its listener will say
            child.channel.send([self.flights[position] for position in positions])

    def _wait(self) -> None:
        """Take in one event; now and then without one, so that signals are heard."""
        try:
            key, what = self.events.get(timeout=TICK)
        except queue.Empty:
            return
        if not self.feeder.hears(key, what) and key in self.children:
            self._hear(key, *what)

    def _hear(self, child: _Child, kind: str, *what: Any) -> None:
        if kind == OPENED:
            child.run, child.credit = what
        elif kind == ANSWER:
            self.deaths = self.found_out = 0
            self._answered(child, what[0])
        elif kind == FAILED:
            error, trace = what
            raise error from (_TracebackError(trace) if trace and not isinstance(error, CnncliError) else None)
        else:
            self._bury(child)

    def _answered(self, child: _Child, outcome: Outcome) -> None:
        position = child.held.popleft()
        self.ready[position] = child.run, replace(outcome, item=self.flights[position])

    def _bury(self, child: _Child) -> None:
        """Put another process in the place of one that died. What it held is suspected, or found out."""
        child.channel.close()
        if child.careful and child.held:
            self.found_out += 1
            self._answered(child, Outcome(self.flights[child.held[0]], DEADLY, ms=dict.fromkeys(STAGES, 0.0)))
        else:
            self.deaths += 1
        self._judge(child)
        self.suspects = deque(sorted([*self.suspects, *child.held]))
        self.children[self.children.index(child)] = self._started(child.number, careful=True)

    def _judge(self, child: _Child) -> None:
        """DeviceError where it is not the inputs that end processes."""
        if self.deaths < MOST_DEATHS * len(self.session.devices) and self.found_out < MOST_DEADLY:
            return
        raise DeviceError(
            f"--device {self.session.run.device}: {self.deaths + self.found_out} processes in a row have died, the "
            f"last on {self.session.devices[child.number]}: hardly for their inputs; see whether memory is short, or "
            "name other devices (what is recorded stays, and --resume goes on)"
        )
