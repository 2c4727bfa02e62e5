"""Standard error for people, standard output for data, and signals that end a run in good order."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from cnncli.errors import InterruptedRunError
from cnncli.io.lines import write_all

STDOUT = 1
LISTED = "\n  "


def fill_missing_streams() -> None:
    """Open nothing (/dev/null) where the process was started without one of its three standard streams.

    Otherwise the next file to be opened would get its number, and be written to in its place. Writing to a missing
    standard output is an error, as writing to a closed one is: it is opened for reading.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free, which is this one


@contextlib.contextmanager
def own_stderr() -> Iterator[None]:
    """Keep standard error to ourselves: image decoders in C write warnings to file descriptor 2.

    Python's `sys.stderr` goes on to the user; descriptor 2 leads nowhere. CNNCLI_DEBUG leaves it open.
    """
    try:
        original = os.dup(2)
    except OSError:  # started without a standard error
        yield
        return
    if os.environ.get("CNNCLI_DEBUG"):
        os.close(original)
        yield
        return
    ours = io.TextIOWrapper(os.fdopen(original, "wb"), encoding="utf-8", errors="backslashreplace", line_buffering=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    previous, sys.stderr = sys.stderr, ours
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            ours.flush()
        os.dup2(original, 2)
        sys.stderr = previous
        with contextlib.suppress(OSError):
            ours.close()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into an error that unwinds the run, so that files are closed whole."""
    exit_codes = {signal.SIGINT: 130, signal.SIGTERM: 143}
    raised: list[InterruptedRunError] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        for name in exit_codes:  # a second signal ends the process at once
            signal.signal(name, signal.SIG_DFL)
        raised.append(
            InterruptedRunError("interrupted; a run with --records goes on with --resume", exit_codes[number])
        )
        raise raised[0]

    previous = {}
    for number in exit_codes:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a background job keeps ignoring what its shell ignored
            previous[number] = signal.signal(number, interrupt)
    try:
        yield
        if raised:  # and lost: where a signal meets a destructor or a callback, Python drops what it raises
            raise raised[0]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def say(message: str) -> None:
    """One line to the user, on standard error; names keep the line whole whatever they contain.

    A break and two spaces begin a line of a list that we show ourselves.
    """
    if sys.stderr is not None:  # None where the process was started without one; print would turn to standard output
        with contextlib.suppress(OSError, ValueError):
            lines = [printable(line) for line in message.split(LISTED)]
            print("cnncli: " + LISTED.join(lines), file=sys.stderr)


def printable(text: str) -> str:
    """Text for a terminal: control characters and bytes that are not UTF-8 as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def out(content: bytes) -> None:
    """Bytes to standard output. OutputClosedError where its reader has gone, OutputError where it is full."""
    write_all(STDOUT, content, "standard output")


def print_out(*parts: Any) -> None:
    """Texts, paths and rich tables to standard output, one below the other."""
    for part in parts:
        text = f"{part}\n" if isinstance(part, (str, Path)) else rendered(part)
        out(text.encode("utf-8", "surrogateescape"))


def rendered(table: Any) -> str:
    """What rich shows of a table, in colour on a terminal.

    Not written by rich itself, which ends the process where the reader has gone.
    """
    from rich.console import Console

    own = Console()
    text = io.StringIO()
    colour: Any = own.color_system
    console = Console(
        file=text, width=own.width, color_system=colour, force_terminal=own.is_terminal, no_color=own.no_color
    )
    console.print(table, highlight=False)
    return text.getvalue()
