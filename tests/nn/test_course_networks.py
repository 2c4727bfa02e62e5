"""Whole classifiers of the networks that courses teach: counted as published, answering as torchvision's own."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cnncli.catalog import BACKBONES
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.nn.assemble import AuxiliaryClassifier, build, classifier, default_head
from cnncli.nn.torchvision_networks import TorchvisionClassifier
from tests.nn.networks import images, info_of, randomised, weights_of

# of 1000 classes; a layer has (inputs * kernel area + 1) * outputs parameters
LENET = (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120 + (120 + 1) * 84
ZFNET_MAPS = [(3 * 49, 96), (96 * 25, 256), (256 * 9, 384), (384 * 9, 384), (384 * 9, 256)]
ZFNET_VECTORS = [(256 * 36, 4096), (4096, 4096), (4096, 1000)]
NIN = [(3 * 121, 96), (96, 96), (96, 96), (96 * 25, 256), (256, 256), (256, 256), (256 * 9, 384), (384, 384)]
NIN += [(384, 384), (384 * 9, 1024), (1024, 1024), (1024, 1000)]
BY_ARITHMETIC = {
    "lenet5": LENET + (84 + 1) * 1000,
    "zfnet": sum((inputs + 1) * outputs for inputs, outputs in [*ZFNET_MAPS, *ZFNET_VECTORS]),
    "nin": sum((inputs + 1) * outputs for inputs, outputs in NIN),
}
# Google's EfficientNet-Lite states 4.7, 5.4, 6.1, 8.2 and 13.0 million; of 0 and 2 the published files are counted
LITE = dict(zip(range(5), (4_652_008, 5_416_680, 6_092_072, 8_197_096, 13_006_568), strict=True))
BY_ARITHMETIC |= {f"efficientnet_lite{number}": count for number, count in LITE.items()}

# an auxiliary head: 1x1 convolution to 128 channels and its norm, 4 x 4 cells to 1024 units, the classes
AUXILIARY = sum((channels + 2) * 128 + (128 * 16 + 1) * 1024 + (1024 + 1) * 1000 for channels in (512, 528))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def published(name: str) -> int:
    """Parameters at 1000 classes."""
    if name in BY_ARITHMETIC:
        return BY_ARITHMETIC[name]
    known = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    return known + AUXILIARY if name == "googlenet" else known  # which torchvision drops after loading


@pytest.mark.parametrize("name", [name for name in BACKBONES if default_head(name)])
def test_counts_the_published_parameters(name: str) -> None:
    with torch.device("meta"):
        assert count(classifier(name, default_head(name), 1000)) == published(name)


def test_the_classic_counts() -> None:
    grey = LENET - 2 * 25 * 6 + (84 + 1) * 10
    assert grey == 61_706  # of LeNet-5 with one input channel and 10 digits
    assert count(classifier("lenet5", default_head("lenet5"), 10)) == 61_706 + 300
    assert BY_ARITHMETIC["zfnet"] == 62_357_608
    assert BY_ARITHMETIC["nin"] == 7_595_176


# layer by layer: output and learned parameters
VGG19 = [
    *[((64, 224, 224), 1_792), ((64, 224, 224), 36_928), ((64, 112, 112), 0)],
    *[((128, 112, 112), 73_856), ((128, 112, 112), 147_584), ((128, 56, 56), 0)],
    *[((256, 56, 56), 295_168), *[((256, 56, 56), 590_080)] * 3, ((256, 28, 28), 0)],
    *[((512, 28, 28), 1_180_160), *[((512, 28, 28), 2_359_808)] * 3, ((512, 14, 14), 0)],
    *[*[((512, 14, 14), 2_359_808)] * 4, ((512, 7, 7), 0)],
    *[((4096,), 102_764_544), ((4096,), 16_781_312), ((1000,), 4_097_000)],
]


def test_vgg19_layer_by_layer() -> None:
    with torch.device("meta"):
        network = classifier("vgg19", default_head("vgg19"), 1000).eval()
    rows = []
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.Linear)):
            layer.register_forward_hook(lambda layer, _, given: rows.append((tuple(given.shape[1:]), count(layer))))
    network(torch.zeros(1, 3, 224, 224, device="meta"))
    assert rows == VGG19
    assert sum(int(np.prod(shape)) for shape, _ in rows) == 16_391_656
    assert count(network) == sum(parameters for _, parameters in rows) == 143_667_240


def renamed(state: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """torchvision's state dict under the names of our classifier."""
    auxiliary = {"aux1": "auxiliary.inception4a", "aux2": "auxiliary.inception4d"}
    own = network.state_dict().keys()
    names = {}
    for name in state:
        first, _, rest = name.partition(".")
        choices = (f"backbone.network.{name}", f"head.network.{name}", f"{auxiliary.get(first)}.{rest}")
        (names[name],) = (choice for choice in choices if choice in own)
    return {names[name]: tensor for name, tensor in state.items()}


