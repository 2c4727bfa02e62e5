"""Which processors and accelerators there are, found out without importing torch."""

import ctypes
import os
import platform
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
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


def accelerator() -> str | None:
    """The accelerator that `--device auto` would take: "cuda", "mps" or none."""
    if cuda_device_count() > 0:
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return None
