"""Where the server's socket lies: in a folder that belongs to the user alone.

Standard library only, and little of it: every command looks here before anything else is imported. The socket is
reached through the folder's descriptor, so that nobody can put another folder in its place after it was checked, and
its path may be longer than the 108 bytes of a socket's address.
"""

import os
import stat

SOCKET, LOCK = "socket", "lock"
OTHERS = 0o077  # permissions of group and world


def folder() -> str:
    """`cnncli` in the user's runtime folder (XDG Base Directory Specification), else `server` in the cache folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return os.path.join(runtime, "cnncli")
    cache = os.environ.get("CNNCLI_CACHE")
    if not cache:  # as io.store.cache_folder, without the package that it asks
        base = os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache")
        cache = os.path.join(base, "cnncli")
    return os.path.join(cache, "server")


def open_folder(path: str) -> int:
    """A descriptor of the folder. OSError where there is none, or it is a link or open to others than its user."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & OTHERS:
        os.close(descriptor)
        raise PermissionError(f"{path} is open to others")
    return descriptor


def address(descriptor: int) -> str:
    """Of the socket in an open folder."""
    return f"/proc/self/fd/{descriptor}/{SOCKET}"


def has_socket(descriptor: int) -> bool:
    """Whether the folder holds a socket of this user."""
    try:
        status = os.stat(SOCKET, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & OTHERS
