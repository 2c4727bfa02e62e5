"""A file appears whole or not at all, with the permissions of a plainly made one."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cnncli.io.atomic import write_atomically


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_writes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with write_atomically(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


def test_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old and longer")
    with write_atomically(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_leaves_no_part(error: type[BaseException], before: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error), write_atomically(path) as file:
        file.write(b"half")
        raise error
    assert (path.read_bytes() if path.exists() else None) == before
    assert os.listdir(tmp_path) == (["a"] if before else [])


def test_has_the_permissions_of_a_plain_file(umask: int, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with write_atomically(tmp_path / "a"):
        pass
    assert mode(tmp_path / "a") == mode(tmp_path / "plain") == 0o666 & ~umask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o444])
def test_keeps_the_permissions_of_what_it_replaces(kept: int, umask: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(kept)
    with write_atomically(path) as file:
        file.write(b"private")
    assert mode(path) == kept


def test_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with write_atomically(link) as file:
        file.write(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"


def test_writes_special_files_directly(tmp_path: Path) -> None:
    with write_atomically(Path("/dev/null")) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_writes_a_pipe(tmp_path: Path) -> None:
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with write_atomically(path) as file:
        file.write(b"through")
    reader.join()
    assert read == [b"through"] and stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_never_replaces_standard_output(name: str, tmp_path: Path) -> None:
    before = os.readlink("/dev/stdout")
    code = f"""
from pathlib import Path
from cnncli.io.atomic import write_atomically
with write_atomically(Path({name!r})) as file:
    file.write(b"data")
"""
    with open(tmp_path / "output", "wb") as output:
        subprocess.run([sys.executable, "-c", code], stdout=output, check=True)
        assert os.fstat(output.fileno()).st_nlink == 1, "the shell's file is still the one of that name"
    assert (tmp_path / "output").read_bytes() == b"data" and os.listdir(tmp_path) == ["output"]
    assert os.readlink("/dev/stdout") == before


@pytest.mark.parametrize("name", [".", "none/a"])
def test_says_that_it_can_t(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError), write_atomically(tmp_path / name):
        pass
    assert os.listdir(tmp_path) == []
