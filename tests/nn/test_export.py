"""The graph in a weights file: the same answers as torch, whatever the batch, and no learned number inside."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import WeightsError
from cnncli.io.weights import Weights, load_weights, save_weights
from cnncli.nn.assemble import FromPixels, build, default_head
from cnncli.nn.checkpoint import graph_of, tensors_of
from cnncli.train.parity import check_parity
from tests.nn.networks import NORMALISED, images, info_of, randomised, softmax, weights_of

SIDE = 64
PLAIN = ("lenet5", "alexnet", "zfnet", "vgg11", "nin", "squeezenet1_1")


@pytest.fixture(scope="module", params=NORMALISED)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """A classifier with random weights, saved and read again."""
    info = info_of(request.param, SIDE, head={"hidden": 32})
    torch.manual_seed(0)
    network = randomised(build(info), SIDE)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(path, info, tensors_of(network), graph_of(network, info))
    return load_weights(path)


def test_random_weights_tell_images_apart(saved: Weights) -> None:
    scores = softmax(TorchEngine(saved, "cpu", "fp32", threads=1).run(images(5, SIDE))["logits"])
    assert np.ptp(scores, axis=0).max() > 0.1  # or agreement would mean little


@pytest.mark.parametrize("batch", [1, 5])
def test_engines_agree(saved: Weights, batch: int) -> None:
    pictures = images(batch, SIDE)
    by_torch = TorchEngine(saved, "cpu", "fp32", threads=1).run(pictures)
    by_onnx = OnnxEngine(saved, threads=1, parallel_calls=1).run(pictures)
    scores = softmax(by_torch["logits"])
    # logits of random networks reach 41, where float32 rounds by 4e-6: 60 layers of it move a score by 1e-4
    np.testing.assert_allclose(softmax(by_onnx["logits"]), scores, atol=3e-4)
    np.testing.assert_allclose(by_onnx["features"], by_torch["features"], atol=1e-4)


@pytest.mark.parametrize("backbone", PLAIN)
def test_engines_agree_without_normalisation(backbone: str) -> None:
    """As published, end and all; their random logits are small, so the difference is told as a part of them."""
    info = info_of(backbone, side=96, head=default_head(backbone))
    torch.manual_seed(0)
    network = build(info).eval()
    model = FromPixels(network, info.mean, info.std)
    assert check_parity(model, info, graph_of(network, info), load_tensors(network)) < 1e-5


def load_tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """In float32: halves of random numbers would be other numbers."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def test_graph_holds_no_learned_numbers(saved: Weights) -> None:
    graph = onnx.load_model_from_string(saved.graph).graph
    external = {tensor.name for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL}
    assert external == set(saved.tensors)
    inside = [tensor for tensor in graph.initializer if tensor.name not in external]
    assert sum(onnx.numpy_helper.to_array(tensor).size for tensor in inside) < 100
    assert len(saved.graph) < 100_000


class Awkward(nn.Module):
    """What tempts an optimizer: learned zeros, learned tensors that are equal, parameters used through other ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.shift = nn.Parameter(torch.zeros(4))
        self.mix = nn.Parameter(torch.eye(4))
        self.register_buffer("order", torch.arange(4))
        self.linear = nn.Linear(4, 3)
        for layer in (self.first, self.second, self.linear):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.second(self.first(x).relu()))
        x = x * self.scale.exp().view(1, -1, 1, 1) + (self.shift * 2)[None, :, None, None]
        features = x.mean(dim=(2, 3))[:, self.order] @ self.mix.t()
        return self.linear(features), features


def test_learned_zeros_and_equal_tensors_stay_apart() -> None:
    info = info_of("awkward", side=8)
    torch.manual_seed(0)
    exported, other = Awkward().eval(), Awkward().eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
        other.norm.running_mean.normal_()
        other.norm.running_var.uniform_(0.5, 2)
        other.order.copy_(torch.tensor([2, 0, 3, 1]))
    # the graph of one network must be right for the numbers of any other
    weights = replace(weights_of(exported, info), tensors=tensors_of(other))
    assert_same_as_eager(weights, other)


def assert_same_as_eager(weights: Weights, network: nn.Module) -> None:
    side = weights.info.recipe["input"][0]
    pictures = images(3, side)
    network.load_state_dict({**network.state_dict(), **{k: torch.tensor(v) for k, v in weights.tensors.items()}})
    with torch.no_grad():
        expected = FromPixels(network, weights.info.mean, weights.info.std)(torch.from_numpy(pictures))
    outputs = OnnxEngine(weights, threads=1, parallel_calls=1).run(pictures)
    for name, value in zip(weights.info.outputs, expected, strict=True):
        np.testing.assert_allclose(outputs[name], value.numpy(), atol=1e-4, rtol=1e-4)


class Unexportable(nn.Module):
    """What the exporter can't trace: the path depends on the numbers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = x.mean(dim=(2, 3))
        return (features, features) if float(features.sum()) > 0 else (-features, features)


def test_says_in_one_line_that_a_network_cant_be_exported() -> None:
    with pytest.raises(WeightsError, match="can't be written as an ONNX graph") as caught:
        graph_of(Unexportable(), info_of("unexportable", side=8))
    assert "\n" not in str(caught.value)


def test_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    graph_of(Awkward().eval(), info_of("awkward", side=8))
    assert capfd.readouterr().out == ""
