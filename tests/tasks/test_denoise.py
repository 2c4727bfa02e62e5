"""The denoise task: pixels of every kind there and back, tiles without seams, and FFDNet's gain."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import InputError, UsageError
from cnncli.imaging.noise import add_noise, add_noise_to_samples, psnr
from cnncli.io.images import Photo
from cnncli.io.pictures import encode
from cnncli.io.store import model_path
from cnncli.io.stored import decode_stored
from cnncli.io.weights import load_weights
from cnncli.results.denoise import Denoised
from cnncli.tasks.base import Request
from cnncli.tasks.denoise import GREY_FACTOR, Denoise, DenoiseOptions, network_input, stepped_grid
from tests.conftest import PHOTOS
from tests.tasks.driving import finish, model_info

INFO = model_info("denoise", {"sizes": [2, 0], "sigma_range": [0, 75], "radius": 24}, ("denoised",))
PHOTO = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))
TYPES = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
SIZES = [(1, 1), (1, 2), (2, 1), (1, 131), (65, 67), (64, 64), (130, 200)]


def same(request: Request) -> dict[str, np.ndarray]:
    """A network that finds no noise."""
    height, width, channels = request.array.shape
    assert (request.model, height % 2, width % 2, channels) == ("denoise", 0, 0, 4)
    assert request.array.dtype == np.float32
    return {"denoised": request.array[..., :3].transpose(2, 0, 1)}


def black(request: Request) -> dict[str, np.ndarray]:
    return {"denoised": np.zeros((3, *request.array.shape[:2]), np.float32)}


def task(**options) -> Denoise:
    return Denoise({"denoise": INFO}, DenoiseOptions(**options))


def cleaned(image: np.ndarray, network=same, **options) -> Denoised:
    return finish(task(**options).analyse(image), network)[0]


def random_image(height: int, width: int, kind: str, grey: bool) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width) if grey else (height, width, 3))
    return (values * TYPES[kind]).round().astype(kind) if kind.startswith("u") else values.astype(kind)


@pytest.mark.parametrize("tile", [None, 64])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_gives_back_what_holds_no_noise(height: int, width: int, kind: str, grey: bool, tile: int | None) -> None:
    image = random_image(height, width, kind, grey)
    before = image.copy()
    found = cleaned(image, sigma=25, tile=tile, tile_overlap=8)
    assert found.pixels.dtype == image.dtype and found.pixels.shape == image.shape
    np.testing.assert_allclose(found.pixels, image, rtol=0, atol=1e-6 if kind.startswith("f") else 0)
    np.testing.assert_array_equal(image, before)
    assert found.sigma == 25 and (found.tiles == 1) == (tile is None or max(height, width) <= 64)


def test_prepares_colours_and_level_for_the_network() -> None:
    image = np.array([[[0, 51, 255], [10, 20, 30], [40, 50, 60]]], np.uint8)
    values = network_input(image, (slice(0, 2), slice(0, 4)), 51)
    assert values.shape == (2, 4, 4)
    np.testing.assert_allclose(values[0, :3, :3] * 255, image[0], atol=1e-4)
    np.testing.assert_array_equal(values[1], values[0])  # repeated below, and to the right
    np.testing.assert_array_equal(values[:, 3], values[:, 2])
    np.testing.assert_allclose(values[..., 3], 0.2)


def test_shows_grey_as_three_equal_channels() -> None:
    values = network_input(random_image(4, 4, "uint16", grey=True), (slice(0, 4), slice(0, 4)), 10)
    np.testing.assert_array_equal(values[..., :3], np.repeat(values[..., :1], 3, axis=2))


@pytest.mark.parametrize("strength", [0.25, 0.5, 1])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_strength_is_the_part_of_the_noise_that_goes(kind: str, strength: float) -> None:
    image = random_image(20, 30, kind, grey=False)
    found = cleaned(image, black, sigma=25, strength=strength)
    slack = 1e-6 if kind == "float32" else 0.51
    assert np.abs(found.pixels - image * (1.0 - strength)).max() <= slack


@pytest.mark.parametrize("options", [{"sigma": 0}, {"sigma": 25, "strength": 0}])
def test_asks_no_network_where_nothing_is_to_go(options: dict) -> None:
    found, requests = finish(task(**options).analyse(PHOTO), same)
    assert not requests and found.tiles == 0
    np.testing.assert_array_equal(found.pixels, PHOTO)


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_estimates_the_noise(sigma: float) -> None:
    smooth = np.asarray(Image.fromarray(PHOTO[:8, :8]).resize((400, 300), Image.Resampling.BICUBIC)) / 255
    found = cleaned(np.clip(add_noise(smooth * 0.2 + 0.4, sigma, seed=0), 0, 1))
    assert found.sigma == pytest.approx(sigma, rel=0.03)


def test_estimates_no_more_than_the_network_knows() -> None:
    assert cleaned(np.random.default_rng(0).integers(0, 2, (64, 64, 3), np.uint8) * np.uint8(255)).sigma == 75


def test_refuses_a_level_that_the_network_does_not_know() -> None:
    with pytest.raises(UsageError, match="--sigma 76: stub for denoise knows noise levels up to 75"):
        task(sigma=76)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 1.1}, "--strength 1.1"),
        ({"strength": float("nan")}, "--strength nan"),
        ({"tile": 63}, "--tile 63"),
        ({"tile": 64, "tile_overlap": 33}, "--tile-overlap 33"),
        ({"tile_overlap": -1}, "--tile-overlap -1"),
        ({"sigma": -1}, "--sigma -1"),
        ({"sigma": float("nan")}, "--sigma nan"),
        ({"add_noise": 256}, "--add-noise 256"),
        ({"add_noise": 5, "sigma": 5}, "leave --sigma"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_rejects_options_out_of_range(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DenoiseOptions(**options)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.int32), np.zeros((4, 4), np.int8), np.full((4, 4), 100.0)])
def test_refuses_numbers_that_are_no_brightness(image: np.ndarray) -> None:
    for options in ({}, {"sigma": 0}, {"add_noise": 5}):
        with pytest.raises(InputError, match=r"convert it|black 0, white 1"):
            cleaned(image, **options)


def test_takes_back_the_noise_that_it_made() -> None:
    noisy = cleaned(np.linspace(0, 1, 6400, dtype=np.float32).reshape(80, 80), add_noise=75).pixels
    assert noisy.min() < 0 and noisy.max() > 1
    assert cleaned(noisy, sigma=75).pixels.min() >= 0


@pytest.mark.parametrize("kind", TYPES)
def test_adds_noise_of_its_own_to_each_photo(kind: str) -> None:
    """Numbers as `imaging.noise` draws them; a seed for the photo is made of the user's and of its pixels."""
    image, other = random_image(40, 50, kind, grey=False), random_image(41, 50, kind, grey=False)
    add_to = Denoise({}, DenoiseOptions(add_noise=20, seed=3))
    one, again, third = (finish(add_to.analyse(values), same)[0].pixels for values in (image, image, other))
    np.testing.assert_array_equal(one, again)
    assert one.dtype == image.dtype
    centre = image.astype(np.float64) / TYPES[kind]
    inside = (centre > 0.3) & (centre < 0.7)
    assert ((one / TYPES[kind] - centre)[inside].std() * 255) == pytest.approx(20, rel=0.1)
    differences = (
        (one / TYPES[kind] - centre).ravel()[:2000],
        (third / TYPES[kind] - other / TYPES[kind]).ravel()[:2000],
    )
    assert abs(np.corrcoef(*differences)[0, 1]) < 0.2
    assert (cleaned(image, add_noise=20, seed=4).pixels != one).any()


