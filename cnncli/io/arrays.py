"""NumPy files that are written row by row, so that memory stays flat."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnncli.io.atomic import output_file

HEADER = 128  # bytes, a multiple of 64 as the format asks for; room for any shape


class RowWriter:
    """Appends float32 rows (F,); rows of NaN stand for inputs without an answer, so that row i is record i."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._rows = 0
        self._waiting = 0  # rows of NaN before the width is known
        self._width: int | None = None
        file.write(b"\0" * HEADER)

    def append(self, row: np.ndarray | None) -> None:
        if row is None and self._width is None:
            self._waiting += 1
            return
        if self._width is None:
            self._width = len(row)
            waiting, self._waiting = self._waiting, 0
            for _ in range(waiting):
                self.append(None)
        if row is not None and len(row) != self._width:
            raise ValueError(f"{len(row)} values in a row, {self._width} in those before")
        values = np.full(self._width, np.nan, np.float32) if row is None else row.astype("<f4")
        self._file.write(values.tobytes())
        self._rows += 1

    def finish(self) -> None:
        """Write the header (format 1.0) now that the number of rows is known."""
        shape = (self._rows + self._waiting, self._width or 0)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        length = HEADER - 10
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n")


@contextmanager
def row_writer(path: Path) -> Iterator[RowWriter]:
    """A `.npy` file of shape (rows, F) that appears when the block ends well."""
    with output_file(path) as file:
        writer = RowWriter(file)
        yield writer
        writer.finish()
