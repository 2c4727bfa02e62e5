"""Standard error is ours, and says each thing on one line."""

import os
import subprocess
import sys
from pathlib import Path

from cnncli.cli.streams import printable


def test_what_c_libraries_write_does_not_reach_the_user() -> None:
    program = (
        "import os, sys; from cnncli.cli.streams import own_stderr, say\n"
        "with own_stderr():\n    os.write(2, b'libtiff: warning'); say('ours')\n"
        "os.write(2, b'after')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert done.stderr == b"cnncli: ours\nafter"


def test_debugging_lets_it_through() -> None:
    program = "import os; from cnncli.cli.streams import own_stderr\nwith own_stderr(): os.write(2, b'warning')"
    environment = {**os.environ, "CNNCLI_DEBUG": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, env=environment)
    assert done.stderr == b"warning"


def test_runs_without_a_standard_error(photos: Path) -> None:
    command = f'exec "{sys.executable}" -m cnncli classify "{photos / "chelsea.png"}" 2>&-'
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert b"Egyptian cat" in done.stdout


def test_printable_keeps_one_line() -> None:
    assert printable("a\nb\x1b[31m\udcff ü 日") == "a\\nb\\x1b[31m\\udcff ü 日"


def test_bugs_are_said_and_exit_with_70() -> None:
    program = (
        "import sys; from cnncli.cli import app, merge; import cnncli.run.merge as m\n"
        "def boom(files): raise ZeroDivisionError('x')\n"
        "m.merge = boom; sys.exit(app.run(['merge', 'a']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert "this is a bug in cnncli" in done.stderr