def test_refuses_answers_that_are_not_finite() -> None:
    with pytest.raises(InputError, match="not finite; try --precision fp32"):
        cleaned(PHOTO[:8, :8], lambda request: {"denoised": np.full((3, 8, 8), np.nan, np.float32)}, sigma=5)


def test_divides_a_large_photo_by_itself() -> None:
    image = np.zeros((1500, 1502), np.uint8)
    _, requests = finish(task(sigma=5).analyse(image), black)
    assert len(requests) > 1 and max(request.array.size for request in requests) <= 4 * 1024**2


def test_keeps_what_the_file_holds() -> None:
    alpha = random_image(20, 30, "uint16", grey=True)
    photo = Photo(random_image(20, 30, "uint16", grey=False), 6, alpha, b"profile", None)
    denoise = task(sigma=25)
    picture = denoise.draw(photo, cleaned(photo.pixels, sigma=25), ".png")
    again = decode_stored(encode(picture, ".png"))
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    np.testing.assert_array_equal(again.alpha, alpha)
    assert again.icc == b"profile" and again.orientation is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".npy"])
def test_writes_real_numbers_to_any_format(suffix: str) -> None:
    photo = Photo(random_image(20, 30, "float32", grey=True))
    assert encode(task().draw(photo, cleaned(photo.pixels, sigma=5), suffix), suffix)


def test_lets_go_of_its_pixels() -> None:
    found = cleaned(PHOTO[:8, :8], sigma=5)
    assert task().release(found) == replace(found, pixels=None)
    assert task().working_bytes(PHOTO) >= PHOTO.size * 4
    assert found.as_dict() == {"output": None, "sigma": 5, "tiles": 1}


@pytest.fixture(scope="module")
def ffdnet():
    """The network itself, as a function of a request."""
    engine = OnnxEngine(load_weights(model_path("ffdnet_color")), threads=1, parallel_calls=1)

    def run(request: Request) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in engine.run(request.array[None]).items()}

    return run


