"""What processors and GPUs there are, asked of the operating system and of drivers that the tests stand in for."""

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.engine import device
from cnncli.engine.device import accelerator, available_cpus, cuda_device_count, cuda_device_count_apart


class Driver:
    """NVIDIA's driver library: both calls give an error code, 0 for success."""

    def __init__(self, count: int, init_error: int = 0, count_error: int = 0):
        self.count = count
        self.init_error = init_error
        self.count_error = count_error

    def cuInit(self, flags: int) -> int:  # noqa: N802 (NVIDIA's name)
        return self.init_error

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802
        count._obj.value = self.count
        return self.count_error


def no_driver(name: str) -> Driver:
    raise OSError(f"{name}: cannot open shared object file")


def test_finds_no_gpu_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    assert cuda_device_count() == 0


@pytest.mark.parametrize(
    ("driver", "count"),
    [
        (Driver(3), 3),
        (Driver(0), 0),
        (Driver(3, init_error=100), 0),  # CUDA_ERROR_NO_DEVICE
        (Driver(3, count_error=3), 0),  # CUDA_ERROR_NOT_INITIALIZED
    ],
    ids=["three", "none", "init fails", "count fails"],
)
def test_asks_the_driver(monkeypatch: pytest.MonkeyPatch, driver: Driver, count: int) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda_device_count() == count
    assert (accelerator() == "cuda") == (count > 0)


def test_asks_the_windows_driver_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(1) if name == "nvcuda.dll" else no_driver(name))
    assert cuda_device_count() == 1


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("Darwin", "arm64", "mps"), ("Darwin", "x86_64", None), ("Linux", "arm64", None)],
)
def test_takes_metal_on_apple_silicon(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: str | None
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert accelerator() == expected


VERSION_2 = "cpu.max"
VERSION_1 = "cpu/cpu.cfs_quota_us"


@pytest.mark.parametrize(
    ("file", "quota", "expected"),
    [
        (VERSION_2, "max 100000", 8),
        (VERSION_2, "200000 100000", 2),
        (VERSION_2, "250000 100000", 3),  # part of a core is one more thread
        (VERSION_2, "50000 100000", 1),
        (VERSION_2, "1600000 100000", 8),
        (VERSION_2, "nonsense", 8),
        (VERSION_1, "-1", 8),
        (VERSION_1, "150000", 2),
        (None, "", 8),
    ],
)
def test_counts_the_cores_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str | None, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(device, "CGROUPS", tmp_path)
    if file is not None:
        (tmp_path / "cpu").mkdir()
        (tmp_path / file).write_text(quota + "\n")
        (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus() == expected


def test_counts_the_cores_of_an_affinity_mask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {4}, raising=False)
    monkeypatch.setattr(device, "CGROUPS", tmp_path)
    assert available_cpus() == 1


# of Python 3.12 on: the test runner has threads
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("driver", "count"),
    [(Driver(3), 3), (Driver(0), 0), (Driver(1000), 255)],
    ids=["three", "none", "as many as can be told"],
)
def test_asks_the_driver_in_another_process(monkeypatch: pytest.MonkeyPatch, driver: Driver, count: int) -> None:
    asked_here = []

    def open_driver(name: str) -> Driver:
        asked_here.append(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", open_driver)
    assert cuda_device_count_apart() == count
    assert not asked_here


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 / 0], ids=["dies", "fails"])
def test_counts_nothing_where_the_driver_breaks(monkeypatch: pytest.MonkeyPatch, end: Callable[[], object]) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: end())
    assert cuda_device_count_apart() == 0
