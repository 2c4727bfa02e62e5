"""What each cell of a map sees of the network's input, found by going back through the operations of a trace.

Source: Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill; enlarged maps
are followed cell by cell, since there neighbours see fields of different sizes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cnncli.nn.axes import FAR, Axis, Range, ratio, repeats
from cnncli.nn.tracing import INPUT, Operation, Source

MOST_PHASES = 64  # cells that are looked at where fields repeat after some


@dataclass(frozen=True)
class ReceptiveField:
    """`size` (rows, columns) in pixels of the largest field, padding counted; `sees_all`: of the whole input.

    `jump`: pixels from the field of a cell to its neighbour's, (rows, columns); below 1 where maps are enlarged.
    """

    size: tuple[int, int]
    jump: tuple[Fraction, Fraction]
    sees_all: bool


def receptive_fields(operations: Sequence[Operation], numbers: Iterable[int]) -> dict[int, ReceptiveField]:
    """Of the operations with these numbers."""
    sees_all, jumps = _sees_all(operations), _jumps(operations)
    phases = tuple(min(MOST_PHASES, _phases(operations, axis)) for axis in (0, 1))
    fields = {}
    for number in numbers:
        rows, columns = (_largest(operations, number, axis, phases[axis]) for axis in (0, 1))
        fields[number] = ReceptiveField((rows, columns), jumps[number], sees_all[number])
    return fields


def window(operations: Sequence[Operation], number: int, cell: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Rows (first, last) and columns (first, last) of the input that one cell (row, column) of a map reads.

    Cells of padding anywhere on the way read nothing; a range of nothing is (0, -1).
    """
    found = []
    for axis in (0, 1):
        place = np.array([cell[axis]])
        first, last = _back(operations, number, axis, (place, place), clipped=True)
        found.append((int(first[0]), int(last[0])) if first[0] <= last[0] else (0, -1))
    return tuple(found)


def _largest(operations: Sequence[Operation], number: int, axis: int, phases: int) -> int:
    shape = operations[number].shape
    middle = shape[axis - 2] // 2 if len(shape) > 1 else 0
    cells = middle + np.arange(phases)
    first, last = _back(operations, number, axis, (cells, cells), clipped=False)
    return int((last - first).max()) + 1


def _back(operations: Sequence[Operation], number: int, axis: int, cells: Range, clipped: bool) -> Range:
    """From cells of one map to those of the input, along one axis; maps that branches share get the union of both."""
    ranges: dict[int, Range] = {number: cells}
    for current in range(number, -1, -1):
        if current not in ranges:
            continue
        first, last = ranges.pop(current)
        for source in operations[current].sources:
            read = _axis(source, axis).read(first, last)
            read = (np.where(first > last, FAR, read[0]), np.where(first > last, -FAR, read[1]))
            if clipped:
                read = _within(read, source.shape[axis - 2] if len(source.shape) > 1 else 1)
            ranges[source.operation] = _union(read, ranges.get(source.operation))
    return ranges.get(INPUT, cells)


def _axis(source: Source, axis: int) -> Axis:
    return source.columns if axis else source.rows


def _within(read: Range, size: int) -> Range:
    first, last = np.maximum(read[0], 0), np.minimum(read[1], size - 1)
    return np.where(first > last, FAR, first), np.where(first > last, -FAR, last)


def _union(read: Range, other: Range | None) -> Range:
    return read if other is None else (np.minimum(read[0], other[0]), np.maximum(read[1], other[1]))


def _sees_all(operations: Sequence[Operation]) -> list[bool]:
    found: list[bool] = []
    for operation in operations:
        inherited = any(found[source.operation] for source in operation.sources if source.operation != INPUT)
        found.append(inherited or operation.reads_all)
    return found


def _jumps(operations: Sequence[Operation]) -> list[tuple[Fraction, Fraction]]:
    """The product of the strides on the way; branches that meet have the same."""
    found: list[tuple[Fraction, Fraction]] = []
    for operation in operations:
        largest = max(operation.sources, key=lambda source: math.prod(source.shape[-2:]))
        before = found[largest.operation] if largest.operation != INPUT else (Fraction(1), Fraction(1))
        rows, columns = (before[a] * Fraction(*ratio(_axis(largest, a))) for a in (0, 1))
        found.append((rows, columns))
    return found


def _phases(operations: Sequence[Operation], axis: int) -> int:
    product = 1
    for operation in operations:
        product *= math.lcm(*(repeats(_axis(source, axis)) for source in operation.sources))
        if product >= MOST_PHASES:
            return MOST_PHASES
    return product
