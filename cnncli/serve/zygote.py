"""The server: a process that has everything loaded and forks for each request.

It holds the connections, reaps the forks and tells each client how its own ended; it never runs a request. A client
that goes away without waiting takes its fork with it.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cnncli.serve import wire
from cnncli.serve.child import Household, Peer, serve_one
from cnncli.serve.models import KeptModels

MOST_CHILDREN = 64
GRACE = 5.0  # seconds for a fork to end in good order once its client has gone
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
HANDLED = (signal.SIGCHLD, *ENDING)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class _Child:
    """A fork: its client, the models that it read from the disk, and whether it ran a command."""

    pid: int
    connection: socket.socket
    missed: list[str] = field(default_factory=list)
    ran: bool = False
    kill_at: float | None = None


class Zygote:
    """Listens until it is told to stop or `idle` seconds pass without a request (0: never)."""

    def __init__(
        self,
        listener: socket.socket,
        models: KeptModels,
        idle: float,
        identity: list[bytes],
        is_current: Callable[[], bool],
        main: Callable[[], None],
    ):
        self.models = models
        self.requests = 0
        self._listener = listener
        self._idle = idle
        self._last = time.monotonic()
        self._stopping = self._accepting = False
        self._children: dict[int, _Child] = {}
        self._news, self._news_in = os.pipe()
        self._woken, waking = socket.socketpair()
        for end in (listener, self._woken, waking):
            end.setblocking(False)
        os.set_blocking(self._news, False)
        self._waking = waking
        self._poll = select.epoll()
        self._poll.register(self._news, select.EPOLLIN)
        self._poll.register(self._woken.fileno(), select.EPOLLIN)
        self._household = Household(identity, self._state, is_current, self._tell, main)

    def run(self, end_listening: Callable[[], None]) -> None:
        """Serve; `end_listening` is called when no more requests are taken, before the last ones are waited for."""
        heeded = [
            number for number in HANDLED if signal.getsignal(number) is not signal.SIG_IGN
        ]  # not what nohup ignores
        previous = {number: signal.signal(number, lambda *ignored: None) for number in heeded}
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        models_missed, self.models.missed = self.models.missed, lambda path: self._tell("missed", path)
        gc.collect()
        gc.freeze()  # forks share what is never written to
        try:
            while not self._stopping:
                self._turn()
            self._listen(False)
            end_listening()
            while self._children:
                self._turn()
        finally:
            self.models.missed = models_missed
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _turn(self) -> None:
        """Wait for something to happen, and see to it."""
        self._listen(not self._stopping and len(self._children) < MOST_CHILDREN)
        for descriptor, _ in self._poll.poll(self._timeout()):
            if descriptor == self._listener.fileno():
                self._accept()
            elif descriptor == self._woken.fileno():
                self._signals()
            elif descriptor == self._news:
                self._read_news()
            else:
                self._left(descriptor)
        now = time.monotonic()
        for child in self._children.values():
            if child.kill_at is not None and now >= child.kill_at:
                os.kill(child.pid, signal.SIGKILL)
        if self._idle and not self._children and now >= self._last + self._idle:
            self._stopping = True

    def _timeout(self) -> float:
        """Seconds until something is to be done without being told."""
        moments = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        if self._idle and not self._children:
            moments.append(self._last + self._idle)
        return max(0.0, min(moments) - time.monotonic()) if moments else -1

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._accepting:
            self._poll.register(self._listener.fileno(), select.EPOLLIN)
        elif self._accepting and not wanted:
            self._poll.unregister(self._listener.fileno())
        self._accepting = wanted

    def _accept(self) -> None:
        """Fork for a request of this user; refuse any other."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone already, or no descriptor is free
            return
        peer = Peer.of(connection)
        if not peer.is_user:
            connection.close()
            return
        # a signal to the fork must not reach the server through the wake-up socket, which they share at first
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
        except OSError:  # no memory, too many processes: the client goes on by itself
            connection.close()
        else:
            if pid == 0:
                self._be_child(connection, peer)
            self._children[pid] = _Child(pid, connection)
            self._poll.register(connection.fileno(), select.EPOLLRDHUP)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _be_child(self, connection: socket.socket, peer: Peer) -> None:
        """In the fork: leave the server's business to the server."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))  # nobody could tell the client how it ended
            os.setsid()  # Ctrl-C at the server's terminal is not meant for this run
            for end in (self._listener, self._woken, self._waking, self._poll):
                end.close()
            os.close(self._news)
            for other in self._children.values():
                other.connection.close()
            connection.setblocking(True)
            serve_one(connection, peer, self._household)
        finally:
            os._exit(1)

    def _tell(self, kind: str, what: str) -> None:
        """In a fork: news for the server, short enough to arrive in one piece."""
        message = b"%d %s %s\0" % (os.getpid(), kind.encode(), os.fsencode(what))
        if len(message) <= select.PIPE_BUF:
            os.write(self._news_in, message)

    def _read_news(self) -> None:
        content = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._news, 1 << 16):
                content += part
        for message in content.split(b"\0")[:-1]:
            pid, kind, what = message.split(b" ", 2)
            child = self._children.get(int(pid))
            if kind == b"stale":
                self._stopping = True
            elif child and kind == b"request":
                self.requests += 1
                child.ran = True
            elif child:
                child.missed.append(os.fsdecode(what))

    def _signals(self) -> None:
        """What has been received: a fork has ended, or the server is to end; a second time, its forks too."""
        received = self._woken.recv(1 << 12)
        if any(number in received for number in ENDING):
            if self._stopping:
                for child in self._children.values():
                    os.kill(child.pid, signal.SIGTERM)
            self._stopping = True
        self._read_news()
        missed: list[str] = []
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid in self._children:
                missed += self._bury(self._children.pop(pid), status)
        for path in dict.fromkeys(missed):
            self.models.keep(path)

    def _bury(self, child: _Child, status: int) -> list[str]:
        """Tell the client how its run ended; the models to keep, where it ended in good order."""
        if child.ran:
            self._last = time.monotonic()
        self._poll_forget(child)
        code = os.waitstatus_to_exitcode(status)
        line = wire.EXIT + b" %d\n" % code if code >= 0 else wire.DIED + b" %d\n" % -code
        with contextlib.suppress(OSError):
            child.connection.sendall(line)
        child.connection.close()
        return child.missed if code >= 0 else []

    def _left(self, descriptor: int) -> None:
        """A client has gone: its fork is to end, as a process would that was killed."""
        for child in self._children.values():
            if child.connection.fileno() == descriptor:
                os.kill(child.pid, signal.SIGTERM)
                child.kill_at = time.monotonic() + GRACE
                self._poll_forget(child)

    def _poll_forget(self, child: _Child) -> None:
        with contextlib.suppress(OSError):  # forgotten before
            self._poll.unregister(child.connection.fileno())

    def _state(self) -> dict[str, Any]:
        return {
            "pid": os.getppid(),  # asked in a fork
            "models": self.models.names,
            "requests": self.requests,
            "running": len(self._children),
            "idle": round(time.monotonic() - self._last, 3),
            "ends_after": self._idle,
        }
