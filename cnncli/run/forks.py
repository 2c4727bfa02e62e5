"""Processes of a run on several devices: how they are forked, what they do, and how they are talked to.

A fork of a process with threads may hang on a lock that one of these held. So before the run's threads start (those of
a progress bar hold no lock that is needed here), a process is forked that does nothing but fork others when it is told
to; and that ends them when the one that it serves has gone, however that went.
"""

import gc
import io
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cnncli.config import RunConfig
from cnncli.engine.device import available_cpus, part_of
from cnncli.errors import DeviceError
from cnncli.run.items import Item
from cnncli.run.pipeline import Outcome, window_of
from cnncli.run.session import Session
from cnncli.run.workers import FINISHING

OPENED, ANSWER, FAILED = "opened", "answer", "failed"  # kinds of messages of a process
LENGTH = 8  # bytes before each message
GRACE = 2.0 + 4 * FINISHING  # seconds for a process to end in good order: pictures are written, three networks ended
FORKED, REFUSED = b"+", b"-"
TASK = "task"

Work = Callable[[Session, Iterable[Item], RunConfig], Iterator[Outcome]]


class Channel:
    """Pickled messages over a socket. The task, which both ends have, crosses as its name."""

    def __init__(self, connection: socket.socket, task: Any):
        self._connection = connection
        self._task = task

    def send(self, *message: Any) -> None:
        """OSError where the other end has gone; any error of pickling before a byte is sent."""
        content = io.BytesIO()
        content.write(bytes(LENGTH))
        _Pickler(content, self._task).dump(message)
        content.getbuffer()[:LENGTH] = (content.tell() - LENGTH).to_bytes(LENGTH, "little")
        self._connection.sendall(content.getbuffer())

    def receive(self) -> tuple[Any, ...]:
        """The next message. EOFError or OSError where the other end has gone."""
        length = int.from_bytes(self._read(LENGTH), "little")
        return _Unpickler(io.BytesIO(self._read(length)), self._task).load()

    def close(self) -> None:
        """The other end, and whoever waits here for a message, is told."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self, count: int) -> bytearray:
        content = bytearray(count)
        left = memoryview(content)
        while left:
            received = self._connection.recv_into(left)
            if not received:
                raise EOFError
            left = left[received:]
        return content


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, task: Any):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._task = task

    def persistent_id(self, value: Any) -> str | None:
        return TASK if value is self._task else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, task: Any):
        super().__init__(file)
        self._task = task

    def persistent_load(self, name: str) -> Any:
        return self._task


class Forker:
    """Forks processes that live `life(number, connection)`, each from a process without threads."""

    def __init__(self, life: Callable[[int, socket.socket], None]):
        self._control, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._control.close()
                _fork_for(theirs, life)
            finally:
                os._exit(0)
        theirs.close()

    def fork(self, number: int) -> socket.socket:
        """A connection to a new process. DeviceError where the system has no room for one."""
        ours, theirs = socket.socketpair()
        reply = REFUSED
        with theirs, suppress(OSError):
            socket.send_fds(self._control, [b"%d" % number], [theirs.fileno()])
            reply = self._control.recv(1)
        if reply != FORKED:
            ours.close()
            raise DeviceError("no process can be started for a device; give fewer devices, or see 'ulimit -u'")
        return ours

    def close(self) -> None:
        """End all processes, and wait until they have."""
        with suppress(OSError):  # it has gone before
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _fork_for(control: socket.socket, life: Callable[[int, socket.socket], None]) -> None:
    """Fork whenever a message comes, until the other end has gone; then see the forks off."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that shows the progress, and tells us
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the one that we serve hears it too, and tells us by going
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.freeze()  # forks share what is never written to
    forks: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        forks = {pid for pid in forks if not _has_ended(pid)}
        if not message:
            break
        connection = socket.socket(fileno=descriptors[0])
        try:
            pid = os.fork()
        except OSError:
            control.sendall(REFUSED)
        else:
            if pid == 0:
                try:
                    control.close()
                    life(int(message), connection)
                finally:
                    os._exit(0)
            forks.add(pid)
            control.sendall(FORKED)
        connection.close()
    deadline = time.monotonic() + GRACE
    while forks and time.monotonic() < deadline:
        time.sleep(0.005)
        forks = {pid for pid in forks if not _has_ended(pid)}
    for pid in forks:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _has_ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


@dataclass(frozen=True)
class DeviceProcess:
    """What a process does: run the session on its device over the items that it is sent, and send their outcomes."""

    session: Session
    config: RunConfig
    work: Work

    def live(self, number: int, connection: socket.socket) -> None:
        """Until the other end closes the connection. Nothing is written to the standard streams but pictures."""
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (it stays to the end)
        channel = Channel(connection, self.session.task)
        try:
            self._run(number, channel)
        except (_GoneError, BrokenPipeError, ConnectionResetError):
            pass
        except BaseException as error:
            channel.send(FAILED, *_portable(error))

    def _run(self, number: int, channel: Channel) -> None:
        session, config = self._opened(number)
        channel.send(OPENED, session.run, window_of(config, session.engines))
        for outcome in self.work(session, _arriving(channel), config):
            _answer(channel, outcome)

    def _opened(self, number: int) -> tuple[Session, RunConfig]:
        """The session with engines on this device, and its part of the workers."""
        opened = self.session.open_on(number)  # type: ignore[misc]  # every session of several has it
        run = replace(self.session.run, device=opened.run.device)
        session = replace(self.session, engines=opened.engines, run=run, devices=(), open_on=None)
        workers = part_of(self.config.workers or available_cpus(), len(self.session.devices), number)
        return session, replace(self.config, workers=workers)


class _GoneError(BaseException):
    """Nobody is there any more who would want an answer; of no item."""


def _arriving(channel: Channel) -> Iterator[Item]:
    """Items as they come; taken off the connection at once, so that their sender never waits for a slow one."""
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                (items,) = channel.receive()
                arrived.put(items)
        except (EOFError, OSError):
            arrived.put(_GoneError())
        except BaseException as error:  # raised where the items are waited for
            arrived.put(error)

    threading.Thread(target=listen, name="cnncli-listener", daemon=True).start()
    while True:
        items = arrived.get()
        if isinstance(items, BaseException):
            raise items
        yield from items


def _answer(channel: Channel, outcome: Outcome) -> None:
    """Send an outcome without its item, which the other end has; what can't be sent is a bug of that item's."""
    bare: Any = {"item": None}
    try:
        channel.send(ANSWER, replace(outcome, **bare))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        bug = "".join(traceback.format_exception(error))
        failure = f"internal error ({type(error).__name__}: {error})"
        channel.send(ANSWER, replace(outcome, **bare, failure=failure, bug=bug, result=None, extra={}))


def _portable(error: BaseException) -> tuple[BaseException, str]:
    """An error as it can be sent, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return error, trace
