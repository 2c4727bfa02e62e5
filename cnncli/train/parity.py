"""Whether a graph answers as its network does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import WeightsError
from cnncli.io.weights import ModelInfo, Weights

TOLERANCE = 1e-3  # of the largest answer: rounding of float32 in another order; a wrong graph is off by far more
IMAGES = 2


def check_parity(model: nn.Module, info: ModelInfo, graph: bytes, tensors: Mapping[str, np.ndarray]) -> float:
    """The largest difference of ONNX Runtime's answers from torch's, as a part of each output's largest.

    On random images of the recipe's input size. WeightsError where it is more than rounding.
    """
    images = _random_images(info)
    engine = OnnxEngine(Weights(Path(info.name), info, "", tensors, graph), threads=1, parallel_calls=1)
    answers = engine.run(images)
    with torch.inference_mode():
        expected = [value.numpy() for value in model(torch.from_numpy(images))]
    worst = max(_difference(answers[name], value) for name, value in zip(info.outputs, expected, strict=True))
    if not worst <= TOLERANCE:
        raise WeightsError(f"the ONNX graph of {info.name} answers otherwise than its network, by {worst:.2g} of 1")
    return worst


def _difference(answer: np.ndarray, expected: np.ndarray) -> float:
    scale = max(float(np.abs(expected).max()), 1e-6)
    return float(np.abs(answer - expected).max()) / scale


def _random_images(info: ModelInfo) -> np.ndarray:
    generator = np.random.default_rng(0)
    shape = (IMAGES, *info.recipe["input"], len(info.mean))
    if info.recipe.get("dtype", "uint8") == "uint8":
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return generator.random(shape, dtype=np.float32)
