"""FFDNet against a chain of convolutions over the same tensors, and its published gain in dB."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import WeightsError
from cnncli.io.store import model_path
from cnncli.io.weights import Weights, read_info
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import load_model
from cnncli.nn.denoisers import ffdnet
from tests.conftest import PHOTOS

MODEL = "ffdnet_color"
PARAMETERS = 852_108  # of the source's 12 convolutions
SIZES = [(2, 2), (2, 8), (18, 10), (48, 64)]  # the smallest first
PSNR = {15: 33.87, 25: 31.19, 50: 27.83}  # dB, of the source's parameters in float32 on these 12 photos


def noisy_photo(height: int, width: int, sigma: float, top: int = 100, left: int = 150) -> np.ndarray:
    """A part of a photo in 0..1 with noise, and its level as channel 3, float32 (1, height, width, 4)."""
    pixels = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))[top : top + height, left : left + width]
    return with_noise(pixels, sigma, seed=1)


def with_noise(pixels: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma / 255, pixels.shape)
    level = np.full((*pixels.shape[:2], 1), sigma / 255)
    return np.concatenate([pixels / 255 + noise, level], axis=2).astype(np.float32)[None]


def chain(weights: Weights, images: np.ndarray) -> np.ndarray:
    """FFDNet as its paper draws it, by reshaping and plain convolutions: (N, H, W, 4) to (N, 3, H, W)."""
    count, height, width, _ = images.shape
    blocks = torch.from_numpy(images).reshape(count, height // 2, 2, width // 2, 2, 4)
    x = blocks[..., :3].permute(0, 5, 2, 4, 1, 3).reshape(count, 12, height // 2, width // 2)
    x = torch.cat([x, blocks[:, :, 0, :, 0, 3][:, None]], dim=1)
    tensors = [torch.from_numpy(tensor.astype(np.float32)) for _, tensor in in_order(weights)]
    for number, (bias, kernel) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        x = F.conv2d(x.relu() if number > 0 else x, kernel, bias, padding=1)
    x = x.reshape(count, 3, 2, 2, height // 2, width // 2).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(count, 3, height, width).numpy()


def in_order(weights: Weights) -> list[tuple[str, np.ndarray]]:
    """Bias and kernel of each convolution, from the first."""
    return sorted(weights.tensors.items(), key=lambda item: (int(item[0].split(".")[1]), item[0]))


def test_counts_the_published_parameters() -> None:
    network = build(read_info(model_path(MODEL)))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS


@pytest.mark.parametrize("size", SIZES)
def test_matches_a_chain_of_convolutions(
    size: tuple[int, int], weights: Weights, onnx_engine: OnnxEngine, torch_engine: TorchEngine
) -> None:
    images = noisy_photo(*size, sigma=25)
    expected = chain(weights, images)
    assert expected.shape == (1, 3, *size)
    for engine in (onnx_engine, torch_engine):
        np.testing.assert_allclose(engine.run(images)["denoised"], expected, atol=1e-4)


def test_takes_a_level_that_varies(weights: Weights, onnx_engine: OnnxEngine, torch_engine: TorchEngine) -> None:
    images = noisy_photo(32, 48, sigma=25)
    images[..., 3] = np.random.default_rng(2).uniform(0, 75 / 255, images.shape[:3])
    for engine in (onnx_engine, torch_engine):
        np.testing.assert_allclose(engine.run(images)["denoised"], chain(weights, images), atol=1e-4)


def test_an_image_is_the_same_alone_and_in_a_batch(onnx_engine: OnnxEngine) -> None:
    batch = np.concatenate([noisy_photo(32, 48, sigma) for sigma in (5, 25, 50)])
    alone = np.concatenate([onnx_engine.run(image[None])["denoised"] for image in batch])
    np.testing.assert_allclose(onnx_engine.run(batch)["denoised"], alone, atol=1e-4)


def test_sees_as_far_as_its_recipe_says(weights: Weights) -> None:
    """A cell's pixels depend on those up to `radius` before and after it, by the gradient, and on no others."""
    radius = weights.info.recipe["radius"]
    side = 2 * radius + 10
    images = torch.rand(1, side, side, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    first = side // 2 // 2 * 2  # row and column of a cell's top left pixel
    (denoised,) = load_model(weights)(images)
    denoised[0, :, first : first + 2, first : first + 2].sum().backward()
    for axis in (1, 2):
        (seen,) = images.grad[..., :3].abs().amax(dim=(0, 3)).amax(dim=2 - axis).nonzero(as_tuple=True)
        assert (int(seen.min()), int(seen.max())) == (first - radius, first + 1 + radius)


def test_tiles_with_that_margin_are_exact(weights: Weights, torch_engine: TorchEngine) -> None:
    radius = weights.info.recipe["radius"]
    images = noisy_photo(96, 96, sigma=25)
    whole = torch_engine.run(images)["denoised"]
    top, left, side = 40, 34, 20
    tile = images[:, top - radius : top + side + radius, left - radius : left + side + radius]
    inner = torch_engine.run(tile)["denoised"][:, :, radius:-radius, radius:-radius]
    np.testing.assert_allclose(inner, whole[:, :, top : top + side, left : left + side], atol=1e-5)


@pytest.mark.parametrize("sigma", PSNR)
def test_gains_what_its_source_does(sigma: int, data_set: Callable[[str], Path], onnx_engine: OnnxEngine) -> None:
    """Noise added to the RGB in 0..1, seeded by the number of the file; the mean of the PSNR over photos."""
    photos = sorted(data_set("cbsd68_12").glob("*.png"))
    assert len(photos) == 12
    found = []
    for photo in photos:
        clean = np.asarray(Image.open(photo).convert("RGB"))
        images = padded_to_even(with_noise(clean, sigma, seed=int(photo.stem)))
        denoised = onnx_engine.run(images)["denoised"][0].transpose(1, 2, 0)[: clean.shape[0], : clean.shape[1]]
        error = np.mean((denoised.clip(0, 1) - clean / 255) ** 2)
        found.append(-10 * np.log10(error))
    assert np.mean(found) == pytest.approx(PSNR[sigma], abs=0.05)


def padded_to_even(images: np.ndarray) -> np.ndarray:
    _, height, width, _ = images.shape
    return np.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def test_rejects_another_backbone() -> None:
    with pytest.raises(WeightsError, match="'dncnn' is not in this version's catalog"):
        ffdnet("dncnn", {"features": 96, "layers": 12}, 0)
