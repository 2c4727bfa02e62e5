"""ONNX Runtime on the CPU: the engine wherever there is no GPU. Imports no torch.

Measured on 2 cores with EfficientNet-Lite2: two calls at once of one thread and 1 or 2 images each take 5.0 ms an
image, one call of two threads 6.3 ms with one image and 7.6 ms with 16, whose maps no longer fit the cache. So long
runs make as many calls at once as there are cores, each with a small batch; a single photo gets all cores.
"""

import contextlib
import math
import threading
import time

import numpy as np
import onnxruntime

from cnncli.engine import kept
from cnncli.engine.base import Batch, Outputs, is_lack_of_memory
from cnncli.engine.onnx_graph import initializer_names
from cnncli.errors import DeviceError, OutOfMemoryError, WeightsError
from cnncli.io.weights import Weights

TURN = 2  # batches of each core: network and decoders push each other out of its cache, and so take turns, 2 % faster
LARGE = 320 * 320  # px of an input: two of them no longer fit a core's cache together, and take 3 % longer
LONG = 0.3  # seconds in a kept session of one thread after which one of more threads, opened in 0.1 s, will pay


class OnnxEngine:
    """Runs the graph in a weights file's header over the file's tensors, widened to float32."""

    name = "onnx"
    device = "cpu"

    def __init__(self, weights: Weights, threads: int, parallel_calls: int):
        if weights.graph is None:
            raise WeightsError(f"{weights.path}: has no graph for the onnx engine; use --engine torch")
        self.parallel_calls = parallel_calls
        self.preferred_batch = 1 if math.prod(weights.info.recipe.get("input", ())) > LARGE else 2
        self.shares_cores = parallel_calls > 1
        self.turn = TURN * parallel_calls * self.preferred_batch if self.shares_cores else 1
        self._outputs = list(weights.info.outputs)
        kept_session = kept.session(weights)
        self._session = kept_session or open_graph(weights, threads)
        self._waiting = (weights, threads) if kept_session and threads > 1 else None  # for a session of more threads
        self._seconds = 0.0
        self._lock = threading.Lock()

    def run(self, batch: Batch) -> Outputs:
        try:
            start = time.perf_counter()
            outputs = self._session.run(self._outputs, {"images": batch})
            if self._waiting:
                self._count(time.perf_counter() - start)
        except Exception as error:  # the runtime's own types are not public, and derive from Exception alone
            if is_lack_of_memory(error):
                raise OutOfMemoryError(str(error)) from error
            raise
        return dict(zip(self._outputs, outputs, strict=True))

    def _count(self, seconds: float) -> None:
        """Leave the kept session of one thread for an own one with more where the run turns out to be long."""
        with self._lock:
            self._seconds += seconds
            if not self._waiting or self._seconds <= LONG:
                return
            waiting, self._waiting = self._waiting, None
            with contextlib.suppress(DeviceError, WeightsError):  # the kept one goes on to serve
                self._session = open_graph(*waiting)


def open_graph(weights: Weights, threads: int) -> onnxruntime.InferenceSession:
    """The runtime's session for a weights file; with one thread it starts none, and so survives a fork."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave cores to decoding
    try:
        arrays = _parameters(weights)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        return onnxruntime.InferenceSession(weights.graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own types are not public
        if is_lack_of_memory(error):
            raise DeviceError("not enough memory to load the model") from error
        raise WeightsError(f"{weights.path}: its graph can't be loaded ({error}); pull or export it again") from error


def _parameters(weights: Weights) -> dict[str, np.ndarray]:
    """The tensors that the graph names (the runtime refuses others), float16 widened to float32."""
    arrays = {name: weights.tensors[name] for name in initializer_names(weights.graph) & set(weights.tensors)}
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in arrays.items()}
