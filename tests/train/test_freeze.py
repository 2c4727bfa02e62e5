"""What does not learn stays as it is, running statistics too."""

import pytest
import torch
from torch import nn

from cnncli.errors import UsageError
from cnncli.nn.assemble import classifier
from cnncli.train.freeze import freeze, training_mode


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return classifier("efficientnet_lite0", {}, 3)


def learning(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_freezes_the_backbone(network: nn.Module) -> None:
    freeze(network, "all")
    assert learning(network)
    assert not [name for name in learning(network) if name.startswith("backbone.")]
    freeze(network, "")
    assert len(learning(network)) == len(list(network.parameters()))


def test_freezes_the_first_stages(network: nn.Module) -> None:
    freeze(network, "1")
    first = set(map(id, network.backbone.stem.parameters()))
    frozen = {id(parameter) for parameter in network.parameters() if not parameter.requires_grad}
    assert frozen == first


def test_freezes_by_name(network: nn.Module) -> None:
    freeze(network, "backbone.stem, head")
    assert not [name for name in learning(network) if name.startswith(("backbone.stem", "head"))]
    assert [name for name in learning(network) if name.startswith("backbone.stages.0")]


@pytest.mark.parametrize(
    ("which", "message"),
    [("99", "this backbone has stages 1 to"), ("nonesuch", "no parameter's name begins so"), ("b,h", "nothing would")],
)
def test_rejects(network: nn.Module, which: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        freeze(network, which)


def test_frozen_statistics_stay(network: nn.Module) -> None:
    freeze(network, "all")
    training_mode(network)
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(torch.rand(4, 3, 64, 64))
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("keeps", [True, False])
def test_statistics_of_a_backbone_that_learns(network: nn.Module, keeps: bool) -> None:
    freeze(network, "")
    training_mode(network, keeps_statistics=keeps)
    before = network.backbone.state_dict()["stem.1.running_mean"].clone()
    network(torch.rand(4, 3, 64, 64))
    assert torch.equal(network.backbone.state_dict()["stem.1.running_mean"], before) == keeps
    assert all(parameter.requires_grad for parameter in network.parameters())
