"""With a server a command prints, writes and answers what it does without."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnncli.catalog import TASKS
from tests.cli.tasks import form
from tests.serve.conftest import Run, alone

MILLISECONDS = re.compile(rb'"ms": \{[^}]*\}')  # measured anew in each run
FORMATS = ("jsonl", "json", "csv", "table")


@pytest.fixture
def both(cnncli: Run, tmp_path: Path, state: Callable[[], dict[str, Any]]) -> Callable[..., Any]:
    """Run a command without and with the server in two empty folders: the same must come of both; what the second
    gave."""

    def run(*words: Any, **options: Any) -> Any:
        folders = [tmp_path / "alone", tmp_path / "served"]
        before = state()["requests"]
        results = []
        for folder, environment in zip(folders, (alone(), dict(os.environ)), strict=True):
            folder.mkdir(exist_ok=True)
            done = cnncli(*words, cwd=folder, env=environment, **options)
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
            streams = [MILLISECONDS.sub(b'"ms"', stream) for stream in (done.stdout, done.stderr)]
            results.append((done.returncode, *streams, files))
            for path in folder.iterdir():
                path.unlink()
        assert state()["requests"] == before + 1, "the server was not asked"
        assert results[0] == results[1]
        return results[1]

    return run


@pytest.mark.parametrize("task", TASKS)
def test_every_form_of_a_task(task: str, start: Callable[..., None], both: Callable[..., Any], crops: Path) -> None:
    start(task)
    command, photos = form(task), [crops / "astronaut.png", crops / "rocket.jpg"]
    for format in FORMATS:
        code, output, _, _ = both(*command, *photos, "--format", format)
        assert code == 0 and output
    code, output, errors, _ = both(*command, photos[0], "missing.jpg", "--records", "records.jsonl")
    assert (code, output) == (1, b"") and b"missing.jpg" in errors
    code, output, _, _ = both(*command, stdin=photos[0].read_bytes())
    assert code == 0 and b'"file": "-"' in output
    *_, files = both(*command, photos[0], "--out", "picture.png")
    assert files["picture.png"].startswith(b"\x89PNG")
    assert both(*command, photos[0], "--out", "-")[1].startswith(b"\x89PNG")
    assert both(*command, photos[0], "--no-such-option")[0] == 2


def test_verdict_on_two_faces(start: Callable[..., None], both: Callable[..., Any], photos: Path) -> None:
    start("verify-face")
    face = photos / "astronaut.png"
    code, output, _, files = both("verify-face", face, face, "--out", "both.png")
    assert code == 0 and b'"verified": true' in output and "both.png" in files
    assert both("verify-face", face, photos / "coffee.png")[0] == 5
    assert both("verify-face", face, "missing.jpg")[0] == 6
    assert both("verify-face", face, "-", stdin=face.read_bytes())[0] == 0


def test_table_on_a_terminal(
    start: Callable[..., None], state: Callable[[], dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    start("classify")
    command = [sys.executable, "-m", "cnncli", "classify", str(photos / "chelsea.png")]
    tables = [shown_on_terminal(command, tmp_path, env) for env in (alone(), dict(os.environ))]
    assert "Egyptian cat" in tables[0].decode()
    assert tables[0] == tables[1]
    assert state()["requests"] == 1


def shown_on_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> bytes:
    """What a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environment = {**environment, "TERM": "xterm-256color", "COLUMNS": "100"}
    subprocess.run(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # the end of a terminal that nobody holds
        pass
    os.close(ours)
    return shown


def test_settings_and_environment_of_the_client(
    start: Callable[..., None], both: Callable[..., Any], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("classify")
    monkeypatch.setenv("CNNCLI_TOP_K", "2")
    assert both("classify", photos / "chelsea.png")[1].count(b'"label"') == 2
    monkeypatch.setenv("CNNCLI_ENGINE", "opencv")
    assert both("classify", photos / "chelsea.png")[0] == 2


def test_torch_engine_in_a_fork(start: Callable[..., None], both: Callable[..., Any], crops: Path) -> None:
    start("classify")
    _, output, _, _ = both("classify", crops / "chelsea.png", "--engine", "torch", "--device", "cpu")
    assert b'"engine": "torch"' in output


def test_resume_goes_on(start: Callable[..., None], cnncli: Run, photos: Path, tmp_path: Path) -> None:
    start("classify")
    inputs = [photos / "chelsea.png", photos / "rocket.jpg"]
    cnncli("classify", *inputs, "--records", "alone.jsonl", env=alone())
    cnncli("classify", inputs[0], "--records", "served.jsonl")
    assert cnncli("classify", *inputs, "--records", "served.jsonl", "--resume").returncode == 0
    assert (tmp_path / "served.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


def test_umask_of_the_client(start: Callable[..., None], cnncli: Run, photos: Path, tmp_path: Path) -> None:
    start("classify")
    cnncli("sobel", photos / "rocket.jpg", "--out", "edges.png", umask=0o027)
    assert (tmp_path / "edges.png").stat().st_mode & 0o777 == 0o640
