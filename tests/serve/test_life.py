"""How a server begins and ends, whom it refuses, and what happens when a side of it dies."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cnncli.io.store import model_path
from cnncli.serve import place, wire
from tests.conftest import PHOTOS, ROOT, records
from tests.serve.conftest import Run, alone

PATIENCE = 20  # seconds
NOBODY = 65534


def wait_until(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if outcome := condition():
            return outcome
        time.sleep(0.02)
    raise AssertionError("has not come to pass")


@pytest.fixture
def waiting(
    start: Callable[..., None], begun: Callable[..., Any], state: Callable[[], dict[str, Any]], tmp_path: Path
) -> Iterator[tuple[Any, psutil.Process]]:
    """A served command that waits for more of its list, and the fork that runs it."""
    start("classify")
    client = begun("classify", "@-", "--records", "records.jsonl", stdin=subprocess.PIPE)
    client.stdin.write(f"{PHOTOS / 'chelsea.png'}\n".encode())
    client.stdin.flush()
    wait_until(lambda: (tmp_path / "records.jsonl").exists() and (tmp_path / "records.jsonl").read_bytes())
    server = psutil.Process(state()["pid"])
    wait_until(lambda: len(server.children()) == 1)  # the one that told the state has ended
    (fork,) = server.children()
    yield client, fork
    client.kill()
    client.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_the_run(
    waiting: tuple[Any, psutil.Process], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    client, fork = waiting
    client.send_signal(number)
    client.wait(PATIENCE)
    errors = client.stderr.read()
    assert (client.returncode, errors) == (code, b"cnncli: interrupted; a run with --records goes on with --resume\n")
    assert not fork.is_running()
    assert len(records((tmp_path / "records.jsonl").read_bytes())) == 1


def test_killed_client_takes_its_run_along(waiting: tuple[Any, psutil.Process]) -> None:
    client, fork = waiting
    client.kill()
    client.wait()
    fork.wait(PATIENCE)


def test_crash_of_a_run(waiting: tuple[Any, psutil.Process], state: Callable[[], dict[str, Any]]) -> None:
    client, fork = waiting
    fork.send_signal(signal.SIGSEGV)
    client.wait(PATIENCE)
    errors = client.stderr.read()
    assert client.returncode == 70
    assert errors.endswith(b"the run broke off (its process ended by signal 11); run it again with CNNCLI_SERVER=off\n")
    assert state()["requests"] == 1


def test_killed_server_takes_its_runs_along(
    waiting: tuple[Any, psutil.Process], state: Callable[[], dict[str, Any]]
) -> None:
    client, fork = waiting
    os.kill(state()["pid"], signal.SIGKILL)
    client.wait(PATIENCE)
    errors = client.stderr.read()
    assert client.returncode == 70 and b"the server ended" in errors
    wait_until(lambda: not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE)


def test_stop_lets_runs_end(
    waiting: tuple[Any, psutil.Process], cnncli: Run, state: Callable[[], dict[str, Any]]
) -> None:
    client, fork = waiting
    server = psutil.Process(state()["pid"])
    assert cnncli("serve", "--stop").returncode == 0
    assert cnncli("serve", "--status").returncode == 1
    assert fork.is_running() and server.is_running()
    client.send_signal(signal.SIGINT)
    assert client.wait(PATIENCE) == 130
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def test_socket_of_a_dead_server(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, photos: Path, runtime: Path
) -> None:
    start("classify")
    process = psutil.Process(state()["pid"])
    process.kill()
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert (runtime / "cnncli" / place.SOCKET).is_socket()
    assert cnncli("classify", photos / "chelsea.png").returncode == 0
    start("classify")
    assert state()["pid"] != process.pid


def test_ends_when_idle(start: Callable[..., None], cnncli: Run, runtime: Path) -> None:
    start("sobel", "--idle", "0.5")
    wait_until(lambda: cnncli("serve", "--status").returncode == 1)  # asking is no request
    assert not (runtime / "cnncli" / place.SOCKET).exists()


def test_second_server(start: Callable[..., None], cnncli: Run) -> None:
    start("sobel")
    for words in ((), ("--background",)):
        done = cnncli("serve", *words)
        assert done.returncode == 2 and b"a server runs already" in done.stderr


def test_without_a_server(runtime: Path, cnncli: Run) -> None:
    done = cnncli("serve", "--status")
    assert (done.returncode, done.stdout) == (1, b"")
    assert cnncli("serve", "--stop").returncode == 0


def test_other_version_and_other_variables(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, photos: Path, tmp_path: Path
) -> None:
    start("classify")
    expected = cnncli("classify", photos / "chelsea.png", env=alone()).stdout
    program = "import cnncli, sys; cnncli.__version__ = '0'; from cnncli.__main__ import main; main()"
    command = ["python", "-c", program, "classify", str(photos / "chelsea.png")]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == expected
    done = cnncli("classify", photos / "chelsea.png", env={**os.environ, "PYTHONHASHSEED": "1"})
    assert done.stdout == expected
    done = cnncli("classify", photos / "chelsea.png", preexec_fn=lower_limit)
    assert done.stdout == expected
    assert state()["requests"] == 0
    assert cnncli("classify", photos / "chelsea.png").stdout == expected
    assert state()["requests"] == 1


def lower_limit() -> None:
    """Fewer open files than the server may have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


