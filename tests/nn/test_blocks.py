"""TensorFlow's SAME padding, checked against its guide, ONNX Runtime's SAME_UPPER and a convolution by loops."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from cnncli.nn.blocks import InvertedResidual, SameConv2d, same_padding

KERNELS = (1, 2, 3, 5, 7)
STRIDES = (1, 2, 3)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_pads_as_tensorflow_states(kernel: int, stride: int) -> None:
    for size in range(1, 70):
        # "Notes on padding" of tf.nn: by the remainder, the extra cell at the bottom and right
        total = max(kernel - (size % stride or stride), 0)
        assert same_padding(size, kernel, stride) == (total // 2, total - total // 2), size


@pytest.mark.parametrize(
    ("size", "kernel", "padding"), [(224, 3, (0, 1)), (112, 5, (1, 2)), (65, 3, (1, 1)), (33, 5, (2, 2))]
)
def test_pads_far_side_of_even_maps(size: int, kernel: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride=2) == padding


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(7, 8), (12, 9), (1, 5)])
def test_convolution_matches_onnx_runtime(size: tuple[int, int], kernel: int, stride: int) -> None:
    conv = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(1))
    expected = same_upper(x.numpy(), conv.weight.detach().numpy(), conv.bias.detach().numpy(), stride)
    np.testing.assert_allclose(conv(x).detach().numpy(), expected, atol=1e-5)


def same_upper(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], auto_pad="SAME_UPPER", strides=[stride, stride])
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", floats, x.shape)],
        [helper.make_tensor_value_info("y", floats, None)],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 2, 8), (5, 2, 9), (2, 3, 7), (5, 1, 3)])
def test_convolution_matches_loops(kernel: int, stride: int, size: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride, bias=False)
    x = torch.randn(size, size, generator=torch.Generator().manual_seed(2)).numpy()
    weight = conv.weight.detach()[0, 0].numpy()
    steps = -(-size // stride)
    # the windows cover the map, with as many cells over the edge before as after, or one less
    before = max((steps - 1) * stride + kernel - size, 0) // 2
    expected = np.zeros((steps, steps))
    for row in range(steps):
        for column in range(steps):
            for y in range(kernel):
                for z in range(kernel):
                    at = row * stride + y - before, column * stride + z - before
                    if min(at) >= 0 and max(at) < size:
                        expected[row, column] += x[at] * weight[y, z]
    np.testing.assert_allclose(conv(torch.from_numpy(x)[None, None]).detach().numpy()[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "out_channels", "added"), [(1, 4, True), (2, 4, False), (1, 6, False)])
def test_block_adds_its_input_where_shapes_allow(stride: int, out_channels: int, added: bool) -> None:
    block = InvertedResidual(4, out_channels, kernel=3, stride=stride, expansion=2).eval()
    torch.nn.init.zeros_(block.layers[-1][0].weight)  # of the projection: what is left is the input, or nothing
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(3))
    expected = x if added else torch.zeros(1, out_channels, 6 // stride, 6 // stride)
    assert torch.equal(block(x), expected)
