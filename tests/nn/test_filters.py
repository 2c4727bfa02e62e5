"""The convolution gives what OpenCV gives, to the last bit."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from cnncli.imaging.filters import BORDERS, KERNELS, derivatives, padded
from cnncli.nn.filters import Derivatives
from cnncli.nn.filters import derivatives as network
from tests.imaging.test_filters import noise


def channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))[None]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16])
def test_matches_opencv_to_the_last_bit(sample_type: type, kernel: str, border: str) -> None:
    for shape in ((1, 1), (1, 9), (9, 1), (2, 2), (23, 37), (23, 37, 3)):
        image = noise(shape, sample_type)
        responses = Derivatives(kernel)(channels_first(padded(image, kernel, border)))
        for ours, expected in zip(responses, derivatives(image, kernel, border), strict=True):
            assert np.array_equal(ours, channels_first(expected))
            assert ours.dtype == torch.from_numpy(expected).dtype


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", [np.float32, np.float64])
def test_matches_opencv_on_floats(sample_type: type, kernel: str) -> None:
    image = noise((23, 37, 3), sample_type)
    responses = Derivatives(kernel)(channels_first(padded(image, kernel, "reflect101")))
    for ours, dx in zip(responses, (1, 0), strict=True):
        expected = cv2.Sobel(image, cv2.CV_64F, dx, 1 - dx, ksize=KERNELS[kernel])
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours, channels_first(expected), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_filters_every_image_and_channel_apart(kernel: str) -> None:
    images = [noise((20, 30, 3), np.uint8, seed) for seed in range(4)]
    gx, gy = Derivatives(kernel)(torch.cat([channels_first(image) for image in images]))
    margin = len(padded(images[0][:1, :1], kernel, "constant")) // 2
    inner = slice(margin, -margin)
    for index, image in enumerate(images):
        for ours, expected in zip((gx[index], gy[index]), derivatives(image, kernel, "constant"), strict=True):
            assert np.array_equal(ours, channels_first(expected[inner, inner])[0])


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_precision_of_a_model_does_not_round_the_kernels(precision: torch.dtype) -> None:
    image = noise((20, 30), np.uint16)
    model = nn.Sequential(Derivatives("7")).to(precision)
    gx, _ = model(channels_first(padded(image, "7", "reflect101")))
    assert np.array_equal(gx[0, 0], cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=7))


@pytest.mark.parametrize(("sample_type", "bound"), [(np.uint8, 163_200), (np.uint16, 41_942_400)])
def test_the_largest_response_is_exact(sample_type: type, bound: int) -> None:
    image = np.zeros((7, 7), sample_type)
    image[:, 4:] = np.iinfo(sample_type).max
    gx, gy = Derivatives("7")(channels_first(image))
    assert gx.dtype == torch.int32 and gx.item() == bound and gy.item() == 0


def test_has_nothing_to_learn() -> None:
    module = Derivatives("5")
    assert not list(module.parameters()) and not module.state_dict() and module.weight.shape == (2, 1, 5, 5)
    gx, gy = module(torch.zeros(2, 3, 5, 9, dtype=torch.uint8))
    assert gx.shape == gy.shape == (2, 3, 1, 5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sample_type", [np.uint8, np.uint16, np.float32])
def test_network_takes_images_as_they_are_stored(sample_type: type, kernel: str) -> None:
    images = [noise((9, 14, 3), sample_type, seed) for seed in range(2)]
    stack = np.stack([padded(image, kernel, "reflect101") for image in images])
    gx, gy = network("", {"kernel": kernel}, 0)(torch.from_numpy(stack))
    for index, image in enumerate(images):
        expected = derivatives(image, kernel, "reflect101")
        np.testing.assert_allclose(np.stack([gx[index], gy[index]]), expected, rtol=1e-6, atol=1e-12)
