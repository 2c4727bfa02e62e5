"""Fixtures that all tests share: photos of the repository, optional data sets, and the command as users call it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "tests" / "photos"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited where a shell runs the tests in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)
DATA = Path(os.environ.get("CNNCLI_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def photos() -> Path:
    """The example photos: astronaut.png, chelsea.png (a cat), coffee.png, rocket.jpg."""
    return PHOTOS


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photos, but for 120 x 80 pixels of each: for what takes long on whole ones."""
    folder = tmp_path_factory.mktemp("crops")
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        with Image.open(PHOTOS / name) as photo:
            photo.convert("RGB").crop((150, 100, 270, 180)).save(folder / name)
    return folder


@pytest.fixture
def album(task: str, crops: Path) -> Path:
    """The folder of photos for a test of all tasks: a denoiser works on every pixel of them."""
    return crops if task == "denoise" else PHOTOS


@pytest.fixture
def data_set() -> Callable[[str], Path]:
    """A folder of the optional test data; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"needs the data set '{name}' in {DATA} (CNNCLI_TEST_DATA names another place)")
        return DATA / name

    return find


@pytest.fixture(autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings or cache of whoever runs the tests, and none of a command that ran in this process."""
    for name in [name for name in os.environ if name.startswith("CNNCLI_") and name != "CNNCLI_TEST_DATA"]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CNNCLI_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "runtime"))  # where a server of theirs would listen
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].use_deterministic_algorithms(False)  # `train --deterministic` is for all of a process


Completed = subprocess.CompletedProcess


@pytest.fixture
def cnncli(tmp_path: Path) -> Callable[..., Completed]:
    """Run `cnncli` in its own process, in `tmp_path`; output as bytes, standard input empty unless given."""

    def run(*arguments: Any, stdin: bytes | None = None, **options: Any) -> Completed:
        command = [
            sys.executable,
            "-m",
            "cnncli",
            *(os.fspath(word) if isinstance(word, Path) else word for word in arguments),
        ]
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        options = {"cwd": tmp_path, "capture_output": True, "timeout": 120, **feed, **options}
        return subprocess.run(
            [os.fsencode(str(word)) if isinstance(word, str) else word for word in command], **options
        )

    return run


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Completed]:
    """Run `cnncli` in this process, in `tmp_path`: ten times faster, for tests of what a command answers."""
    from cnncli.cli.app import run as run_command

    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Completed:
        capfdbinary.readouterr()
        code = run_command([os.fspath(word) if isinstance(word, Path) else str(word) for word in arguments])
        return Completed(arguments, code, *capfdbinary.readouterr())

    return run


def records(output: bytes) -> list[dict[str, Any]]:
    """The records in JSON lines."""
    return [json.loads(line) for line in output.splitlines()]
