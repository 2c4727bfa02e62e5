"""Engines: a batch of arrays in, arrays out. Only this floor knows devices, precisions and threads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from cnncli.errors import DeviceError, NotDecodedError, OutOfMemoryError
from cnncli.io.encoded import EncodedPhoto

# in the messages of ONNX Runtime, torch and cuBLAS, which have no common type for it
MEMORY_ERRORS = ("bad_alloc", "allocate memory", "out of memory", "alloc_failed")

# uint8 (N, H, W, 3), or what the task's request holds, behind a batch axis; or photos that the device decodes
Batch = np.ndarray | Sequence[EncodedPhoto]
Outputs = Mapping[str, np.ndarray]  # per name of the model's outputs, float32, the batch axis first


class Engine(Protocol):
    """One model, loaded. `run` may be called from `parallel_calls` threads at once.

    `shares_cores`: it computes on the cores that decode too, each call on one of them where there are several.
    `preferred_batch` is the batch size that is fastest on this device. `turn`: while more images are on their way,
    so many requests are collected before calls are made for them.
    """

    name: str
    device: str
    parallel_calls: int
    shares_cores: bool
    preferred_batch: int
    turn: int

    def run(self, batch: Batch) -> Outputs:
        """Outputs for the batch. OutOfMemoryError where it does not fit, with the engine still usable.

        NotDecodedError with those of its photos that the device can't decode.
        """
        ...


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether a runtime's error says that an allocation failed."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY_ERRORS)


def run_halving(run: Callable[[Batch], Outputs], batch: Batch) -> Outputs:
    """`run(batch)`; on lack of memory its two halves, and so on. DeviceError when a single item does not fit."""
    try:
        return run(batch)
    except OutOfMemoryError as error:
        if len(batch) == 1:
            way_out = "leave --decode out" if isinstance(batch[0], EncodedPhoto) else "use --device cpu"
            raise DeviceError(f"out of memory for a single image of {batch[0].shape}; {way_out}") from error
    middle = len(batch) // 2
    first, second = run_halving(run, batch[:middle]), run_halving(run, batch[middle:])
    return {name: np.concatenate([first[name], second[name]]) for name in first}


def answers_of(engine: Engine, arrays: Sequence[np.ndarray | EncodedPhoto]) -> list[Outputs | None]:
    """What a model says to each array of one kind; None to photos that its device can't decode."""
    if not isinstance(arrays[0], EncodedPhoto):
        return _rows(run_halving(engine.run, np.stack(arrays)), len(arrays))
    left = list(arrays)
    while left:
        try:
            rows = iter(_rows(run_halving(engine.run, left), len(left)))
        except NotDecodedError as error:  # of a half, where the whole did not fit: there may be more
            failed = set(map(id, error.photos))
            left = [photo for photo in left if id(photo) not in failed]
            continue
        decoded = set(map(id, left))
        return [next(rows) if id(photo) in decoded else None for photo in arrays]
    return [None] * len(arrays)


def _rows(outputs: Outputs, count: int) -> list[Outputs]:
    return [{name: values[row] for name, values in outputs.items()} for row in range(count)]
