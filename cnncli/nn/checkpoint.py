"""Weights files to modules and back."""

import numpy as np
import torch
from torch import nn

from cnncli.errors import WeightsError
from cnncli.io.weights import ModelInfo, Weights
from cnncli.nn.assemble import FromPixels, build
from cnncli.nn.export import export_graph

COUNTER = "num_batches_tracked"  # what batch norm calls its count of training steps
HALF_PRECISION = 2**-10  # of a tensor's norm: float16 has 11 bits, so rounding costs half of this at most


def load_model(weights: Weights) -> nn.Module:
    """The model of a weights file in float32 on the CPU, in evaluation mode, taking uint8 (N, H, W, 3)."""
    network = build(weights.info)
    own = network.state_dict()
    # the file leaves out counters of training steps, which evaluation never reads
    missing = [name for name in own if name not in weights.tensors and not name.endswith(COUNTER)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise WeightsError(f"{weights.path}: does not fit {weights.info.backbone}, it lacks {missing[0]}{more}")
    for name in own.keys() & weights.tensors.keys():
        if own[name].shape != weights.tensors[name].shape:
            shapes = f"{weights.tensors[name].shape}, not {tuple(own[name].shape)}"
            raise WeightsError(f"{weights.path}: does not fit {weights.info.backbone}, its {name} is {shapes}")
        own[name] = torch.from_numpy(weights.tensors[name])
    network.load_state_dict(own)  # still the network's own dict: some layers look for their version in it
    if weights.info.recipe.get("raw"):  # a filter takes numbers of any type as they are
        return network.eval()
    return FromPixels(network, weights.info.mean, weights.info.std).eval()


def tensors_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The state dict as it is stored: float16, except what float16 can't hold."""
    state = network.state_dict().items()
    return {name: _stored(tensor.detach().cpu()) for name, tensor in state if not name.endswith(COUNTER)}


def _stored(tensor: torch.Tensor) -> np.ndarray:
    if tensor.is_floating_point():
        tensor = tensor.float()
        half = tensor.half()  # infinite above 65504, and below 6e-5 only steps of 6e-8
        if (half - tensor).norm() <= HALF_PRECISION * tensor.norm():
            tensor = half
    return tensor.contiguous().numpy()


def graph_of(network: nn.Module, info: ModelInfo) -> bytes:
    """The ONNX graph of a network for the input size of its recipe, or for the `sizes` that it allows.

    `sizes` [step, rest]: both sides may be any step * k + rest. `dtype`: uint8, unless the recipe says float32.
    """
    height, width = info.recipe["input"]
    images = torch.zeros(2, height, width, len(info.mean), dtype=getattr(torch, info.recipe.get("dtype", "uint8")))
    return export_graph(FromPixels(network, info.mean, info.std), images, info.outputs, info.recipe.get("sizes"))
