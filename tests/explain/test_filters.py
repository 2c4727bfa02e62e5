"""Kernels as numbers: against what convolutions do with a single 1, and the weights as they are stored."""

import numpy as np
import pytest
import torch
from torch import nn

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.filters import kernels_of, kernels_to_show, strongest
from cnncli.explain.filters_figure import draw_kernels, in_colours
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject


def subject_of(name: str) -> Subject:
    return open_subject(EngineConfig(name, device="cpu", threads=1))


@pytest.fixture(scope="module")
def lite0() -> Subject:
    return subject_of("efficientnet_lite0")


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_kernels_of_a_transposed_convolution_are_what_it_lays_down(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 12, 3, groups=groups, bias=False)
    kernels = kernels_of(layer)
    assert kernels.shape == (12, 6 // groups, 3, 3)
    for channel in range(6):
        one = torch.zeros(1, 6, 1, 1)
        one[0, channel] = 1
        laid = layer(one)[0].detach().numpy()
        group, inside = divmod(channel, 6 // groups)
        mine = range(group * (12 // groups), (group + 1) * (12 // groups))
        assert np.array_equal(laid[mine], kernels[mine, inside])


@pytest.mark.parametrize("groups", [1, 3])
def test_kernels_of_a_convolution_are_what_it_answers_to_a_one_turned_round(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 3, groups=groups, bias=False, padding=2)
    one = torch.ones(1, 3, 1, 1)
    answer = layer(one)[0].detach().numpy()[:, ::-1, ::-1]
    assert np.allclose(answer, kernels_of(layer).sum(1), atol=1e-6)


def test_the_first_convolution_reads_colours(lite0: Subject) -> None:
    kernels = kernels_to_show(lite0, None)
    stored = lite0.weights.tensors["backbone.stem.0.weight"].astype(np.float32)
    assert kernels.layer == "backbone.stem.0"
    assert kernels.shape == (32, 3, 3, 3)
    assert kernels.colours
    assert np.array_equal(kernels.values, stored)
    assert np.allclose(kernels.norms, np.sqrt((stored**2).sum((1, 2, 3))), rtol=1e-5)


def test_colours_of_a_network_that_turns_them_round_are_turned_back() -> None:
    yunet = subject_of("yunet")
    kernels = kernels_to_show(yunet, None)
    stored = yunet.weights.tensors["backbone.stem.0.weight"].astype(np.float32)
    assert kernels.colours
    assert kernels.inputs[0].tolist() == [2, 1, 0]
    assert np.array_equal(kernels.values, stored[:, ::-1])


@pytest.mark.parametrize(("model", "colours"), [("u2netp", True), ("ffdnet_color", False), ("sface", True)])
def test_first_convolutions_of_other_networks(model: str, colours: bool) -> None:
    kernels = kernels_to_show(subject_of(model), None)
    assert kernels.colours == colours
    assert len(kernels.channels) == min(kernels.shape[0], 64 if colours else 16)


def test_depthwise_kernels_read_their_own_channel(lite0: Subject) -> None:
    kernels = kernels_to_show(lite0, "2", (5, 2))
    assert kernels.depthwise and not kernels.colours
    assert kernels.channels.tolist() == [5, 2]
    assert kernels.inputs.tolist() == [[5], [2]]
    assert kernels.values.shape == (2, 1, 3, 3)


def test_many_inputs_are_the_strongest_in_order(lite0: Subject) -> None:
    kernels = kernels_to_show(lite0, "3")  # 1 x 1, 32 to 16
    weights = kernels_of(lite0.network.get_submodule(kernels.layer))
    norms = [float(np.linalg.norm(weights[:, column])) for column in range(32)]
    kept = sorted(sorted(range(32), key=lambda column: -norms[column])[:16])
    assert kernels.inputs.tolist() == [kept] * 16
    assert np.array_equal(kernels.values, weights[:, kept])


def test_strongest_in_order() -> None:
    assert strongest(np.array([1.0, 5.0, 2.0, 5.0]), 3).tolist() == [1, 2, 3]


def test_colours_have_grey_for_0() -> None:
    kernel = np.zeros((3, 1, 2), np.float32)
    kernel[:, 0, 1] = [4, -2, 0]
    assert in_colours(kernel).tolist() == [[[0.5, 0.5, 0.5], [1, 0.25, 0.5]]]
    assert in_colours(np.zeros((3, 1, 1))).tolist() == [[[0.5, 0.5, 0.5]]]


@pytest.mark.parametrize(
    ("layer", "channels", "words"),
    [
        ("backbone", (), "--layer backbone: has 48 convolutions; choose one, such as backbone.stem.0"),
        ("head.classifier", (), "--layer head.classifier: has no kernels"),
        (None, (32,), "--channel 32: backbone.stem.0 has channels 0 to 31"),
        ("3", (*range(16), 15), "--channel: 17 are too many"),
    ],
)
def test_rejects(lite0: Subject, layer: str | None, channels: tuple, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kernels_to_show(lite0, layer, channels)


def test_a_layer_around_one_convolution_stands_for_it(lite0: Subject) -> None:
    assert kernels_to_show(lite0, "backbone.stem").layer == "backbone.stem.0"


@pytest.mark.parametrize("layer", [None, "2", "3"])
def test_draws_every_kind(lite0: Subject, layer: str | None) -> None:
    kernels = kernels_to_show(lite0, layer, (0, 3))
    picture = draw_kernels("lite0", kernels)
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)[::7].tolist()}
    assert picture.dtype == np.uint8 and len(colours) > 20
    largest = kernels.values.ravel()[np.abs(kernels.values).argmax()]
    end = (103, 0, 31) if largest > 0 else (5, 48, 97)  # the end of RdBu_r
    assert (picture == end).all(2).sum() > 400
