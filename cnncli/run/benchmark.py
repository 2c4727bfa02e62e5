"""Where the time of a task goes: each stage alone, what bounds them together, and the whole run.

All rates are images/s. Stages are measured with the threads that a run gives them, on the same images.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnncli.config import RunConfig
from cnncli.engine.base import Engine
from cnncli.engine.device import available_cpus
from cnncli.errors import UsageError
from cnncli.io.pictures import Picture, encode
from cnncli.io.sources import Input
from cnncli.run.items import Decode, Item
from cnncli.run.runner import run_items
from cnncli.run.session import Session
from cnncli.tasks.base import Outputs, Request, Result, Task

PHOTOS_FORWARD = 16  # whose requests the networks are measured with


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
        photos.append(encode(Picture(np.asarray(picture)), ".jpg"))
    return photos


def measure(session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float) -> dict[str, Any]:
    """Every stage and the whole, each for at least `seconds`, over the photos again and again.

    `bound` is 1 / (1 / (decode and prepare) + 1 / forward) where inference runs on the CPU, since both share its
    cores, and the lower of the two where it runs elsewhere; `efficiency` is the whole run's part of it. `prepare` is
    what a task does up to its first request, `interpret` what it does with the answers; a task without a network
    does all of it in `prepare`.
    """
    if not photos:
        raise UsageError("no image to measure with could be read")
    workers = config.workers or available_cpus()
    task = session.task
    images = [task.decode(photo, config.max_pixels).pixels for photo in photos]
    dialogues = [_dialogue(session, image) for image in images[:PHOTOS_FORWARD]]

    def decode_and_prepare(photo: bytes) -> None:
        _begun(task, task.decode(photo, config.max_pixels).pixels)

    def decode(photo: bytes) -> None:
        task.decode(photo, config.max_pixels)

    stages = [
        Stage("decode", _rate(decode, photos, workers, seconds), workers),
        Stage("prepare", _rate(partial(_begun, task), images, workers, seconds), workers),
        Stage("decode + prepare", _rate(decode_and_prepare, photos, workers, seconds), workers),
    ]
    reading, forward = stages[2].rate, math.inf
    if any(dialogues):  # a network that some photo is shown to
        stages.append(_forward(session, dialogues, config, seconds))
        stages.append(Stage("interpret", _interpret_rate(task, images, dialogues, seconds), 1))
        forward = stages[3].rate
    bound = 1 / (1 / reading + 1 / forward) if session.run.device == "cpu" else min(reading, forward)
    whole = _whole(session, photos, config, seconds)
    return {
        "model": session.run.model,
        "engine": session.run.engine,
        "device": session.run.device,
        "precision": session.precision,
        "photos": len(photos),
        "stages": [stage.as_dict() for stage in stages],
        "bound_images_per_s": bound,
        "end_to_end_images_per_s": whole,
        "efficiency": whole / bound,
        "limited_by": "decode + prepare" if reading < forward else "forward",
        "peak_memory_mb": peak_memory() / 1e6,
    }


Dialogue = list[tuple[Request, Outputs]]  # what a task asks for one image, and what it is told


def _begun(task: Task, image: np.ndarray) -> Generator[Request, Outputs, Result]:
    """A task's generator, taken to its first request or, where it needs none, to its end."""
    steps = task.analyse(image)
    with contextlib.suppress(StopIteration):
        next(steps)
    return steps


def _dialogue(session: Session, image: np.ndarray) -> Dialogue:
    steps = session.task.analyse(image)
    dialogue: Dialogue = []
    with contextlib.suppress(StopIteration):
        request = next(steps)
        while True:
            rows = session.engines[request.model].run(request.array[None])
            outputs = {name: values[0] for name, values in rows.items()}
            dialogue.append((request, outputs))
            request = steps.send(outputs)
    return dialogue


def _forward(session: Session, dialogues: Sequence[Dialogue], config: RunConfig, seconds: float) -> Stage:
    """The networks alone: all requests of the photos, equal shapes in batches, repeated to fill them."""
    calls: list[tuple[Engine, np.ndarray]] = []
    weights = 0.0  # photos that the calls together are worth
    for dialogue in dialogues:
        for request, _ in dialogue:
            engine = session.engines[request.model]
            size = config.batch_size or engine.preferred_batch
            calls.append((engine, np.stack([request.array] * size)))
            weights += 1 / size
    threads = max(engine.parallel_calls for engine in session.engines.values())
    rate = _rate(lambda call: call[0].run(call[1]), calls, threads, seconds)
    sizes = sorted({len(batch) for _, batch in calls})
    seconds_a_photo = weights / rate / len(dialogues)
    return Stage(f"forward (batch {', '.join(map(str, sizes))})", 1 / seconds_a_photo, threads)


def _interpret_rate(task: Task, images: Sequence[np.ndarray], dialogues: Sequence[Dialogue], seconds: float) -> float:
    """Answers per second of one thread; only what follows the first request is measured."""
    count, spent = 0, 0.0
    while spent < seconds / 4:
        for image, dialogue in zip(images, dialogues, strict=False):
            steps = _begun(task, image)
            start = time.perf_counter()
            with contextlib.suppress(StopIteration):
                for _, outputs in dialogue:
                    steps.send(outputs)
            spent += time.perf_counter() - start
            count += 1
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
    decode = session.task.decode
    for _ in run_items(session, _items(photos, config, decode, 8), config):
        pass
    count, start = 0, time.perf_counter()
    deadline = start + max(seconds, 1.0) * 2
    for _ in run_items(session, _until(_items(photos, config, decode, None), deadline), config):
        count += 1
    return count / (time.perf_counter() - start)


def _until(items: Iterable[Item], deadline: float) -> Iterator[Item]:
    for item in items:
        if time.perf_counter() > deadline:
            return
        yield item


def _items(photos: Sequence[bytes], config: RunConfig, decode: Decode, count: int | None) -> Iterator[Item]:
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
