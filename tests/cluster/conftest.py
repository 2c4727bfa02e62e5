"""A cluster for the tests of a module. One at a time on this machine, however many processes run the tests."""

import contextlib
import fcntl
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT


@dataclass(frozen=True)
class Nodes:
    """Where the cluster listens, and the process below which all of its processes are."""

    address: str
    process: int


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'cnncli[ray,spark]'")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process of these tests runs a cluster."""
    with open(folder.parent / "cluster.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes of one core each."""
    needs("ray")
    base = tmp_path_factory.getbasetemp()
    with alone(base), open(base / "cluster.log", "wb") as log:
        command = [sys.executable, "-m", "tests.cluster.nodes"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT) as process:
            assert process.stdin is not None and process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address, (base / "cluster.log").read_text()
            yield Nodes(address, process.pid)
            process.stdin.close()
