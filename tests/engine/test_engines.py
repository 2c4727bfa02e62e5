"""Two engines, one answer: whatever the engine, the batch and the precision, within what each promises."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from cnncli.engine.base import run_halving
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine, usable_device
from cnncli.errors import DeviceError, OutOfMemoryError, WeightsError
from cnncli.io.weights import Weights
from tests.engine.conftest import batch_for, scores

RuntimeFailure = onnxruntime.capi.onnxruntime_pybind11_state.Fail  # what a failed allocation raises: no RuntimeError
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


def onnx_engine(weights: Weights) -> OnnxEngine:
    return OnnxEngine(weights, threads=1, parallel_calls=1)


def cpu_engine(weights: Weights, precision: str = "fp32") -> TorchEngine:
    return TorchEngine(weights, "cpu", precision, threads=1)


def test_engines_agree_on_photos(each_model: Weights) -> None:
    batch = batch_for(each_model)
    by_onnx, by_torch = onnx_engine(each_model), cpu_engine(each_model)
    np.testing.assert_allclose(scores(by_onnx, batch), scores(by_torch, batch), atol=1e-4)
    features = by_onnx.run(batch)["features"], by_torch.run(batch)["features"]
    np.testing.assert_allclose(*features, atol=1e-3)


@pytest.mark.parametrize("engine", [onnx_engine, cpu_engine])
def test_batch_does_not_change_answers(lite0: Weights, engine) -> None:
    loaded, batch = engine(lite0), batch_for(lite0)[:7]
    alone = np.concatenate([scores(loaded, batch[row : row + 1]) for row in range(7)])
    np.testing.assert_allclose(scores(loaded, batch), alone, atol=1e-5)


@pytest.mark.parametrize(("precision", "deviation"), [("fp16", 0.005), ("bf16", 0.05)])
def test_lower_precision_stays_close(lite0: Weights, precision: str, deviation: float) -> None:
    batch = batch_for(lite0)
    exact, lower = scores(onnx_engine(lite0), batch), scores(cpu_engine(lite0, precision), batch)
    assert 1e-6 < np.abs(lower - exact).max() < deviation
    assert np.array_equal(lower.argmax(axis=1), exact.argmax(axis=1))


@pytest.mark.parametrize("engine", [onnx_engine, cpu_engine])
def test_outputs_are_float32_with_the_batch_axis_first(lite0: Weights, engine) -> None:
    outputs = engine(lite0).run(batch_for(lite0)[:2])
    assert {name: (value.dtype.name, value.shape) for name, value in outputs.items()} == {
        "logits": ("float32", (2, 1000)),
        "features": ("float32", (2, 1280)),
    }


def test_onnx_ignores_tensors_that_its_graph_does_not_name(lite0: Weights) -> None:
    extra = {"aux1.fc.weight": np.ones((3, 4), np.float16), "weight": np.zeros(2, np.float32)}
    weights = replace(lite0, tensors={**lite0.tensors, **extra})
    batch = batch_for(lite0)[:1]
    assert np.array_equal(onnx_engine(weights).run(batch)["logits"], onnx_engine(lite0).run(batch)["logits"])


@pytest.mark.parametrize(
    "change",
    [
        {"graph": None},
        {"graph": b"no graph"},
        {"tensors": {}},
    ],
    ids=str,
)
def test_onnx_rejects_a_file_without_a_usable_graph(lite0: Weights, change: dict) -> None:
    with pytest.raises(WeightsError, match=r"efficientnet_lite0\.safetensors: .*graph"):
        onnx_engine(replace(lite0, **change))


class Failing:
    """Stands where an engine keeps its model, and fails as the runtimes do."""

    def __init__(self, error: Exception):
        self.error = error

    def run(self, *arguments, **options):
        raise self.error

    __call__ = run


LACK_OF_MEMORY = [
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeFailure("bfc_arena.cc:360 AllocateRawInternal Failed to allocate memory for requested buffer of size 38"),
    RuntimeError("alloc_cpu.cpp:127 DefaultCPUAllocator: can't allocate memory: you tried to allocate 38 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
]
OTHER_ERRORS = [RuntimeError("shapes differ"), RuntimeFailure("INVALID_ARGUMENT: wrong rank"), ValueError("no")]


@pytest.mark.parametrize("error", LACK_OF_MEMORY, ids=repr)
@pytest.mark.parametrize(("engine", "place"), [(onnx_engine, "_session"), (cpu_engine, "_model")])
def test_names_lack_of_memory(lite0: Weights, monkeypatch: pytest.MonkeyPatch, engine, place, error) -> None:
    loaded = engine(lite0)
    monkeypatch.setattr(loaded, place, Failing(error))
    with pytest.raises(OutOfMemoryError):
        loaded.run(np.zeros((2, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("error", OTHER_ERRORS, ids=repr)
@pytest.mark.parametrize(("engine", "place"), [(onnx_engine, "_session"), (cpu_engine, "_model")])
def test_lets_other_errors_through(lite0: Weights, monkeypatch: pytest.MonkeyPatch, engine, place, error) -> None:
    loaded = engine(lite0)
    monkeypatch.setattr(loaded, place, Failing(error))
    with pytest.raises(type(error), match=str(error)):
        loaded.run(np.zeros((2, 8, 8, 3), np.uint8))


def test_loading_names_lack_of_memory(lite0: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", Failing(RuntimeFailure("std::bad_alloc")))
    with pytest.raises(DeviceError, match="not enough memory"):
        onnx_engine(lite0)
    monkeypatch.setattr(torch.nn.Module, "to", Failing(torch.OutOfMemoryError("CUDA out of memory")).run)
    with pytest.raises(DeviceError, match="cpu: the model can't be loaded there"):
        cpu_engine(lite0)


class Limited:
    """Doubles its input; has no memory for more than `limit` rows."""

    def __init__(self, limit: int):
        self.limit = limit
        self.sizes: list[int] = []

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(batch))
        if len(batch) > self.limit:
            raise OutOfMemoryError("too many")
        return {"double": batch * 2, "same": batch}


def test_halving_keeps_the_order() -> None:
    engine, batch = Limited(3), np.arange(11.0).reshape(11, 1)
    outputs = run_halving(engine.run, batch)
    assert np.array_equal(outputs["double"], batch * 2)
    assert np.array_equal(outputs["same"], batch)
    assert engine.sizes == [11, 5, 2, 3, 6, 3, 3]


def test_halving_leaves_a_batch_that_fits_alone() -> None:
    engine = Limited(11)
    run_halving(engine.run, np.zeros((11, 1)))
    assert engine.sizes == [11]


def test_halving_ends_where_one_item_does_not_fit() -> None:
    engine = Limited(0)
    with pytest.raises(DeviceError, match=r"single image of \(5, 7, 3\)"):
        run_halving(engine.run, np.zeros((4, 5, 7, 3), np.uint8))
    assert engine.sizes == [4, 2, 1]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:300", "mps"])
def test_rejects_a_device_that_torch_cant_use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=f"^--device {name}: torch .*; use --device cpu$"):
        usable_device(name)


@pytest.mark.parametrize("number", [2, 127, 256, 10**12])
def test_rejects_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=f"^--device cuda:{number}: this machine has 2 GPU"):
        usable_device(f"cuda:{number}")
    assert usable_device("cuda:1") == torch.device("cuda", 1)


@NEEDS_CUDA
def test_cuda_matches_onnx(each_model: Weights) -> None:
    batch = batch_for(each_model)
    on_gpu = TorchEngine(each_model, "cuda", "fp32", threads=1)
    np.testing.assert_allclose(scores(on_gpu, batch), scores(onnx_engine(each_model), batch), atol=1e-4)
    assert not torch.backends.cudnn.allow_tf32


@NEEDS_CUDA
def test_cuda_in_fp16_stays_close(each_model: Weights) -> None:
    batch = batch_for(each_model)
    on_gpu = TorchEngine(each_model, "cuda", "fp16", threads=1)
    np.testing.assert_allclose(scores(on_gpu, batch), scores(onnx_engine(each_model), batch), atol=0.005)


@NEEDS_CUDA
def test_cuda_halves_a_batch_that_does_not_fit(lite0: Weights) -> None:
    photos = batch_for(lite0)
    engine = TorchEngine(lite0, "cuda", "fp32", threads=1)
    expected = scores(engine, photos)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((1 << 30) / total)  # where 512 photos need more than two GiB
    sizes = []

    def run(batch: np.ndarray):
        sizes.append(len(batch))
        return engine.run(batch)

    try:
        logits = run_halving(run, photos.repeat(64, axis=0))["logits"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert min(sizes) < 512
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    halved = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(halved, expected.repeat(64, axis=0), atol=1e-4)
