"""Sizes and costs of a convolutional layer, by arithmetic alone: nothing here imports torch or numpy.

Sources: Dumoulin & Visin 2016, "A guide to convolution arithmetic"; torch's Conv2d and ConvTranspose2d, whose
parameters these are; Goodfellow et al. 2016, "Deep Learning", ch. 9.2, for the three forms that a layer can take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from cnncli.errors import UsageError

GENERAL = "floor((M - d (K - 1) - 1 + p) / s) + 1"
GENERAL_TRANSPOSED = "(M - 1) s - p + d (K - 1) + o + 1"
MOST_CELLS = 10_000  # of an axis: few enough to be counted one by one
MOST_CHANNELS = 1_000_000
MOST_SETTING = 1_000  # of a kernel's side, a stride, a padding, a dilation


@dataclass(frozen=True)
class Axis:
    """A layer along one axis; all in cells. `padding` is before and after the input.

    Of a transposed layer, `padding` is cut off the output, and `output_padding` is kept of what was cut off behind.
    UsageError where no output can come of it.
    """

    size: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    transposed: bool = False
    output_padding: int = 0
    name: str = "axis"

    def __post_init__(self) -> None:
        _check_range(f"input {self.name}", self.size, 1, MOST_CELLS)
        for word in ("kernel", "stride", "dilation"):
            _check_range(f"{word} {self.name}", getattr(self, word), 1, MOST_SETTING)
        for word, value in (("padding", self.padding[0]), ("output padding", self.output_padding)):
            _check_range(f"{word} {self.name}", value, 0, MOST_SETTING)
        self._check_output_padding()
        if self.output < 1:
            raise UsageError(self._why_empty())

    def _check_output_padding(self) -> None:
        if self.output_padding and not self.transposed:
            raise UsageError("output padding is for transposed layers; give --transposed too")
        if self.output_padding >= max(self.stride, self.dilation):
            raise UsageError(
                f"output padding {self.name} {self.output_padding}: must be below the stride ({self.stride}) or the "
                f"dilation ({self.dilation})"
            )

    def _why_empty(self) -> str:
        if self.transposed:
            return f"padding {self.name} {self.padding[0]}: cuts off the whole output; use less"
        return (
            f"kernel {self.name} {self.kernel}: reaches over {self.reach} cells, more than the {self.size} of the "
            f"input and {self.total_padding} of padding; use a smaller kernel or dilation, or more padding"
        )

    @property
    def reach(self) -> int:
        """Cells from the kernel's first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def total_padding(self) -> int:
        return sum(self.padding)

    @property
    def output(self) -> int:
        """Cells of the output, by the formula."""
        if self.transposed:
            return (self.size - 1) * self.stride - self.total_padding + self.reach + self.output_padding
        return (self.size - self.reach + self.total_padding) // self.stride + 1

    @property
    def general(self) -> str:
        """The formula: M input, K kernel, s stride, p all padding, d dilation, o output padding."""
        return GENERAL_TRANSPOSED if self.transposed else GENERAL

    @property
    def formula(self) -> str:
        """The formula with this axis' numbers, and what comes out."""
        size, kernel, stride, dilation = self.size, self.kernel, self.stride, self.dilation
        reach = f"{dilation} ({kernel} - 1)"
        if self.transposed:
            terms = f"({size} - 1) {stride} - {self.total_padding} + {reach} + {self.output_padding} + 1"
        else:
            terms = f"floor(({size} - {reach} - 1 + {self.total_padding}) / {stride}) + 1"
        return f"{terms} = {self.output}"

    def taps(self) -> list[int]:
        """Of each cell that a window belongs to, the taps inside: of each output cell, those on the input.

        In a transposed layer, whose matrix is the transposed one: of each input cell, those on the output.
        """
        windows, cells = (self.size, self.output) if self.transposed else (self.output, self.size)
        starts = (window * self.stride - self.padding[0] for window in range(windows))
        return [self._taps_within(start, cells) for start in starts]

    def _taps_within(self, start: int, cells: int) -> int:
        """Of taps at start, start + dilation, ..., how many lie in 0..cells - 1."""
        first = max(0, -(start // self.dilation))  # rounded up
        end = min(self.kernel, -((start - cells) // self.dilation))
        return max(0, end - first)

    def reached(self) -> int:
        """Output cells that at least one input cell takes part in."""
        if not self.transposed:
            return sum(count > 0 for count in self.taps())
        return len({cell for cell in self._touched() if 0 <= cell < self.output})

    def _touched(self) -> Iterator[int]:
        """Where the taps of each window of a transposed layer fall, on the output or beside it."""
        for start in range(-self.padding[0], self.size * self.stride - self.padding[0], self.stride):
            yield from range(start, start + self.reach, self.dilation)

    def reached_uncut(self) -> int:
        """The same of the transposed layer before its padding is cut off."""
        return len(set(self._touched()))


@dataclass(frozen=True)
class Form:
    """What one way to compute a layer costs. `entries`: of its matrix, which the convolution itself has not.

    `operations` are products and sums: one sum less than products for each output, and one for a bias.
    """

    name: str
    entries: int | None
    parameters: int
    multiply_adds: int
    operations: int


@dataclass(frozen=True)
class ConvLayer:
    """A convolutional layer of images (C, H, W), as torch's Conv2d and ConvTranspose2d; UsageError if impossible."""

    in_channels: int
    out_channels: int
    height: Axis
    width: Axis
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        _check_range("input channels", self.in_channels, 1, MOST_CHANNELS)
        _check_range("output channels", self.out_channels, 1, MOST_CHANNELS)
        for direction, channels in (("input", self.in_channels), ("output", self.out_channels)):
            if self.groups < 1 or channels % self.groups:
                raise UsageError(f"groups {self.groups}: must divide the {channels} {direction} channels")

    @property
    def transposed(self) -> bool:
        return self.height.transposed

    @property
    def input(self) -> tuple[int, int, int]:
        return self.in_channels, self.height.size, self.width.size

    @property
    def output(self) -> tuple[int, int, int]:
        return self.out_channels, self.height.output, self.width.output

    @property
    def neurons(self) -> int:
        return prod(self.output)

    @property
    def channel_pairs(self) -> int:
        """Pairs of an input and an output channel that a kernel connects."""
        return self.in_channels * self.out_channels // self.groups

    @property
    def taps_inside(self) -> tuple[int, int]:
        """Taps of all windows that meet a cell, along height and width; their product is that of a pair of channels."""
        return sum(self.height.taps()), sum(self.width.taps())

    def convolution(self) -> Form:
        """Multiply-adds as commonly quoted: taps on padding (transposed: those cut off) count too."""
        parameters = self.channel_pairs * self.height.kernel * self.width.kernel + self._biases
        windows = prod(self.input[1:]) if self.transposed else prod(self.output[1:])
        products = self.channel_pairs * self.height.kernel * self.width.kernel * windows
        cells = self.height.reached_uncut() * self.width.reached_uncut() if self.transposed else windows
        begun = self.out_channels * cells
        biased = self._reached() if self.transposed else begun
        return Form("convolution", None, parameters, products, 2 * products - begun + self.bias * biased)

    def sparse(self) -> Form:
        """The layer as a matrix of its weights at their places, without the zeros: taps on padding are not there."""
        entries = self.channel_pairs * prod(self.taps_inside)
        operations = 2 * entries - (0 if self.bias else self._reached())
        return Form("sparse matrix", entries, self.convolution().parameters, entries, operations)

    def dense(self) -> Form:
        """A fully connected layer between as many neurons."""
        entries = prod(self.input) * self.neurons
        biases = self.neurons if self.bias else 0
        return Form("fully connected", entries, entries + biases, entries, 2 * entries - self.neurons + biases)

    def forms(self) -> tuple[Form, Form, Form]:
        return self.convolution(), self.sparse(), self.dense()

    @property
    def _biases(self) -> int:
        return self.out_channels if self.bias else 0

    def _reached(self) -> int:
        return self.out_channels * self.height.reached() * self.width.reached()


def padding_of(padding: int | Literal["same"], kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells before and after an axis: so many each, or as torch's padding="same", the odd one behind."""
    if isinstance(padding, int):
        return padding, padding
    if stride != 1:
        raise UsageError(f"padding same: keeps the size at stride 1 alone, not {stride}; give the padding in cells")
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} {value:,}: must be from {least} to {most:,}")
