"""DeepLabv3 on MobileNetV2 against its source in TensorFlow.js, torchvision's MobileNetV2 and TensorFlow's padding."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from onnx import helper
from PIL import Image
from torch import nn
from torch.nn import functional as F

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, read_info
from cnncli.nn.assemble import build, build_backbone
from cnncli.nn.blocks import InvertedResidual, SameConv2d, convolution
from cnncli.nn.heads.deeplab import DeepLabHead
from tests.conftest import PHOTOS

MODEL = "deeplabv3_mobilenetv2"
PARAMETERS = 2_097_013  # of the source's tensors, scales of the depthwise kernels multiplied in
PHOTO_FILES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
GOLDEN = Path(__file__).parent / "golden"  # golden/make_deeplab.py makes the maps
PALETTE = [value for index in range(21) for value in (index * 12, 255 - index * 12, index * 97 % 256)]
MAP_SIZES = [(9, 9), (17, 41), (65, 33)]  # sides 8 k + 1, the smallest first


def golden_path(file: str) -> Path:
    return GOLDEN / f"deeplab_{Path(file).stem}.png"


def resized_photo(file: str, long_side: int = 513) -> np.ndarray:
    """A photo with sides 8 k + 1 and the long one at `long_side`, uint8 (H, W, 3)."""
    photo = Image.open(PHOTOS / file).convert("RGB")
    ratio = long_side / max(photo.size)
    width, height = (round((side * ratio - 1) / 8) * 8 + 1 for side in photo.size)
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_counts_the_published_parameters() -> None:
    network = build(read_info(model_path(MODEL)))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS


@pytest.mark.parametrize("engine", ["torch_engine", "onnx_engine"])
@pytest.mark.parametrize("file", PHOTO_FILES)
def test_labels_pixels_as_its_source_does(file: str, engine: str, request: pytest.FixtureRequest) -> None:
    photo = resized_photo(file)
    expected = np.asarray(Image.open(golden_path(file)))
    logits = torch.from_numpy(request.getfixturevalue(engine).run(photo[None])["logits"])
    enlarged = F.interpolate(logits, size=photo.shape[:2], mode="bilinear", align_corners=True)
    agreement = (enlarged[0].argmax(dim=0).numpy() == expected).mean()
    assert agreement > 0.999


def test_golden_maps_hold_more_than_background() -> None:
    classes = read_info(model_path(MODEL)).classes
    found = {classes[index] for file in PHOTO_FILES for index in np.unique(Image.open(golden_path(file)))}
    assert found >= {"background", "person", "cat"}


@pytest.mark.parametrize("size", MAP_SIZES)
def test_engines_agree_on_any_size(size: tuple[int, int], onnx_engine: OnnxEngine, torch_engine: TorchEngine) -> None:
    batch = noise(2, *size)
    by_onnx, by_torch = (engine.run(batch)["logits"] for engine in (onnx_engine, torch_engine))
    assert by_onnx.shape == (2, 21, *(-(-side // 8) for side in size))
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_an_image_is_the_same_alone_and_in_a_batch(onnx_engine: OnnxEngine) -> None:
    batch = noise(3, 33, 65)
    alone = np.concatenate([onnx_engine.run(image[None])["logits"] for image in batch])
    np.testing.assert_allclose(onnx_engine.run(batch)["logits"], alone, atol=1e-4)


def test_normalises_as_its_source_does(weights: Weights) -> None:
    pixels = np.arange(256)
    mean, std = np.float32(weights.info.mean[0]), np.float32(weights.info.std[0])
    np.testing.assert_allclose((pixels - mean) / std, pixels * 2 / 255 - 1, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50)])
def test_backbone_matches_torchvision(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2().eval()
    ours = build_backbone("mobilenet_v2").eval()
    layers = theirs.features[:-1].state_dict()  # without the last convolution, which is the head's
    ours.load_state_dict(dict(zip(ours.state_dict(), layers.values(), strict=True)))
    for norm in (layer for layer in ours.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.eps = 1e-5  # torchvision's
    x = torch.randn(2, 3, *size)
    for features, end in zip(ours(x), (4, 7, 14, 18), strict=True):
        expected = theirs.features[:end](x)
        assert expected.std() > 0
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=float(1e-5 * expected.abs().max()))


@torch.inference_mode()
@pytest.mark.parametrize(("output_stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))])
def test_dilation_keeps_what_striding_computes(output_stride: int, strides: tuple[int, ...]) -> None:
    """Chen et al.: dilated, the map holds the cells of the strided one, and those between them."""
    torch.manual_seed(0)
    strided = build_backbone("mobilenet_v2").eval()
    dilated = build_backbone("mobilenet_v2", output_stride=output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    assert dilated.strides == strides
    x = torch.randn(1, 3, 65, 97)
    for coarse, fine, stride in zip(strided(x), dilated(x), strides, strict=True):
        assert fine.shape[2:] == (-(-65 // stride), -(-97 // stride))
        step = (fine.shape[2] - 1) // (coarse.shape[2] - 1)
        np.testing.assert_allclose(fine[:, :, ::step, ::step], coarse, atol=float(1e-5 * coarse.abs().max()))


def test_dilates_as_the_source_does() -> None:
    """Of the depthwise convolutions of blocks 0 to 16: those of the graph, which has them as space-to-batch."""
    backbone = build_backbone("mobilenet_v2", output_stride=8)
    blocks = [block for stage in backbone.stages for block in stage]
    depthwise = [next(layer for layer in block.modules() if getattr(layer, "groups", 1) > 1) for block in blocks]
    assert [layer.dilation[0] for layer in depthwise] == [1] * 7 + [2] * 7 + [4] * 3
    assert [layer.stride[0] for layer in depthwise] == [1, 2, 1, 2] + [1] * 13


@torch.inference_mode()
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(
    ("stride", "dilation", "size"), [(1, 1, (6, 9)), (1, 2, (8, 5)), (1, 4, (9, 12)), (2, 1, (9, 17))]
)
def test_symmetric_padding_equals_same(kernel: int, stride: int, dilation: int, size: tuple[int, int]) -> None:
    """Against ONNX Runtime's SAME_UPPER, which is TensorFlow's SAME."""
    symmetric = convolution(2, 3, kernel, stride, dilation=dilation, symmetric=True)
    same = convolution(2, 3, kernel, stride, dilation=dilation)
    assert isinstance(same, SameConv2d)
    same.load_state_dict(symmetric.state_dict())
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(1))
    expected = same_upper(x.numpy(), symmetric)
    np.testing.assert_allclose(symmetric(x), expected, atol=1e-5)
    np.testing.assert_allclose(same(x), expected, atol=1e-5)


def same_upper(x: np.ndarray, layer: nn.Conv2d) -> np.ndarray:
    """The runtime has no dilation with SAME padding: a kernel with zeros between its values does the same."""
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], auto_pad="SAME_UPPER", strides=list(layer.stride))
    dilation, kernel = layer.dilation[0], layer.kernel_size[0]
    weight = np.zeros((*layer.weight.shape[:2], *[dilation * (kernel - 1) + 1] * 2), np.float32)
    weight[:, :, ::dilation, ::dilation] = layer.weight.numpy()
    parameters = [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(layer.bias.numpy(), "b")]
    floats = onnx.TensorProto.FLOAT
    ends = helper.make_tensor_value_info("x", floats, x.shape), helper.make_tensor_value_info("y", floats, None)
    graph = helper.make_graph([node], "one", [ends[0]], [ends[1]], parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_block_keeps_its_size_when_dilated() -> None:
    block = InvertedResidual(4, 4, kernel=3, stride=1, expansion=2, dilation=4, symmetric=True).eval()
    assert block(torch.zeros(1, 4, 5, 7)).shape == (1, 4, 5, 7)


@torch.inference_mode()
def test_head_tells_each_cell_of_the_whole_image() -> None:
    torch.manual_seed(0)
    head = DeepLabHead(8, 4, 3)
    x = torch.randn(2, 8, 5, 7)
    flat = x.flatten(2)
    matrix = {name: tensor.flatten(1) for name, tensor in head.state_dict().items() if name.endswith("weight")}
    bias = {name: tensor[:, None] for name, tensor in head.state_dict().items() if name.endswith("bias")}
    pooled = F.relu(matrix["pooling.0.weight"] @ flat.mean(dim=2, keepdim=True) + bias["pooling.0.bias"])
    local = F.relu(matrix["local.0.weight"] @ flat + bias["local.0.bias"])
    both = torch.cat([pooled.repeat(1, 1, 35), local], dim=1)
    projected = F.relu(matrix["project.0.weight"] @ both + bias["project.0.bias"])
    expected = matrix["classifier.weight"] @ projected + bias["classifier.bias"]
    np.testing.assert_allclose(head(x).flatten(2), expected, atol=1e-5)
