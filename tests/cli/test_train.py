"""`cnncli train` and `cnncli export` as a user calls them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cnncli.io.weights import load_weights
from tests.conftest import records
from tests.train.conftest import write_classes, write_picture

OPTIONS = ["--backbone", "lenet5", "--batch-size", "8", "--augment", "none", "--deterministic", "--threads", "1"]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "colours", 10)


def test_the_other_commands_run_what_is_trained(cnncli, colours: Path, tmp_path: Path) -> None:
    done = cnncli("train", "classify", "colours/", *OPTIONS, "--epochs", "5")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["weights"] == "runs/colours/best.safetensors"
    assert result["top1"] == 100
    assert b"epoch 5/5: loss" in done.stderr
    write_picture(tmp_path / "x.png", (220, 50, 40), seed=99, side=50)
    for engine in ("onnx", "torch"):
        answer = cnncli("classify", "--weights", result["weights"], "x.png", "--engine", engine)
        (record,) = records(answer.stdout)
        assert record["classes"][0]["label"] == "red"
        assert record["engine"] == engine
    figures = json.loads(cnncli("eval", "classify", "colours", "--weights", result["weights"], "--json").stdout)
    assert figures["top1"] == 100


def test_goes_on_after_it_is_killed(cnncli, colours: Path, tmp_path: Path) -> None:
    """The same weights to the last bit as a run that nothing stopped."""
    options = ["train", "classify", "colours", *OPTIONS, "--epochs", "40", "--workers", "0"]
    assert cnncli(*options, "--out", "whole").returncode == 0
    process = subprocess.Popen([sys.executable, "-m", "cnncli", *options, "--out", "parts"], cwd=tmp_path,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    state = tmp_path / "parts" / "resume.pt"
    deadline = time.monotonic() + 100
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    lost = 40 - torch.load(state, weights_only=True)["epoch"]
    assert lost > 0, "the run was over before it was killed"
    assert cnncli(*options, "--out", "parts", "--resume").returncode == 0
    for name in ("best", "last"):
        whole, parts = (load_weights(tmp_path / run / f"{name}.safetensors").tensors for run in ("whole", "parts"))
        for tensor, value in whole.items():
            np.testing.assert_array_equal(value, parts[tensor])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_how_to_go_on(colours: Path, tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "cnncli", "train", "classify", "colours", *OPTIONS, "--epochs", "5000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 100
    while not (tmp_path / "runs" / "colours" / "resume.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    output, messages = process.communicate(timeout=60)
    assert process.returncode == code, messages
    assert output == b""
    last = messages.decode().splitlines()[-1]
    assert last == (
        "cnncli: interrupted; runs/colours keeps what whole epochs reached, the same command with --resume goes on"
    )
    assert not list((tmp_path / "runs" / "colours").glob(".cnncli*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify"], "train classify: name the folder of examples"),
        (["paint", "colours"], "paint: is not a task to train; choose"),
        (["classify", "nonesuch"], "nonesuch: no such folder or file; expected one of"),
        (
            ["classify", "colours", "--backbone", "resnet81"],
            "--backbone resnet81: is not in the catalog; perhaps resnet18",
        ),
        (["classify", "colours", "--val", "nonesuch"], "nonesuch: is no folder; expected one of"),
        (["classify", "colours", "--set", "gamma=2"], "--set gamma: classify with head linear has no such choice"),
        (["classify", "colours", "--set", "gamma"], "--set gamma: write it as NAME=VALUE"),
        (["classify", "colours", "--head", "unet"], "--head unet: classify has the head linear alone"),
        (["classify", "colours", "--backbone", "lenet5", "--norm", "group"], "lenet5"),
        (["mnist1d", "colours"], "mnist1d makes its own data; leave colours out"),
    ],
)
def test_rejects(here, colours: Path, arguments: list[str], message: str) -> None:
    done = here("train", *arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert done.stdout == b""


def test_needs_the_device_that_is_asked_for(here, colours: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert here("train", "classify", "colours", "--device", "cuda").returncode == 4


def test_exports_one_file_for_any_runtime(here, tmp_path: Path, photos: Path) -> None:
    done = here("export", "efficientnet_lite0", "--out", "lite0.onnx")
    assert done.returncode == 0
    assert done.stdout == b"lite0.onnx\n"
    session = onnxruntime.InferenceSession(tmp_path / "lite0.onnx")
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    logits = session.run(["logits"], {"images": image})[0]
    from cnncli.engine.torch_engine import TorchEngine
    from cnncli.io.store import model_path

    expected = TorchEngine(load_weights(model_path("efficientnet_lite0")), "cpu", "fp32", 1).run(image)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    assert session.get_modelmeta().custom_metadata_map["task"] == "classify"
    assert here("export", "efficientnet_lite0", "--out", "lite0.onnx").returncode == 2
    assert here("export", "efficientnet_lite0", "--out", "lite0.pt").returncode == 2


def test_exports_into_the_file_itself(here, colours: Path, tmp_path: Path) -> None:
    assert here("train", "classify", "colours", *OPTIONS, "--epochs", "1").returncode == 0
    last = tmp_path / "runs" / "colours" / "last.safetensors"
    assert load_weights(last).graph is None
    assert here("export", last).returncode == 0
    assert load_weights(last).graph is not None


def test_mnist1d_is_one_command(here, tmp_path: Path) -> None:
    """Few epochs: enough for the convolutional network to be ahead in the test."""
    done = here("train", "mnist1d", "--epochs", "30", "--out", "m")
    assert done.returncode == 0, done.stderr
    convolutional, connected = json.loads(done.stdout)["networks"]
    assert convolutional["parameters"] == 15 * 3 + 15 + 2 * (15 * 15 * 3 + 15) + 60 * 10 + 10
    assert connected["parameters"] == 40 * 285 + 285 + 285 * 135 + 135 + 135 * 60 + 60 + 60 * 10 + 10
    assert convolutional["test_error"] < connected["test_error"]
    assert (tmp_path / "m" / "curves.png").stat().st_size > 10_000
    assert here("train", "mnist1d", "--epochs", "1", "--out", "m").returncode == 2
