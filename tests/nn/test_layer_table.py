"""Layer tables against the course's, torch's own counter of operations, and what torchvision publishes."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnncli.catalog import BACKBONES, MODELS
from cnncli.io.store import model_path
from cnncli.io.weights import parameter_count
from cnncli.nn.layer_table import layer_table, macs_of
from cnncli.nn.named import named_network
from cnncli.nn.tracing import trace

# the course's table: output, neurons, learned parameters
VGG19 = [
    ((64, 224, 224), 3_211_264, 1_792),
    ((64, 224, 224), 3_211_264, 36_928),
    ((64, 112, 112), 802_816, 0),
    ((128, 112, 112), 1_605_632, 73_856),
    ((128, 112, 112), 1_605_632, 147_584),
    ((128, 56, 56), 401_408, 0),
    ((256, 56, 56), 802_816, 295_168),
    *[((256, 56, 56), 802_816, 590_080)] * 3,
    ((256, 28, 28), 200_704, 0),
    ((512, 28, 28), 401_408, 1_180_160),
    *[((512, 28, 28), 401_408, 2_359_808)] * 3,
    ((512, 14, 14), 100_352, 0),
    *[((512, 14, 14), 100_352, 2_359_808)] * 4,
    ((512, 7, 7), 25_088, 0),
    ((4096,), 4_096, 102_764_544),
    ((4096,), 4_096, 16_781_312),
    ((1000,), 1_000, 4_097_000),
]
# what one cell sees, after Araujo et al. 2019: r + (k - 1) j, layer by layer
VGG19_FIELDS = [3, 5, 6, 10, 14, 16, 24, 32, 40, 48, 52, 68, 84, 100, 116, 124, 156, 188, 220, 252, 268]
NAMES = [*dict.fromkeys([*BACKBONES, *MODELS])]


def test_vgg19_is_the_table_of_the_course() -> None:
    table = layer_table(*named_network("vgg19"))
    assert [(layer.output, layer.neurons, layer.parameters) for layer in table.layers] == VGG19
    assert [layer.kind for layer in table.layers].count("max-pool") == 5
    assert (len(table.layers), table.neurons, table.parameters) == (24, 16_391_656, 143_667_240)
    assert [layer.field.size for layer in table.layers[:21]] == [(size, size) for size in VGG19_FIELDS]
    assert all(layer.field.sees_all for layer in table.layers[21:])


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_of_torchs_counter(name: str) -> None:
    network, shape = named_network(name)
    counted = sum(map(macs_of, trace(network, shape)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *shape, device="meta"))
    assert 2 * counted == counter.get_total_flops() > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_catalog_states_what_a_model_costs(name: str) -> None:
    network, shape = named_network(name)
    table = layer_table(network, shape)
    assert table.macs == MODELS[name].macs
    assert table.parameters == parameter_count(model_path(name))


@pytest.mark.parametrize("name", ["alexnet", "vgg16_bn", "googlenet", "resnet50", "densenet121", "squeezenet1_0"])
def test_costs_are_those_that_torchvision_publishes(name: str) -> None:
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    table = layer_table(*named_network(name))
    assert table.macs / 1e9 == pytest.approx(published["_ops"], abs=6e-4)
    auxiliary = 6_379_984 if name == "googlenet" else 0  # its heads of training, which the pretrained weights leave out
    assert table.parameters - auxiliary == published["num_params"]


def test_every_layer_is_listed_with_all_its_parameters() -> None:
    network, shape = named_network("resnet18")
    table = layer_table(network, shape, every=True)
    assert sum(layer.parameters for layer in table.layers) == table.parameters == 11_689_512
    kinds = {layer.kind for layer in table.layers}
    assert kinds == {"convolution", "batch norm", "ReLU", "max-pool", "sum", "global mean", "fully connected"}


def test_weights_that_layers_share_count_once() -> None:
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    table = layer_table(nn.Sequential(convolution, convolution), (3, 8, 8))
    assert [layer.parameters for layer in table.layers] == [84, 0]
    assert [layer.macs for layer in table.layers] == [81 * 64] * 2
    assert table.parameters == 84


def test_geometry_of_layers_that_are_not_square() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, (3, 5), stride=(1, 2), padding=(1, 2), dilation=(2, 1), groups=2),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 2, 4, stride=2, padding=1),
        nn.AvgPool2d((2, 3)),
    )
    first, second, third, fourth = layer_table(network, (4, 20, 30)).layers
    assert (first.kernel, first.stride, first.padding, first.dilation) == ((3, 5), (1, 2), (1, 2), (2, 1))
    assert (first.kind, first.output, first.macs) == ("convolution in 2 groups", (8, 18, 15), 8 * 2 * 15 * 18 * 15)
    assert (second.kind, second.output) == ("depthwise convolution", (8, 16, 13))
    assert (third.kind, third.output, third.macs) == ("transposed convolution", (2, 32, 26), 8 * 2 * 16 * 16 * 13)
    assert (fourth.kernel, fourth.stride, fourth.output) == ((2, 3), (2, 3), (2, 16, 8))
    assert second.field.size == (5 + 2 * 1, 5 + 2 * 2)  # rows at stride 1, columns at stride 2
    assert [float(step) for step in third.field.jump] == [0.5, 1.0]
