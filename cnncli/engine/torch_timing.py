"""How long a device takes for a network alone and for copies alone, and how busy it is."""

import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnncli.engine.base import is_lack_of_memory
from cnncli.engine.torch_cuda import SEEN, Forward, Replays, pinned
from cnncli.errors import OutOfMemoryError

WARM_UP = SEEN + 2  # calls: kernels are chosen and loaded, memory is taken, launches are recorded
MOST_CALLS = 2000  # of a measurement that are queued at once
LOOKS_PER_SECOND = 20  # the driver averages over a sixth of a second or more


def seconds_a_call(forward: Forward, batch: np.ndarray, device: str, seconds: float) -> float:
    """Of a network on a batch (N, ...) that lies on the device; its outputs stay there.

    On CUDA its launches are recorded, as in a long run. OutOfMemoryError where the batch does not fit.
    """
    try:
        if not device.startswith("cuda"):
            images = torch.from_numpy(batch).to(device)
            return _seconds_a_call(lambda: forward(images), device, seconds)
        stream = torch.cuda.Stream(device)
        with torch.inference_mode(), torch.cuda.stream(stream):
            images = torch.from_numpy(batch).to(device)
            network = Replays(forward, stream)
            return _seconds_a_call(lambda: network(images), device, seconds)
    except Exception as error:  # on the CPU torch reports lack of memory as a plain RuntimeError
        if not is_lack_of_memory(error):
            raise
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        raise OutOfMemoryError(str(error)) from error


def bytes_to(batch: np.ndarray, device: str, seconds: float) -> float:
    """Bytes per second of a transfer to the device, from pinned memory where the device reads that by itself."""
    host = _pinned(torch.from_numpy(batch), device)
    target = torch.empty_like(host, device=device)
    return host.nbytes / _seconds_a_call(lambda: target.copy_(host, non_blocking=True), device, seconds)


def bytes_back(outputs: Sequence[np.ndarray], device: str, seconds: float) -> float:
    """Bytes per second of a transfer of such arrays from the device."""
    hosts = [_pinned(torch.from_numpy(value), device) for value in outputs]
    sources = [torch.empty_like(host, device=device) for host in hosts]

    def fetch() -> None:
        for host, source in zip(hosts, sources, strict=True):
            host.copy_(source, non_blocking=True)

    return sum(host.nbytes for host in hosts) / _seconds_a_call(fetch, device, seconds)


def _pinned(tensor: Tensor, device: str) -> Tensor:
    return pinned(tensor) if device.startswith("cuda") else tensor.clone()


def _seconds_a_call(call: Callable[[], Any], device: str, seconds: float) -> float:
    """Calls are queued as fast as they can be, and waited for together."""
    for _ in range(1 if device == "cpu" else WARM_UP):
        call()
    _wait_for(device)
    start = time.perf_counter()
    call()
    _wait_for(device)
    count = round(min(max(seconds / (time.perf_counter() - start), 1), MOST_CALLS))
    start = time.perf_counter()
    for _ in range(count):
        call()
    _wait_for(device)
    return (time.perf_counter() - start) / count


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


class Utilization:
    """Within its context, looks at how busy a CUDA device is; `percent` is the mean, None where that can't be told.

    Asked of NVIDIA's management library by way of nvidia-ml-py, where that is installed.
    """

    def __init__(self, device: str):
        self._device = torch.device(device)
        self._seen: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="cnncli-utilization", daemon=True)

    def __enter__(self) -> "Utilization":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def percent(self) -> float | None:
        return sum(self._seen) / len(self._seen) if self._seen else None

    def _look(self) -> None:
        if importlib.util.find_spec("pynvml") is None:
            return
        while not self._ended.wait(1 / LOOKS_PER_SECOND):
            try:
                self._seen.append(torch.cuda.utilization(self._device))
            except Exception:  # the library's own errors: a part of a GPU, or a driver without it, tells nothing
                return
