"""The contract of the command line, held by every task of the catalog."""

import csv
import io
import json
import os
from pathlib import Path

import jsonschema
import pytest

from cnncli.catalog import TASKS
from cnncli.results.schema import schema
from tests.cli.tasks import analyser, engines, form, result_key
from tests.conftest import PHOTOS, records

pytestmark = pytest.mark.parametrize("task", TASKS)
CAT, COFFEE = PHOTOS / "chelsea.png", PHOTOS / "coffee.png"


def test_gives_one_valid_record_per_input(task: str, album: Path, cnncli, tmp_path: Path) -> None:
    cat, rocket = album / "chelsea.png", album / "rocket.jpg"
    (tmp_path / "broken.jpg").write_bytes(rocket.read_bytes()[: rocket.stat().st_size // 2])
    (tmp_path / "note.png").write_text("no picture")
    done = cnncli(*form(task), cat, "broken.jpg", "missing.jpg", "note.png", rocket)
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record["ok"] for record in found] == [True, False, False, False, True]
    assert [record["index"] for record in found] == [0, 1, 2, 3, 4]
    assert [record["file"] for record in found] == [str(cat), "broken.jpg", "missing.jpg", "note.png", str(rocket)]
    for record in found:
        jsonschema.validate(record, schema(task))
        assert record["ok"] == (record["failure"] is None)
        assert record["ok"] or record[result_key(task)] is None
    for name in ("broken.jpg", "missing.jpg", "note.png"):
        assert f"cnncli: {name}: ".encode() in done.stderr


def test_schema_command_prints_the_schema(task: str, cnncli) -> None:
    printed = json.loads(cnncli("schema", task).stdout)
    assert printed == schema(task)
    jsonschema.Draft202012Validator.check_schema(printed)


def test_succeeds_silently(task: str, album: Path, cnncli) -> None:
    done = cnncli(*form(task), album / "chelsea.png")
    assert done.returncode == 0
    assert done.stderr == b""


def test_optional_keys_are_in_the_schema(task: str, album: Path, cnncli, tmp_path: Path) -> None:
    done = cnncli(*form(task), album, "--timings", "--shard", "1/2", "--out-dir", tmp_path / "out")
    found = records(done.stdout)
    assert [record["index"] for record in found] == [1, 3]
    for record in found:
        jsonschema.validate(record, schema(task))
        assert record["inputs"] == 4
        assert set(record["ms"]) == {"decode", "prepare", "infer", "interpret"}
        assert Path(record[analyser(task).picture_key]).is_file()


def test_reads_standard_input(task: str, album: Path, cnncli) -> None:
    rocket = album / "rocket.jpg"
    named = records(cnncli(*form(task), rocket).stdout)[0]
    for arguments in ((*form(task), "-"), form(task)):
        piped = records(cnncli(*arguments, stdin=rocket.read_bytes()).stdout)[0]
        assert piped == {**named, "file": "-"}


def test_reads_process_substitution(task: str, album: Path, cnncli, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = os.fork()
    if writer == 0:
        fifo.write_bytes((album / "rocket.jpg").read_bytes())
        os._exit(0)
    done = cnncli(*form(task), fifo)
    os.waitpid(writer, 0)
    assert records(done.stdout)[0]["ok"]


def test_formats_hold_the_same(task: str, album: Path, here) -> None:
    lines = records(here(*form(task), album, "--format", "jsonl").stdout)
    assert json.loads(here(*form(task), album, "--format", "json").stdout) == lines
    rows = list(csv.DictReader(io.StringIO(here(*form(task), album, "--format", "csv").stdout.decode())))
    assert [row["file"] for row in rows] == [record["file"] for record in lines]
    table = here(*form(task), album, "--format", "table").stdout.decode()
    assert "chelsea" in table


def test_csv_columns_do_not_depend_on_the_inputs(task: str, album: Path, here) -> None:
    good = here(*form(task), album / "chelsea.png", "--format", "csv").stdout.splitlines()[0]
    bad = here(*form(task), "missing.jpg", "--format", "csv").stdout.splitlines()[0]
    assert good == bad


def test_takes_inputs_named_twice(task: str, album: Path, here) -> None:
    found = records(here(*form(task), album / "chelsea.png", album / "chelsea.png").stdout)
    assert [record["index"] for record in found] == [0, 1]
    assert {**found[0], "index": 1} == found[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["*.nothing"], "no file matches"),
        (["empty"], "no images in this folder"),
        (["@empty.txt"], "names no file"),
        ([], "no input"),
        ([CAT, COFFEE, "--out", "one.png"], "--out-dir"),
        ([CAT, "--out", "a.png", "--out-dir", "b"], "give one of them"),
        ([CAT, "--out", "nowhere/a.png"], "does not exist"),
        ([CAT, "--out", "a.xyz"], "names no image format"),
        ([CAT, "--out-dir", "nowhere/deep"], "does not exist"),
        ([CAT, "--resume"], "--records"),
        ([CAT, "--shard", "3/3"], "0/3 to 2/3"),
        ([CAT, "--shard", "x"], "I/N"),
        ([CAT, "--shard", "auto"], "RANK"),
        ([CAT, "--device", "tpu"], "choose auto, cpu"),
        ([CAT, "--batch-size", "0"], "at least 1"),
        ([CAT, "--batch-size", "many"], "a number or auto"),
        ([CAT, "--format", "xml"], "choose auto, table"),
        ([CAT, "--on-error", "cry"], "skip or fail"),
        ([CAT, "--format", "coco"], "--format coco"),
        ([CAT, "--no-such-option"], "No such option"),
        ([CAT, "--overwrite", "--skip-existing", "--out", "a.png"], "contradict"),
    ],
    ids=lambda value: " ".join(map(str, value))[-40:] if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(task: str, arguments: list, words: str, here, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    done = here(*form(task), *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    message = done.stderr.decode()
    assert words in message
    assert message.startswith("cnncli: ")
    assert message.count("\n") == 1


def test_missing_gpu_is_an_error_only_when_asked_for(task: str, album: Path, cnncli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = cnncli(*form(task), CAT, "--device", "cuda")
    assert done.returncode == 4
    assert b"--device cpu" in done.stderr
    many = cnncli(*form(task), album / "chelsea.png", *["missing.jpg"] * 69, "--device", "auto", "-q")
    assert (many.returncode, many.stderr) == (1, b"")
    first = records(many.stdout)[0]
    assert (first["ok"], first["device"]) == (True, "cpu")


def test_engines_agree(task: str, album: Path, here) -> None:
    fast, torch = (records(here(*form(task), album, "--engine", engine).stdout) for engine in engines(task))
    assert [{record["engine"] for record in run} for run in (fast, torch)] == [{name} for name in engines(task)]
    assert_same_answers(fast, torch, tolerance=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batch_size_changes_nothing(task: str, batch: int, album: Path, here) -> None:
    words = [album] * 3
    assert_same_answers(
        records(here(*form(task), *words).stdout), records(here(*form(task), *words, "-b", str(batch)).stdout)
    )


def assert_same_answers(first: list[dict], second: list[dict], tolerance: float = 1e-5) -> None:
    """Equal records, but for numbers within the tolerance, times, and which engine gave them."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for key in set(one) - {"ms", "engine", "device", "run"}:
            assert_close(one[key], other[key], tolerance)


def assert_close(one, other, tolerance: float) -> None:
    if isinstance(one, float):
        assert one == pytest.approx(other, abs=tolerance)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b, tolerance)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key], tolerance)
    else:
        assert one == other
