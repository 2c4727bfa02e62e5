"""Other norms, blur before halving, dilation: the same parameters, and what arithmetic says of the maps."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cnncli.catalog import BACKBONES
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.nn.assemble import build, build_backbone
from cnncli.nn.pooling import BlurPool, DensePool, SlowPool
from cnncli.nn.surgery import group_count
from tests.nn.networks import images, info_of, randomised, weights_of

# one of each family that has batch norm, and of each that has none
NORMALISED = ["vgg11_bn", "googlenet", "resnet18", "resnet50", "densenet121", "mobilenet_v2", "efficientnet_b0"]
PLAIN = ["lenet5", "alexnet", "zfnet", "vgg11", "nin", "squeezenet1_0", "squeezenet1_1"]
FAMILIES = [*NORMALISED, *PLAIN, "efficientnet_lite0"]


def on_meta(name: str, **options) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, **options)


def map_shapes(backbone: nn.Module, height: int, width: int) -> list[tuple[int, ...]]:
    return [tuple(maps.shape) for maps in backbone.train()(torch.zeros(2, 3, height, width, device="meta"))]


def parameters(backbone: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in backbone.named_parameters()}


def map_of(rows: int, columns: int, channels: int = 2) -> torch.Tensor:
    return torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))


# norms


def test_takes_the_largest_number_of_groups() -> None:
    assert [group_count(channels) for channels in (64, 96, 40, 24, 112, 1280, 7, 37)] == [32, 32, 20, 24, 28, 32, 7, 1]


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("name", NORMALISED)
def test_replaces_every_norm_under_its_name(name: str, norm: str) -> None:
    usual, other = on_meta(name), on_meta(name, norm=norm)
    kind = {"group": nn.GroupNorm, "instance": nn.InstanceNorm2d}[norm]
    norms = {path for path, layer in usual.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert norms == {path for path, layer in other.named_modules() if isinstance(layer, kind)}
    assert norms
    assert parameters(other) == parameters(usual)
    assert map_shapes(other, 96, 64) == map_shapes(usual, 96, 64)


@pytest.mark.parametrize("name", NORMALISED)
def test_leaves_a_bias_where_no_norm_is_wanted(name: str) -> None:
    usual, bare = on_meta(name), on_meta(name, norm="none")
    scales = {f"{path}.weight" for path, layer in usual.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert parameters(bare) == {path: shape for path, shape in parameters(usual).items() if path not in scales}
    assert map_shapes(bare, 96, 64) == map_shapes(usual, 96, 64)


def test_the_bias_is_added_to_each_channel() -> None:
    bias = build_backbone("mobilenet_v2", norm="none").stem[1]
    bias.bias.data = torch.arange(32.0)
    given = bias(torch.ones(1, 32, 2, 3))
    assert given[0, :, 1, 2].tolist() == [1 + number for number in range(32)]


@pytest.mark.parametrize("name", PLAIN)
def test_says_where_there_is_no_norm(name: str) -> None:
    hint = "; take vgg11_bn" if name == "vgg11" else ""
    with pytest.raises(UsageError, match=f"backbone {name} has no normalisation to choose{hint}$"):
        on_meta(name, norm="group")
    assert parameters(on_meta(name, norm="none")) == parameters(on_meta(name))


def test_instances_need_more_than_one_cell() -> None:
    backbone = build_backbone("resnet18", norm="instance").train()
    assert backbone.least_size == 64
    backbone(torch.randn(1, 3, 64, 64))
    with pytest.raises(UsageError, match="63 x 63 px are too few for resnet18"):
        backbone(torch.randn(1, 3, 63, 63))


# antialiasing


def blurred(channel: np.ndarray) -> np.ndarray:
    """Every second cell of a map (H, W) under the filter 1 2 1 x 1 2 1 / 16, edges repeated: by sums."""
    padded = np.pad(channel, 1, mode="edge")
    rows, columns = channel.shape
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.array(
        [
            [(padded[row : row + 3, column : column + 3] * weights).sum() for column in range(0, columns, 2)]
            for row in range(0, rows, 2)
        ]
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (7, 7)])
def test_blur_pool_is_a_binomial_mean(size: tuple[int, int]) -> None:
    x = map_of(*size)
    expected = np.stack([blurred(channel) for channel in x[0].double().numpy()])
    np.testing.assert_allclose(BlurPool()(x)[0].numpy(), expected, atol=1e-6)


def test_blur_pool_keeps_what_is_even_and_has_no_parameters() -> None:
    assert BlurPool()(torch.full((1, 2, 6, 6), 5.0)).unique().tolist() == [5.0]
    assert not BlurPool().state_dict()


@pytest.mark.parametrize("size", [3, 4, 5, 8, 9])
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2, 2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(2, 2),
    ],
    ids=str,
)
def test_slow_and_dense_pools_agree_with_the_pool(pool: nn.Module, size: int) -> None:
    x = map_of(size, size + 3)
    slow, dense = SlowPool(pool)(x), DensePool(pool, 1)(x)
    usual = pool(x)
    assert slow.shape == usual.shape
    assert dense.shape == x.shape
    rows, columns = usual.shape[2:]
    inside = np.s_[:, :, : rows - 1, : columns - 1]  # the last windows may reach beyond the map
    torch.testing.assert_close(dense[:, :, ::2, ::2][inside], usual[inside])


def test_slow_pool_blurs_the_maxima() -> None:
    channel = np.arange(16, dtype=np.float32).reshape(4, 4) % 7
    maxima = np.array([[channel[r : r + 2, c : c + 2].max() for c in range(3)] for r in range(3)])
    given = SlowPool(nn.MaxPool2d(2, 2))(torch.from_numpy(channel)[None, None])
    np.testing.assert_allclose(given[0, 0].numpy(), blurred(maxima), atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_antialiasing_keeps_parameters_and_sizes(name: str) -> None:
    usual, smooth = on_meta(name), on_meta(name, antialias=True)
    assert smooth.state_dict().keys() == usual.state_dict().keys()
    assert parameters(smooth) == parameters(usual)
    for height, width in ((224, 224), (65, 98), (96, 67)):
        assert map_shapes(smooth, height, width) == map_shapes(usual, height, width)
    first, *others = [layer for layer in smooth.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.stride == (1, 1) for layer in others)
    assert first.stride == next(layer for layer in usual.modules() if isinstance(layer, nn.Conv2d)).stride
    pools = [layer for layer in smooth.modules() if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d))]
    assert all(pool.stride == 1 for pool in pools)


def test_an_antialiased_residual_block_by_hand() -> None:
    usual, smooth = build_backbone("resnet18").eval(), build_backbone("resnet18", antialias=True).eval()
    smooth.load_state_dict(usual.state_dict())
    block, x = usual.network.layer2[0], map_of(8, 10, channels=64)
    conv, shortcut = block.conv1, block.downsample
    with torch.no_grad():
        dense = block.bn1(nn.functional.conv2d(x, conv.weight, padding=1)).relu()
        inner = block.bn2(block.conv2(BlurPool()(dense)))
        outer = shortcut[1](nn.functional.conv2d(BlurPool()(x), shortcut[0].weight))
        torch.testing.assert_close(smooth.network.layer2[0](x), (inner + outer).relu())


def test_an_antialiased_inverted_residual_by_hand() -> None:
    usual, smooth = build_backbone("mobilenet_v2").eval(), build_backbone("mobilenet_v2", antialias=True).eval()
    smooth.load_state_dict(usual.state_dict())
    expand, depthwise, project = usual.stages[1][0].layers
    x = map_of(8, 10, channels=16)
    with torch.no_grad():
        conv, norm, activation = depthwise
        dense = nn.functional.conv2d(expand(x), conv.weight, padding=1, groups=conv.groups)
        expected = project(BlurPool()(activation(norm(dense))))
        torch.testing.assert_close(smooth.stages[1][0](x), expected)


# dilation


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn", "densenet121", "googlenet", "mobilenet_v2"])
def test_dilation_keeps_every_value_and_adds_those_between(name: str, output_stride: int) -> None:
    torch.manual_seed(0)
    usual = build_backbone(name).eval()
    dense = build_backbone(name, output_stride=output_stride).eval()
    dense.load_state_dict(usual.state_dict())
    x = torch.randn(1, 3, 97, 129)
    with torch.no_grad():
        maps = zip(usual(x), dense(x), usual.strides, dense.strides, strict=True)
        for coarse, fine, stride, fine_stride in maps:
            assert fine_stride == min(stride, output_stride)
            step = stride // fine_stride
            rows, columns = coarse.shape[2:]
            common = fine[:, :, ::step, ::step][:, :, :rows, :columns]
            torch.testing.assert_close(common, coarse, rtol=1e-4, atol=1e-5 * float(coarse.abs().max()))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "lenet5"])
def test_dilated_maps_have_the_stride_asked_for(name: str, output_stride: int) -> None:
    usual = on_meta(name)
    if output_stride > usual.strides[-1]:
        with pytest.raises(UsageError, match=f"backbone {name} ends at stride 16: an output stride of 32 is no choice"):
            on_meta(name, output_stride=output_stride)
        return
    dense = on_meta(name, output_stride=output_stride)
    assert parameters(dense) == parameters(usual)
    assert dense.channels == usual.channels
    finest = map_shapes(usual, 128, 224)
    for given, stride, shape in zip(map_shapes(dense, 128, 224), dense.strides, finest, strict=True):
        if stride < output_stride:
            assert given == shape
        else:  # as large as the first map of this stride
            assert given[2:] == finest[dense.strides.index(stride)][2:]


def test_agrees_with_torchvisions_own_dilation() -> None:
    own = build_backbone("resnet50", output_stride=8)
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True])
    for path, layer in own.network.named_modules():
        if isinstance(layer, nn.Conv2d):
            other = theirs.get_submodule(path)
            settings = [(conv.stride, conv.padding, conv.dilation) for conv in (layer, other)]
            assert settings[0][0] == settings[1][0]
            if layer.kernel_size != (1, 1):
                assert settings[0] == settings[1]


class HalvesByItself(nn.Module):
    """A backbone without layers for its pools."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(5))
        self.channels, self.strides = (3,) * 5, (1, 2, 4, 8, 16)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.convs[0](x)]
        for conv in self.convs[1:]:
            maps.append(conv(nn.functional.max_pool2d(maps[-1], 2)))
        return maps


