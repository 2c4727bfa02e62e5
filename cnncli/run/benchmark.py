"""Where the time of a task goes: each stage alone, what bounds them together, and the whole run.

All rates are images/s. Stages are measured with the threads that a run gives them, on the same images.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from cnncli.config import RunConfig
from cnncli.engine.device import available_cpus
from cnncli.errors import UsageError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import read_file
from cnncli.io.sources import Input
from cnncli.run.benchmark_forward import Dialogue, begun, dialogue, forward_stages, interpret_rate
from cnncli.run.benchmark_stages import Stage, bound_of, limit_of, rate_of
from cnncli.run.items import Decode, Item
from cnncli.run.runner import run_items
from cnncli.run.session import Session

PHOTOS_FORWARD = 16  # at most, whose requests the networks are measured with
PHOTO_BUDGET = 512 << 20  # bytes of decoded photos to measure with


def measure(
    session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float, files: Sequence[str] = ()
) -> dict[str, Any]:
    """Every stage and the whole, each for at least `seconds`, over the photos again and again.

    `files` are what the photos were read from: the stage "read" is one more pass over them, mostly from the system's
    page cache, and counts in no bound, since all else works from memory. `bound` is bound_of the stages, with the
    network at its best batch size; `efficiency` is the whole run's part of it. `prepare` is what a task does up to its
    first request, `interpret` what it does with the answers; a task without a network does all of it in `prepare`.
    """
    if not photos:
        raise UsageError("no image to measure with could be read; name files of photos, or none for synthetic ones")
    workers = config.workers or available_cpus()
    images = _decoded(session, photos, config)
    stages = [Stage("read", _read_rate(files, config, workers), workers)] if files else []
    stages += _cpu_stages(session, photos, images, config, seconds, workers)
    shared = session.run.device == "cpu"
    rates = {"decode + prepare": stages[-1].rate}
    forward: dict[str, Any] = {"forward_bound_images_per_s": None, "best_batch": None, "forward_by_batch": {}}
    talks = _talks(session, images[:PHOTOS_FORWARD], seconds)
    dialogues = [talk for _, talk in talks]
    if any(dialogues):  # a network that some photo is shown to
        found, further, forward = forward_stages(session, dialogues, config, seconds)
        stages += found
        answering = interpret_rate(session.task, talks, workers, seconds)
        stages.append(Stage("interpret", answering, workers))
        rates |= {**further, "interpret": answering}
    bound = bound_of(rates, shared)
    whole, busy = _whole_watched(session, photos, config, seconds)
    return {
        "model": session.run.model,
        "engine": session.run.engine,
        "device": session.run.device,
        "precision": session.precision,
        "photos": len(photos),
        "stages": [stage.as_dict() for stage in stages],
        **forward,
        "bound_images_per_s": bound,
        "end_to_end_images_per_s": whole,
        "efficiency": whole / bound,
        "limited_by": limit_of(rates),
        **busy,
        "peak_memory_mb": peak_memory() / 1e6,
    }


def _decoded(session: Session, photos: Sequence[bytes], config: RunConfig) -> list[np.ndarray | EncodedPhoto]:
    """The pixels of the first photos, as many as there is room for."""
    images: list[np.ndarray | EncodedPhoto] = []
    held = 0
    for photo in photos:
        images.append(session.task.decode(photo, config.max_pixels).pixels)
        held += images[-1].nbytes
        if held > PHOTO_BUDGET:
            break
    return images


def _cpu_stages(
    session: Session, photos: Sequence[bytes], images: Sequence[Any], config: RunConfig, seconds: float, workers: int
) -> list[Stage]:
    """Decoding, preparing, and both in turn, which is less than the sum where pixels are still in the cache."""
    task = session.task

    def decode(photo: bytes) -> Any:
        return task.decode(photo, config.max_pixels).pixels

    def decode_and_prepare(photo: bytes) -> None:
        begun(task, decode(photo))

    return [
        Stage("decode", rate_of(decode, photos, workers, seconds), workers),
        Stage("prepare", rate_of(partial(begun, task), images, workers, seconds), workers),
        Stage("decode + prepare", rate_of(decode_and_prepare, photos, workers, seconds), workers),
    ]


def _talks(
    session: Session, images: Sequence[np.ndarray | EncodedPhoto], seconds: float
) -> list[tuple[np.ndarray | EncodedPhoto, Dialogue]]:
    """Images with what is asked and answered about them: of some, in a few turns of the time for a stage."""
    talks: list[tuple[np.ndarray | EncodedPhoto, Dialogue]] = []
    start = time.perf_counter()
    for image in images:
        if len(talks) > 1 and time.perf_counter() > start + 4 * seconds:
            break
        if (talk := dialogue(session, image)) is not None:
            talks.append((image, talk))
    return talks


def _read_rate(files: Sequence[str], config: RunConfig, workers: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda file: read_file(file, config.max_pixels), files):
            pass
    return len(files) / (time.perf_counter() - start)


def _whole_watched(
    session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float
) -> tuple[float, dict[str, float]]:
    """Images/s of the whole run, and how busy the GPU was meanwhile, where its driver tells."""
    if not session.run.device.startswith("cuda"):
        return _whole(session, photos, config, seconds), {}
    from cnncli.engine.torch_timing import Utilization

    with Utilization(session.run.device) as utilization:
        whole = _whole(session, photos, config, seconds)
    percent = utilization.percent
    return whole, {} if percent is None else {"gpu_busy_percent": percent}


def _whole(session: Session, photos: Sequence[bytes], config: RunConfig, seconds: float) -> float:
    decode = session.task.decode
    least = max(seconds, 1.0)
    warm_up = _items(photos, config, decode, 8)
    if session.run.device != "cpu":  # its launches are recorded only after some batches
        warm_up = _until(_items(photos, config, decode, None), time.perf_counter() + least)
    for _ in run_items(session, warm_up, config):
        pass
    count, start = 0, time.perf_counter()
    deadline = start + 2 * least
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
