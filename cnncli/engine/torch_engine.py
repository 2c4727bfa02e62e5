"""torch on CUDA, MPS or CPU: the engine for GPUs, training and explaining."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from cnncli.engine.base import Batch, Outputs, is_lack_of_memory
from cnncli.engine.torch_cuda import CALLS, Overlap
from cnncli.errors import DeviceError, OutOfMemoryError
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.weights import Weights
from cnncli.nn.checkpoint import load_model

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
GPU_BATCH = 64
CPU_BATCH = 4
HALVES = (torch.float16, torch.bfloat16)


class TorchEngine:
    """A weights file as a torch module, channels last.

    `front` makes images on the device from photos that are still encoded. `step` is a module that takes the model's
    outputs on the device; its own `outputs` are then the engine's.
    """

    name = "torch"
    shares_cores = False

    def __init__(
        self,
        weights: Weights,
        device: str,
        precision: str,
        threads: int,
        front: torch.nn.Module | None = None,
        step: torch.nn.Module | None = None,
    ):
        self._device = usable_device(device)
        self.device = str(self._device)
        self._outputs = weights.info.outputs if step is None else step.outputs
        self._step = None if step is None else step.to(self._device)
        self._front = None if front is None else front.to(self._device)
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        if precision == "fp32":  # TensorFloat-32 keeps 10 bits of mantissa: scores would differ from the CPU's
            torch.backends.cudnn.allow_tf32 = False
            torch.set_float32_matmul_precision("highest")
        self._model = self._placed(load_model(weights), PRECISIONS[precision])
        recorded = weights.graph is not None  # what can't be exported has shapes that hang on the photo
        self._overlap = Overlap(self._device, self.forward, recorded) if self._device.type == "cuda" else None
        self.preferred_batch = CPU_BATCH if self._device.type == "cpu" else GPU_BATCH
        self.parallel_calls = CALLS if self._overlap else 1
        # each call takes as much of Python's time as decoding some photos, so an idle GPU waits for a batch
        self.turn = 1 if self._device.type == "cpu" else GPU_BATCH

    def run(self, batch: Batch) -> Outputs:
        try:
            return self._answer(batch)
        except OutOfMemoryError:
            if self._overlap is None:
                raise
        # behind the handler, where nothing holds what the error's frames held; the memory may be that of other calls
        return self._answer(batch, alone=True)

    @torch.inference_mode()
    def _answer(self, batch: Batch, alone: bool = False) -> Outputs:
        try:
            values = self._encoded(batch, alone) if not isinstance(batch, np.ndarray) else self._plain(batch, alone)
            return dict(zip(self._outputs, values, strict=True))
        except Exception as error:  # on the CPU torch reports lack of memory as a plain RuntimeError
            if not is_lack_of_memory(error):
                raise
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            raise OutOfMemoryError(str(error)) from error

    @torch.inference_mode()
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The engine's outputs, float32, for images (N, H, W, 3) on its device, where they stay."""
        outputs = self._model(images)
        if self._step is not None:
            outputs = self._step(*outputs)
        return tuple(value.float() if value.dtype in HALVES else value for value in outputs)

    def _plain(self, batch: np.ndarray, alone: bool) -> list[np.ndarray]:
        array = np.require(batch, requirements="CW")
        if self._overlap:
            return self._overlap.run(array, alone)
        return [value.cpu().numpy() for value in self.forward(torch.from_numpy(array).to(self._device))]

    def _encoded(self, photos: Sequence[EncodedPhoto], alone: bool) -> list[np.ndarray]:
        if self._front is None:
            raise TypeError("no front was given that decodes photos on the device")
        if self._overlap:
            return self._overlap.run_made(partial(self._front, photos), alone)
        return [value.cpu().numpy() for value in self.forward(self._front(photos))]

    def _placed(self, model: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
        try:
            return model.to(self._device, dtype).to(memory_format=torch.channels_last)
        except Exception as error:
            if isinstance(error, torch.AcceleratorError) or is_lack_of_memory(error):
                raise DeviceError(f"{self.device}: the model can't be loaded there ({error})") from error
            raise


def usable_device(name: str) -> torch.device:
    """The torch device of "cpu", "cuda", "cuda:1" or "mps". DeviceError where torch can't use it."""
    kind, _, index = name.partition(":")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"--device {name}: torch {torch.__version__} finds no usable GPU; use --device cpu")
        if int(index or 0) >= torch.cuda.device_count():
            raise DeviceError(f"--device {name}: this machine has {torch.cuda.device_count()} GPU(s), from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {name}: torch can't use Metal here; use --device cpu")
    return torch.device(name)