def test_ends_when_its_code_changes(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, photos: Path, tmp_path: Path
) -> None:
    package = tmp_path / "cnncli"  # in the working folder of every command here, and so found first
    shutil.copytree(ROOT / "cnncli", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "weights").symlink_to(ROOT / "weights")
    start("classify")
    expected = cnncli("classify", photos / "chelsea.png").stdout
    assert state()["requests"] == 1
    os.utime(package / "errors.py")
    assert cnncli("classify", photos / "chelsea.png").stdout == expected
    wait_until(lambda: cnncli("serve", "--status").returncode == 1)


def test_replaced_weights(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, photos: Path, tmp_path: Path
) -> None:
    start("sobel")
    weights = tmp_path / "mine.safetensors"
    command = ("classify", photos / "chelsea.png", "--weights", weights)
    for name in ("efficientnet_lite0", "efficientnet_lite2"):
        shutil.copy(model_path(name), tmp_path / "next")
        os.replace(tmp_path / "next", weights)
        expected = cnncli(*command, env=alone()).stdout
        assert f'"model": "{name}"'.encode() in expected
        for _ in range(2):  # read by the fork, then kept
            assert cnncli(*command).stdout == expected
            assert wait_until(lambda: state()["models"]) == [str(weights)]
    shutil.copy(PHOTOS / "README.md", weights)
    done = cnncli(*command)
    assert done.returncode == 3 and b"mine.safetensors: not a safetensors file" in done.stderr
    assert state()["requests"] == 5


def test_many_at_once(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], begun: Callable[..., Any], cnncli: Run
) -> None:
    start("classify")
    photos = [PHOTOS / "chelsea.png", PHOTOS / "rocket.jpg"] * 10
    expected = [cnncli("classify", photo, env=alone()).stdout for photo in photos[:2]] * 10
    clients = [begun("classify", photo) for photo in photos]
    outputs = [client.communicate(timeout=PATIENCE * 3)[0] for client in clients]
    assert outputs == expected
    assert state()["requests"] == 20


def test_folder_that_others_can_open(runtime: Path, cnncli: Run, photos: Path) -> None:
    (runtime / "cnncli").mkdir()
    (runtime / "cnncli").chmod(0o755)
    done = cnncli("serve", "--background")
    assert done.returncode == 2 and b"a folder that only its user can open" in done.stderr
    (runtime / "cnncli").rmdir()
    (runtime / "cnncli").symlink_to(photos)
    assert cnncli("serve", "--background").returncode == 2


def test_long_path(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, runtime: Path,
    monkeypatch: pytest.MonkeyPatch, photos: Path,
) -> None:  # fmt: skip
    folder = runtime / ("x" * 120)  # a socket's address has room for 107 bytes
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    start("sobel")
    assert cnncli("sobel", photos / "rocket.jpg").returncode == 0
    assert state()["requests"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_is_refused(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], cnncli: Run, photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        start("sobel")
        folder = Path(name) / "cnncli"
        assert (folder.stat().st_mode & 0o777, (folder / place.SOCKET).stat().st_mode & 0o777) == (0o700, 0o600)
        assert asked_as(NOBODY, folder / place.SOCKET) == "PermissionError"
        for path, mode in ((Path(name), 0o755), (folder, 0o755), (folder / place.SOCKET, 0o666)):
            path.chmod(mode)
        assert asked_as(os.geteuid(), folder / place.SOCKET) == "answered"
        assert asked_as(NOBODY, folder / place.SOCKET) == "closed"
        assert cnncli("sobel", photos / "rocket.jpg").returncode == 0  # by itself: the folder is not the user's alone
        folder.chmod(0o700)
        (folder / place.SOCKET).chmod(0o600)
        assert state()["requests"] == 0
        assert cnncli("serve", "--stop").returncode == 0


def asked_as(user: int, path: Path) -> str:
    """What becomes of a question for the server's state by a user."""
    answers, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(user)
            os.write(answer, _asked(path).encode())
        finally:
            os._exit(0)
    os.close(answer)
    os.waitpid(pid, 0)
    with open(answers) as file:
        return file.read()


def _asked(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(path))
            connection.sendall(wire.pack([wire.STATUS]))
            return "answered" if connection.recv(1) else "closed"
        except (ConnectionResetError, BrokenPipeError):
            return "closed"
        except OSError as error:
            return type(error).__name__
