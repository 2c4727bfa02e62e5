"""How the cells of a map depend on those of the map before it, along one axis: which first and last cell each reads.

Each kind of axis takes arrays of first and last cells and gives those of the map before. An empty range has its last
cell before its first. Cells before 0 and behind the last are padding.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Range = tuple[np.ndarray, np.ndarray]  # first and last cells, both included
FAR = 1 << 40  # beyond every map


class Axis(Protocol):
    def read(self, first: np.ndarray, last: np.ndarray) -> Range: ...


@dataclass(frozen=True)
class Taps:
    """A convolution or pool: cell i reads i * stride - padding and `kernel` cells from there, `dilation` apart."""

    kernel: int
    stride: int = 1
    padding: int = 0  # before the first cell
    dilation: int = 1

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        reach = (self.kernel - 1) * self.dilation
        return first * self.stride - self.padding, last * self.stride - self.padding + reach


SAME = Taps(1)


@dataclass(frozen=True)
class TransposedTaps:
    """A transposed convolution: cell i of its input is added to i * stride - padding + tap * dilation."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        least, most = np.full_like(first, FAR), np.full_like(last, -FAR)
        for tap in range(self.kernel):
            shift = self.padding - tap * self.dilation
            begin, end = -((-first - shift) // self.stride), (last + shift) // self.stride
            reached = begin <= end
            least = np.where(reached, np.minimum(least, begin), least)
            most = np.where(reached, np.maximum(most, end), most)
        return least, most


@dataclass(frozen=True)
class Repeated:
    """Each cell stands `times` times in a row: nearest upsampling, unpooling, pixel shuffle."""

    times: int

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        return first // self.times, last // self.times


@dataclass(frozen=True)
class Nearest:
    """`size` cells resized to `given` ones without interpolation; `scale`: cells read for one, where it was stated."""

    size: int
    given: int
    scale: float | None = None

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        if self.scale is None:
            return first * self.size // self.given, last * self.size // self.given
        return np.floor(first * self.scale).astype(int), np.floor(last * self.scale).astype(int)


@dataclass(frozen=True)
class Linear:
    """`size` cells resized to `given` ones by linear interpolation; `scale` as of Nearest."""

    size: int
    given: int
    align_corners: bool
    scale: float | None = None

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        return np.floor(self._place(first)).astype(int), np.ceil(self._place(last)).astype(int)

    def _place(self, cell: np.ndarray) -> np.ndarray:
        if self.align_corners:
            return cell * (self.size - 1) / max(1, self.given - 1)
        return (cell + 0.5) * (self.scale or self.size / self.given) - 0.5


@dataclass(frozen=True)
class Bins:
    """Adaptive pooling: `size` cells parted among `given` ones."""

    size: int
    given: int

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        return first * self.size // self.given, -(-(last + 1) * self.size // self.given) - 1


@dataclass(frozen=True)
class All:
    """Every cell is read: means of whole maps, fully connected layers."""

    size: int

    def read(self, first: np.ndarray, last: np.ndarray) -> Range:
        return np.zeros_like(first), np.full_like(last, self.size - 1)


def ratio(axis: Axis) -> tuple[int, int]:
    """How far apart its neighbours are in the map before, as numerator and denominator."""
    if isinstance(axis, Taps):
        return axis.stride, 1
    if isinstance(axis, TransposedTaps):
        return 1, axis.stride
    if isinstance(axis, Repeated):
        return 1, axis.times
    if isinstance(axis, (Nearest, Bins)):
        return axis.size, axis.given
    if isinstance(axis, Linear):
        corners = int(axis.align_corners)
        return max(1, axis.size - corners), max(1, axis.given - corners)
    return 1, 1


def repeats(axis: Axis) -> int:
    """After how many cells its pattern of reads begins again: more than 1 where a map is enlarged."""
    numerator, denominator = ratio(axis)
    return denominator // math.gcd(numerator, denominator)
