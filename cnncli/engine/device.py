"""Which processors and accelerators there are, found out without importing torch."""

import ctypes
import os
import platform
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MOST_DEVICES = 255  # that an exit code can tell
CUDA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def available_cpus() -> int:
    """Cores that this process may use: its affinity mask, less where a container's quota is lower."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # cgroup version 2, version 1
        try:
            quota, period = (int(word) for file in files for word in (CGROUPS / file).read_text().split())
        except (OSError, ValueError):  # no such version, or "max", which is no limit
            continue
        if quota > 0:  # version 1 says -1 for no limit
            return max(1, min(count, -(-quota // period)))
    return count


def part_of(count: int, parts: int, number: int) -> int:
    """How many of `count` cores or threads part `number` of all parts gets; at least 1."""
    return max(1, count // parts + (number < count % parts))


def cuda_device_count() -> int:
    """Number of NVIDIA GPUs, asked of the driver's own library."""
    for name in CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def cuda_device_count_apart() -> int:
    """`cuda_device_count()` asked in a fork: a process that has called the driver can't fork others that use it."""
    pid = os.fork()
    if pid == 0:
        count = 0
        try:
            count = min(cuda_device_count(), MOST_DEVICES)
        finally:
            os._exit(count)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return max(code, 0)  # below 0: the driver has ended it


def accelerator() -> str | None:
    """The accelerator that `--device auto` would take: "cuda", "mps" or none."""
    if cuda_device_count() > 0:
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return None
