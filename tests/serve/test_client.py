"""What the client decides by itself, and what it costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.catalog import TASKS
from cnncli.cli.pages import HELP_OPTIONS
from cnncli.io.store import cache_folder
from cnncli.serve import client, place, wire

STRINGS = st.lists(st.binary().map(lambda content: content.replace(b"\0", b"")))


def test_knows_the_tasks_and_help() -> None:
    assert set(client.TASKS) == set(TASKS)
    assert set(HELP_OPTIONS) == client.HELP_OPTIONS


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["train"], ["classify", "--help"], ["classify", "/dev/fd/63"], ["classify", "@/proc/self/fd/3"]],
)
def test_keeps_what_cannot_be_sent(words: list[str]) -> None:
    assert client.ask(words) is None
    assert not client._is_sendable(words)


def test_passes_the_server_by(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client._is_sendable(["classify", "a.jpg"])
    monkeypatch.setenv("CNNCLI_SERVER", "off")
    assert not client._is_sendable(["classify", "a.jpg"])


def test_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert place.folder() == str(tmp_path / "cnncli")
    for runtime in ("", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert Path(place.folder()) == cache_folder() / "server"
    for name in ("CNNCLI_CACHE", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert Path(place.folder()) == cache_folder() / "server"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(place.folder()) == cache_folder() / "server"


@settings(deadline=None)  # a busy machine is no error
@given(st.lists(STRINGS, min_size=1))
def test_request_round_trip(sections: list[list[bytes]]) -> None:
    request = wire.pack(*sections)
    assert int.from_bytes(request[: wire.LENGTH], "big") == len(request) - wire.LENGTH
    assert wire.unpack(request[wire.LENGTH :]) == sections


def test_refuses_a_cut_request() -> None:
    with pytest.raises(ValueError, match="cut short"):
        wire.unpack(wire.pack([b"run"], [b"a", b"b"])[wire.LENGTH : -2])


def test_imports_next_to_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; before = set(sys.modules); import cnncli.__main__; from cnncli.serve import client;"
        "client.ask(['classify', 'a.jpg']); print(*set(sys.modules) - before)"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    ours = {"cnncli", "cnncli.__main__", "cnncli.serve", "cnncli.serve.client", "cnncli.serve.place"}
    assert set(done.stdout.split()) == ours
