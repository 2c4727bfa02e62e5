"""Parts of a run: ranges of its inputs, each with the records of its own, which together are all or nothing."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from cnncli.cluster.entries import Entry
from cnncli.errors import DeviceError, UsageError

LARGEST = 1024  # inputs: about a second of a GPU, under a minute of a core; what a lost worker costs at most
SMALLEST = 16
PARTS_A_WORKER = 8  # at least, where there are enough inputs: so that all workers end at about the same time
DIED = "the worker process that read it has died each time"
MOST_DEADLY = 100  # inputs; past them it is not the inputs


@dataclass(frozen=True)
class Part:
    """Inputs number `start` and following. `deaths`: how many workers were lost over it."""

    start: int
    entries: tuple[Entry, ...]
    deaths: int = 0

    @property
    def stop(self) -> int:
        return self.start + len(self.entries)

    def halves(self) -> tuple["Part", "Part"]:
        middle = len(self.entries) // 2
        return Part(self.start, self.entries[:middle], 1), Part(self.start + middle, self.entries[middle:], 1)


def sized(entries: Iterator[Entry], workers: int) -> tuple[int, Iterator[Entry]]:
    """A size of parts that keeps so many workers busy to the end, and all entries: some had to be read for it."""
    ahead = list(itertools.islice(entries, LARGEST * PARTS_A_WORKER * workers))
    size = len(ahead) // (PARTS_A_WORKER * workers)
    return min(max(size, SMALLEST), LARGEST), itertools.chain(ahead, entries)


def unfinished(
    entries: Iterable[Entry], size: int, done: Iterable[range], check: Callable[[range, list[Entry]], None]
) -> Iterator[Part]:
    """Parts of at most `size` inputs for all that `done` leaves out.

    `done` is in order. `check` is called with each range of it and its entries of now. UsageError where there are
    fewer inputs than are done.
    """
    stream = iter(entries)
    start = 0
    for stretch in done:
        while start < stretch.start:
            part = Part(start, tuple(itertools.islice(stream, min(size, stretch.start - start))))
            if not part.entries:
                raise UsageError(f"there are {start} inputs, fewer than have records already; the inputs have changed")
            yield part
            start = part.stop
        check(stretch, list(itertools.islice(stream, len(stretch))))
        start = stretch.stop
    while rest := tuple(itertools.islice(stream, size)):
        yield Part(start, rest)
        start += len(rest)


class PartQueue:
    """Hands out parts: first those that come back from lost workers, then new ones, which are read as they are needed.

    The first loss of a part may be the machine's, so it is given out again as it was. From the second on it is halved,
    until the input that ends its workers stands alone and is given up: it becomes a failed record.
    """

    def __init__(self, parts: Iterator[Part]):
        self._new = parts
        self._back: list[Part] = []
        self._deadly = 0

    def next(self) -> Part | None:
        """The next part to do, None where there is none for now."""
        return self._back.pop() if self._back else next(self._new, None)

    def lost(self, part: Part) -> None:
        """Take a part back from a worker that died."""
        if part.deaths == 0:
            self._back.append(replace(part, deaths=1))
        elif len(part.entries) > 1:
            self._back.extend(part.halves())
        else:
            self._give_up(part)

    def _give_up(self, part: Part) -> None:
        self._deadly += 1
        if self._deadly > MOST_DEADLY:
            raise DeviceError(
                f"workers died at {self._deadly} inputs, which will not be the inputs' fault: see the logs of Ray; "
                "what is done stays, and --resume goes on"
            )
        (entry,) = part.entries
        self._back.append(Part(part.start, (entry._replace(failure=DIED),)))
