"""Training of denoisers: the noise that is added, what a file says, that networks learn, and use by the command."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.imaging.noise import add_noise_to_samples, psnr
from cnncli.io.weights import load_weights
from cnncli.nn.assemble import FromPixels
from cnncli.tasks.base import Request
from cnncli.tasks.denoise import Denoise, DenoiseOptions
from cnncli.train.batches import Seeded
from cnncli.train.config import TrainConfig
from cnncli.train.patches import CentreCrops, Noise, Photos
from cnncli.train.recipes.denoise import DenoiseMeter, DenoiseRecipe
from cnncli.train.run import TrainingRun
from tests.conftest import PHOTOS
from tests.tasks.driving import finish
from tests.train.overfit import overfit

TINY = {
    "unet": {"features": 8, "depth": 2},
    "dncnn": {"features": 16, "layers": 4, "blind": False},
    "ffdnet": {"features": 24, "layers": 4},
}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Parts of the example photos, in a folder and one below it; one is smaller than a crop of validation."""
    folder = tmp_path / "clean"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")):
        with Image.open(PHOTOS / name) as photo:
            part = photo.convert("RGB").crop((60, 40, 60 + 100 + 60 * number, 200))
        part.save(folder / ("more" if number % 2 else ".") / f"{number}.png")
    return folder


@pytest.fixture
def make(tmp_path: Path, clean: Path) -> Callable[..., DenoiseRecipe]:
    def make(head: str = "unet", options: dict | None = None, data: Path = clean, **changes) -> DenoiseRecipe:
        return DenoiseRecipe(config_of(data, tmp_path / "run", head, options, **changes), lambda message: None)

    return make


def config_of(data: Path, out: Path, head: str, options: dict | None = None, **changes) -> TrainConfig:
    known = {**TINY[head], "patches": 4, **(options or {})}
    given = {"task": "denoise", "data": str(data), "out": out, "head": head, "device": "cpu", "workers": 0}
    return TrainConfig(**{**given, "size": 32, "options": tuple(known.items()), **changes})


@pytest.mark.parametrize("head", TINY)
@pytest.mark.parametrize("residual", [True, False])
def test_learns_a_few_patches(make, head: str, residual: bool) -> None:
    """Noise of 50 leaves an error of (50/255)² = 0.038; what the network can't know of it would stay."""
    recipe = make(head, {"sigma": 50, "residual": residual, "bits": "float", "grey": 0, "features": 24})
    batch = recipe.collate([Seeded(recipe.train, 0)[1, index] for index in (0,)])
    losses = overfit(recipe, 150, 0.005, batch)
    assert losses[-1] < 0.006
    if residual:
        assert losses[0] == pytest.approx((50 / 255) ** 2, rel=0.05)


def test_examples_are_patches_with_noise_of_a_level_in_the_range(make) -> None:
    recipe = make(options={"sigma": "10:40", "bits": "float", "grey": 0})
    examples = Seeded(recipe.train, 3)
    levels = []
    for index in range(len(recipe.train)):
        example = examples[1, index]
        assert example["images"].shape == (32, 32, 4) and example["images"].dtype == torch.float32
        assert example["clean"].shape == (32, 32, 3) and example["clean"].dtype == torch.uint8
        level = example["images"][..., 3].unique()
        difference = example["images"][..., :3] - example["clean"] / 255
        assert float(difference.std()) == pytest.approx(float(level), rel=0.1)
        levels.append(float(level) * 255)
    assert 10 <= min(levels) < max(levels) <= 40
    again = examples[1, 0]["images"]
    assert torch.equal(again, examples[1, 0]["images"]) and not torch.equal(again, examples[2, 0]["images"])


def test_noise_of_a_file_is_clipped_and_rounded() -> None:
    noise = Noise((25.0, 25.0), rounded=True, grey=0)
    clean = torch.tensor([[[0.0, 0.5, 1.0]]])
    images = noise.model_input(clean, 25.5, torch.tensor([[[-1.0, 0.001, 1.0]]]))
    torch.testing.assert_close(images, torch.tensor([[[0.0, 128 / 255, 1.0, 0.1]]]))