SAME = ["alexnet", "vgg11", "resnet18", "squeezenet1_1", "densenet121", "googlenet", "efficientnet_b0"]


@pytest.mark.parametrize("name", SAME)
def test_answers_as_torchvision_with_its_parameters(name: str) -> None:
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    theirs = randomised(torchvision.models.get_model(name, num_classes=10, **options), 96).eval()
    own = classifier(name, default_head(name), 10).eval()
    own.load_state_dict(renamed(theirs.state_dict(), own))
    wrapped = TorchvisionClassifier(name, 10, **({"transform_input": False} if options else {})).eval()
    wrapped.network.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        logits, features = own(x)
        torch.testing.assert_close(logits, theirs(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features, wrapped(x)[1], rtol=1e-4, atol=1e-5)


def test_googlenet_gives_its_auxiliary_logits_in_training() -> None:
    theirs = torchvision.models.googlenet(num_classes=10, init_weights=False, dropout=0, dropout_aux=0).train()
    own = classifier("googlenet", default_head("googlenet", dropout=0), 10).train()
    assert isinstance(own, AuxiliaryClassifier)
    own.load_state_dict(renamed(theirs.state_dict(), own))
    for head in own.auxiliary.values():
        head.dropout.p = 0
    x = torch.randn(4, 3, 64, 64)
    main, second, first = theirs(x)
    logits, features, *auxiliary = own(x)
    assert features.shape == (4, 1024)
    torch.testing.assert_close([logits, *auxiliary], [main, first, second])
    sum(answer.sum() for answer in (logits, *auxiliary)).backward()
    assert all(parameter.grad is not None for parameter in own.parameters())
    assert len(own.eval()(x)) == 2


def test_pulled_googlenet_gives_its_auxiliary_logits_in_training() -> None:
    network = classifier("torchvision/googlenet", {"dropout_aux": 0.0}, 10).train()
    x = torch.randn(2, 3, 64, 64)
    logits, features, *auxiliary = network(x)
    assert [tuple(answer.shape) for answer in (logits, features, *auxiliary)] == [(2, 10), (2, 1024), (2, 10), (2, 10)]
    assert len(network.eval()(x)) == 2


@pytest.mark.parametrize("name", ["lenet5", "zfnet", "nin", "vgg11", "googlenet", "densenet121", "mobilenet_v2"])
def test_a_pooled_head_fits_every_backbone(name: str) -> None:
    with torch.device("meta"):
        network = classifier(name, {"dropout": 0.4}, 7)
        assert network.head.dropout.p == 0.4
        assert network.head.classifier.in_features == network.backbone.channels[-1]
        widened = classifier(name, default_head(name, hidden=32), 7)
    x = torch.zeros(2, 3, 64, 64, device="meta")
    assert [tuple(answer.shape) for answer in network(x)] == [(2, 7), (2, network.backbone.channels[-1])]
    assert [tuple(answer.shape) for answer in widened(x)] == [(2, 7), (2, 32)]


def test_default_heads() -> None:
    assert default_head("efficientnet_lite2") == {"hidden": 1280, "dropout": 0.3}
    assert default_head("efficientnet_lite2", dropout=0.5, hidden=None) == {"hidden": 1280, "dropout": 0.5}
    assert default_head("vgg16", dropout=0.1) == {"end": "published", "dropout": 0.1}
    assert default_head("vgg16", hidden=256) == {"hidden": 256}
    assert default_head("torchvision/resnet50") == {}


@pytest.mark.parametrize(("name", "places"), [("alexnet", 2), ("resnet18", 1), ("efficientnet_b0", 1), ("lenet5", 1)])
def test_takes_the_dropout_asked_for(name: str, places: int) -> None:
    with torch.device("meta"):
        head = classifier(name, default_head(name, dropout=0.15), 10).head
    dropouts = [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.15] * places


def test_norms_of_the_head_follow_the_backbone() -> None:
    for name in ("efficientnet_lite0", "efficientnet_b0", "googlenet"):
        with torch.device("meta"):
            network = classifier(name, {**default_head(name), "backbone": {"norm": "group"}}, 10)
        assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_rejects_a_published_end_where_there_is_none() -> None:
    with pytest.raises(UsageError, match="backbone mobilenet_v2 has no end of its own"):
        classifier("mobilenet_v2", {"end": "published"}, 10)


@pytest.mark.parametrize(
    ("name", "side"), [("lenet5", 28), ("lenet5", 40), ("zfnet", 64), ("nin", 64), ("vgg11", 64), ("googlenet", 64)]
)
def test_both_engines_agree(name: str, side: int) -> None:
    torch.manual_seed(0)
    info = info_of(name, side, head=default_head(name))
    weights = weights_of(randomised(build(info), side).eval(), info)
    photos = images(3, side)
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(photos)
    by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(photos)
    for output, expected in by_torch.items():
        np.testing.assert_allclose(by_onnx[output], expected, atol=1e-4 * np.abs(expected).max())
