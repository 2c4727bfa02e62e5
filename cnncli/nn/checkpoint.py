"""Weights files to modules and back."""

import numpy as np
import torch
from torch import nn

from cnncli.errors import WeightsError
from cnncli.io.weights import ModelInfo, Weights
from cnncli.nn.assemble import FromPixels, build
from cnncli.nn.export import export_graph


def load_model(weights: Weights) -> FromPixels:
    """The model of a weights file in float32 on the CPU, in evaluation mode, taking uint8 (N, H, W, 3)."""
    network = build(weights.info)
    state = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    # the file leaves out counters of training steps, which evaluation never reads
    missing = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")} - set(state)
    if missing:
        raise WeightsError(f"{weights.path}: lacks {len(missing)} tensors of {weights.info.backbone}")
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{weights.path}: does not fit {weights.info.backbone} ({error})") from error
    return FromPixels(network, weights.info.mean, weights.info.std).eval()


def tensors_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The state dict as it is stored: float16, except what float16 can't hold."""
    state = network.state_dict().items()
    return {name: _stored(tensor) for name, tensor in state if not name.endswith("num_batches_tracked")}


def _stored(tensor: torch.Tensor) -> np.ndarray:
    if tensor.is_floating_point() and bool((tensor.abs() < torch.finfo(torch.float16).max).all()):
        tensor = tensor.half()
    return tensor.detach().cpu().contiguous().numpy()


def graph_of(network: nn.Module, info: ModelInfo) -> bytes:
    """The ONNX graph of a network for the input size of its recipe."""
    height, width = info.recipe["input"]
    images = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    return export_graph(FromPixels(network, info.mean, info.std), images, info.outputs)
