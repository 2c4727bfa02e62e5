"""Covering parts of a photo: against captum's Occlusion, and on a network whose answer hangs on one pixel."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import nn

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.occlusion import Occlusion, cover_of, half_area, places, spread
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


def one_pixel(row: int, column: int, pixels: float) -> nn.Module:
    """A classifier of two classes, of which the first is the brighter that pixel is; 0 where it is 0."""

    class Looks(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            value = images[:, 0, row, column] * pixels
            return torch.stack([value, torch.zeros_like(value)], 1), value[:, None]

    return Looks()


def test_matches_captum(lite0: Subject, noise: np.ndarray) -> None:
    arrays = Occlusion("tiger cat", patch=64, step=32, fill="grey").look(lite0, noise)
    images = lite0.normalised(noise)
    target = lite0.target(images, "tiger cat")
    black, white = lite0.limits
    second = CaptumOcclusion(lambda batch: lite0.score(batch, target)).attribute(
        images, (3, 64, 64), (3, 32, 32), ((black + white) / 2).expand_as(images)
    )
    expected = second[0, 0].numpy()
    assert arrays["drops"].shape == (6, 6)
    assert np.abs(arrays["heat"] - expected).max() < 1e-3 * np.abs(expected).max()


def test_finds_the_one_pixel_that_counts(lite0: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "network", one_pixel(100, 30, 1.0))
    pixels = np.full((224, 224, 3), 127, np.uint8)  # 0, once normalised
    pixels[100, 30] = 254
    name = lite0.info.classes[0]
    arrays = Occlusion(name, patch=20, step=10, fill="black").look(lite0, pixels)
    score = 1 / (1 + np.exp(-127 / 128))
    black = 1 / (1 + np.exp(127 / 128))
    tops, lefts = arrays["tops"].tolist(), arrays["lefts"].tolist()
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            covers = top <= 100 < top + 20 and left <= 30 < left + 20
            assert arrays["drops"][row, column] == pytest.approx(score - black if covers else 0, abs=1e-6)
    entries, _ = Occlusion(name, patch=20, step=10, fill="black").describe(lite0, arrays)
    assert entries["largest_drop"] == pytest.approx(score - black, abs=1e-6)
    assert entries["peak"] == [round(30 / 224, 4), round(100 / 224, 4)]  # patch from 90 and 20: the first that covers


def test_no_peak_where_nothing_drops(lite0: Subject, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "network", one_pixel(100, 30, 0.0))
    method = Occlusion(lite0.info.classes[0], patch=100, step=100)
    entries, _ = method.describe(lite0, method.look(lite0, noise))
    assert (entries["score"], entries["largest_drop"]) == (0.5, 0)
    assert entries["peak"] is None and entries["half_area"] is None


def test_places_cover_every_pixel_and_stay_inside() -> None:
    assert places((10, 12), 4, 3) == ([0, 3, 6], [0, 3, 6, 8])
    assert places((4, 9), 4, 5) == ([0], [0, 5])
    assert places((3, 9), 4, 5)[0] == [0]


@pytest.mark.parametrize(("side", "patch", "step"), [(260, 32, 12), (224, 32, 11), (64, 32, 2), (513, 32, 26)])
def test_steps_by_themselves_make_up_to_20_places(side: int, patch: int, step: int) -> None:
    assert Occlusion(patch=patch)._step((side, side)) == step
    assert len(places((side, side), patch, step)[0]) <= 20


def test_spread_is_the_mean_of_what_covers() -> None:
    heat = spread(np.array([[1.0, 3.0]]), [0], [0, 1], 2, (2, 4))
    assert heat.tolist() == [[1, 2, 3, 0], [1, 2, 3, 0]]


def test_half_area() -> None:
    assert half_area(np.array([[4.0, 1.0], [3.0, -9.0]])) == 1 / 4  # 4 of 8
    assert half_area(np.array([[2.0, 2.0], [2.0, 2.0]])) == 2 / 4
    assert half_area(np.array([[0.0, -1.0]])) is None


def test_fills(lite0: Subject, noise: np.ndarray) -> None:
    images = lite0.normalised(noise)

    def colour(fill: str) -> np.ndarray:
        return lite0.pixels(cover_of(fill, lite0, images, 32))

    assert np.allclose(colour("mean"), noise.mean((0, 1)), atol=1e-3)
    assert np.allclose(colour("black"), 0, atol=1e-4)
    assert np.allclose(colour("grey"), 127.5, atol=1e-4)
    inner = colour("blur")[60:160, 60:160]
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < noise.std() / 10


def test_an_embedding_loses_similarity_to_itself() -> None:
    sface = open_subject(EngineConfig("sface", device="cpu", threads=1))
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    method = Occlusion(patch=56, step=56, fill="black")
    drops = method.look(sface, face)["drops"]
    covered = face.copy()
    covered[:56, 56:] = 0
    with torch.no_grad():
        whole, part = (sface.outputs(sface.normalised(pixels))[sface.info.outputs[0]][0] for pixels in (face, covered))
    expected = 1 - torch.cosine_similarity(whole, part, dim=0).clamp(0, 1)
    assert drops.shape == (2, 2)
    assert drops[0, 1] == pytest.approx(float(expected), abs=1e-5)
    assert drops[0, 1] > 0.01


@pytest.mark.parametrize(
    ("options", "words"), [({"patch": 0}, "--patch 0"), ({"step": 0}, "--step 0"), ({"fill": "pink"}, "--fill pink")]
)
def test_rejects(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Occlusion(**options)


def test_rejects_a_patch_as_large_as_the_input(lite0: Subject, noise: np.ndarray) -> None:
    with pytest.raises(UsageError, match="--patch 224: covers all"):
        Occlusion(patch=224).look(lite0, noise)


def test_draws_rises_in_blue_and_drops_in_red(lite0: Subject, noise: np.ndarray) -> None:
    method = Occlusion(patch=112, step=112)
    heat = np.zeros((224, 224), np.float32)
    heat[:112], heat[112:] = 0.5, -0.5
    found = Explanation({"label": "cat", "score": 0.5, "step": 112}, "", noise, {"heat": heat})
    picture = method.draw(lite0, Photo(np.full((300, 300, 3), 90, np.uint8)), found).astype(int)
    red, blue = (picture[..., 0] - picture[..., 2] > 20), (picture[..., 2] - picture[..., 0] > 20)
    assert red[: len(red) // 2].sum() > 10_000 and blue[len(blue) // 2 :].sum() > 10_000
