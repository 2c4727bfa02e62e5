"""Engines in a process that really runs out of memory: the batch is halved, the answers stay."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import resource
import numpy as np
from cnncli.engine.base import run_halving
from cnncli.errors import OutOfMemoryError
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights

weights = load_weights(model_path("efficientnet_lite0"))
if "{engine}" == "onnx":
    from cnncli.engine.onnx_engine import OnnxEngine
    engine = OnnxEngine(weights, threads=1, parallel_calls=1)
else:
    from cnncli.engine.torch_engine import TorchEngine
    engine = TorchEngine(weights, "cpu", "fp32", threads=1)
batch = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), dtype=np.uint8)
expected = np.concatenate([engine.run(batch[row : row + 1])["logits"] for row in range(len(batch))])
refused = []

def run(part):
    try:
        return engine.run(part)
    except OutOfMemoryError:
        refused.append(len(part))
        raise

taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (40 << 20),) * 2)
logits = run_halving(run, batch)["logits"]
print(refused[0], np.abs(logits - expected).max() < 1e-3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_halves_a_batch_that_does_not_fit(engine: str) -> None:
    code = SCRIPT.format(engine=engine)
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.stdout.split() == ["16", "True"], ended.stderr[-2000:]
