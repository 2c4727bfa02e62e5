"""Start-up is sacred: help imports nothing heavy, a CPU run imports no torch."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from cnncli.catalog import TASKS
from cnncli.cli.app import application
from tests.cli.tasks import form

HEAVY = ("numpy", "cv2", "PIL", "torch", "torchvision", "onnxruntime", "onnx", "safetensors", "simplejpeg")


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    group = group or typer.main.get_command(application())
    yield words
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


def imported_by(*arguments: str) -> tuple[set[str], str]:
    """Top-level packages that a command line imports, and what it prints."""
    program = (
        "import sys; from cnncli.cli.app import run; code = run(sys.argv[1:]);"
        "print('|' + ' '.join({m.split('.')[0] for m in sys.modules})); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    output, _, modules = done.stdout.rpartition("|")
    return set(modules.split()), output


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    modules, output = imported_by(*words, "--help")
    assert not modules & set(HEAVY)
    assert "Usage: " in output


def test_version_imports_nothing_heavy() -> None:
    modules, output = imported_by("--version")
    assert not modules & set(HEAVY)
    assert output.startswith("cnncli ")


@pytest.mark.parametrize("task", TASKS)
def test_schema_imports_nothing_heavy(task: str) -> None:
    modules, _ = imported_by("schema", task)
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("task", TASKS)
def test_cpu_run_imports_no_torch(task: str, photos) -> None:
    modules, output = imported_by(*form(task), str(photos / "chelsea.png"), "--device", "cpu")
    assert '"ok": true' in output
    assert not modules & {"torch", "torchvision", "onnx", "onnxscript", "matplotlib"}
