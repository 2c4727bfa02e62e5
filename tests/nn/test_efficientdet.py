"""EfficientDet's parts against the paper's counts, TensorFlow's definitions and the classifier's features."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.imaging.geometry import letterbox
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, load_weights, read_info
from cnncli.nn.assemble import build, build_backbone
from cnncli.nn.backbones.efficientnet_lite import EfficientNetLite
from cnncli.nn.blocks import ConvNormAct, SameMaxPool2d
from cnncli.nn.checkpoint import load_model
from cnncli.nn.heads.efficientdet import LevelScale, SharedHead
from cnncli.nn.necks.bifpn import BiFPN, Cell, _enlarged
from tests.conftest import PHOTOS

MODELS = {"efficientdet_lite0": 3_219_518, "efficientdet_lite2": 5_213_590}
LEVEL_SIZES = {"efficientdet_lite0": (40, 20, 10, 5, 3), "efficientdet_lite2": (56, 28, 14, 7, 4)}


def detector(name: str) -> nn.Module:
    return build(read_info(model_path(name))).eval()


def loaded(name: str) -> Weights:
    return load_weights(model_path(name))


@pytest.mark.parametrize(("name", "count"), MODELS.items())
def test_counts_the_published_parameters(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in detector(name).parameters()) == count


@pytest.mark.parametrize("name", MODELS)
def test_backbone_is_of_the_classifiers_class(name: str) -> None:
    classifier = build(read_info(model_path(name.replace("efficientdet", "efficientnet"))))
    assert type(detector(name).backbone) is type(classifier.backbone) is EfficientNetLite


def folded_state(backbone: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters of the folded twin: weight times gamma / sigma, bias beta - mean times the same."""
    state = {}
    for name, unit in backbone.named_modules():
        if isinstance(unit, ConvNormAct):
            convolution, norm = unit[0], unit[1]
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            state[f"{name}.0.weight"] = convolution.weight * factor.view(-1, 1, 1, 1)
            state[f"{name}.0.bias"] = norm.bias - norm.running_mean * factor
    return state


@torch.inference_mode()
def test_folded_backbone_gives_the_classifiers_features() -> None:
    weights = loaded("efficientnet_lite0")
    classifier = load_model(weights).eval().model.backbone
    folded = build_backbone("efficientnet_lite0", folded=True).eval()
    folded.load_state_dict(folded_state(classifier))
    pixels = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB").resize((224, 224)))
    image = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - 127) / 128
    for theirs, ours in zip(classifier(image), folded(image), strict=True):
        assert theirs.std() > 0.1
        assert (theirs - ours).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(7, 7), (4, 4), (5, 6), (1, 1), (2, 3)])
