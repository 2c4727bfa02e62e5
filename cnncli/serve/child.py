"""What a fork of the server does: become the process that the client would have been, and run its command."""

import io
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from cnncli.serve import wire
from cnncli.serve.client import EXIT_BUG, PATIENCE

CREDENTIALS = 12  # bytes of struct ucred: pid, uid, gid
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


@dataclass(frozen=True)
class Peer:
    """Who has connected, as the kernel says."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, connection: socket.socket) -> "Peer":
        content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS)
        return cls(*(int.from_bytes(content[at : at + 4], sys.byteorder, signed=True) for at in (0, 4, 8)))

    @property
    def is_user(self) -> bool:
        """Whether it is this user, and in the same group."""
        return (self.uid, self.gid) == (os.geteuid(), os.getegid())


@dataclass(frozen=True)
class Household:
    """What a fork knows of the server: what a client must have in common, its state, how a command is run."""

    identity: list[bytes]
    state: Callable[[], dict[str, Any]]
    is_current: Callable[[], bool]  # whether the code is still that on the disk
    tell: Callable[[str, str], None]  # the server: a kind of news, and what of
    main: Callable[[], None]  # runs the command line in sys.argv and ends the process


def serve_one(connection: socket.socket, peer: Peer, household: Household) -> NoReturn:
    """Answer one request, and end."""
    code = EXIT_BUG
    try:
        connection.settimeout(PATIENCE)
        sections, descriptors = _receive(connection)
        if sections[0] == [wire.STATUS]:
            connection.sendall(json.dumps(household.state()).encode() + b"\n")
        elif sections[0] == [wire.STOP]:
            os.kill(os.getppid(), signal.SIGTERM)
        elif sections[0] == [wire.RUN]:
            _run(connection, peer, household, sections, descriptors)
        code = 0
    except KeyboardInterrupt:  # before the run knew what to do with it
        code = 130
    except (OSError, ValueError, IndexError):  # of the connection: nobody is there to be told
        pass
    finally:
        os._exit(code)


def _receive(connection: socket.socket) -> tuple[list[list[bytes]], list[int]]:
    """The sections of a request and the descriptors that came with it."""
    content, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    length = int.from_bytes(content[: wire.LENGTH], "big")
    if length > wire.LONGEST:
        raise ValueError("a request of that length is none of ours")
    parts, missing = [content[wire.LENGTH :]], length - (len(content) - wire.LENGTH)
    while missing > 0 and (part := connection.recv(missing)):
        parts.append(part)
        missing -= len(part)
    return wire.unpack(b"".join(parts)), descriptors


def _run(
    connection: socket.socket, peer: Peer, household: Household, sections: list[list[bytes]], descriptors: list[int]
) -> None:
    _, identity, arguments, environment, manners = sections
    if not household.is_current():
        household.tell("stale", "")
        connection.sendall(wire.DECLINED + b"\n")
        return
    if identity != household.identity or len(descriptors) != 4 or not _same_limits(peer.pid):
        connection.sendall(wire.DECLINED + b"\n")
        return
    _become(peer, arguments, environment, [int(number) for number in manners], descriptors)
    connection.sendall(wire.READY + b" %d\n" % os.getpid())
    if wire.read_line(connection) != wire.GO:  # the client has given up waiting, and runs the command itself
        return
    household.tell("request", "")
    connection.close()  # the server holds it open
    household.main()


def _same_limits(pid: int) -> bool:
    """Whether the client's resource limits (ulimit) are the server's, which a fork has."""
    return all(resource.prlimit(pid, limit) == resource.getrlimit(limit) for limit in LIMITS)


def _become(
    peer: Peer, arguments: list[bytes], environment: list[bytes], manners: list[int], descriptors: list[int]
) -> None:
    """Take over streams, folder, environment, arguments, mask of permissions, ignored signals and share of the CPU."""
    mask, *ignored = manners
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.fchdir(descriptors[3])
    for descriptor in descriptors:
        os.close(descriptor)
    os.environb.clear()
    os.environb.update(dict(entry.split(b"=", 1) for entry in environment))
    os.umask(mask)
    time.tzset()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.sched_setaffinity(0, os.sched_getaffinity(peer.pid))
    os.nice(max(0, os.getpriority(os.PRIO_PROCESS, peer.pid) - os.getpriority(os.PRIO_PROCESS, 0)))
    sys.argv = ["cnncli", *map(os.fsdecode, arguments)]
    sys.stdin, sys.stdout, sys.stderr = _streams()


def _streams() -> tuple[Any, Any, Any]:
    """Python's own standard streams, as it opens them when it starts."""
    server = sys.__stdout__
    encoding, errors = (server.encoding, server.errors) if server else ("utf-8", "strict")
    stdin = io.TextIOWrapper(open(0, "rb", closefd=False), encoding, errors)  # noqa: SIM115
    stdout = open(1, "wb", closefd=False)  # noqa: SIM115 (they stay to the end)
    stderr = open(2, "wb", closefd=False)  # noqa: SIM115
    return (
        stdin,
        io.TextIOWrapper(stdout, encoding, errors, line_buffering=os.isatty(1)),
        io.TextIOWrapper(stderr, encoding, "backslashreplace", line_buffering=True),
    )
