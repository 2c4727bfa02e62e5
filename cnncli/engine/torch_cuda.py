"""Keeping a CUDA device busy: copies in, computation and copies out side by side, and launches by one call.

What a batch needs is queued on three streams, each waiting for the event that its data is ready, as in the CUDA C++
Programming Guide, "Overlapping Behavior"; pinned memory lets copies run beside Python. Several threads call at once:
while one waits for its answer, the next one's batch is on its way.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CALLS = 3  # at once: one on its way in, one computed, one on its way out
SEEN = 6  # batches of one shape before its launches are recorded: a run that is long enough to earn that back
MOST_GRAPHS = 4  # shapes, each with memory of its own

Forward = Callable[[Tensor], tuple[Tensor, ...]]


class Overlap:
    """Calls of a network on a CUDA device, from up to CALLS threads at once. `recorded`: see Replays."""

    def __init__(self, device: torch.device, forward: Forward, recorded: bool):
        self._device = device
        self._in, self._compute, self._out = (torch.cuda.Stream(device) for _ in range(3))
        self._forward = Replays(forward, self._compute) if recorded else forward
        self._launching, self._making, self._taking = (threading.Lock() for _ in range(3))
        self._places = threading.Semaphore(CALLS)

    def run(self, batch: np.ndarray, alone: bool = False) -> list[np.ndarray]:
        """Outputs for an array, copied to the device first. `alone`: while no other call holds memory there."""
        with self._place(alone):
            with torch.cuda.stream(self._in):
                images = pinned(torch.from_numpy(batch)).to(self._device, non_blocking=True)
                arrived = self._in.record_event()
            return self._answers(images, arrived)

    def run_made(self, make: Callable[[], Tensor], alone: bool = False) -> list[np.ndarray]:
        """Outputs for what `make()` puts onto the device."""
        with self._place(alone):
            with self._making, torch.cuda.stream(self._in):
                # nvJPEG's own stream waits for nothing queued here, and may be given memory that this still reads
                self._in.synchronize()
                images = make()
                arrived = self._in.record_event()
            return self._answers(images, arrived)

    @contextlib.contextmanager
    def _place(self, alone: bool) -> Iterator[None]:
        count = CALLS if alone else 1
        with self._taking if alone else contextlib.nullcontext():  # two that both take some would wait for ever
            for _ in range(count):
                self._places.acquire()
        try:
            if alone:
                torch.cuda.empty_cache()
            yield
        finally:
            self._places.release(count)

    def _answers(self, images: Tensor, arrived: torch.cuda.Event) -> list[np.ndarray]:
        with self._launching, torch.cuda.stream(self._compute):
            self._compute.wait_event(arrived)
            images.record_stream(self._compute)  # its memory is not another's before the network has read it
            outputs = self._forward(images)
            computed = self._compute.record_event()
        with torch.cuda.stream(self._out):
            self._out.wait_event(computed)
            hosts = [self._fetch(value) for value in outputs]
            fetched = torch.cuda.Event(blocking=True)  # a waiting thread leaves its core to a decoder
            fetched.record(self._out)
        fetched.synchronize()
        return [host.numpy() for host in hosts]

    def _fetch(self, value: Tensor) -> Tensor:
        value.record_stream(self._out)
        return empty_pinned(value).copy_(value, non_blocking=True)


def pinned(tensor: Tensor) -> Tensor:
    """A copy in memory that the device reads by itself; torch keeps such memory for the next call."""
    return tensor.pin_memory()


def empty_pinned(like: Tensor) -> Tensor:
    """Room on the host for a tensor of the device."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    outputs: Sequence[Tensor]


class Replays:
    """A network whose launches are recorded for the shapes that come often (CUDA graphs), and then cost one call.

    A small network has hundreds of kernels of some microseconds, and launching them from Python takes longer than
    they do. torch.compile would fuse some of them as well, but needs a C compiler where it runs, and half a minute.
    What can't be recorded runs as ever. Not to be called from two threads at once.
    """

    def __init__(self, forward: Forward, stream: torch.cuda.Stream):
        self._forward = forward
        self._stream = stream
        self._seen: Counter[tuple] = Counter()
        self._recordings: dict[tuple, _Recording] = {}
        self._refused = False

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the network for images on its device, on the current stream."""
        shape = (*images.shape, images.dtype)
        recording = self._recordings.get(shape) or self._record(shape, images)
        if recording is None:
            return self._forward(images)
        recording.images.copy_(images)
        recording.graph.replay()
        return tuple(value.clone() for value in recording.outputs)  # the next replay writes over them

    def _record(self, shape: tuple, images: Tensor) -> _Recording | None:
        """A recording for a shape, where it has come often enough."""
        self._seen[shape] += 1
        if self._refused or self._seen[shape] <= SEEN or len(self._recordings) == MOST_GRAPHS:
            return None
        # An operation that waits for the device can't be recorded. torch may then keep memory until the run's end, so
        # networks of which that is known are not tried.
        with contextlib.suppress(RuntimeError):
            graph = torch.cuda.CUDAGraph()
            held = images.clone()
            self._forward(held)  # in this thread, for which the libraries may have nothing set up yet
            # other threads go on to allocate: by default that would end the capture
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                outputs = self._forward(held)
            self._recordings[shape] = _Recording(graph, held, outputs)
        self._refused = shape not in self._recordings
        return self._recordings.get(shape)
