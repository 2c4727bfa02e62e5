"""The stages that follow a task's first request: its networks at several batch sizes, copies, and its answers.

Networks take time by the size of what they are shown. So their rate is measured in array elements, over the shapes
that the photos ask for, and becomes one of images by the elements that a photo has on average.
"""

import contextlib
import itertools
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from cnncli.config import RunConfig
from cnncli.engine.base import Batch, Engine
from cnncli.errors import NotDecodedError, OutOfMemoryError
from cnncli.io.encoded import EncodedPhoto
from cnncli.run.benchmark_stages import Stage, rate_of
from cnncli.run.pipeline import WORK_BUDGET
from cnncli.run.session import Session
from cnncli.tasks.base import Outputs, Request, Result, Task

SIZES = (1, 2, 4, 8, 16)  # batches, on the CPU; a GPU also takes larger ones
GPU_SIZES = (*SIZES, 32, 64, 128, 256)
MOST_SHAPES = 8  # of a network's input to measure with
BATCH_BUDGET = 1 << 29  # bytes of batches that are held to measure with
TURNS = 8  # answers of each thread that are measured together

Dialogue = list[tuple[Request, Outputs]]  # what a task asks for one image, and what it is told
Kind = tuple[str, bool]  # which network, and whether it is shown photos that its device decodes
Pace = Callable[[Engine, Sequence[Batch]], float]  # elements of the batches per second


def begun(task: Task, image: np.ndarray) -> Generator[Request, Outputs, Result]:
    """A task's generator, taken to its first request or, where it needs none, to its end."""
    steps = task.analyse(image)
    with contextlib.suppress(StopIteration):
        next(steps)
    return steps


def dialogue(session: Session, image: np.ndarray) -> Dialogue | None:
    """The requests for an image and their answers; None for one that its device can't decode."""
    steps = session.task.analyse(image)
    said: Dialogue = []
    try:
        request = next(steps)
        while True:
            rows = session.engines[request.model].run(_batch([request.array], 1))
            outputs = {name: values[0] for name, values in rows.items()}
            said.append((request, outputs))
            request = steps.send(outputs)
    except NotDecodedError:
        return None
    except StopIteration:
        return said


def forward_stages(
    session: Session, dialogues: Sequence[Dialogue], config: RunConfig, seconds: float
) -> tuple[list[Stage], dict[str, float], dict[str, Any]]:
    """Stages of the networks and copies, the rates of "forward" and "copy" for the bound, and figures to report.

    The networks as a run calls them, copies included, at the run's batch; and for the bound at the best of several
    sizes, with torch on images that lie on the device already.
    """
    engines = session.engines
    own = {name: config.batch_size or engine.preferred_batch for name, engine in engines.items()}
    threads = max(engine.parallel_calls for engine in engines.values())
    called = _rate(session, dialogues, own, partial(_called, seconds=seconds))
    encoded = any(isinstance(request.array, EncodedPhoto) for said in dialogues for request, _ in said)
    alone = session.run.engine == "torch" and not encoded
    largest = max(own.values())
    rates = _rates_by_size(session, dialogues, largest, seconds / 2, alone)
    rates[largest] = max(called, rates.get(largest, 0.0))  # alone it is no slower than with its copies
    best = max(rates, key=lambda size: rates[size])
    network = "forward with decode" if encoded else "forward"
    sizes = ", ".join(map(str, sorted(set(own.values()))))
    stages = [
        Stage(f"{network} (batch {sizes})", called, threads),
        Stage(f"{network}, best (batch {best})", rates[best], 1 if alone else threads),
    ]
    further = {"forward": rates[best]}
    if session.run.device != "cpu":
        stages += (copies := _copies(session, dialogues, own, seconds / 2))
        further["copy"] = min(stage.rate for stage in copies)
    by_batch = {str(size): rates[size] for size in sorted(rates)}
    figures = {"forward_bound_images_per_s": rates[best], "best_batch": best, "forward_by_batch": by_batch}
    return stages, further, figures


def _rates_by_size(
    session: Session, dialogues: Sequence[Dialogue], own: int, seconds: float, alone: bool
) -> dict[int, float]:
    """Images/s of the networks by batch size; they grow until memory is short or a call outlasts its time."""
    rates: dict[int, float] = {}
    largest = max(request.array.nbytes for said in dialogues for request, _ in said)
    sizes = SIZES if session.run.device == "cpu" else GPU_SIZES
    for size in sorted({*sizes, own} if alone else {*sizes} - {own}):
        if rates and size * largest > BATCH_BUDGET:
            break
        pace = partial(_alone if alone else _called, seconds=seconds)
        try:
            rates[size] = _rate(session, dialogues, dict.fromkeys(session.engines, size), pace)
        except OutOfMemoryError:
            break
        if size / rates[size] > seconds:
            break
    return rates


