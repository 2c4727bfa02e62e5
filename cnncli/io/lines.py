"""Lines of JSON, and bytes to file descriptors. Standard library only: the command line starts with it."""

import json
import os
from typing import Any

from cnncli.errors import OutputClosedError, OutputError


def to_line(record: dict[str, Any]) -> bytes:
    """A record as one line of JSON in UTF-8; names that are not UTF-8 keep their surrogate escapes as \\udcXX."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, allow_nan=False).encode() + b"\n"


def write_all(descriptor: int, content: bytes, name: str) -> None:
    """Write everything to a file descriptor. OutputClosedError where its reader has gone, OutputError on the rest."""
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError as error:
        raise OutputClosedError(name) from error
    except OSError as error:
        raise OutputError(f"{name}: can't be written ({error.strerror})") from error
