"""Class activation maps against captum's, and against the paper's sum for a network that can be worked out by hand."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnncli.errors import UsageError
from cnncli.explain.cam import Cam
from cnncli.explain.subject import Subject
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from tests.explain.networks import photo_input, subject_of


@pytest.fixture(scope="module")
def lite0() -> Subject:
    return Subject(load_weights(model_path("efficientnet_lite0")), torch.device("cpu"))


@pytest.mark.parametrize("layer", [None, "stages.4.0"])
def test_grad_cam_is_captums(layer: str | None, lite0: Subject) -> None:
    pixels = photo_input(lite0)
    method = Cam(layer=layer, label="tabby")
    found = method.look(lite0, pixels)
    assert layer is None or str(found["layer"]).endswith(layer)
    images = lite0.normalised(pixels)
    module = lite0.network.get_submodule(str(found["layer"]))
    reference = captum.attr.LayerGradCam(lambda batch: lite0.network(batch)[0], module)
    heat = reference.attribute(images.requires_grad_(True), target=281, relu_attributions=True)
    heat = F.interpolate(heat, pixels.shape[:2], mode="bilinear")[0, 0].detach().numpy()
    assert np.corrcoef(found["heat"].ravel(), heat.ravel())[0, 1] > 0.999
    assert found["heat"].min() >= 0
    assert found["heat"].max() == pytest.approx(1, abs=1e-4)


def test_heat_is_the_weighted_sum_of_the_maps() -> None:
    """Two channels, left and right half of the input; the class weighs the left one 2 and the right one -1."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    network[0].weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None]
    network[3].weight.data = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
    network[3].bias.data.zero_()
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0] = 255  # red on the left, green on the right
    pixels[:, 4:, 1] = 255
    found = Cam(layer="layers.0", label="a").look(subject_of(network, ("a", "b"), 8), pixels)
    assert found["heat"][:, :4] == pytest.approx(1, abs=1e-5)
    assert found["heat"][:, 4:] == pytest.approx(0, abs=1e-5)


def test_refuses_layers_without_places(lite0: Subject) -> None:
    pixels = photo_input(lite0)
    for layer, sentence in (
        ("head.classifier", "gives no maps"),
        ("backbone", "several at once"),
    ):
        with pytest.raises(UsageError, match=sentence):
            Cam(layer=layer).look(lite0, pixels)
    with pytest.raises(UsageError, match="choose grad-cam or"):
        Cam(variant="score-cam")
    with pytest.raises(UsageError, match="knows no such class"):
        Cam(label="unicorn").look(lite0, pixels)


def test_layers_by_number_name_and_end(lite0: Subject) -> None:
    size = (224, 224)
    layers = lite0.table(size).layers
    assert lite0.layer("1", size) == layers[0].name
    assert lite0.layer(layers[3].name, size) == layers[3].name
    assert lite0.layer("widen.0", size) == "head.widen.0"
    with pytest.raises(UsageError, match=f"has layers 1 to {len(layers)}"):
        lite0.layer("999", size)
    with pytest.raises(UsageError, match=r"could be .*write more of it"):
        lite0.layer("layers.0.0", size)
    with pytest.raises(UsageError, match=r"has none of that name; near: head\.widen"):
        lite0.layer("head.wide", size)
