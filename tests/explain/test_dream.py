"""Dreams: the picture's parameters against plain Fourier sums, and an ascent that is known to have one answer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cnncli.config import EngineConfig
from cnncli.errors import UsageError
from cnncli.explain.dream import (
    Goal,
    Settings,
    as_input,
    channel_goals,
    class_goals,
    colours_of,
    dream,
    fitted,
    usual_steps,
)
from cnncli.explain.image_parameters import EDGE, FourierImage, moved, off_grey, total_variation
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject
from cnncli.nn.tracing import Operation

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def lite() -> Subject:
    return open_subject(EngineConfig(model="efficientnet_lite0", device="cpu", threads=1))


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (10, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_comes_back_from_its_parameters(size: tuple[int, int], channels: int) -> None:
    photo = torch.rand(1, channels, *size, generator=generator(1))
    image = FourierImage(channels, size, generator(), CPU)
    image.begin_with(photo)
    torch.testing.assert_close(image.picture().detach(), photo.clamp(EDGE, 1 - EDGE), atol=1e-5, rtol=0)


def test_a_number_of_the_spectrum_is_one_wave() -> None:
    image = FourierImage(1, (16, 16), generator(), CPU)
    image.spectrum.data.zero_()
    assert (image.picture() == 0.5).all()
    image.spectrum.data[0, 0, 3, 2, 0] = 1.0
    logits = image.picture()[0, 0].logit().detach()
    rows, columns = np.mgrid[:16, :16]
    wave = torch.from_numpy(np.cos(2 * np.pi * (3 * rows + 2 * columns) / 16)).float()
    torch.testing.assert_close(logits / logits.max(), wave, atol=1e-4, rtol=0)


def test_coarse_waves_weigh_more_than_fine_ones() -> None:
    heights = []
    for row in (1, 2, 4, 8):
        image = FourierImage(1, (16, 16), generator(), CPU)
        image.spectrum.data.zero_()
        image.spectrum.data[0, 0, row, 1, 0] = 0.1
        heights.append(float(image.picture().detach().logit().max()))
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > 4 * heights[3]


def test_total_variation_and_distance_from_grey_by_hand() -> None:
    picture = torch.tensor([[[[0.5, 1.0], [0.0, 0.5]]]])
    assert total_variation(picture).tolist() == pytest.approx([0.25 + 0.25 + 0.25 + 0.25])
    assert off_grey(picture).tolist() == pytest.approx([0.25 + 0.25])


def test_movements_are_small_and_repeatable() -> None:
    middle = torch.zeros(1, 1, 64, 64)
    middle[..., 31:33, 31:33] = 1
    places = set()
    for seed in range(12):
        found = moved(middle, generator(seed))
        torch.testing.assert_close(found, moved(middle, generator(seed)))
        row, column = divmod(int(found.argmax()), 64)
        assert abs(row - 31.5) <= 64 / 16 + 1.5
        assert abs(column - 31.5) <= 64 / 16 + 1.5
        places.add((row, column))
    assert len(places) > 6


class Spot(Goal):
    """A bright middle in the dark: no network is needed to know what raises it."""

    name = "spot"

    def value(self, images: Tensor) -> Tensor:
        return 2 * images[:, :, 8:24, 8:24].mean((1, 2, 3)) - images.mean((1, 2, 3))

    def operations(self, size: tuple[int, int]) -> list[Operation]:
        return []


def plain_subject() -> Any:
    limits = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    info = SimpleNamespace(mean=(0, 0, 0), recipe={})
    return SimpleNamespace(device=CPU, limits=limits, info=info)


def test_finds_what_is_sought() -> None:
    found = dream(plain_subject(), Spot(), Settings(80), (32, 32), None)
    middle, corners = found.picture[:, 12:20, 12:20], found.picture[:, [[0], [31]], [0, 31]]
    assert middle.mean() > 0.8
    assert corners.mean() < middle.mean() - 0.3
    assert found.before == pytest.approx(0.5, abs=0.05)
    assert found.after == pytest.approx(
        2 * float(found.picture[:, 8:24, 8:24].mean() - found.picture.mean() / 2), abs=1e-5
    )


def test_a_photo_is_where_it_begins() -> None:
    photo = torch.rand(1, 3, 24, 24, generator=generator(5))
    found = dream(plain_subject(), Spot(), Settings(1), (24, 24), photo)
    torch.testing.assert_close(found.picture, photo[0], atol=0.1, rtol=0)
    assert found.before == pytest.approx(float(2 * photo[..., 8:24, 8:24].mean() - photo.mean()), abs=1e-3)


def test_a_seed_gives_the_same_picture_and_another_another() -> None:
    first, again, other = (
        dream(plain_subject(), Spot(), Settings(3, seed), (16, 16), None).picture for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_channel_of_a_network_is_raised(lite: Subject) -> None:
    goal = channel_goals(lite, "12", "7", (64, 64))[0]
    found = dream(lite, goal, Settings(12), (64, 64), None)
    with torch.no_grad(), lite.watched("backbone.stages.2.0.layers.2.0") as given:
        lite.network(as_input(lite, found.picture[None]))
    assert found.after == pytest.approx(float(given[0][0, 7].mean()), rel=1e-4)
    assert found.after > found.before + 1


def test_a_class_is_read_as_its_score(lite: Subject) -> None:
    goal = class_goals(lite, ["Egyptian cat"], (64, 64))[0]
    images = as_input(lite, torch.rand(1, 3, 64, 64, generator=generator()))
    with torch.no_grad():
        logits = lite.network(images)[0]
    index = lite.info.classes.index("Egyptian cat")
    assert goal.reading(images) == pytest.approx(float(F.softmax(logits, 1)[0, index]), rel=1e-5)
    assert float(goal.value(images)) == pytest.approx(float(logits[0, index]), rel=1e-5)
    assert goal.entries == {"label": "Egyptian cat", "index": index}


def test_networks_that_take_long_get_fewer_steps(lite: Subject) -> None:
    goal = class_goals(lite, ["volcano"], (64, 64))[0]
    steps = [usual_steps(goal, (side, side), False) for side in (64, 768, 2048)]
    assert steps[0] == 256 > steps[1] > steps[2] == 32
    assert usual_steps(goal, (64, 64), True) == 64
    early = channel_goals(lite, "2", "0", (64, 64))[0]
    assert usual_steps(early, (768, 768), False) == 256


def test_a_photo_fills_the_input() -> None:
    photo = np.zeros((40, 100, 3), np.uint8)
    photo[:, 40:60] = 255
    found = fitted(photo, (20, 20))
    assert found.shape == (1, 3, 20, 20)
    assert found[..., :3].max() < 0.1
    assert found[..., 7:13].min() > 0.9


@pytest.mark.parametrize("name", ["yunet", "ffdnet_color", "sface"])
def test_black_and_white_as_each_network_takes_them(name: str) -> None:
    subject = open_subject(EngineConfig(model=name, device="cpu", threads=1))
    channels, white = len(subject.info.mean), 1.0 if name == "ffdnet_color" else 255.0
    pixels = np.zeros((2, 2, channels), np.float32)
    pixels[0, :, :3] = white
    pixels[..., 3:] = 25 / 255
    pictures = torch.zeros(1, colours_of(subject), 2, 2)
    pictures[:, :, 0] = 1
    torch.testing.assert_close(as_input(subject, pictures), subject.normalised(pixels))


@pytest.mark.parametrize(("steps", "seed"), [(0, 0), (-1, 0), (8, -1)])
def test_rejects_settings(steps: int, seed: int) -> None:
    with pytest.raises(UsageError):
        Settings(steps, seed)


@pytest.mark.parametrize(
    ("model", "label", "words"),
    [
        ("sface", "this face", "knows no classes"),
        ("ffdnet_color", "cat", "answers with a picture"),
        ("yunet", "dog", "no such class"),
    ],
)
def test_rejects_labels(model: str, label: str, words: str) -> None:
    subject = open_subject(EngineConfig(model=model, device="cpu", threads=1))
    with pytest.raises(UsageError, match=words):
        class_goals(subject, [label], (112, 112) if model == "sface" else (64, 64))