def test_a_grey_photo_gets_grey_noise(make) -> None:
    recipe = make(options={"grey": 1.0})
    images = recipe.train.example(0)["images"]
    assert torch.equal(images[..., 0], images[..., 1]) and torch.equal(images[..., 0], images[..., 2])
    assert recipe.info.recipe["grey_factor"] == 1


def test_validation_sees_the_same_noise_each_time(make) -> None:
    """Centre crops of 256 px, mirrored where the photo ends, with noise numbered by the photo."""
    recipe = make(val=0.5)
    first, again = recipe.val.example(1), recipe.val.example(1)
    assert torch.equal(first["noise"], again["noise"])
    expected = np.random.default_rng(1).standard_normal((256, 256, 3), dtype=np.float32)
    np.testing.assert_array_equal(first["noise"], expected)
    assert not torch.equal(first["noise"], recipe.val.example(0)["noise"])


def test_small_photos_are_mirrored(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    photos = Photos([str(tmp_path / "small.png")], [(3, 10)], 8, 10**6)
    crop = CentreCrops(photos, 8).example(0)["clean"].numpy()
    rows = [0, 1, 2, 2, 1, 0, 0, 1]
    np.testing.assert_array_equal(crop, pixels[rows, 1:9])


def test_measures_the_mean_of_psnr_over_photos() -> None:
    """By `imaging.noise.psnr` of two photos whose errors differ."""
    generator = np.random.default_rng(0)
    clean = torch.from_numpy(generator.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    unit = torch.from_numpy(generator.standard_normal((2, 16, 16, 3), dtype=np.float32) * [[[[1]]], [[[3]]]]).float()
    noise = Noise((0.0, 25.0), rounded=False, grey=0)
    meter = DenoiseMeter(noise, (15.0, 25.0))

    class Halving(torch.nn.Module):
        """Takes away half of the difference to grey."""

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            return ((images[..., :3] * 0.5 + 0.25).permute(0, 3, 1, 2),)

    meter.update(Halving(), {"clean": clean, "noise": unit})
    figures = meter.compute()
    for sigma in (15, 25):
        noisy = (clean / 255 + sigma / 255 * unit).numpy()
        truth = (clean / 255).numpy()
        before = [psnr(one, other, 1) for one, other in zip(truth, noisy, strict=True)]
        after = [psnr(one, (other * 0.5 + 0.25).clip(0, 1), 1) for one, other in zip(truth, noisy, strict=True)]
        assert figures[f"psnr_before_{sigma}"] == pytest.approx(np.mean(before), abs=1e-3)
        assert figures[f"psnr_{sigma}"] == pytest.approx(np.mean(after), abs=1e-3)
    assert figures["psnr"] == pytest.approx((figures["psnr_15"] + figures["psnr_25"]) / 2)
    assert math.isfinite(figures["loss"])


@pytest.mark.parametrize(
    ("sigma", "levels"), [("0:55", (15, 25, 50)), ("20:30", (25,)), (40, (40,)), ("0:10", (10,)), ([5, 20], (15,))]
)
def test_validates_at_the_usual_levels_of_its_range(make, sigma, levels: tuple) -> None:
    assert make(options={"sigma": sigma}).levels == levels


@pytest.mark.parametrize("head", TINY)
def test_the_file_runs_in_the_command_with_both_engines(tmp_path: Path, clean: Path, head: str) -> None:
    """Whole, in tiles, with torch and with ONNX Runtime: the same to a grey level."""
    run = TrainingRun(
        config_of(clean, tmp_path / "run", head, {"residual": True}, epochs=1, lr=3e-3), print, lambda *_: None
    )
    list(run.epochs())
    result = run.finish()
    assert result["graph_difference"] < 1e-3 and result["psnr"] > 10
    weights = load_weights(tmp_path / "run" / "best.safetensors")
    engines = OnnxEngine(weights, threads=1, parallel_calls=1), TorchEngine(weights, "cpu", "fp32", threads=1)
    photo = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))[:203, :311]
    noisy = add_noise_to_samples(photo, 25, seed=0)
    answers = []
    for engine in engines:
        for options in ({}, {"tile": 128}):

            def answer(request: Request, engine=engine) -> dict[str, np.ndarray]:
                return {name: rows[0] for name, rows in engine.run(request.array[None]).items()}

            task = Denoise({"denoise": weights.info}, DenoiseOptions(sigma=25, **options))
            answers.append(finish(task.analyse(noisy), answer)[0])
    assert [answer.tiles > 1 for answer in answers] == [False, True, False, True]
    for answer in answers[1:]:
        assert np.abs(answer.pixels.astype(int) - answers[0].pixels).max() <= 1


