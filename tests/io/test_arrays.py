"""Rows written one by one make the file that numpy.save would."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import OutputError
from cnncli.io.arrays import row_writer

ROWS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def written(path: Path, rows: Sequence[np.ndarray | None]) -> np.ndarray:
    with row_writer(path) as writer:
        for row in rows:
            writer.append(row)
    return np.load(path, allow_pickle=False)


@pytest.mark.parametrize(
    "missing", [[], [0], [0, 1], [4], [2, 3], [0, 2, 4], [0, 1, 2, 3]], ids=lambda places: f"no {places}"
)
def test_equals_numpy(missing: list[int], tmp_path: Path) -> None:
    expected = ROWS.copy()
    expected[missing] = np.nan
    rows = [None if number in missing else row for number, row in enumerate(ROWS)]
    array = written(tmp_path / "a.npy", rows)
    assert array.dtype == np.float32 and np.array_equal(array, expected, equal_nan=True)


@pytest.mark.parametrize("count", [0, 3])
def test_knows_no_width_without_an_answer(count: int, tmp_path: Path) -> None:
    assert written(tmp_path / "a.npy", [None] * count).shape == (count, 0)


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4"])
def test_converts_to_float32(kind: str, tmp_path: Path) -> None:
    array = written(tmp_path / "a.npy", list(ROWS.astype(kind)))
    assert array.dtype == np.dtype("<f4") and np.allclose(array, ROWS, atol=2e-3)


def test_can_be_mapped(tmp_path: Path) -> None:
    written(tmp_path / "a.npy", list(ROWS))
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), ROWS)


def test_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), row_writer(tmp_path / "a.npy") as writer:
        writer.append(ROWS[0])
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_refuses_a_row_of_another_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 values in a row, 3 in those before"):
        written(tmp_path / "a.npy", [ROWS[0], np.zeros(4, np.float32)])


@pytest.mark.parametrize(("name", "reason"), [("none/a.npy", "No such file"), (".", "Is a directory")])
def test_says_that_it_can_t_be_written(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"can't be written .{reason}"):
        written(tmp_path / name, list(ROWS))


def test_says_that_a_pipe_is_no_place(tmp_path: Path) -> None:
    """The header is written last, and a pipe can't go back."""
    inside, outside = os.pipe()
    with pytest.raises(OutputError, match=r"can't be written .(Illegal seek|.*not seekable)"):
        written(Path(f"/dev/fd/{outside}"), list(ROWS))
    os.close(inside)
    os.close(outside)
