"""`cnncli serve`: what it refuses."""

import pytest

WRONG = {
    "--stop --status": "exclude each other",
    "--idle -1": "--idle -1: give seconds",
    "--idle nan": "--idle nan: give seconds",
    "--http 8000": "--http 8000: write an address and a port",
    "--http 256.1.1.1:80": "--http 256.1.1.1:80: can't be listened at",
    "--http 127.0.0.1:0 --max-bytes 0": "--max-bytes 0: give at least 1",
}


@pytest.mark.parametrize("words", WRONG)
def test_rejects(words: str, here) -> None:
    done = here("serve", *words.split())
    assert done.returncode == 2 and WRONG[words].encode() in done.stderr


@pytest.mark.parametrize("model", ["none", "none.safetensors"])
def test_rejects_missing_models(model: str, here) -> None:
    done = here("serve", model)
    assert done.returncode == 3 and model.encode() in done.stderr


def test_rejects_other_systems(here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    done = here("serve")
    assert done.returncode == 2 and b"serve needs Linux" in done.stderr


def test_warns_of_others(cnncli) -> None:
    """An address that other machines reach; the address that is taken by then ends it."""
    import socket
    import subprocess
    import sys

    command = [sys.executable, "-m", "cnncli", "serve", "sobel", "--http", "0.0.0.0:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        lines = [server.stderr.readline() for _ in range(2)]
        port = int(lines[1].split()[3].rstrip(";").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 20):
            pass
        done = cnncli("serve", "--http", f"0.0.0.0:{port}")
        server.terminate()
    assert "0.0.0.0 is not this machine alone" in lines[0]
    assert done.returncode == 2 and b"can't be listened at (Address already in use)" in done.stderr
