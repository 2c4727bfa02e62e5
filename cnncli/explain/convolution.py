"""A convolution of one small image by one kernel, step by step and as a matrix.

Cross-correlation slides the kernel as it is, which is what networks do; convolution slides it turned by 180 degrees
(Goodfellow et al. 2016, "Deep Learning", ch. 9.1). Sizes are those of torch's conv2d and conv_transpose2d.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnncli.errors import UsageError
from cnncli.nn.arithmetic import Axis, padding_of

KERNELS = {
    "sobel-x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),  # Sobel & Feldman 1968; grows to the right
    "sobel-y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "blur": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),  # binomial
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "edge": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),  # the Laplacian with its diagonals
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
}
MODES = ("cross-correlation", "convolution")
BORDERS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}  # torch's names and numpy's
OUTSIDE = -1  # in place of a cell's number: padding of zeros


@dataclass(frozen=True)
class Settings:
    """How a kernel moves. `padding`: cells on each side, or "same", "valid" (none) or "full" (every overlap)."""

    mode: str = MODES[0]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] | Literal["same", "valid", "full"] = "valid"
    dilation: tuple[int, int] = (1, 1)
    border: str = "zeros"
    transposed: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"--mode {self.mode}: choose {' or '.join(MODES)}")
        if self.border not in BORDERS:
            raise UsageError(f"--border {self.border}: choose {', '.join(BORDERS)}")
        if self.transposed and (self.border != "zeros" or self.padding == "same"):
            raise UsageError("--transposed: cuts --padding off its output, in cells, and has no --border; leave it out")

    def around(self, axis: int, kernel: int) -> tuple[int, int]:
        """Cells of padding before and after an axis (0: height, 1: width)."""
        dilation = self.dilation[axis]
        match self.padding:
            case "same":
                return padding_of("same", kernel, self.stride[axis], dilation)
            case "valid":
                return 0, 0
            case "full":
                return (dilation * (kernel - 1),) * 2
        return padding_of(self.padding[axis], kernel, self.stride[axis], dilation)


@dataclass(frozen=True)
class Step:
    """One window: places (row, column), values and weights of its taps, all in the order of the kernel's rows.

    `places` are in the padded input; in a transposed convolution in the output, padding not cut off yet.
    `cell` is the output's; in a transposed convolution the input's, whose value meets every weight.
    """

    cell: tuple[int, int]
    places: tuple[tuple[int, int], ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]

    @property
    def products(self) -> tuple[float, ...]:
        return tuple(value * weight for value, weight in zip(self.values, self.weights, strict=True))

    @property
    def total(self) -> float:
        return sum(self.products)


class Convolution:
    """An image (H, W) and a kernel (h, w), both float64, under settings. UsageError where no output can come of it."""

    def __init__(self, image: np.ndarray, kernel: np.ndarray, settings: Settings = Settings()):
        self.image = np.asarray(image, np.float64)
        self.kernel = np.asarray(kernel, np.float64)
        self.settings = settings
        self.axes = tuple(
            Axis(
                self.image.shape[axis],
                taps,
                settings.stride[axis],
                settings.around(axis, taps),
                settings.dilation[axis],
                settings.transposed,
                name=name,
            )
            for axis, (taps, name) in enumerate(zip(self.kernel.shape, ("height", "width"), strict=True))
        )

    @property
    def weights(self) -> np.ndarray:
        """The kernel as it slides: turned by 180 degrees in a convolution."""
        return turned(self.kernel) if self.settings.mode == "convolution" else self.kernel

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Cells above and below, left and right."""
        return self.axes[0].padding, self.axes[1].padding

    @property
    def padded(self) -> np.ndarray:
        """The input that the windows read; in a transposed convolution, which cuts, the image itself."""
        return self.image if self.settings.transposed else pad(self.image, self.padding, self.settings.border)

    @property
    def output(self) -> np.ndarray:
        """(H', W') by sums over the kernel's taps, one shifted image each."""
        if self.settings.transposed:
            return (self.matrix @ self.image.ravel()).reshape(self.axes[0].output, self.axes[1].output)
        return correlate(self.padded, self.weights, self.settings.stride, self.settings.dilation)

    @property
    def matrix(self) -> np.ndarray:
        """(output cells, input cells): times the image as a vector, row by row, it is the output as one.

        Of stride 1 and zeros around, a doubly blocked Toeplitz matrix. That of a transposed convolution is the
        transposed one of the convolution that leads back to the image's size.
        """
        shape = (self.axes[0].output, self.axes[1].output) if self.settings.transposed else self.image.shape
        numbers = np.arange(shape[0] * shape[1]).reshape(shape)
        cells = pad(numbers, self.padding, self.settings.border, OUTSIDE)
        windows = self.image.shape if self.settings.transposed else (self.axes[0].output, self.axes[1].output)
        matrix = np.zeros((windows[0] * windows[1], numbers.size))
        for row, window in enumerate(np.ndindex(*windows)):
            for place, weight in zip(self._places(window), self.weights.ravel(), strict=True):
                if cells[place] != OUTSIDE:
                    matrix[row, cells[place]] += weight  # a border that mirrors meets a cell more than once
        return matrix.T if self.settings.transposed else matrix

    def steps(self) -> Iterator[Step]:
        """Every window, row by row."""
        transposed, padded = self.settings.transposed, self.padded
        windows = self.image.shape if transposed else (self.axes[0].output, self.axes[1].output)
        for window in np.ndindex(*windows):
            places = self._places(window)
            read = [window] * len(places) if transposed else places
            values = tuple(float(padded[place]) for place in read)
            yield Step(window, places, values, tuple(map(float, self.weights.ravel())))

    def _places(self, window: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Rows and columns of a window's taps, counted from the first cell of the padding."""
        (down, right), (gap_down, gap_right) = self.settings.stride, self.settings.dilation
        top, left = window[0] * down, window[1] * right
        return tuple(
            (top + row * gap_down, left + column * gap_right) for row, column in np.ndindex(*self.kernel.shape)
        )


def turned(kernel: np.ndarray) -> np.ndarray:
    """A kernel (h, w) turned by 180 degrees."""
    return kernel[::-1, ::-1]


def pad(image: np.ndarray, padding: tuple[tuple[int, int], tuple[int, int]], border: str, value: int = 0) -> np.ndarray:
    """(H, W) with cells around it: of `value` for "zeros", else mirrored without the edge, or the edge repeated."""
    options = {"constant_values": value} if border == "zeros" else {}
    return np.pad(image, padding, BORDERS[border], **options)  # type: ignore[call-overload]


def correlate(
    padded: np.ndarray, weights: np.ndarray, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)
) -> np.ndarray:
    """The valid cross-correlation of (H, W) with (h, w), in the image's type."""
    reach = [gap * (taps - 1) + 1 for gap, taps in zip(dilation, weights.shape, strict=True)]
    height, width = (side - cells + 1 for side, cells in zip(padded.shape, reach, strict=True))
    output = np.zeros((-(-height // stride[0]), -(-width // stride[1])), padded.dtype)
    for row, column in np.ndindex(*weights.shape):
        top, left = row * dilation[0], column * dilation[1]
        output += padded[top : top + height : stride[0], left : left + width : stride[1]] * float(weights[row, column])
    return output


def filtered(image: np.ndarray, kernel: np.ndarray, settings: Settings) -> np.ndarray:
    """A whole image (H, W) in its own size and type, whatever stride and padding the settings have."""
    weights = turned(kernel) if settings.mode == "convolution" else kernel
    padding = tuple(padding_of("same", taps, 1, settings.dilation[axis]) for axis, taps in enumerate(kernel.shape))
    return correlate(pad(image, (padding[0], padding[1]), settings.border), weights, (1, 1), settings.dilation)
