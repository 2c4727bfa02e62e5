"""Hands a command to the server, where one runs. Imports next to nothing: this goes before every command.

Whatever speaks against it (no server, another version, a full backlog) is no error: the command then runs here.
"""

import os
import sys

# of the catalog; named here because reading that takes longer than all of this
TASKS = ("classify", "detect", "segment", "denoise", "verify-face", "sobel")
HELP_OPTIONS = {"--help", "-h"}
UNSENDABLE = ("/dev/fd/", "/proc/", "/dev/tty")  # of this process alone: <(...) of a shell is /dev/fd/63
PATIENCE = 10.0  # seconds until a server has begun; a busy one lets wait, a stopped one for ever
INTERRUPTS = (2, 15)  # SIGINT and SIGTERM on every Linux
EXIT_BUG = 70

TYPE_CHECKING = False  # the name that type checkers know, without the import
if TYPE_CHECKING:
    from _socket import socket as Socket


def ask(arguments: list[str]) -> int | None:
    """The exit code of a command that the server ran; None where it is to run here."""
    if not _is_sendable(arguments):
        return None
    from cnncli.serve import place

    try:
        folder = place.open_folder(place.folder())
    except OSError:
        return None
    try:
        return _ask(folder, arguments) if place.has_socket(folder) else None
    finally:
        os.close(folder)


def _is_sendable(arguments: list[str]) -> bool:
    if not arguments or arguments[0] not in TASKS or HELP_OPTIONS & set(arguments):
        return False
    if os.environ.get("CNNCLI_SERVER", "").lower() == "off" or "_CNNCLI_COMPLETE" in os.environ:
        return False
    return not any(place in word for word in arguments for place in UNSENDABLE) and _has_streams()


def _has_streams() -> bool:
    """Whether all three are open: else the socket would take the number of one."""
    try:
        return all(os.fstat(number) for number in range(3))
    except OSError:
        return False


def _ask(folder: int, arguments: list[str]) -> int | None:
    # the C part of the module alone: the rest, which imports enum and selectors, takes as long as starting Python
    import _socket

    from cnncli.serve import place

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(0)  # a full backlog is told at once
        connection.connect(place.address(folder))
        connection.settimeout(PATIENCE)
        child = _begin(connection, arguments)
    except OSError:  # of any kind, a timeout included
        child = None
    if child is None:
        connection.close()
        return None
    return _follow(connection, child)


def _begin(connection: "Socket", arguments: list[str]) -> int | None:
    """Send the request; the number of the process that will run it, None where it is declined."""
    import _signal  # type: ignore[import-not-found]
    import _socket

    from cnncli.serve import wire

    ignored = [number for number in (1, 2, 3, 13, 15) if _signal.getsignal(number) == _signal.SIG_IGN]
    mask = os.umask(0o077)
    os.umask(mask)
    environment = [name + b"=" + value for name, value in os.environb.items()]
    words = [os.fsencode(word) for word in arguments]
    manners = [b"%d" % number for number in (mask, *ignored)]
    request = wire.pack([wire.RUN], wire.identity(), words, environment, manners)
    working_folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2, working_folder))
        sent = connection.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    finally:
        os.close(working_folder)
    connection.sendall(request[sent:])
    word, _, number = wire.read_line(connection).partition(b" ")
    return int(number) if word == wire.READY else None


def _follow(connection: "Socket", child: int) -> int:
    """Let the child run, pass signals on to it, and wait for its end; the exit code."""
    import _signal

    from cnncli.serve import wire

    def forward(number: int, frame: object) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:  # it has ended just now
            return

    for number in INTERRUPTS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, forward)
    connection.settimeout(None)
    try:
        connection.sendall(wire.GO + b"\n")
        word, _, status = wire.read_line(connection).partition(b" ")
    except OSError:
        word, status = b"", b""
    if word == wire.EXIT:
        return int(status)
    if word == wire.DIED and int(status) in INTERRUPTS:
        return 128 + int(status)
    cause = f"its process ended by signal {int(status)}" if word == wire.DIED else "the server ended"
    sys.stderr.write(f"cnncli: the run broke off ({cause}); run it again with CNNCLI_SERVER=off\n")
    return EXIT_BUG
