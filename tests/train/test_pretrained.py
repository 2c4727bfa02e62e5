"""Parameters of a weights file go where names and shapes agree."""

from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from cnncli.nn.assemble import classifier
from cnncli.train.pretrained import find_pretrained, pixels_of, start_from


def test_finds_what_the_repository_has() -> None:
    assert find_pretrained("auto", "efficientnet_lite0") == model_path("efficientnet_lite0")
    assert find_pretrained("auto", "resnet18") is None
    assert find_pretrained("none", "efficientnet_lite0") is None
    assert find_pretrained("efficientnet_lite2", "resnet18") == model_path("efficientnet_lite2")
    assert find_pretrained("a/b.safetensors", None) == Path("a/b.safetensors")


def test_copies_all_but_the_head_of_other_classes() -> None:
    network = classifier("efficientnet_lite0", {"hidden": 1280}, 3)
    found, count = start_from(network, model_path("efficientnet_lite0"))
    assert count - found == 2  # weight and bias of the last layer
    stored = load_weights(model_path("efficientnet_lite0")).tensors
    for name, value in network.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value.numpy(), stored[f"backbone.{name}"].astype(np.float32))


def test_rejects_weights_of_another_network() -> None:
    with pytest.raises(WeightsError, match=r"ffdnet_color.*has nothing for this network, it is a ffdnet"):
        start_from(classifier("efficientnet_lite0", {"hidden": 1280}, 3), model_path("ffdnet_color"))


def test_pixels_are_those_of_the_earlier_training() -> None:
    assert pixels_of(model_path("efficientnet_lite0"), "efficientnet_lite0") == ((127.0,) * 3, (128.0,) * 3)
    mean, std = pixels_of(None, "resnet18")
    assert mean == pytest.approx([255 * value for value in (0.485, 0.456, 0.406)])
    assert std == pytest.approx([255 * value for value in (0.229, 0.224, 0.225)])
