"""What a layer gives: against captum's LayerActivation and the network's own answer."""

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.activations import Activations
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation


@pytest.fixture(scope="module")
def lite0() -> Subject:
    return open_subject(EngineConfig("efficientnet_lite0", device="cpu", threads=1))


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def expected(subject: Subject, path: str, pixels: np.ndarray) -> np.ndarray:
    layer = subject.network.get_submodule(path)
    with torch.no_grad():
        return LayerActivation(subject.network, layer).attribute(subject.normalised(pixels))[0].numpy()


def test_matches_captum(lite0: Subject, noise: np.ndarray) -> None:
    method = Activations("backbone.stem", count=5)
    arrays = method.look(lite0, noise)
    maps = expected(lite0, "backbone.stem", noise)
    means = maps.mean((1, 2), dtype=np.float64)
    strongest = sorted(range(32), key=lambda channel: -means[channel])[:5]
    assert arrays["channels"].tolist() == strongest
    assert np.array_equal(arrays["maps"], maps[strongest])
    entries, _ = method.describe(lite0, arrays)
    assert entries["shape"] == [32, 112, 112]
    assert [found["channel"] for found in entries["channels"]] == strongest
    assert entries["channels"][0]["mean"] == pytest.approx(means[strongest[0]], rel=1e-5)
    assert entries["channels"][0]["max"] == pytest.approx(maps[strongest[0]].max(), rel=1e-5)
    silent = sum(not (channel > 0).any() for channel in maps)
    assert entries["dead"] == round(silent / 32, 4)
    assert silent > 0  # its stem has kernels of nothing, see `explain filters`


def test_named_channels_keep_their_order(lite0: Subject, noise: np.ndarray) -> None:
    arrays = Activations("1", (7, 3)).look(lite0, noise)
    assert arrays["channels"].tolist() == [7, 3]
    assert np.array_equal(arrays["maps"], expected(lite0, "backbone.stem.0", noise)[[7, 3]])


def test_units_of_a_fully_connected_layer(lite0: Subject, noise: np.ndarray) -> None:
    arrays = Activations("head.classifier", count=3).look(lite0, noise)
    with torch.no_grad():
        logits = lite0.outputs(lite0.normalised(noise))["logits"][0]
    values, classes = logits.topk(3)
    assert arrays["shape"].tolist() == [1000, 1, 1]
    assert arrays["channels"].tolist() == classes.tolist()
    assert arrays["maps"].ravel().tolist() == values.tolist()


@pytest.mark.parametrize(
    ("model", "layer", "channels", "words"),
    [
        ("efficientnet_lite0", "backbone.stem", (32,), "--channel 32: backbone.stem has channels 0 to 31"),
        ("efficientnet_lite0", "backbone", (), "--layer backbone: gives several maps of different kinds at once"),
        ("efficientnet_lite0", "nowhere", (), "--layer nowhere: efficientnet_lite0 has none of that name"),
        ("efficientdet_lite0", "class_head.activation", (), "--layer class_head.activation: runs 15 times"),
    ],
)
def test_rejects(model: str, layer: str, channels: tuple, words: str) -> None:
    subject = open_subject(EngineConfig(model, device="cpu", threads=1))
    pixels = np.zeros((*subject.info.recipe["input"], 3), np.uint8)
    with pytest.raises(UsageError, match=words):
        Activations(layer, channels).look(subject, pixels)


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 65}, {"channels": tuple(range(65))}])
def test_rejects_more_than_a_picture_holds(options: dict) -> None:
    with pytest.raises(UsageError):
        Activations("1", **options)


def test_draws_maps_in_the_colours_of_their_values(lite0: Subject, noise: np.ndarray) -> None:
    method = Activations("backbone.stem.0", (0, 1))
    arrays = {**method.look(lite0, noise)}
    arrays["maps"] = np.stack([np.full((112, 112), 1.0), np.full((112, 112), -1.0)]).astype(np.float32)
    entries, _ = method.describe(lite0, arrays)
    found = Explanation(entries, "", noise, arrays)
    picture = method.draw(lite0, Photo(np.full((300, 300, 3), 90, np.uint8)), found)
    flat = picture.reshape(-1, 3)
    dark_red, dark_blue = ((flat == colour).all(1).sum() for colour in ((103, 0, 31), (5, 48, 97)))  # ends of RdBu_r
    assert dark_red > 10_000 and dark_blue > 10_000
