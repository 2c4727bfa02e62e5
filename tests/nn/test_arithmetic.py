"""Sizes and costs of convolutional layers against torch's own layers, and against figures of teaching."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnncli.errors import UsageError
from cnncli.nn.arithmetic import Axis, ConvLayer, padding_of

AXIS = {
    "size": st.integers(1, 9),
    "kernel": st.integers(1, 4),
    "stride": st.integers(1, 4),
    "padding": st.integers(0, 3),
    "dilation": st.integers(1, 3),
    "kept": st.integers(0, 3),
}
AXES = st.fixed_dictionaries(AXIS)


def layer_of(height: dict, width: dict, transposed: bool, channels=(1, 1), groups: int = 1, bias: bool = True):
    axes = []
    for of in (height, width):
        around, kept = (of["padding"], of["padding"]), of["kept"] * transposed
        axes.append(Axis(of["size"], of["kernel"], of["stride"], around, of["dilation"], transposed, kept))
    return ConvLayer(*channels, *axes, groups, bias)


def torch_layer_of(height: dict, width: dict, transposed: bool, channels=(1, 1), **options) -> nn.Module:
    names = {"kernel_size": "kernel", "stride": "stride", "padding": "padding", "dilation": "dilation"}
    names |= {"output_padding": "kept"} if transposed else {}
    options |= {word: (height[name], width[name]) for word, name in names.items()}
    return (nn.ConvTranspose2d if transposed else nn.Conv2d)(*channels, **options)


def torch_accepts(height: dict, width: dict, transposed: bool) -> bool:
    try:
        with torch.no_grad():
            torch_layer_of(height, width, transposed)(image_of(height, width))
    except RuntimeError:
        return False
    return True


def image_of(height: dict, width: dict, channels: int = 1) -> torch.Tensor:
    return torch.zeros(1, channels, height["size"], width["size"])


@settings(max_examples=100, deadline=None)
@given(height=AXES, width=AXES, transposed=st.booleans())
def test_impossible_layers_are_those_of_torch(height: dict, width: dict, transposed: bool) -> None:
    try:
        layer_of(height, width, transposed)
        possible = True
    except UsageError:
        possible = False
    assert possible == torch_accepts(height, width, transposed)


@settings(max_examples=100, deadline=None)
@given(
    height=AXES, width=AXES, transposed=st.booleans(), bias=st.booleans(), groups=st.integers(1, 3),
    each=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)  # fmt: skip
def test_sizes_parameters_and_products_match_torch(height, width, transposed, bias, groups, each) -> None:
    assume(torch_accepts(height, width, transposed))
    channels = each[0] * groups, each[1] * groups
    layer = layer_of(height, width, transposed, channels, groups, bias)
    torch_layer = torch_layer_of(height, width, transposed, channels, groups=groups, bias=bias)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        answer = torch_layer(image_of(height, width, channels[0]))
    assert layer.output == tuple(answer.shape[1:])
    assert layer.neurons == answer.numel()
    convolution = layer.convolution()
    assert convolution.parameters == sum(values.numel() for values in torch_layer.parameters())
    assert 2 * convolution.multiply_adds == counter.get_total_flops()


def matrix_of(torch_layer: nn.Module, channels: int, height: int, width: int) -> torch.Tensor:
    """(neurons out, neurons in): what the layer makes of each unit image."""
    cells = channels * height * width
    with torch.no_grad():
        for values in torch_layer.parameters():
            values.fill_(1.0)
        if torch_layer.bias is not None:
            torch_layer.bias.zero_()
        return torch_layer(torch.eye(cells).reshape(cells, channels, height, width)).reshape(cells, -1).T


@settings(max_examples=100, deadline=None)
@given(height=AXES, width=AXES, transposed=st.booleans(), bias=st.booleans(), groups=st.integers(1, 2))
def test_matrices_are_those_that_unit_images_show(height, width, transposed, bias, groups) -> None:
    assume(torch_accepts(height, width, transposed))
    channels = groups, 2 * groups
    layer = layer_of(height, width, transposed, channels, groups, bias)
    torch_layer = torch_layer_of(height, width, transposed, channels, groups=groups, bias=bias)
    matrix = matrix_of(torch_layer, channels[0], height["size"], width["size"])
    sparse, dense = layer.sparse(), layer.dense()
    assert dense.entries == matrix.numel()
    assert dense.parameters == matrix.numel() + bias * matrix.shape[0]
    assert sparse.entries == sparse.multiply_adds == int((matrix != 0).sum())
    per_output = (matrix != 0).sum(1)
    sums = per_output if bias else (per_output - 1).clamp(min=0)
    assert sparse.operations == int((per_output + sums).sum())
    assert dense.operations == matrix.shape[0] * (2 * matrix.shape[1] - (not bias))


def test_operations_without_padding_are_those_of_the_sparse_matrix() -> None:
    for transposed in (False, True):
        for bias in (False, True):
            axes = [Axis(7, 3, stride, transposed=transposed) for stride in (2, 4)]
            layer = ConvLayer(2, 3, *axes, bias=bias)
            assert layer.convolution().operations == layer.sparse().operations


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_pads_as_torch(kernel: int, dilation: int) -> None:
    torch_layer = nn.Conv2d(1, 1, (1, kernel), padding="same", dilation=dilation, bias=False)
    width = Axis(6, kernel, 1, padding_of("same", kernel, 1, dilation), dilation)
    layer = ConvLayer(1, 1, Axis(1, 1), width, bias=False)
    matrix = matrix_of(torch_layer, 1, 1, 6)
    assert layer.output == (1, 1, 6)
    assert width.taps() == (matrix != 0).sum(1).tolist()


def test_an_edge_detector_of_two_taps() -> None:
    """Goodfellow et al. 2016, figure 9.6: an image of 280 x 320 px."""
    layer = ConvLayer(1, 1, Axis(280, 1), Axis(320, 2), bias=False)
    convolution, sparse, dense = layer.forms()
    assert layer.output == (1, 280, 319)
    assert (convolution.parameters, convolution.operations) == (2, 267_960)
    assert (sparse.entries, dense.entries) == (178_640, 8_003_072_000)


def test_figures_of_teaching() -> None:
    layer = ConvLayer(1, 1, Axis(224, 3), Axis(224, 3))
    assert (layer.convolution().parameters, layer.dense().parameters) == (10, 2_472_923_268)
    assert ConvLayer(512, 8, Axis(28, 1), Axis(28, 1)).convolution().parameters == 4_104
    vgg = ConvLayer(64, 128, *(Axis(112, 3, 1, (1, 1)) for _ in range(2)))
    assert (vgg.output, vgg.neurons, vgg.convolution().parameters) == ((128, 112, 112), 1_605_632, 73_856)
    mnist_1d = [40]
    for _ in range(3):
        mnist_1d.append(Axis(mnist_1d[-1], 3, 2).output)
    assert mnist_1d == [40, 19, 9, 4]


def test_formula_shows_its_terms() -> None:
    assert Axis(7, 3, 2, (1, 1)).formula == "floor((7 - 1 (3 - 1) - 1 + 2) / 2) + 1 = 4"
    assert Axis(4, 3, 2, (1, 1), 1, True, 1).formula == "(4 - 1) 2 - 2 + 1 (3 - 1) + 1 + 1 = 8"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Axis(4, 3, dilation=2), "reaches over 5 cells, more than the 4"),
        (lambda: Axis(4, 3, output_padding=1), "--transposed"),
        (lambda: Axis(4, 3, 2, transposed=True, output_padding=2), r"below the stride \(2\)"),
        (lambda: Axis(1, 3, 1, (2, 2), transposed=True), "cuts off the whole output"),
        (lambda: Axis(4, 0), "kernel axis 0"),
        (lambda: Axis(0, 1), "input axis 0"),
        (lambda: ConvLayer(3, 4, Axis(4, 3), Axis(4, 3), groups=2), "3 input channels"),
        (lambda: ConvLayer(4, 3, Axis(4, 3), Axis(4, 3), groups=2), "3 output channels"),
        (lambda: ConvLayer(4, 4, Axis(4, 3), Axis(4, 3), groups=0), "groups 0"),
        (lambda: padding_of("same", 3, 2, 1), "stride 1 alone, not 2"),
    ],
)
def test_refuses_with_the_reason(make, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make()