def test_pools_as_tensorflow_defines_it(size: tuple[int, int]) -> None:
    """SAME: ceil(n / 2) windows of 3; max((ceil(n / 2) - 1) 2 + 3 - n, 0) cells outside, half rounded down before."""
    x = -1 - torch.rand(1, 2, *size)  # below zero: padding with zeros would show
    expected = np.empty((2, -(-size[0] // 2), -(-size[1] // 2)), np.float32)
    before = [max((-(-n // 2) - 1) * 2 + 3 - n, 0) // 2 for n in size]
    for row, column in np.ndindex(*expected.shape[1:]):
        top, left = row * 2 - before[0], column * 2 - before[1]
        window = x[0, :, max(top, 0) : top + 3, max(left, 0) : left + 3]
        expected[:, row, column] = window.amax(dim=(1, 2))
    np.testing.assert_array_equal(SameMaxPool2d(3, 2)(x)[0], expected)


@pytest.mark.parametrize(("small", "large"), [(4, 7), (3, 5), (5, 10), (2, 3)])
def test_enlarges_by_flooring(small: int, large: int) -> None:
    source = torch.arange(small * small, dtype=torch.float32).view(1, 1, small, small)
    index = [target * small // large for target in range(large)]
    expected = source[0, 0][index][:, index]
    np.testing.assert_array_equal(_enlarged(source, torch.zeros(1, 1, large, large))[0, 0], expected)


@torch.inference_mode()
def test_cell_adds_what_the_paper_connects() -> None:
    """With nodes that pass their input on, constant maps of levels 3 to 7 add up along the paper's arrows."""
    cell = Cell(1)
    cell.nodes = nn.ModuleList(nn.Identity() for _ in range(8))
    levels = {13: 1.0, 7: 10.0, 4: 100.0, 2: 1e3, 1: 1e4}  # cells and value
    down = [torch.full((1, 1, n, n), value) for n, value in levels.items()]
    up = [torch.full((1, 1, 7, 7), 20.0), torch.full((1, 1, 4, 4), 200.0), down[3], down[4]]
    m6 = 1e3 + 1e4
    m5 = 100 + m6
    m4 = 10 + m5
    o3 = 1 + m4
    o4 = 20 + m4 + o3
    o5 = 200 + m5 + o4
    o6 = 1e3 + m6 + o5
    o7 = 1e4 + o6
    for level, expected in zip(cell(down, up), (o3, o4, o5, o6, o7), strict=True):
        assert (level == expected).all()


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_pyramid_has_the_papers_levels(name: str) -> None:
    info = read_info(model_path(name))
    sizes = LEVEL_SIZES[name]
    channels = (8, 12, 16)
    maps = [torch.rand(1, c, n, n) for c, n in zip(channels, sizes, strict=False)]
    levels = BiFPN(channels, info.head["channels"], 2)(*maps)
    assert [tuple(level.shape) for level in levels] == [(1, info.head["channels"], n, n) for n in sizes]


@torch.inference_mode()
def test_head_orders_level_row_column_anchor() -> None:
    """A head that answers with each cell's own number, shifted by level, plus 0.01 an anchor and 0.001 a value."""
    head = SharedHead(1, values=3, anchors=2, repeats=1)
    for separable in (head.convolutions[0], head.predict):
        nn.init.dirac_(separable[0].weight)
        nn.init.ones_(separable[1].weight)
    head.predict[1].bias.copy_(torch.tensor([0.01 * anchor + 0.001 * value for anchor in (0, 1) for value in range(3)]))
    head.scales[0].shift.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]).view(-1, 1, 1, 1))
    head.activation = nn.Identity()
    sizes = (3, 2), (2, 2), (2, 1), (1, 2), (1, 1)
    maps = [torch.arange(rows * columns, dtype=torch.float32).view(1, 1, rows, columns) for rows, columns in sizes]
    expected = [
        [cell + 0.1 * level + 0.01 * anchor + 0.001 * value for value in range(3)]
        for level, (rows, columns) in enumerate(sizes)
        for cell in range(rows * columns)
        for anchor in (0, 1)
    ]
    np.testing.assert_allclose(head(maps)[0], expected, atol=1e-5)


def test_scales_each_level_by_its_own() -> None:
    scale = LevelScale(2)
    with torch.no_grad():
        scale.scale[3] = torch.tensor([2.0, 3.0]).view(2, 1, 1)
        scale.shift[3] = torch.tensor([0.5, -1.0]).view(2, 1, 1)
    x = torch.ones(1, 2, 1, 1)
    assert scale(x, 3).flatten().tolist() == [2.5, 2.0]
    assert scale(x, 2).flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", MODELS)
def test_engines_agree_on_photos(name: str) -> None:
    weights = loaded(name)
    size = weights.info.recipe["input"][0]
    photos = [np.asarray(Image.open(PHOTOS / file).convert("RGB")) for file in ("chelsea.png", "rocket.jpg")]
    batch = np.stack([letterbox(photo, size, 127)[0] for photo in photos])
    by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(batch)
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(batch)
    anchors = 9 * sum(n * n for n in LEVEL_SIZES[name])
    assert by_onnx["class_logits"].shape == (2, anchors, 90)
    assert by_onnx["box_codes"].shape == (2, anchors, 4)
    for output in ("class_logits", "box_codes"):
        np.testing.assert_allclose(by_onnx[output], by_torch[output], atol=1e-3)
