"""Lines of records files."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnncli.errors import UsageError
from cnncli.viewer.records import count_lines, read_all
from tests.viewer.conftest import record, write_records

LINE = json.dumps(record("classify", "a.jpg", classes=[])).encode() + b"\n"


def told(names: list[str]) -> tuple[int, list[str]]:
    said: list[str] = []
    return len(list(read_all(names, said.append))), said


def test_reads_files_in_their_order(tmp_path: Path) -> None:
    one = write_records(tmp_path / "1.jsonl", [record("detect", "b.jpg"), record("sobel", "a.jpg")])
    two = write_records(tmp_path / "2.jsonl", [record("denoise", "c.jpg")])
    found = [(r.record["file"], r.task, r.line, r.folder) for r in read_all([str(two), str(one)], print)]
    assert found == [
        ("c.jpg", "denoise", 1, tmp_path),
        ("b.jpg", "detect", 1, tmp_path),
        ("a.jpg", "sobel", 2, tmp_path),
    ]
    assert count_lines([str(one), str(two)]) == 3


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(LINE)))
    (recorded,) = read_all(["-"], print)
    assert recorded.folder is None and recorded.place == "standard input: line 1"
    assert count_lines(["-"]) is None


@pytest.mark.parametrize("cut", [1, 12, 40, len(LINE) - 2])
def test_leaves_a_torn_last_line_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINE + LINE[:cut])
    count, said = told([str(path)])
    assert count == 1 and len(said) == 1 and str(path) in said[0]


def test_keeps_a_whole_last_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINE + LINE.rstrip(b"\n"))
    assert told([str(path)]) == (2, [])


BAD_LINES = {
    "text": b"hello\n",
    "text at the end": b"hello",
    "no object": b"[1]\n",
    "empty": b"\n",
    "torn in the middle": LINE[:40] + b"\n" + LINE,
    "another schema": LINE.replace(b"cnncli.classify/1", b"cnncli.count/1"),
    "a frame that is no number": LINE.replace(b'"index": 0', b'"frame": "first"'),
    "no file": LINE.replace(b'"file"', b'"name"'),
    "not UTF-8": LINE.replace(b"a.jpg", b"\xff.jpg"),
    "NaN": LINE.replace(b'"index": 0', b'"index": NaN'),
    "nested without end": LINE.replace(b'"index": 0', b'"index": ' + b"[" * 200_000),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_rejects_a_line_that_is_no_record(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINE + line)
    with pytest.raises(UsageError, match=f"{path}: line 2 is not a record"):
        told([str(path)])


@pytest.mark.parametrize("content", [b"", LINE[:50]])
def test_rejects_a_file_without_records(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path}: holds no records"):
        told([str(path)])


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_rejects_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="can't be read"):
        told([name])
