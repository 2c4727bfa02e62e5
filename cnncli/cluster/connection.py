"""A Ray cluster for the time of a run: one of this machine alone, or one that stands already."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cnncli.cluster.packages import import_ray
from cnncli.engine.device import available_cpus, cuda_device_count
from cnncli.errors import DeviceError, UsageError

LOCAL = "local"
CONNECT_TIMEOUT = 10.0  # seconds
WAY_OUT = "a cluster that asks for a token, as Ray's do by default, takes it from RAY_AUTH_TOKEN or ~/.ray/auth_token"
MOST_CPUS = 16  # of a worker on a GPU: more threads than decode for one
# Ray reports its use over the network, and probes for a dashboard, unless told not to. The last: a worker without a GPU
# keeps the environment it was started with; it is told its device anyhow.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Share:
    """What there is for a run: at most so many workers, and what each takes of its machine."""

    workers: int
    cpus: int
    gpus: float


@dataclass(frozen=True)
class Wish:
    """A share as the user asks for it; None: what the cluster has room for."""

    workers: int | None = None
    cpus: int | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for option, value in (("--workers", self.workers), ("--cpus-per-worker", self.cpus)):
            if value is not None and value < 1:
                raise UsageError(f"{option} {value}: give at least 1")
        if not 0 <= self.gpus <= 1:
            raise UsageError(f"--gpus-per-worker {self.gpus:g}: give 0 to 1; for more GPUs take more --workers")

    def in_cluster(self, cpus: float, gpus: float) -> Share:
        """The share in a cluster of so many cores and GPUs, whose workers divide the cores by the GPUs.

        DeviceError where GPUs are asked for and there are none.
        """
        if self.gpus and not gpus:
            raise DeviceError("--gpus-per-worker: there is no GPU in this cluster; leave it out to use the CPU")
        fitting = min(MOST_CPUS, int(cpus * self.gpus / gpus)) if self.gpus else 1
        each = self.cpus or max(1, fitting)
        room = int(gpus / self.gpus) if self.gpus else int(cpus / each)
        return Share(self.workers or max(1, room), each, self.gpus)


@contextlib.contextmanager
def connected(address: str, wish: Wish) -> Iterator[Share]:
    """A cluster to work in, and the share of it. DeviceError where there is none at the address.

    "local" starts one of this machine's cores and GPUs, without a dashboard, that ends with the block.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray = import_ray()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)  # and until then, what Ray prints of its workers goes nowhere
        if address == LOCAL:
            share = wish.in_cluster(available_cpus(), cuda_device_count())
            room = {"num_cpus": share.workers * share.cpus, "num_gpus": cuda_device_count(), "include_dashboard": False}
            _start(ray, address, room)
        else:
            _start(ray, address, {})
            found = ray.cluster_resources()
            share = wish.in_cluster(found.get("CPU", 1), found.get("GPU", 0))
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray has set its own, which end the process without an answer
        yield share


def _start(ray: Any, address: str, room: dict[str, Any]) -> None:
    try:
        _reach(address)
        ray.init(address, log_to_driver=False, logging_level="CRITICAL", **room)
    except (ConnectionError, ImportError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeviceError(f"--address {address}: no Ray cluster answers there ({reason}); {WAY_OUT}") from error


def _reach(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray would wait there for ever."""
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
