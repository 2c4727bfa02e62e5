"""Files that appear whole or not at all."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cnncli.errors import OutputError


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """A binary file under a temporary name beside `path`, renamed to it when the block ends well.

    On any error, an interrupt included, the temporary file is removed and `path` stays as it was. A link stays a
    link, to the new file; a file that is replaced leaves its permissions to the new one. Special files (/dev/stdout,
    a named pipe) are written directly: renaming would replace them.
    """
    if _is_special(path):
        with open(path, "wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".cnncli-{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            _keep_permissions(file, target)
            yield file
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def output_file(path: Path, way_out: str = "") -> Iterator[BinaryIO]:
    """The same; OutputError, which ends with the way out, where the file or what the block does can't be written."""
    try:
        with write_atomically(path) as file:
            yield file
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}){way_out}") from error


def make_folders(path: Path) -> None:
    """A folder and those above it. OutputError where they can't be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: can't be made ({error.strerror})") from error


def _is_special(path: Path) -> bool:
    folder = os.path.realpath(path.parent)
    if folder == "/dev" or folder.startswith("/proc/"):
        return True  # /dev/stdout may lead to a plain file, and must not be replaced by one
    return path.exists() and not path.is_file()


def _keep_permissions(file: BinaryIO, target: Path) -> None:
    with contextlib.suppress(OSError):
        os.chmod(file.name, stat.S_IMODE(os.stat(target).st_mode))
