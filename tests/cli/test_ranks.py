"""The commands of the README for torchrun and Slurm: ranks write what one process does, also when one of them dies."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.cli.test_edges import wait_for_lines
from tests.conftest import PHOTOS, ROOT, records

BLOCKED = ("100.jpg", "101.jpg")  # one of each rank of two: photos that pipes can replace to which nobody writes
INPUTS = 120
SETTINGS = {
    "CNNCLI_MODEL": "efficientnet_lite0",
    "CNNCLI_DEVICE": "cpu",
    "CNNCLI_THREADS": "1",
    "CNNCLI_WORKERS": "1",
    "CNNCLI_BATCH_SIZE": "1",  # so that bytes can be compared: sums of another batch may differ in the last digit
    "OMP_NUM_THREADS": "1",
}

# What Slurm does, as far as these commands can tell: sbatch runs --wrap by sh for each index, srun its words by task.
SBATCH = """#!/bin/bash
while [ $# -gt 0 ]; do
    case $1 in
        --wait) ;;
        --array=*) IFS='-:' read -r first last step <<< "${1#--array=}"; last=${last:-$first} step=${step:-1} ;;
        --wrap) script=$2; shift ;;
        *) echo "sbatch: $1?" >&2; exit 64 ;;
    esac
    shift
done
export SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_ARRAY_TASK_COUNT=$(((last - first) / step + 1))
export SLURM_ARRAY_TASK_MIN=$first SLURM_ARRAY_TASK_MAX=$last SLURM_ARRAY_TASK_STEP=$step
for ((id = first; id <= last; id += step)); do SLURM_ARRAY_TASK_ID=$id sh -c "$script" || exit; done
"""
SRUN = """#!/bin/bash
export SLURM_NTASKS=${1#--ntasks=}; shift
for ((task = 0; task < SLURM_NTASKS; task++)); do SLURM_PROCID=$task "$@" & tasks+=($!); done
for task in "${tasks[@]}"; do wait "$task" || exit; done
"""


def readme_command(launcher: str, **replaced: str) -> str:
    """The command of the README that begins so, over the inputs of these tests, with other numbers and devices."""
    lines = iter((ROOT / "README.md").read_text().splitlines())
    command = next(line for line in lines if line.startswith(f"    {launcher} ") and "-m cnncli" not in line)
    while command.endswith("\\") or command.count("'") % 2:
        command += "\n" + next(lines)
    for old, new in {"-r photos/": "@list.txt", **replaced}.items():
        assert command.count(old) == 1, f"{old!r} is not in the README's command:\n{command}"
        command = command.replace(old, new)
    return command


def torchrun_command(restarts: int) -> str:
    numbers = {"-node 8": "-node 2", "-restarts 3": f"-restarts {restarts}", "cuda:$LOCAL_RANK": "cpu"}
    return readme_command("torchrun --standalone", **numbers)


@pytest.fixture(autouse=True)
def launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell finds: `cnncli` and `torchrun` of this Python, and stand-ins for Slurm. None launched the tests."""
    python = shlex.quote(sys.executable)
    programs = {
        "cnncli": f'#!/bin/sh\nexec {python} -m cnncli "$@"\n',
        "torchrun": f'#!/bin/sh\nexec {python} -m torch.distributed.run "$@"\n',
        "sbatch": SBATCH,
        "srun": SRUN,
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in [name for name in os.environ if name.startswith("SLURM_") or name in ("RANK", "WORLD_SIZE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def whole(tmp_path: Path, cnncli: Callable[..., subprocess.CompletedProcess]) -> bytes:
    """The records of one process over `list.txt`: photos of which no two are alike, the first one missing."""
    with Image.open(PHOTOS / "rocket.jpg") as photo:
        for number in range(1, INPUTS):
            box = (number, number, number + 160, number + 120)
            photo.crop(box).save(tmp_path / f"{number:03}.jpg")
    (tmp_path / "list.txt").write_text("".join(f"{number:03}.jpg\n" for number in range(INPUTS)))
    done = cnncli("classify", "@list.txt")
    assert done.returncode == 1, done.stderr
    assert [record["ok"] for record in records(done.stdout)] == [False] + [True] * (INPUTS - 1)
    return done.stdout


def shell(command: str, folder: Path) -> None:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def merged(folder: Path) -> bytes:
    shell("cnncli merge part*.jsonl --out labels.jsonl", folder)
    return (folder / "labels.jsonl").read_bytes()


def block(folder: Path) -> None:
    """Let each of two ranks come to a photo that doesn't arrive."""
    for name in BLOCKED:
        (folder / name).rename(folder / f"{name}.kept")
        os.mkfifo(folder / name)


def unblock(folder: Path) -> None:
    """The photos are there again, for whoever opens them from now on."""
    for name in BLOCKED:
        (folder / f"{name}.kept").replace(folder / name)


def rank(launcher: subprocess.Popen, part: str) -> psutil.Process:
    """The process that writes a part."""
    found = psutil.Process(launcher.pid).children(recursive=True)
    (process,) = (each for each in found if part in each.cmdline())
    return process


def whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.fixture
def killed(tmp_path: Path, whole: bytes) -> Iterator[Callable[[int], subprocess.Popen]]:
    """Kill rank 0 of torchrun's two before the photo that it waits for; all photos are there for later starts."""
    with open(tmp_path / "torchrun.log", "wb") as log:
        started: list[subprocess.Popen] = []

        def start(restarts: int) -> subprocess.Popen:
            block(tmp_path)
            command = ["bash", "-c", f"exec {torchrun_command(restarts).lstrip()}"]
            launcher = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            started.append(launcher)
            for number in (0, 1):
                wait_for_lines(tmp_path / f"part{number}.jsonl", 10)
            victim = rank(launcher, "part0.jsonl")
            victim.send_signal(signal.SIGSTOP)
            unblock(tmp_path)
            victim.send_signal(signal.SIGKILL)
            return launcher

        yield start
        for launcher in started:
            launcher.terminate()
            launcher.wait()


def test_ranks_of_torchrun_are_one_process(whole: bytes, tmp_path: Path) -> None:
    """The missing photo is a record of one rank, and no reason for torchrun to end the other."""
    shell(torchrun_command(0), tmp_path)
    for number in (0, 1):
        part = records((tmp_path / f"part{number}.jsonl").read_bytes())
        assert [record["index"] for record in part] == list(range(number, INPUTS, 2))
    assert merged(tmp_path) == whole


@pytest.mark.parametrize("torn", [False, True], ids=["whole lines", "a torn line"])
def test_the_same_command_goes_on_after_a_killed_rank(torn: bool, killed, whole: bytes, tmp_path: Path) -> None:
    parts = [tmp_path / f"part{number}.jsonl" for number in (0, 1)]
    assert killed(0).wait(60) == 1
    if torn:
        with open(parts[0], "r+b") as file:
            file.truncate(parts[0].stat().st_size - 30)
        assert not parts[0].read_bytes().endswith(b"\n")
    before = [whole_lines(part) for part in parts]
    assert 9 <= len(before[0]) <= 50 and len(before[1]) >= 10
    refused = subprocess.run(["cnncli", "merge", *parts], cwd=tmp_path, capture_output=True, timeout=60)
    assert refused.returncode == 2
    complaints = (b"run it again with --resume", b"was not written to its end")  # as the order of the parts has it
    assert any(complaint in refused.stderr for complaint in complaints[: 1 + torn])
    shell(torchrun_command(0), tmp_path)
    for lines, part in zip(before, parts, strict=True):
        assert part.read_bytes().startswith(b"".join(lines)), "what was done is done again"
    assert merged(tmp_path) == whole


def test_torchrun_starts_killed_ranks_again(killed, whole: bytes, tmp_path: Path) -> None:
    assert killed(3).wait(60) == 0, (tmp_path / "torchrun.log").read_text()
    assert merged(tmp_path) == whole


def test_a_slurm_array_is_one_process(whole: bytes, tmp_path: Path) -> None:
    shell(readme_command("sbatch", **{"0-63": "0-2", "/64": "/3"}), tmp_path)
    complete = merged(tmp_path)
    assert complete == whole
    (tmp_path / "part1.jsonl").unlink()
    (tmp_path / "labels.jsonl").unlink()
    with pytest.raises(AssertionError, match="shard 1/3 is missing"):
        merged(tmp_path)
    shell(readme_command("sbatch", **{"0-63": "1", "/64": "/3"}), tmp_path)
    assert merged(tmp_path) == complete


def test_a_slurm_array_may_start_and_step_anywhere(whole: bytes, tmp_path: Path) -> None:
    shell(readme_command("sbatch", **{"0-63": "3-7:2", "$i/64": "auto"}), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("part*")) == [f"part{index}.jsonl" for index in (3, 5, 7)]
    assert merged(tmp_path) == whole


def test_tasks_of_a_slurm_job_are_one_process(whole: bytes, tmp_path: Path) -> None:
    shell(readme_command("srun", **{"=16": "=2"}), tmp_path)
    assert merged(tmp_path) == whole