def test_tiles_leave_no_seam(ffdnet) -> None:
    noisy = add_noise_to_samples(PHOTO, 25, seed=0)
    whole = cleaned(noisy, ffdnet, sigma=25)
    tiled = cleaned(noisy, ffdnet, sigma=25, tile=256, tile_overlap=64)
    assert whole.tiles == 1 and tiled.tiles == 6
    assert np.abs(whole.pixels.astype(int) - tiled.pixels).max() <= 1


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("grey", [False, True])
def test_cleans_photos_of_every_depth(ffdnet, kind: str, grey: bool) -> None:
    part = PHOTO[100:197, 150:251]
    clean = ((part[..., 1] if grey else part) / 255).astype(np.float32)
    noisy = np.clip(add_noise(clean, 25, seed=0), 0, 1) * TYPES[kind]
    noisy = noisy.round().astype(kind) if kind.startswith("u") else noisy.astype(kind)
    after, before = (
        (pixels / np.float32(TYPES[kind])).astype(np.float32)
        for pixels in (cleaned(noisy, ffdnet, sigma=25).pixels, noisy)
    )
    assert psnr(clean, after, 1) > psnr(clean, before, 1) + (7 if grey else 9)


@pytest.mark.parametrize(("grey", "level"), [(False, 25), (True, 25 * GREY_FACTOR)])
def test_noise_that_is_the_same_in_all_channels_gets_a_higher_level(grey: bool, level: float) -> None:
    image = random_image(8, 8, "uint8", grey)
    for pixels in (image, np.dstack([image] * 3)) if grey else (image,):
        found, (request,) = finish(task(sigma=25).analyse(pixels), same)
        np.testing.assert_allclose(request.array[..., 3] * 255, level, rtol=1e-6)
        assert found.sigma == 25


def test_a_grey_photo_in_colours_is_cleaned_as_grey(ffdnet) -> None:
    noisy = add_noise_to_samples(PHOTO[100:164, 150:230, 1], 25, seed=0)
    in_colours = cleaned(np.dstack([noisy] * 3), ffdnet, sigma=25).pixels
    assert np.abs(in_colours - cleaned(noisy, ffdnet, sigma=25).pixels[..., None].astype(int)).mean() < 1


@pytest.mark.parametrize("step", [2, 4, 16, 32])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_gives_a_network_multiples_of_its_step(height: int, width: int, step: int) -> None:
    stepped = model_info("denoise", {"sizes": [step, 0], "sigma_range": [0, 75], "radius": 40}, ("denoised",))
    image = random_image(height, width, "uint8", grey=False)
    for tile in (None, 64):
        options = DenoiseOptions(sigma=25, tile=tile)
        found, requests = finish(Denoise({"denoise": stepped}, options).analyse(image), same)
        np.testing.assert_array_equal(found.pixels, image)
        for request in requests:
            assert request.array.shape[0] % step == request.array.shape[1] % step == 0
            assert max(request.array.shape[:2]) <= (tile or 224)


@pytest.mark.parametrize(("side", "overlap", "step"), [(64, 24, 16), (64, 31, 32), (96, 48, 8), (64, 0, 4), (64, 7, 2)])
def test_tiles_begin_at_steps_and_weigh_one(side: int, overlap: int, step: int) -> None:
    tiles = stepped_grid(320, 192, side, overlap, 12, step)
    total = np.zeros((320, 192))
    for tile in tiles:
        assert tile.top % step == tile.left % step == 0
        assert len(tile.row_weights) == len(tile.column_weights) == side
        total[tile.place] += np.outer(tile.row_weights, tile.column_weights)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    tops = sorted({tile.top for tile in tiles})
    assert all(after - before <= side - overlap for before, after in pairwise(tops))


@pytest.mark.parametrize(("radius", "shared"), [(24, 64), (40, 96), (200, 416), (300, 512)])
def test_tiles_share_what_the_network_sees_from_both_sides(radius: int, shared: int) -> None:
    """Twice its radius and 16 px to pass from one to the other, as far as half a tile allows."""
    info = model_info("denoise", {"sizes": [2, 0], "sigma_range": [0, 75], "radius": radius}, ("denoised",))
    first, second = Denoise({"denoise": info}, DenoiseOptions(sigma=5))._tiles(1000, 1600)[:2]
    assert first.left + len(first.column_weights) - second.left >= shared


def test_a_network_that_knows_grey_noise_gets_the_level_itself() -> None:
    recipe = {"sizes": [2, 0], "sigma_range": [0, 75], "radius": 24, "grey_factor": 1.0}
    denoise = Denoise({"denoise": model_info("denoise", recipe, ("denoised",))}, DenoiseOptions(sigma=25))
    _, (request,) = finish(denoise.analyse(random_image(8, 8, "uint8", grey=True)), same)
    np.testing.assert_allclose(request.array[..., 3] * 255, 25, rtol=1e-6)
