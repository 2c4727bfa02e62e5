"""Deconv against explicit unpooling and transposed filters, and against captum."""

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.backward_rules import Rectified, Redirected
from cnncli.explain.channels import channel_numbers, maps_of
from cnncli.explain.deconv import Deconv, projection, told
from cnncli.explain.patch_figure import around_grey, box_in
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject
from cnncli.nn.backbones.sface import PReLU as SummedPReLU


@pytest.fixture(scope="module")
def lite() -> Subject:
    return open_subject(EngineConfig(model="efficientnet_lite0", device="cpu", threads=1))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)


def chain() -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 7, 5, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2)).requires_grad_(False)


def test_equals_unpooling_rectifying_and_transposed_filters(images: Tensor) -> None:
    layers = chain()
    with Rectified():
        maps = layers(images)
    first = F.relu(layers[0](images))
    pooled, switches = F.max_pool2d(first, 2, return_indices=True)
    second = F.relu(layers[3](pooled))
    top, top_switches = F.max_pool2d(second, 2, return_indices=True)
    torch.testing.assert_close(maps, top)
    channel = int(top.amax((0, 2, 3)).argmax())
    row, column = divmod(int(top[0, channel].argmax()), top.shape[3])
    signal = torch.zeros_like(top)
    signal[0, channel, row, column] = top[0, channel, row, column]
    signal = F.relu(F.max_unpool2d(signal, top_switches, 2, output_size=second.shape[2:]))
    signal = F.conv_transpose2d(signal, layers[3].weight, stride=2, output_padding=1)
    signal = F.relu(F.max_unpool2d(signal, switches, 2))
    expected = F.conv_transpose2d(signal, layers[0].weight, padding=1)
    assert expected.abs().max() > 0
    torch.testing.assert_close(projection(images, maps, channel, (row, column)), expected)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_matches_captum(images: Tensor) -> None:
    layers = nn.Sequential(*chain(), nn.Flatten())
    with Rectified():
        maps = layers(images)[:, :, None, None]
    unit = int(maps.argmax())
    expected = Deconvolution(layers).attribute(images, target=unit) * maps[0, unit].item()
    assert expected.abs().max() > 0
    torch.testing.assert_close(projection(images, maps, unit, (0, 0)), expected.detach())


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.PReLU(3), nn.ELU(),
    nn.LeakyReLU(0.2), SummedPReLU(3), F.relu, torch.relu, Tensor.relu,
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: getattr(a, "__name__", type(a).__name__))
def test_every_activation_lets_the_positive_signal_back(activation: object, images: Tensor) -> None:
    taken = images * 1  # no leaf: what works in place is refused there
    plain = activation(taken.clone()).detach()
    with Rectified():
        given = activation(taken)
    torch.testing.assert_close(given, plain)
    signal = torch.randn(given.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.autograd.grad(given, images, signal)[0], signal.clamp(min=0))


def test_the_rule_ends_with_its_block(images: Tensor) -> None:
    with Rectified():
        pass
    gradient = torch.autograd.grad(F.relu(images), images, -torch.ones_like(images))[0]
    torch.testing.assert_close(gradient, -(images > 0).float())


def test_redirected_wakes_only_what_is_closed_everywhere() -> None:
    closed, open_somewhere = torch.tensor([-1.0, -2.0]), torch.tensor([-1.0, 2.0])
    signal = torch.tensor([3.0, -4.0])
    found = []
    for values in (closed, open_somewhere):
        with Redirected():
            taken = values.requires_grad_(True)
            found.append(torch.autograd.grad(F.relu(taken), taken, signal)[0].tolist())
    assert found == [[3.0, 0.0], [0.0, -4.0]]


def test_strongest_channels_in_order_and_nothing_outside_their_windows(lite: Subject) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    arrays = Deconv("12", count=3).look(lite, pixels)
    with torch.no_grad(), lite.watched("backbone.stages.2.0.layers.2.0") as given:
        lite.network(lite.normalised(pixels))
    strongest = given[0][0].amax((1, 2))
    assert arrays["channels"].tolist() == strongest.topk(3).indices.tolist()
    np.testing.assert_allclose(arrays["activations"], strongest.topk(3).values.numpy(), rtol=1e-5)
    for (x, y, width, height), projected in zip(arrays["windows"], arrays["projections"], strict=True):
        assert np.abs(projected[y : y + height, x : x + width]).max() > 0
        projected[y : y + height, x : x + width] = 0
        assert not projected.any()


def test_a_silent_channel_gives_zeros(images: Tensor) -> None:
    with Rectified():
        maps = -F.relu(images)
    assert not projection(images, maps, 0, (0, 0)).any()


def test_a_window_is_all_that_changes_a_cell(lite: Subject) -> None:
    images = lite.normalised(np.full((224, 224, 3), 90, np.uint8)).requires_grad_(True)
    maps = maps_of(lite, "12", images.detach())
    given = maps.of(images)
    signal = torch.zeros_like(given)
    signal[0, :, 0, 9] = 1
    gradient = torch.autograd.grad(given, images, signal)[0][0].abs().amax(0)
    rows, columns = gradient.amax(1).nonzero(), gradient.amax(0).nonzero()
    x, y, width, height = maps.seen((0, 9))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (y, y + height - 1, x, x + width - 1)


def test_a_fully_connected_layer_has_maps_of_one_cell(lite: Subject) -> None:
    images = lite.normalised(np.zeros((224, 224, 3), np.uint8))
    maps = maps_of(lite, "classifier", images)
    assert (maps.channels, maps.cells, maps.seen((0, 0))) == (1000, (1, 1), (0, 0, 224, 224))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layer": "head"}, "gives no maps"),
        ({"layer": "12", "channel": "40"}, "channels 0 to 39"),
        ({"layer": "nowhere"}, "has none of that name"),
    ],
)
def test_rejects(lite: Subject, settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Deconv(**settings).look(lite, np.zeros((224, 224, 3), np.uint8))


def test_channel_numbers() -> None:
    assert channel_numbers("3, 17,3") == (3, 17)
    for text in ("", "x", "-1", "3,", "1.5"):
        with pytest.raises(UsageError, match="give numbers from 0"):
            channel_numbers(text)


def test_boxes_in_the_photo() -> None:
    region = (40, 0, 120, 120)
    everything = (slice(None), slice(None))
    assert box_in(region, everything, (60, 60), (0, 30, 10, 30)) == (40, 60, 20, 60)
    below_the_fill = (slice(30), slice(60))
    assert box_in(region, below_the_fill, (60, 60), (0, 20, 60, 40)) == (40, 80, 120, 40)


def test_zero_is_grey_and_the_strongest_black_or_white() -> None:
    values = np.array([[[0.0, 2.0, -4.0]]])
    np.testing.assert_allclose(around_grey(values), [[[0.5, 0.75, 0.0]]])
    np.testing.assert_allclose(around_grey(0 * values), [[[0.5, 0.5, 0.5]]])


def test_of_a_window_that_is_everything_the_part_with_the_signal_is_shown() -> None:
    projected = np.zeros((100, 80, 3), np.float32)
    projected[40:60, 10:30] = 1
    projected[90, 70] = 0.1  # a thousandth of the energy
    x, y, width, height = told((0, 0, 80, 100), projected)
    assert 0 <= x < 10
    assert 30 <= x + width < 50
    assert 25 < y < 40
    assert 60 <= y + height < 75
    assert told((5, 6, 20, 20), projected) == (5, 6, 20, 20)
    assert told((0, 0, 80, 100), 0 * projected) == (0, 0, 80, 100)
