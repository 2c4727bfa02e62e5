"""Several processes, started by torchrun, do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnncli.train.run import TrainingRun
from tests.train.conftest import write_classes

TOLERANCE = 1e-5  # of a parameter after some steps: sums of halves are rounded otherwise than sums of wholes


def torchrun(processes: int, folder: Path, *arguments: str) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launcher, "-m", "cnncli", "train", "classify", "colours", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr.decode()


def figures(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.timeout(280)
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """With group normalisation; batch norm would have to see both halves, which it does on GPUs alone.

    10 photos to validate in batches of 4 a process: the two don't get equal numbers, and each counts once.
    """
    write_classes(tmp_path / "colours" / "train", 8)
    write_classes(tmp_path / "colours" / "val", 4, first=50)
    for name in ("red", "blue"):
        (tmp_path / "colours" / "val" / name / "3.png").unlink()
    options = ["--backbone", "resnet18", "--norm", "group", "--size", "32", "--epochs", "2", "--batch-size", "8"]
    options += ["--optimizer", "sgd", "--lr", "0.01", "--augment", "light", "--deterministic", "--device", "cpu"]
    torchrun(2, tmp_path, *options, "--out", "two")
    torchrun(1, tmp_path, *options, "--out", "one")
    for one, two in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        for name in ("loss", "val_loss", "val_top1"):
            assert one[name] == pytest.approx(two[name], abs=1e-4), name
        assert two["val_top1"] * 10 / 100 == pytest.approx(round(two["val_top1"] * 10 / 100), abs=1e-4)  # of 10
    states = [torch.load(tmp_path / name / "resume.pt", weights_only=True)["network"] for name in ("one", "two")]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=TOLERANCE), name


@pytest.mark.timeout(280)
def test_two_processes_go_on_with_what_one_began(make_config, tmp_path: Path, monkeypatch) -> None:
    """The first epoch here, the second by two processes, against both in one (LeNet has no batch norm)."""
    monkeypatch.chdir(tmp_path)
    for out, epochs in (("whole", 2), ("parts", 1)):
        run = TrainingRun(make_config(out=tmp_path / out, data="colours"), lambda message: None, lambda *steps: None)
        reports = run.epochs()
        for _ in range(epochs):
            next(reports)
    options = ["--backbone", "lenet5", "--pretrained", "none", "--augment", "none", "--epochs", "2"]
    torchrun(
        2, tmp_path, *options, "--batch-size", "8", "--deterministic", "--resume", "--out", str(tmp_path / "parts")
    )
    whole, parts = figures(tmp_path / "whole"), figures(tmp_path / "parts")
    assert [entry["epoch"] for entry in parts] == [1, 2]
    for name in ("loss", "val_loss", "val_top1"):
        assert whole[1][name] == pytest.approx(parts[1][name], abs=1e-4), name
