"""Everything that the tasks' commands import, imported once: in the server, before it forks."""

import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

import cnncli
from cnncli.serve.client import TASKS

ROOMS = ("imaging", "io", "results", "run", "tasks")
BENCHMARKS = tuple(f"cnncli.run.benchmark{part}" for part in ("", "_forward", "_photos", "_stages"))
NOT_USED = ("cnncli.io.download", "cnncli.run.quality", *BENCHMARKS)
FURTHER = ("cnncli.engine.onnx_engine", "cnncli.cli.app", "cnncli.cli.report", "cnncli.cli.tables", "cnncli.cli.names")
COMMANDS = tuple(f"cnncli.cli.{task.replace('-', '_')}" for task in TASKS)
BLACK = b"P6 8 8 255\n" + bytes(8 * 8 * 3)  # a photo as PPM
ONLY_WHERE_ASKED = ("torch", "torchvision", "onnx", "matplotlib")  # a fork imports these itself


def preload(run: Callable[[list[str]], int]) -> None:
    """Import them; `run` runs a command line. Leaves no thread behind that a fork would miss."""
    for room in ROOMS:
        package = importlib.import_module(f"cnncli.{room}")
        for module in pkgutil.iter_modules(package.__path__, f"cnncli.{room}."):
            if module.name not in NOT_USED:
                importlib.import_module(module.name)
    for name in (*FURTHER, *COMMANDS):
        importlib.import_module(name)
    from PIL import Image

    Image.init()  # the readers of all formats, which it otherwise looks for when it meets the first file
    for name in _rehearsed(run):
        if name.split(".")[0] not in ONLY_WHERE_ASKED:
            with contextlib.suppress(Exception):  # of another's package: the fork that needs it will meet it
                importlib.import_module(name)


def _rehearsed(run: Callable[[list[str]], int]) -> list[str]:
    """The modules that a command imports while it runs, found out in a fork, where its threads can do no harm."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _rehearse(run, writer)
    os.close(writer)
    with open(reader, "rb") as names:
        found = names.read()
    os.waitpid(pid, 0)
    return found.decode().split()


def _rehearse(run: Callable[[list[str]], int], writer: int) -> None:
    """In the fork: edges of a black photo that comes through a pipe, as a table."""
    try:
        before = set(sys.modules)
        photo, feed = os.pipe()
        os.write(feed, BLACK)
        os.close(feed)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor, number in ((photo, 0), (nowhere, 1), (nowhere, 2)):
            os.dup2(descriptor, number)
        run(["sobel", "-", "--format", "table"])
        os.write(writer, "\n".join(sorted(set(sys.modules) - before)).encode())
    finally:
        os._exit(0)


def newest_source() -> int:
    """When the newest of the loaded modules of this package, or the folder of the installed packages, was changed.

    In nanoseconds since 1970. A server of changed code must not go on.
    """
    prefix = os.path.dirname(cnncli.__file__) + os.sep
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    watched = [file for file in files if file.startswith(prefix)]
    watched += [path for path in sys.path if Path(path).name == "site-packages"]
    times = [_changed(path) for path in watched]
    return max(times)


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:  # gone: changed in any case
        return 1 << 63
