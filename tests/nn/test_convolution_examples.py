"""Worked examples of convolution from teaching: by hand, by sums in numpy, and by torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F


def grid(rows: str) -> list[list[int]]:
    """ "1 2 | 3 4" -> [[1, 2], [3, 4]]."""
    return [[int(value) for value in row.split()] for row in rows.split("|")]


def cross_correlation(image: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Image (C, H, W) and filters (K, C, h, w) to (K, H', W'): a weighted sum at each place, and the bias."""
    windows = np.lib.stride_tricks.sliding_window_view(image, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def assert_gives(image: list, weight: list, bias: list[int], stride: int, expected: list) -> None:
    arrays = np.array(image), np.array(weight), np.array(bias)
    assert cross_correlation(*arrays, stride).tolist() == expected
    tensors = [torch.tensor(values, dtype=torch.float64) for values in (image, weight, bias)]
    assert F.conv2d(tensors[0][None], tensors[1], tensors[2], stride)[0].tolist() == expected


RED, GREEN, BLUE = (
    grid("0 0 0 | 0 156 155 | 0 153 154"),
    grid("0 0 0 | 0 167 166 | 0 164 165"),
    grid("0 0 0 | 0 163 162 | 0 160 161"),
)
RED_KERNEL, GREEN_KERNEL, BLUE_KERNEL = (
    grid("-1 -1 1 | 0 1 -1 | 0 1 1"),
    grid("1 0 0 | 1 -1 -1 | 1 0 -1"),
    grid("0 1 1 | 0 1 0 | 1 -1 1"),
)


@pytest.mark.parametrize(
    ("channel", "kernel", "expected"), [(RED, RED_KERNEL, 308), (GREEN, GREEN_KERNEL, -498), (BLUE, BLUE_KERNEL, 164)]
)
def test_one_channel_of_three(channel: list, kernel: list, expected: int) -> None:
    assert_gives([channel], [[kernel]], [0], 1, [[[expected]]])


def test_three_channels_and_a_bias() -> None:
    assert_gives([RED, GREEN, BLUE], [[RED_KERNEL, GREEN_KERNEL, BLUE_KERNEL]], [1], 1, [[[-25]]])


def test_two_filters_of_stride_two() -> None:
    image = [
        grid("0 0 0 0 0 0 0|0 0 0 1 0 2 0|0 1 0 2 0 1 0|0 1 0 2 2 0 0|0 2 0 0 2 0 0|0 2 1 2 2 0 0|0 0 0 0 0 0 0"),
        grid("0 0 0 0 0 0 0|0 2 1 2 1 1 0|0 2 1 2 0 1 0|0 0 2 1 0 1 0|0 1 2 2 2 2 0|0 0 1 2 0 1 0|0 0 0 0 0 0 0"),
        grid("0 0 0 0 0 0 0|0 2 1 1 2 0 0|0 1 0 0 1 0 0|0 0 1 0 0 0 0|0 1 0 2 1 0 0|0 2 2 1 1 1 0|0 0 0 0 0 0 0"),
    ]
    weight = [
        [grid("-1 0 1 | 0 0 1 | 1 -1 1"), grid("-1 0 1 | 1 -1 1 | 0 1 0"), grid("-1 1 1 | 1 1 0 | 0 -1 0")],
        [grid("0 1 -1 | 0 -1 0 | 0 -1 1"), grid("-1 0 0 | 1 -1 0 | 1 -1 0"), grid("-1 1 -1 | 0 -1 -1 | 1 0 0")],
    ]
    expected = [grid("2 3 3 | 3 7 3 | 8 10 -3"), grid("-8 -8 -3 | -3 1 0 | -3 -8 -5")]
    assert_gives(image, weight, [1, 0], 2, expected)


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Cells along an axis; `padding` is the total of both sides."""
    return (size - dilation * (kernel - 1) - 1 + padding) // stride + 1


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
def test_output_size(kernel: int, stride: int, dilation: int) -> None:
    weight = torch.zeros(1, 1, kernel)
    for before, after in ((0, 0), (1, 1), (0, 1), (3, 3), (2, 1)):
        for size in range(max(1, dilation * (kernel - 1) + 1 - before - after), 40):
            signal = F.pad(torch.zeros(1, 1, size), (before, after))
            expected = F.conv1d(signal, weight, stride=stride, dilation=dilation).shape[2]
            assert output_size(size, kernel, stride, before + after, dilation) == expected


def test_output_size_by_hand() -> None:
    assert output_size(7, kernel=3, stride=2, padding=0, dilation=1) == 3
    assert output_size(224, kernel=3, stride=1, padding=2, dilation=1) == 224  # every convolution of VGG
    mnist_1d = [40]
    for _ in range(3):
        mnist_1d.append(output_size(mnist_1d[-1], kernel=3, stride=2, padding=0, dilation=1))
    assert mnist_1d == [40, 19, 9, 4]
