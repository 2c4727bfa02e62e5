"""Starting, asking and ending a server."""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cnncli.errors import CnncliError, UsageError
from cnncli.serve import place, wire
from cnncli.serve.client import PATIENCE

BACKLOG = 128  # connections that wait to be taken, beside those that are served
TICK = 0.02  # seconds


class ServerError(CnncliError):
    """No server could be started or ended."""

    def __init__(self, sentence: str, exit_code: int = 1):
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Listening:
    """A socket that is listened at, and how to give it up."""

    socket: socket.socket
    end: Callable[[], None]


def own_folder() -> tuple[str, int]:
    """The folder for the socket, made where it is missing, and its descriptor. UsageError where it isn't ours alone."""
    path = place.folder()
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        return path, place.open_folder(path)
    except OSError as error:
        raise UsageError(
            f"{path}: is to be a folder that only its user can open ({error.strerror or error}); remove it, or name "
            "another place with XDG_RUNTIME_DIR"
        ) from error


@contextlib.contextmanager
def listening() -> Iterator[Listening]:
    """Listen in the user's folder; the socket goes when the block ends, or `end` is called. UsageError where a server
    has the folder already."""
    path, folder = own_folder()
    lock = os.open(place.LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        os.close(folder)
        raise UsageError(f"a server runs already at {path}; 'cnncli serve --stop' ends it") from error
    listener = _bound(folder)

    def end() -> None:
        """Once; the lock goes last, so that no other server's socket is removed."""
        if listener.fileno() < 0:
            return
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(place.SOCKET, dir_fd=folder)
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
        os.close(folder)

    try:
        yield Listening(listener, end)
    finally:
        end()


def _bound(folder: int) -> socket.socket:
    """A socket in the place of one that a dead server may have left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.SOCKET, dir_fd=folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(place.address(folder))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def state() -> dict[str, Any] | None:
    """What the running server says of itself; None where none runs."""
    with _connection() as connection:
        if connection is None:
            return None
        try:
            connection.sendall(wire.pack([wire.STATUS]))
            return json.loads(wire.read_line(connection))
        except (OSError, ValueError):
            return None


def stop() -> bool:
    """End the running server, and wait until its socket is gone; whether there was one."""
    with _connection() as connection:
        if connection is None:
            return False
        with contextlib.suppress(OSError):
            connection.sendall(wire.pack([wire.STOP]))
            wire.read_line(connection)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with _connection() as connection:
            if connection is None:
                return True
        time.sleep(TICK)
    raise ServerError(f"the server at {place.folder()} does not end; kill its process")


@contextlib.contextmanager
def _connection() -> Iterator[socket.socket | None]:
    """To the running server; None where none answers."""
    with contextlib.ExitStack() as stack:
        try:
            folder = place.open_folder(place.folder())
            stack.callback(os.close, folder)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.settimeout(PATIENCE)
            connection.connect(place.address(folder) if place.has_socket(folder) else "")
        except OSError:
            yield None
            return
        yield connection


def in_background(serve: Callable[[Callable[[], None]], int]) -> int:
    """Run `serve` in a process of its own, without a terminal, and return when it calls what it is given: it is ready.

    ServerError with its sentence where it isn't.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        if os.fork() != 0:  # not the leader of its session: it will never get a terminal
            os._exit(0)
        _detached(serve, writer)
    os.close(writer)
    os.wait()
    with open(reader, "rb") as answers:
        answer = answers.read()
    if answer != b"ready":
        code, _, sentence = answer.decode(errors="replace").partition(" ")
        raise ServerError(sentence or "the server ended before it was ready", int(code or 1))
    return 0


def _detached(serve: Callable[[Callable[[], None]], int], writer: int) -> None:
    """In the process in the background."""
    code = 1
    try:
        os.chdir("/")
        _close_all_but(writer)

        def ready() -> None:
            os.write(writer, b"ready")
            os.close(writer)

        code = serve(ready)
    except CnncliError as error:
        with contextlib.suppress(OSError):
            os.write(writer, f"{error.exit_code} {error}".encode())
    finally:
        os._exit(code)


def _close_all_but(descriptor: int) -> None:
    """Nobody is to wait for a file or a pipe that this process would hold open for hours."""
    with contextlib.suppress(OSError, AttributeError):  # a full disk, or none was there
        sys.stderr.close()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 (to the end)