def test_says_where_halving_can_not_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "own", f"{__name__}:HalvesByItself")
    with pytest.raises(UsageError, match="backbone own halves its maps outside of its layers"):
        build_backbone("own", output_stride=8)
    with pytest.raises(UsageError, match="backbone own has no layer that halves its maps"):
        build_backbone("own", antialias=True)


# all of them travel


def test_rejects_dropout_where_there_is_none_between_layers() -> None:
    with pytest.raises(UsageError, match="backbone resnet18 has no dropout between its layers"):
        build_backbone("resnet18", dropout=0.3)
    assert build_backbone("densenet121", dropout=0.3).network.features.denseblock1.denselayer1.drop_rate == 0.3
    assert on_meta("nin", dropout=0.25).network.dropout3.p == 0.25


OPTIONS = [
    ("resnet18", {"norm": "group", "antialias": True, "output_stride": 16}),
    ("resnet18", {"norm": "instance"}),
    ("efficientnet_lite0", {"norm": "group", "antialias": True}),
    ("googlenet", {"norm": "none", "output_stride": 16}),
    ("zfnet", {"antialias": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_the_weights_file_rebuilds_it_for_both_engines(name: str, options: dict) -> None:
    torch.manual_seed(0)
    info = info_of(name, head={"backbone": options})
    weights = weights_of(randomised(build(info), 64).eval(), info)
    photos = images(3, 64)
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(photos)
    by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(photos)
    for output, expected in by_torch.items():
        np.testing.assert_allclose(by_onnx[output], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_the_graph_takes_inputs_of_other_sizes(name: str) -> None:
    torch.manual_seed(0)
    info = info_of(name, head={"backbone": {"antialias": True, "norm": "group"}})
    info = replace(info, recipe={**info.recipe, "sizes": [32, 0]})
    weights = weights_of(randomised(build(info), 64).eval(), info)
    for height, width in itertools.product((64, 96), repeat=2):
        photos = images(2, 96)[:, :height, :width]
        by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(photos)
        by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(np.ascontiguousarray(photos))
        scale = np.abs(by_torch["logits"]).max()
        np.testing.assert_allclose(by_onnx["logits"], by_torch["logits"], atol=1e-4 * scale)
