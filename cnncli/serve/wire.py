"""What a client sends to the server, beside its standard streams and its working folder.

A request is four bytes (its length, big-endian) and sections of byte strings: each its count, then its strings, all
of them separated by NUL, which none of them holds. Standard library only.
"""

import os
import sys

import cnncli

TYPE_CHECKING = False  # the name that type checkers know, without the import
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterator

RUN, STATUS, STOP = b"run", b"status", b"stop"  # kinds of request
READY, DECLINED, GO, EXIT, DIED = b"ready", b"declined", b"go", b"exit", b"died"  # first words of the lines after it
LENGTH = 4  # bytes
LONGEST = 64 << 20  # bytes of a request: arguments and environment are a few megabytes at most

# read by the interpreter, the C library and NumPy when a process starts: a fork has those of the server
EARLY = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OMP_", "OPENBLAS_", "OPENCV_")


def identity() -> list[bytes]:
    """What must be the same in client and server, so that a fork of the server is what the client would become."""
    namespaces = [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("mnt", "pid")]
    early = sorted(name + b"=" + value for name, value in os.environb.items() if os.fsdecode(name).startswith(EARLY))
    fixed = (cnncli.__version__, os.path.dirname(cnncli.__file__), sys.prefix, sys.version, tuple(sys.flags))
    return [os.fsencode(str(item)) for item in (*fixed, sys.warnoptions, namespaces)] + early


def pack(*sections: list[bytes]) -> bytes:
    """A request of these sections: its kind, and for a run identity, arguments, environment, ignored signals, umask."""
    payload = b"\0".join(part for section in sections for part in (b"%d" % len(section), *section))
    return len(payload).to_bytes(LENGTH, "big") + payload


def unpack(payload: bytes) -> list[list[bytes]]:
    """The sections. ValueError where it is no request."""
    words = iter(payload.split(b"\0"))
    return list(_sections(words))


def _sections(words: "Iterator[bytes]") -> "Iterator[list[bytes]]":
    for count in words:
        try:
            yield [next(words) for _ in range(int(count))]
        except (StopIteration, RuntimeError) as error:
            raise ValueError("a request that is cut short") from error


def read_line(connection: "Socket") -> bytes:
    """The next line, without its end; what has come where the other side has closed."""
    line = b""
    while not line.endswith(b"\n") and (part := connection.recv(1)):
        line += part
    return line.rstrip(b"\n")