def test_shows_noisy_cleaned_and_clean_side_by_side(make) -> None:
    recipe = make(val=0.5)
    model = FromPixels(recipe.network(), recipe.info.mean, recipe.info.std).eval()
    with torch.inference_mode():
        (picture,) = recipe.picture(model, [recipe.val.example(0)])
    noisy, cleaned, clean = np.split(picture, 3, axis=1)
    np.testing.assert_array_equal(clean, recipe.val.example(0)["clean"])
    assert (noisy.astype(int) - clean).std() == pytest.approx(25, rel=0.15)
    np.testing.assert_array_equal(cleaned, noisy)  # an untrained residual network finds no noise


def test_takes_folders_of_both_parts(make, clean: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / "both" / part).mkdir(parents=True)
    for path in clean.rglob("*.png"):
        path.rename(tmp_path / "both" / ("val" if path.stem == "0" else "train") / path.name)
    recipe = make(data=tmp_path / "both")
    assert (len(recipe.train.photos), len(recipe.val)) == (3, 1)


@pytest.mark.parametrize(
    ("head", "options", "changes", "words"),
    [
        ("unet", {"sigma": "70:20"}, {}, r"--set sigma=70:20: give a noise level"),
        ("unet", {"sigma": "much"}, {}, r"--set sigma=much"),
        ("unet", {"sigma": 0}, {}, r"--set sigma=0"),
        ("unet", {"bits": 16}, {}, r"--set bits=16: choose 8"),
        ("unet", {"grey": 2}, {}, r"--set grey=2"),
        ("unet", {"patches": 0}, {}, r"--set patches=0"),
        ("unet", {"depth": 9}, {}, r"--set depth=9: give a whole number from 1 to 5"),
        ("unet", {"upsampling": "nearest"}, {}, r"choose bilinear or transposed"),
        ("unet", {"residual": "yes"}, {}, r"choose true or false"),
        ("dncnn", {"depth": 3}, {}, r"depth.*dncnn has no such choice"),
        ("ffdnet", {}, {"norm": "batch"}, r"an FFDNet has no normalisation"),
        ("unet", {}, {"norm": "instance"}, r"--norm instance: depends on the whole photo"),
        ("unet", {}, {"backbone": "mobilenet_v2"}, r"--backbone mobilenet_v2: .* by --head instead"),
        ("unet", {}, {"size": 33}, r"--size 33: this network takes multiples of 4 px, as 32"),
        ("unet", {}, {"mixup": 0.2}, r"--mixup: denoisers know no such thing"),
    ],
)
def test_rejects_what_no_denoiser_knows(make, head: str, options: dict, changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make(head, options, **changes)


def test_rejects_an_unknown_head(clean: Path, tmp_path: Path) -> None:
    config = TrainConfig(task="denoise", data=str(clean), out=tmp_path / "run", head="resnet")
    with pytest.raises(UsageError, match="--head resnet: choose unet, dncnn, ffdnet"):
        DenoiseRecipe(config, print)


def test_rejects_folders_without_enough_photos(make, tmp_path: Path, clean: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: is no folder; give a folder of clean photos"):
        make(data=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: holds no photos; .*DATA/a\.jpg"):
        make(data=tmp_path / "empty")
    (clean / "0.png").rename(tmp_path / "empty" / "0.png")
    with pytest.raises(UsageError, match="give at least 2"):
        make(data=tmp_path / "empty")
    with pytest.raises(UsageError, match="are in both training and validation"):
        make(val=str(clean / "more"))
