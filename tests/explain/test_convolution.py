"""Convolutions in numbers against scipy, OpenCV and torch, and against worked examples of teaching."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import signal
from scipy.linalg import toeplitz
from torch.nn import functional as F

from cnncli.errors import UsageError
from cnncli.explain.convolution import KERNELS, Convolution, Settings, filtered
from cnncli.explain.convolution_figure import draw
from cnncli.explain.convolution_grids import WINDOW, rgb, shown
from cnncli.imaging.colour import grey_of
from cnncli.io.images import decode

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
CASES = {
    "shape": st.tuples(st.integers(1, 7), st.integers(1, 7)),
    "taps": PAIR,
    "stride": PAIR,
    "dilation": PAIR,
    "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
    "mode": st.sampled_from(["cross-correlation", "convolution"]),
}


def whole_numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.copy())[None, None]


def grid(rows: str) -> np.ndarray:
    """ "1 2 | 3 4" -> [[1, 2], [3, 4]]."""
    return np.array([[float(value) for value in row.split()] for row in rows.split("|")])


@settings(max_examples=150, deadline=None)
@given(border=st.sampled_from(["zeros", "reflect", "replicate"]), **CASES)
def test_output_matrix_and_steps_match_torch(shape, taps, stride, dilation, padding, mode, border) -> None:
    assume(all((taps[n] - 1) * dilation[n] < shape[n] + 2 * padding[n] for n in (0, 1)))
    assume(border != "reflect" or all(padding[n] < shape[n] for n in (0, 1)))
    image, kernel = whole_numbers(shape), whole_numbers(taps, 1)
    ours = Convolution(image, kernel, Settings(mode, stride, padding, dilation, border))
    sides = (padding[1], padding[1], padding[0], padding[0])
    around = F.pad(tensor(image), sides, {"zeros": "constant"}.get(border, border))
    weight = tensor(kernel).flip(2, 3) if mode == "convolution" else tensor(kernel)
    expected = F.conv2d(around, weight, stride=stride, dilation=dilation)[0, 0].numpy()
    np.testing.assert_array_equal(ours.padded, around[0, 0].numpy())
    np.testing.assert_array_equal(ours.output, expected)
    np.testing.assert_array_equal((ours.matrix @ image.ravel()).reshape(expected.shape), expected)
    assert [step.total for step in ours.steps()] == expected.ravel().tolist()
    assert [step.cell for step in ours.steps()] == list(np.ndindex(*expected.shape))


@settings(max_examples=150, deadline=None)
@given(**CASES)
def test_transposed_matches_torch(shape, taps, stride, dilation, padding, mode) -> None:
    image, kernel = whole_numbers(shape), whole_numbers(taps, 1)
    weight = tensor(kernel).flip(2, 3) if mode == "convolution" else tensor(kernel)
    options = {"stride": stride, "dilation": dilation}
    sizes = [(shape[n] - 1) * stride[n] - 2 * padding[n] + dilation[n] * (taps[n] - 1) + 1 for n in (0, 1)]
    assume(min(sizes) > 0)
    expected = F.conv_transpose2d(tensor(image), weight, padding=padding, **options)[0, 0].numpy()
    ours = Convolution(image, kernel, Settings(mode, stride, padding, dilation, transposed=True))
    np.testing.assert_array_equal(ours.output, expected)
    back = Convolution(expected, kernel, Settings(mode, stride, padding, dilation))
    np.testing.assert_array_equal(ours.matrix, back.matrix.T)
    uncut = F.conv_transpose2d(tensor(image), weight, **options)[0, 0].numpy()
    laid = np.zeros(uncut.shape)
    for step in ours.steps():
        for place, product in zip(step.places, step.products, strict=True):
            laid[place] += product
    np.testing.assert_array_equal(laid, uncut)


@pytest.mark.parametrize(
    ("padding", "taps"),  # no "same" of even kernels: scipy puts the odd cell before, torch behind
    [(padding, taps) for padding in ("valid", "full", "same") for taps in ((3, 3), (1, 5), (3, 1))]
    + [("valid", (2, 4)), ("full", (2, 4))],
)
def test_paddings_match_scipy(padding: str, taps: tuple[int, int]) -> None:
    image, kernel = whole_numbers((6, 7)), whole_numbers(taps, 1)
    correlated = Convolution(image, kernel, Settings(padding=padding)).output
    np.testing.assert_array_equal(correlated, signal.correlate2d(image, kernel, padding))
    convolved = Convolution(image, kernel, Settings("convolution", padding=padding)).output
    np.testing.assert_array_equal(convolved, signal.convolve2d(image, kernel, padding))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    ("border", "of_opencv"),
    [
        ("zeros", cv2.BORDER_CONSTANT),
        ("reflect", cv2.BORDER_REFLECT_101),
        ("replicate", cv2.BORDER_REPLICATE),
    ],
)
def test_whole_photos_match_opencv(name: str, border: str, of_opencv: int, crops) -> None:
    photo = grey_of(decode((crops / "chelsea.png").read_bytes()).pixels).astype(np.float32)
    kernel = np.array(KERNELS[name], np.float64)
    how = Settings(border=border, stride=(2, 2))
    np.testing.assert_allclose(
        filtered(photo, kernel, how), cv2.filter2D(photo, cv2.CV_32F, kernel, borderType=of_opencv), atol=1e-3
    )
    turned = cv2.filter2D(photo, cv2.CV_32F, cv2.flip(kernel, -1), borderType=of_opencv)
    how = Settings("convolution", border=border)
    np.testing.assert_allclose(filtered(photo, kernel, how), turned, atol=1e-3)


def test_sobel_kernels_are_opencvs() -> None:
    image = whole_numbers((7, 7))
    for name, order in (("sobel-x", (1, 0)), ("sobel-y", (0, 1))):
        ours = Convolution(image, np.array(KERNELS[name]), Settings(padding="same", border="reflect")).output
        np.testing.assert_array_equal(ours, cv2.Sobel(image, cv2.CV_64F, *order))


def test_matrix_is_doubly_blocked_toeplitz() -> None:
    """Blocks (5, 6) of one output row by one input row are Toeplitz, and those on a diagonal of blocks are one."""
    kernel = whole_numbers((3, 2), 1)
    matrix = Convolution(whole_numbers((4, 6)), kernel).matrix
    blocks = matrix.reshape(2, 5, 4, 6).swapaxes(1, 2)
    for block in blocks.reshape(-1, 5, 6):
        np.testing.assert_array_equal(block, toeplitz(block[:, 0], block[0]))
    for row, taps in enumerate(kernel):
        np.testing.assert_array_equal(blocks[0, row], blocks[1, row + 1])
        np.testing.assert_array_equal(blocks[0, row][0, :2], taps)
    assert np.count_nonzero(matrix) <= 2 * 5 * 6


def test_three_channels_of_a_worked_example() -> None:
    channels = [
        ("0 0 0 | 0 156 155 | 0 153 154", "-1 -1 1 | 0 1 -1 | 0 1 1", 308),
        ("0 0 0 | 0 167 166 | 0 164 165", "1 0 0 | 1 -1 -1 | 1 0 -1", -498),
        ("0 0 0 | 0 163 162 | 0 160 161", "0 1 1 | 0 1 0 | 1 -1 1", 164),
    ]
    found = [Convolution(grid(image), grid(kernel)).output.item() for image, kernel, _ in channels]
    assert found == [expected for _, _, expected in channels]
    assert sum(found) + 1 == -25


def test_two_filters_of_stride_two_of_a_worked_example() -> None:
    image = [
        grid("0 0 0 1 0 2 0|0 1 0 2 0 1 0|0 1 0 2 2 0 0|0 2 0 0 2 0 0|0 2 1 2 2 0 0")[:, 1:6],
        grid("0 2 1 2 1 1 0|0 2 1 2 0 1 0|0 0 2 1 0 1 0|0 1 2 2 2 2 0|0 0 1 2 0 1 0")[:, 1:6],
        grid("0 2 1 1 2 0 0|0 1 0 0 1 0 0|0 0 1 0 0 0 0|0 1 0 2 1 0 0|0 2 2 1 1 1 0")[:, 1:6],
    ]
    kernels = [
        [grid("-1 0 1 | 0 0 1 | 1 -1 1"), grid("-1 0 1 | 1 -1 1 | 0 1 0"), grid("-1 1 1 | 1 1 0 | 0 -1 0")],
        [grid("0 1 -1 | 0 -1 0 | 0 -1 1"), grid("-1 0 0 | 1 -1 0 | 1 -1 0"), grid("-1 1 -1 | 0 -1 -1 | 1 0 0")],
    ]
    expected = [grid("2 3 3 | 3 7 3 | 8 10 -3"), grid("-8 -8 -3 | -3 1 0 | -3 -8 -5")]
    how = Settings(stride=(2, 2), padding=(1, 1))
    for channels, bias, answer in zip(kernels, (1, 0), expected, strict=True):
        parts = [Convolution(part, kernel, how).output for part, kernel in zip(image, channels, strict=True)]
        np.testing.assert_array_equal(sum(parts) + bias, answer)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Settings("correlation"), "--mode correlation"),
        (lambda: Settings(border="wrap"), "--border wrap"),
        (lambda: Settings(padding="same", transposed=True), "--transposed"),
        (lambda: Convolution(np.ones((2, 4)), np.ones((3, 3))), "kernel height 3: reaches over 3 cells"),
        (lambda: Convolution(np.ones((4, 4)), np.ones((3, 3)), Settings(stride=(2, 2), padding="same")), "stride 1"),
    ],
)
def test_refuses_with_the_reason(make, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make()


@pytest.mark.parametrize("transposed", [False, True])
def test_picture_has_windows_and_grows_with_what_it_shows(transposed: bool) -> None:
    image, kernel = whole_numbers((4, 5)), whole_numbers((2, 3), 1)
    convolution = Convolution(image, kernel, Settings(padding=(1, 1), transposed=transposed))
    short, long = draw(convolution), draw(convolution, np.full((30, 40), 90, np.uint8), with_matrix=True)
    assert short.dtype == np.uint8
    assert short.shape[1:] == long.shape[1:] == (1400, 3)
    assert long.shape[0] > short.shape[0] + 400
    np.testing.assert_array_equal(long[: short.shape[0]], short)
    window = np.round(np.array(rgb(WINDOW)) * 255)
    assert (short == window).all(axis=2).sum() > 100


def test_numbers_are_shown_short() -> None:
    assert [shown(number) for number in (3.0, -498.0, 1 / 3, 2.5, 1234.5, 2e9)] == [
        "3", "-498", "0.333", "2.5", "1234", "2.000e+09"
    ]  # fmt: skip