def _rate(session: Session, dialogues: Sequence[Dialogue], sizes: Mapping[str, int], pace: Pace) -> float:
    """Images/s of all networks together, each at its batch size."""
    seconds_a_photo = 0.0
    for (name, _), arrays in _by_kind(dialogues).items():
        elements = sum(math.prod(array.shape) for array in arrays) / len(dialogues)
        seconds_a_photo += elements / pace(session.engines[name], _batches(arrays, sizes[name]))
    return 1 / seconds_a_photo


def _by_kind(dialogues: Sequence[Dialogue]) -> dict[Kind, list[Any]]:
    """What each network is shown."""
    found = defaultdict(list)
    for said in dialogues:
        for request, _ in said:
            found[request.model, isinstance(request.array, EncodedPhoto)].append(request.array)
    return found


def _batches(arrays: Sequence[Any], size: int) -> list[Batch]:
    """Full batches of equal shapes, one of each of the most frequent shapes; photos repeat to fill them."""
    by_shape = defaultdict(list)
    for array in arrays:
        by_shape[None if isinstance(array, EncodedPhoto) else (array.shape, array.dtype)].append(array)
    batches: list[Batch] = []
    held = 0
    for members in sorted(by_shape.values(), key=len, reverse=True)[:MOST_SHAPES]:
        held += size * members[0].nbytes
        if batches and held > BATCH_BUDGET:
            break
        batches.append(_batch(members, size))
    return batches


def _batch(members: Sequence[Any], size: int) -> Batch:
    chosen = list(itertools.islice(itertools.cycle(members), size))
    return chosen if isinstance(chosen[0], EncodedPhoto) else np.stack(chosen)


def _elements(batch: Batch) -> float:
    return float(batch.size if isinstance(batch, np.ndarray) else sum(math.prod(photo.shape) for photo in batch))


def _called(engine: Engine, batches: Sequence[Batch], seconds: float) -> float:
    """Elements per second by the engine's own calls, as many at once as a run makes."""
    return rate_of(engine.run, batches, engine.parallel_calls, seconds, _elements)


def _alone(engine: Any, batches: Sequence[np.ndarray], seconds: float) -> float:
    """Elements per second of a torch engine's network, on images that lie on its device."""
    from cnncli.engine.torch_timing import seconds_a_call

    spent = sum(seconds_a_call(engine.forward, batch, engine.device, seconds / len(batches)) for batch in batches)
    return sum(map(_elements, batches)) / spent


def _copies(session: Session, dialogues: Sequence[Dialogue], sizes: Mapping[str, int], seconds: float) -> list[Stage]:
    """The transfers of batches to the device and of their outputs back, each without anything beside it."""
    from cnncli.engine.torch_timing import bytes_back, bytes_to

    said = max(dialogues, key=len)
    shown = [request.array for talk in dialogues for request, _ in talk if isinstance(request.array, np.ndarray)]
    told = [value for talk in dialogues for _, outputs in talk for value in outputs.values()]
    stages = []
    if shown:
        batch = _batch([max(shown, key=lambda array: array.nbytes)], max(sizes.values()))
        pace = bytes_to(batch, session.run.device, seconds)
        stages.append(Stage("copy to the device", pace * len(dialogues) / sum(a.nbytes for a in shown), 1))
    request, outputs = said[0]
    rows = [np.stack([value] * sizes[request.model]) for value in outputs.values()]
    pace = bytes_back(rows, session.run.device, seconds)
    return [*stages, Stage("copy back", pace * len(dialogues) / sum(value.nbytes for value in told), 1)]


def interpret_rate(task: Task, talks: Sequence[tuple[np.ndarray, Dialogue]], threads: int, seconds: float) -> float:
    """Answers per second of `threads` threads; only what follows the first request is measured."""
    largest = max(1, *(task.working_bytes(image) for image, _ in talks))
    turns = max(1, min(TURNS, WORK_BUDGET // (largest * threads)))  # what has begun fits into a run's memory
    rates, spent = [], 0.0
    talks = [talk for talk in talks if talk[1]]
    with ThreadPoolExecutor(threads) as pool:
        while spent < seconds / 4:
            chosen = itertools.islice(itertools.cycle(talks), len(rates), len(rates) + threads * turns)
            started = [(begun(task, image), said) for image, said in chosen]
            together = threading.Barrier(threads)
            times = list(pool.map(partial(_answer, together), [started[i::threads] for i in range(threads)]))
            rates.append(sum(turns / time for time in times))
            spent += max(times)
    return sum(rates) / len(rates)


def _answer(together: threading.Barrier, started: Sequence[tuple[Any, Dialogue]]) -> float:
    """Seconds to hand each of some tasks the outputs that it asks for."""
    together.wait()
    start = time.perf_counter()
    for steps, said in started:
        with contextlib.suppress(StopIteration):
            for _, outputs in said:
                steps.send(outputs)
    return time.perf_counter() - start
