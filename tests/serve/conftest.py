"""A server of a test's own, and commands with and without it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("'cnncli serve' is for Linux", allow_module_level=True)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty runtime folder for this test alone."""
    folder = tmp_path_factory.mktemp("runtime")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def start(runtime: Path, cnncli: Run) -> Iterator[Callable[..., None]]:
    """Start a server with these words; it is ended after the test."""

    def begin(*words: str) -> None:
        done = cnncli("serve", *words, "--background")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    yield begin
    assert cnncli("serve", "--stop").returncode == 0


@pytest.fixture
def state(runtime: Path, cnncli: Run) -> Callable[[], dict[str, Any]]:
    """What the server says of itself."""
    return lambda: json.loads(cnncli("serve", "--status").stdout)


@pytest.fixture
def begun(runtime: Path, tmp_path: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start a command, and do not wait for its end."""

    def begin(*words: Any, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "cnncli", *map(str, words)]
        return subprocess.Popen(command, cwd=tmp_path, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return begin


def alone() -> dict[str, str]:
    """An environment in which a server is passed by."""
    return {**os.environ, "CNNCLI_SERVER": "off"}
