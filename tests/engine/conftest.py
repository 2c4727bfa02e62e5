"""The shipped models and the example photos as their inputs."""

import numpy as np
import pytest
from PIL import Image

from cnncli.catalog import MODELS
from cnncli.io.store import shipped_folder
from cnncli.io.weights import Weights, load_weights
from cnncli.tasks.classify import Classify, ClassifyOptions
from tests.conftest import PHOTOS

CLASSIFIERS = [name for name, entry in MODELS.items() if entry.task == "classify"]
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@pytest.fixture(scope="session", params=CLASSIFIERS)
def each_model(request: pytest.FixtureRequest) -> Weights:
    return load_weights(shipped_folder() / f"{request.param}.safetensors")


@pytest.fixture(scope="session")
def lite0() -> Weights:
    return load_weights(shipped_folder() / "efficientnet_lite0.safetensors")


def batch_for(weights: Weights) -> np.ndarray:
    """Each example photo as it is and mirrored, prepared for a model: uint8 (8, height, width, 3)."""
    task = Classify({"classify": weights.info}, ClassifyOptions())
    photos = [np.asarray(Image.open(PHOTOS / name).convert("RGB")) for name in NAMES]
    return np.stack([task.prepare(np.ascontiguousarray(view)) for photo in photos for view in (photo, photo[:, ::-1])])


def scores(engine, batch: np.ndarray) -> np.ndarray:
    logits = engine.run(batch)["logits"].astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
