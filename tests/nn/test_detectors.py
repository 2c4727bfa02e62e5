"""Detectors that are trained here: both engines agree, and answers are what their papers' numbers say."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.imaging.boxes import anchor_boxes, decode_boxes, whole_anchors
from cnncli.io.weights import ModelInfo
from cnncli.nn.assemble import build
from cnncli.nn.detectors import Detector, Landmarks, Localizer, raw_answers
from cnncli.nn.heads.efficientdet import LevelNorm
from cnncli.nn.heads.grid import LEAST_SCORE, decode_grid
from cnncli.nn.necks.bifpn import MapNorm
from tests.nn.networks import images, weights_of
from tests.nn.tiny_backbones import tiny_backbones  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("tiny_backbones")

SIDE = 72  # not a multiple of 32: maps of 9, 5 and 3 cells
HEADS = {
    "efficientdet": {"channels": 8, "cells": 1, "norm": "batch"},
    "grid": {"channels": 16},
    "localize": {},
    "landmarks": {"points": 5},
}
ANCHORS = {"efficientdet": 9 * (81 + 25 + 9 + 4 + 1), "grid": 98, "localize": 1, "landmarks": 1}


def info_of(kind: str, backbone: str = "tiny", changes: Mapping[str, Any] = MappingProxyType({})) -> ModelInfo:
    outputs = ("class_logits", "box_codes", *(("points",) if kind == "landmarks" else ()))
    classes = ("face",) if kind == "landmarks" else ("cat", "dog", "hen")
    return ModelInfo(
        name=kind, task="detect", backbone=backbone, head={"kind": kind, **HEADS[kind], **changes}, classes=classes,
        recipe={"input": [SIDE, SIDE], "fill": 127, "category_ids": list(range(len(classes)))}, mean=(127.0,) * 3,
        std=(128.0,) * 3, outputs=outputs, licence="none", source={},
    )  # fmt: skip


def network_of(kind: str, backbone: str = "tiny", changes: Mapping[str, Any] = MappingProxyType({})) -> nn.Module:
    """A network whose batch norms have seen something and whose numbers are not all near zero."""
    torch.manual_seed(0)
    network = build(info_of(kind, backbone, changes))
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = 1
    for parameter in (layer.weight for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))):
        nn.init.normal_(parameter, std=1.4 / parameter[0].numel() ** 0.5)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, SIDE, SIDE))
    return network.eval()


@pytest.mark.parametrize(
    ("kind", "backbone", "changes"),
    [
        *((kind, backbone, {}) for kind in HEADS for backbone in ("tiny", "tiny_vgg")),
        ("efficientdet", "tiny", {"norm": "group"}),
        ("grid", "tiny", {"backbone": {"norm": "group"}}),
    ],
)
def test_engines_agree(kind: str, backbone: str, changes: dict) -> None:
    network = network_of(kind, backbone, changes)
    weights = weights_of(network, info_of(kind, backbone, changes))
    pictures = images(3, SIDE)
    by_torch = TorchEngine(weights, "cpu", "fp32", threads=1).run(pictures)
    by_onnx = OnnxEngine(weights, threads=1, parallel_calls=1).run(pictures)
    assert by_torch["class_logits"].shape == (3, ANCHORS[kind], len(weights.info.classes))
    assert by_torch["box_codes"].shape == (3, ANCHORS[kind], 4)
    for name in weights.info.outputs:
        np.testing.assert_allclose(by_onnx[name], by_torch[name], atol=1e-4, rtol=1e-4)
    told_apart = by_torch["points" if kind == "landmarks" else "box_codes"]
    assert np.ptp(told_apart, axis=0).max() > 1e-3  # or agreement would mean little


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
@pytest.mark.parametrize("kind", HEADS)
def test_goes_on_the_catalogs_backbones(kind: str, backbone: str) -> None:
    with torch.device("meta"):
        network = build(info_of(kind, backbone)).eval()
        logits, codes, *_ = network(torch.zeros(2, 3, SIDE, SIDE))
    assert codes.shape == (2, ANCHORS[kind], 4)
    assert logits.shape[:2] == (2, ANCHORS[kind])


def test_has_as_many_anchors_as_the_task_counts() -> None:
    for side in (64, 100, 130):
        with torch.device("meta"):
            codes = build(info_of("efficientdet", "tiny_vgg")).eval()(torch.zeros(1, 3, side, side))[1]
        assert codes.shape[1] == len(anchor_boxes(side))


def test_refuses_a_backbone_without_the_strides() -> None:
    with pytest.raises(UsageError, match="mobilenet_v2: its maps have strides of 4, 8, 16, 16 px, but head"):
        build(info_of("efficientdet", "mobilenet_v2", {"backbone": {"output_stride": 16}}))


def test_anchors_begin_as_background() -> None:
    logits, _ = build(info_of("efficientdet")).eval()(torch.zeros(1, 3, SIDE, SIDE))
    np.testing.assert_allclose(logits.sigmoid().detach(), 0.01, atol=0.005)


def test_every_level_has_its_own_statistics() -> None:
    layer = LevelNorm(2, "batch").train()
    for _ in range(200):
        layer(torch.randn(4, 2, 5, 5) + 3, 1)
    np.testing.assert_allclose(layer.norms[1].running_mean, 3, atol=0.3)
    assert not layer.norms[0].running_mean.any()


def test_a_single_cell_is_normed_by_what_was_seen() -> None:
    norm = MapNorm(2).train()
    norm.running_mean[:] = torch.tensor([1.0, 2.0])
    x = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    np.testing.assert_allclose(norm(x).flatten().detach(), [2, 3], rtol=1e-4)
    assert norm.running_mean.tolist() == [1, 2]


@pytest.mark.parametrize("kind", HEADS)
def test_answers_raw_in_training_or_when_asked(kind: str) -> None:
    network = network_of(kind)
    wrapped = nn.Sequential(network).eval()
    x = torch.randn(2, 3, SIDE, SIDE)
    answer = wrapped(x)
    with raw_answers(wrapped) as detector:
        raw = wrapped(x)
        assert not any(layer.training for layer in network.modules() if layer is not network)
    assert not network.training
    for again, before in zip(detector.decode(*raw), answer, strict=True):
        assert torch.equal(again, before)
    shapes = [tuple(part.shape) for part in raw]
    assert (
        shapes
        == {
            "efficientdet": [(2, ANCHORS["efficientdet"], 3), (2, ANCHORS["efficientdet"], 4)],
            "grid": [(2, 7, 7, 2, 5), (2, 7, 7, 3)],
            "localize": [(2, 4), (2, 4)],
            "landmarks": [(2, 5, 2)],
        }[kind]
    )


def boxes_of(codes: Tensor, side: int) -> np.ndarray:
    return decode_boxes(codes.detach().numpy(), whole_anchors(side, len(codes)))


def test_grid_says_where_by_cells_and_roots() -> None:
    """Row 2, column 5 of 7 x 7 cells of 10 px: centre (50 + 2.5, 20 + 5), a quarter and a ninth of 70 px."""
    boxes, classes = torch.zeros(1, 7, 7, 2, 5), torch.zeros(1, 7, 7, 3)
    boxes[0, 2, 5, 1] = torch.tensor([0.25, 0.5, 1 / 2, 1 / 3, 0.8])
    classes[0, 2, 5] = torch.tensor([0.1, 0.9, -0.2])
    logits, codes = decode_grid(boxes, classes)
    place = (2 * 7 + 5) * 2 + 1
    half_width, half_height = 70 / 4 / 2, 70 / 9 / 2
    expected = [52.5 - half_width, 25 - half_height, 52.5 + half_width, 25 + half_height]
    np.testing.assert_allclose(boxes_of(codes[0], 70)[place], expected, rtol=1e-5)
    np.testing.assert_allclose(logits.sigmoid()[0, place], [0.08, 0.72, LEAST_SCORE], rtol=1e-4)
    others = torch.cat([logits[0, :place], logits[0, place + 1 :]])
    np.testing.assert_allclose(others.sigmoid(), LEAST_SCORE, rtol=1e-3)


def test_localizer_gives_the_likeliest_class_or_nothing() -> None:
    network = Localizer(nn.Identity(), nn.Identity())
    logits = torch.tensor([[0.6, 0.1, 0.1, 0.2], [0.2, 0.3, 0.1, 0.4]]).log()
    boxes = torch.tensor([[0.5, 0.25, 0.2, 0.1], [0.5, 0.5, 1.0, 1.0]])
    scores, codes = network.decode(logits, boxes)
    least = LEAST_SCORE
    expected = [[[0.6, least, least]], [[least, least, least]]]  # "nothing" is the likeliest of the second photo
    np.testing.assert_allclose(scores.sigmoid(), expected, rtol=1e-4)
    np.testing.assert_allclose(boxes_of(codes[0], 100), [[40, 20, 60, 30]], rtol=1e-5)


def test_landmarks_lie_in_their_box() -> None:
    network = Landmarks(nn.Identity(), nn.Identity())
    points = torch.tensor([[[0.2, 0.9], [0.6, 0.1], [0.4, 0.4]]])
    scores, codes, answer = network.decode(points)
    np.testing.assert_allclose(boxes_of(codes[0], 100), [[20, 10, 60, 90]], rtol=1e-5)
    assert torch.equal(answer, points)
    assert scores.shape == (1, 1, 1)
    assert float(scores.sigmoid()) == 1


def test_one_landmark_has_a_box() -> None:
    _, codes, _ = Landmarks(nn.Identity(), nn.Identity()).decode(torch.tensor([[[0.5, 0.25]]]))
    np.testing.assert_allclose(boxes_of(codes[0], 200), [[99, 49, 101, 51]], rtol=1e-5)


def test_is_found_in_whatever_wraps_it() -> None:
    network = nn.Sequential(nn.Sequential(network_of("localize"))).eval()
    with raw_answers(network) as detector:
        assert isinstance(detector, Detector)
        assert detector.training
