"""What keeps a CUDA device busy: the order of what is queued, with a device that only notes it; and on a real one."""

import contextlib
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cnncli.engine import torch_cuda
from cnncli.engine.torch_cuda import MOST_GRAPHS, SEEN, Overlap, Replays
from cnncli.engine.torch_engine import TorchEngine
from cnncli.io.weights import Weights
from tests.engine.conftest import batch_for
from tests.engine.test_engines import NEEDS_CUDA

CPU = torch.device("cpu")


class Device:
    """Stands for torch.cuda: notes what is done on which stream, and computes nothing by itself."""

    def __init__(self) -> None:
        self.notes: list[tuple] = []
        self.streams: list[str] = []
        self.current = "default"
        self.refuses = False
        self.replay = lambda: None

    def stream_made(self, device: torch.device) -> SimpleNamespace:
        name = ("in", "compute", "out")[len(self.streams) % 3]
        self.streams.append(name)
        return SimpleNamespace(
            name=name,
            record_event=lambda: self.noted("event", name),
            wait_event=lambda event: self.noted("wait", name, event),
            synchronize=lambda: self.noted("synchronize", name),
        )

    def noted(self, *note) -> str:
        self.notes.append(note)
        return note[1]

    @contextlib.contextmanager
    def stream(self, stream: SimpleNamespace) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def event_made(self, blocking: bool) -> SimpleNamespace:
        return SimpleNamespace(
            record=lambda stream: self.noted("event", stream.name),
            synchronize=lambda: self.noted("synchronize", "out", blocking),
        )

    @contextlib.contextmanager
    def graph(self, graph, stream, capture_error_mode: str) -> Iterator[None]:
        self.noted("capture", capture_error_mode)
        yield
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    fake = Device()
    monkeypatch.setattr(torch.cuda, "Stream", fake.stream_made)
    monkeypatch.setattr(torch.cuda, "stream", fake.stream)
    monkeypatch.setattr(torch.cuda, "Event", fake.event_made)
    monkeypatch.setattr(torch.cuda, "graph", fake.graph)
    monkeypatch.setattr(
        torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: (fake.noted("replay", ""), fake.replay()))
    )
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: fake.noted("held", stream.name))
    monkeypatch.setattr(torch_cuda, "pinned", lambda tensor: tensor.clone())
    monkeypatch.setattr(torch_cuda, "empty_pinned", lambda like: torch.empty_like(like))
    return fake


def test_each_stream_waits_for_what_it_needs(device: Device) -> None:
    overlap = Overlap(CPU, lambda images: (device.noted("network", device.current) and images * 2,), False)
    (answer,) = overlap.run(np.arange(6).reshape(2, 3))
    assert answer.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert device.notes == [
        ("event", "in"),
        ("wait", "compute", "in"),
        ("held", "compute"),
        ("network", "compute"),
        ("event", "compute"),
        ("wait", "out", "compute"),
        ("held", "out"),
        ("event", "out"),
        ("synchronize", "out", True),
    ]


def test_what_is_made_on_the_device_is_made_on_the_stream_of_copies(device: Device) -> None:
    overlap = Overlap(CPU, lambda images: (images,), True)
    made = lambda: device.noted("made", device.current) and torch.ones(1)  # noqa: E731
    assert overlap.run_made(made)[0].tolist() == [1]
    assert device.notes[:2] == [("synchronize", "in"), ("made", "in")]  # the decoder's own stream waits for nothing


def test_a_call_alone_waits_for_the_others_and_holds_them_off(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    overlap = Overlap(CPU, lambda images: (images,), False)
    running: list[int] = []
    together: list[int] = []

    def work(alone: bool) -> None:
        with overlap._place(alone):
            running.append(1)
            time.sleep(0.002)
            if alone:
                together.append(len(running))
            running.pop()

    threads = [threading.Thread(target=work, args=(number % 4 == 0,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert together == [1] * 6


def test_a_lack_of_memory_is_met_alone_first(lite0: Weights) -> None:
    """While other calls hold the memory, a batch does not fit that would by itself."""
    engine = TorchEngine(lite0, "cpu", "fp32", threads=1)
    batch = batch_for(lite0)[:2]
    expected = engine.run(batch)["logits"]
    asked: list[bool] = []

    class Crowded:
        def run(self, array: np.ndarray, alone: bool) -> list[np.ndarray]:
            asked.append(alone)
            if not alone:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [value.numpy() for value in engine.forward(torch.from_numpy(array))]

    engine._overlap = Crowded()
    np.testing.assert_array_equal(engine.run(batch)["logits"], expected)
    assert asked == [False, True]


def test_a_shape_that_comes_often_is_recorded_once(device: Device) -> None:
    calls = []
    replays = Replays(lambda images: (calls.append(1) or images + 1,), SimpleNamespace(name="compute"))
    for number in range(SEEN):
        assert replays(torch.full((2,), float(number)))[0].tolist() == [number + 1] * 2
    assert device.notes == []
    replays(torch.zeros(2))
    assert device.notes == [("capture", "thread_local"), ("replay", "")]
    assert len(calls) == SEEN + 2  # once more in the thread that records
    replays(torch.zeros(2))
    assert device.notes[2:] == [("replay", "")]
    assert len(calls) == SEEN + 2  # the recording computes


def test_a_replay_reads_the_new_images_and_its_answer_stays(device: Device) -> None:
    """The stand-in for a graph computes what the recorded network would: from its own images into its own outputs."""
    replays = Replays(lambda images: (images + 1,), SimpleNamespace(name="compute"))
    for _ in range(SEEN + 1):
        replays(torch.zeros(2, dtype=torch.int64))
    (recording,) = replays._recordings.values()
    device.replay = lambda: recording.outputs[0].copy_(recording.images + 1)
    first, second = replays(torch.tensor([5, 6]))[0], replays(torch.tensor([7, 8]))[0]
    assert (first.tolist(), second.tolist()) == ([6, 7], [8, 9])


def test_a_network_that_can_not_be_recorded_runs_as_ever(device: Device) -> None:
    device.refuses = True
    replays = Replays(lambda images: (images + 1,), SimpleNamespace(name="compute"))
    answers = [replays(torch.full((2,), float(number)))[0].tolist() for number in range(3 * SEEN)]
    assert answers == [[number + 1] * 2 for number in range(3 * SEEN)]
    assert [note[0] for note in device.notes] == ["capture"]  # it was tried once


def test_only_so_many_shapes_are_recorded(device: Device) -> None:
    replays = Replays(lambda images: (images,), SimpleNamespace(name="compute"))
    for size in range(1, MOST_GRAPHS + 3):
        for _ in range(SEEN + 1):
            replays(torch.zeros(size))
    assert [note[0] for note in device.notes].count("capture") == MOST_GRAPHS


@NEEDS_CUDA
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_calls_at_once_and_recorded_ones_answer_as_one_alone(lite0: Weights, precision: str) -> None:
    engine = TorchEngine(lite0, "cuda", precision, threads=1)
    batch = batch_for(lite0)
    alone = engine.run(batch)["logits"]
    answers: list[np.ndarray] = []

    def work() -> None:
        for _ in range(2 * SEEN):
            answers.append(engine.run(batch)["logits"])

    threads = [threading.Thread(target=work) for _ in range(torch_cuda.CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2 * SEEN * torch_cuda.CALLS
    for answer in answers:
        np.testing.assert_allclose(answer, alone, atol=1e-4 if precision == "fp32" else 0.05)
    assert engine._overlap._forward._recordings
