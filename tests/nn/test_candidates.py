"""The step on the device gives the very answer of the NumPy version, ties included."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cnncli.io.store import model_path
from cnncli.io.weights import read_info
from cnncli.nn.candidates import Candidates, detection_candidates
from cnncli.tasks.detect import Detect, DetectOptions

INFO = read_info(model_path("efficientdet_lite0"))
ANCHORS, CLASSES = 19206, 90


def outputs(seed: int, digits: int = 3) -> dict[str, np.ndarray]:
    """Random answers of which a few hundred are over -2; rounded, so that many are equal."""
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(-6, 1.2, (ANCHORS, CLASSES)), digits).astype(np.float32)
    return {"class_logits": logits, "box_codes": random.normal(0, 1, (ANCHORS, 4)).astype(np.float32)}


def reduced(task: Detect, dense: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    step = detection_candidates(task)
    answers = step(*(torch.from_numpy(dense[name])[None] for name in ("class_logits", "box_codes")))
    return {name: value[0].numpy() for name, value in zip(step.outputs, answers, strict=True)}


@pytest.mark.parametrize("classes", [(), ("dog", "person")])
@pytest.mark.parametrize("conf", [0.05, 0.15])
def test_same_detections_as_without_it(classes: tuple[str, ...], conf: float) -> None:
    task = Detect({"detect": INFO}, DetectOptions(conf=conf, classes=classes))
    for seed in range(3):
        dense = outputs(seed)
        first, second = (_detections(task, answer) for answer in (dense, reduced(task, dense)))
        assert first == second
        assert len(first) > 0


def test_keeps_the_best_of_the_wanted_in_the_order_of_anchors() -> None:
    logits = torch.tensor([[[5.0, 1.0], [9.0, 3.0], [7.0, 2.0]]])
    codes = torch.arange(12.0).reshape(1, 3, 4)
    values, kept, index = Candidates(2, wanted=[1], count=2)(logits, codes)
    assert values.tolist() == [[3.0, 2.0]]
    assert index.tolist() == [[3, 5]]
    assert kept.tolist() == [[[4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0]]]


def test_lets_nan_through_to_be_noticed() -> None:
    dense = outputs(0)
    dense["class_logits"][7, 3] = np.nan
    task = Detect({"detect": INFO}, DetectOptions())
    assert np.isnan(reduced(task, dense)["class_logits"]).any()


def _detections(task: Detect, answer: dict[str, np.ndarray]) -> list:
    steps = task.analyse(np.zeros((240, 320, 3), np.uint8))
    next(steps)
    end = SimpleNamespace(value=None)
    try:
        steps.send(answer)
    except StopIteration as stop:
        end = stop
    return list(end.value.detections)
