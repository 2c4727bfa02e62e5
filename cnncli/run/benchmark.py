"""Where the time of a task goes: each stage alone, what bounds them together, and the whole run.

All rates are images/s. Stages are measured with the threads that a run gives them, on the same images.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnncli.config import RunConfig
from cnncli.engine.device import available_cpus
from cnncli.errors import UsageError
from cnncli.io.images import decode, encode
from cnncli.io.sources import Input
from cnncli.run.items import Item
from cnncli.run.runner import run_items
from cnncli.run.session import Session


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


def synthetic_photos(count: int, width: int = 640, height: int = 480) -> list[bytes]:
    """JPEGs of smooth coloured noise, about as hard to decode as photos, the same on every machine."""
    from PIL import Image

    photos = []
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        photos.append(encode(np.asarray(picture), ".jpg"))
    return photos


def measure(session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float) -> dict[str, Any]:
    """Every stage and the whole, each for at least `seconds`, over the photos again and again.

    `bound` is 1 / (1 / (decode and prepare) + 1 / forward) where inference runs on the CPU, since both share its
    cores, and the lower of the two where it runs elsewhere; `efficiency` is the whole run's part of it.
    """
    if not photos:
        raise UsageError("no image to measure with could be read")
    (engine,) = session.engines.values()
    workers = config.workers or available_cpus()
    batch_size = config.batch_size or engine.preferred_batch
    images = [decode(photo, config.max_pixels).pixels for photo in photos]
    requests = [next(session.task.analyse(image)) for image in images]
    batch = np.stack([requests[index % len(requests)].array for index in range(batch_size)])
    outputs = engine.run(batch)
    row = {name: values[0] for name, values in outputs.items()}

    def decode_and_prepare(photo: bytes) -> None:
        next(session.task.analyse(decode(photo, config.max_pixels).pixels))

    stages = [
        Stage("decode", _rate(partial(decode, max_pixels=config.max_pixels), photos, workers, seconds), workers),
        Stage("prepare", _rate(lambda image: next(session.task.analyse(image)), images, workers, seconds), workers),
        Stage("decode + prepare", _rate(decode_and_prepare, photos, workers, seconds), workers),
        Stage(
            f"forward (batch {batch_size})",
            batch_size * _rate(lambda _: engine.run(batch), [None], engine.parallel_calls, seconds),
            engine.parallel_calls,
        ),
        Stage("interpret", _interpret_rate(session, images[0], row, seconds), 1),
    ]
    reading, forward = stages[2].rate, stages[3].rate
    bound = 1 / (1 / reading + 1 / forward) if engine.device == "cpu" else min(reading, forward)
    whole = _whole(session, photos, config, seconds)
    return {
        "model": session.run.model,
        "engine": engine.name,
        "device": engine.device,
        "precision": session.precision,
        "photos": len(photos),
        "stages": [stage.as_dict() for stage in stages],
        "bound_images_per_s": bound,
        "end_to_end_images_per_s": whole,
        "efficiency": whole / bound,
        "limited_by": "decode + prepare" if reading < forward else "forward",
        "peak_memory_mb": peak_memory() / 1e6,
    }


def _interpret_rate(session: Session, image: np.ndarray, row: Any, seconds: float) -> float:
    """Answers per second of one thread; the generators are taken to their request outside the measured time."""
    count, spent = 0, 0.0
    while spent < seconds / 4:
        waiting = [session.task.analyse(image) for _ in range(64)]
        for steps in waiting:
            next(steps)
        start = time.perf_counter()
        for steps in waiting:
            with contextlib.suppress(StopIteration):
                steps.send(row)
        spent += time.perf_counter() - start
        count += len(waiting)
    return count / spent


def _rate(work: Callable[[Any], Any], arguments: Sequence[Any], threads: int, seconds: float) -> float:
    """Calls per second of `threads` threads together, after one warm-up call each."""

    def run(offset: int) -> int:
        work(arguments[offset % len(arguments)])
        barrier.append(time.perf_counter())
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            work(arguments[(offset + count) % len(arguments)])
            count += 1
        return count

    barrier: list[float] = []
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(run, range(threads)))
        elapsed = time.perf_counter() - min(barrier)
    return sum(counts) / elapsed


def _whole(session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float) -> float:
    for _ in run_items(session, _items(photos, config, 8), config):
        pass
    count, start = 0, time.perf_counter()
    deadline = start + max(seconds, 1.0) * 2
    for _ in run_items(session, _until(_items(photos, config, None), deadline), config):
        count += 1
    return count / (time.perf_counter() - start)


def _until(items: Iterable[Item], deadline: float) -> Iterator[Item]:
    for item in items:
        if time.perf_counter() > deadline:
            return
        yield item


def _items(photos: Sequence[bytes], config: RunConfig, count: int | None) -> Iterator[Item]:
    index = 0
    while count is None or index < count:
        photo = photos[index % len(photos)]
        yield Item(index, Input(f"#{index}", ""), partial(decode, photo, config.max_pixels))
        index += 1


def peak_memory() -> int:
    """The most memory that this process has had resident, in bytes."""
    if os.name == "nt":
        return 0
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
