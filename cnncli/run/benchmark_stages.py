"""Rates of stages, and what they say of a run that has all of them at once."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

BOUNDING = ("decode + prepare", "forward")  # stages that share the cores where the network runs on the CPU


@dataclass(frozen=True)
class Stage:
    """`rate` in images/s, with `threads` at work."""

    name: str
    rate: float
    threads: int

    @property
    def milliseconds(self) -> float:
        return 1000 / self.rate

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.name,
            "images_per_s": self.rate,
            "ms_per_image": self.milliseconds,
            "threads": self.threads,
        }


def bound_of(rates: Mapping[str, float], shared: bool) -> float:
    """Images/s that a run reaches at most, from the rates of "decode + prepare", "forward" and "copy", where known.

    1 / (1 / (decode and prepare) + 1 / forward) where both are computed on the same (`shared`) cores (a run can exceed
    it there where the network leaves some of them idle, as torch with several threads may); elsewhere the least of
    them, since they overlap. Interpreting is left out: a task may do less of it than on the photos measured.
    """
    if shared:
        return 1 / sum(1 / rates[name] for name in BOUNDING if name in rates)
    return min(rate for name, rate in rates.items() if name != "interpret")


def limit_of(rates: Mapping[str, float]) -> str:
    """The stage that takes the most time."""
    return min(rates, key=lambda name: rates[name])


def rate_of(
    work: Callable[[Any], Any],
    arguments: Sequence[Any],
    threads: int,
    seconds: float,
    worth: Callable[[Any], float] = lambda argument: 1.0,
) -> float:
    """What calls are worth, per second of `threads` threads together, after one warm-up call each."""

    def run(offset: int) -> float:
        try:
            work(arguments[offset % len(arguments)])
        finally:
            together.wait()  # in any case, so that an error ends the others too
        done, index, start = 0.0, offset, time.perf_counter()
        while time.perf_counter() < start + seconds:
            argument = arguments[index % len(arguments)]
            work(argument)
            done += worth(argument)
            index += 1
        return done / (time.perf_counter() - start)

    together = threading.Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(run, range(threads)))
