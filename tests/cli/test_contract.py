"""The contract of the command line, held by every task of the catalog."""

import csv
import io
import json
import os
from pathlib import Path

import jsonschema
import pytest

from cnncli.catalog import MODELS, TASKS
from cnncli.results import schema
from tests.conftest import PHOTOS, records

pytestmark = pytest.mark.parametrize("task", TASKS)
CAT, COFFEE, ROCKET = PHOTOS / "chelsea.png", PHOTOS / "coffee.png", PHOTOS / "rocket.jpg"


def test_gives_one_valid_record_per_input(task: str, cnncli, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(ROCKET.read_bytes()[:5000])
    (tmp_path / "note.png").write_text("no picture")
    done = cnncli(task, CAT, "broken.jpg", "missing.jpg", "note.png", ROCKET)
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record["ok"] for record in found] == [True, False, False, False, True]
    assert [record["index"] for record in found] == [0, 1, 2, 3, 4]
    assert [record["file"] for record in found] == [str(CAT), "broken.jpg", "missing.jpg", "note.png", str(ROCKET)]
    for record in found:
        jsonschema.validate(record, schema(task))
        assert record["ok"] == (record["failure"] is None)
    for name in ("broken.jpg", "missing.jpg", "note.png"):
        assert f"cnncli: {name}: ".encode() in done.stderr


def test_schema_command_prints_the_schema(task: str, cnncli) -> None:
    printed = json.loads(cnncli("schema", task).stdout)
    assert printed == schema(task)
    jsonschema.Draft202012Validator.check_schema(printed)


def test_succeeds_silently(task: str, cnncli) -> None:
    done = cnncli(task, CAT)
    assert done.returncode == 0
    assert done.stderr == b""


def test_optional_keys_are_in_the_schema(task: str, cnncli, tmp_path: Path) -> None:
    done = cnncli(task, PHOTOS, "--timings", "--shard", "1/2", "--out-dir", tmp_path / "out")
    found = records(done.stdout)
    assert [record["index"] for record in found] == [1, 3]
    for record in found:
        jsonschema.validate(record, schema(task))
        assert record["inputs"] == 4
        assert set(record["ms"]) == {"decode", "prepare", "infer", "interpret"}
        assert Path(record["output"]).is_file()


def test_reads_standard_input(task: str, cnncli) -> None:
    named = records(cnncli(task, ROCKET).stdout)[0]
    for arguments in ((task, "-"), (task,)):
        piped = records(cnncli(*arguments, stdin=ROCKET.read_bytes()).stdout)[0]
        assert piped == {**named, "file": "-"}


def test_reads_process_substitution(task: str, cnncli, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = os.fork()
    if writer == 0:
        fifo.write_bytes(ROCKET.read_bytes())
        os._exit(0)
    done = cnncli(task, fifo)
    os.waitpid(writer, 0)
    assert records(done.stdout)[0]["ok"]


def test_formats_hold_the_same(task: str, cnncli) -> None:
    lines = records(cnncli(task, PHOTOS, "--format", "jsonl").stdout)
    assert json.loads(cnncli(task, PHOTOS, "--format", "json").stdout) == lines
    rows = list(csv.DictReader(io.StringIO(cnncli(task, PHOTOS, "--format", "csv").stdout.decode())))
    assert [row["file"] for row in rows] == [record["file"] for record in lines]
    table = cnncli(task, PHOTOS, "--format", "table").stdout.decode()
    assert "chelsea" in table


def test_csv_columns_do_not_depend_on_the_inputs(task: str, cnncli) -> None:
    good = cnncli(task, CAT, "--format", "csv").stdout.splitlines()[0]
    bad = cnncli(task, "missing.jpg", "--format", "csv").stdout.splitlines()[0]
    assert good == bad


def test_takes_inputs_named_twice(task: str, cnncli) -> None:
    found = records(cnncli(task, CAT, CAT).stdout)
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
        ([CAT, "--engine", "onnx", "--precision", "bf16"], "fp32"),
        ([CAT, "--engine", "onnx", "--device", "cuda"], "runs on the CPU"),
        ([CAT, "--batch-size", "0"], "at least 1"),
        ([CAT, "--batch-size", "many"], "a number or auto"),
        ([CAT, "--format", "xml"], "choose auto, table"),
        ([CAT, "--on-error", "cry"], "skip or fail"),
        ([CAT, "--model", "a", "--weights", "b"], "give one of them"),
        ([CAT, "--no-such-option"], "No such option"),
        ([CAT, "--overwrite", "--skip-existing", "--out", "a.png"], "contradict"),
    ],
    ids=lambda value: " ".join(map(str, value))[-40:] if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(task: str, arguments: list, words: str, cnncli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    done = cnncli(task, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    message = done.stderr.decode()
    assert words in message
    assert message.startswith("cnncli: ")
    assert message.count("\n") == 1


def test_weights_errors(task: str, cnncli, tmp_path: Path) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for arguments in (["-m", "no_such_model"], ["--weights", "junk.safetensors"], ["--weights", "missing.safetensors"]):
        done = cnncli(task, CAT, *arguments)
        assert done.returncode == 3, done.stderr
        assert done.stderr.decode().count("\n") == 1


def test_missing_gpu_is_an_error_only_when_asked_for(task: str, cnncli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = cnncli(task, CAT, "--device", "cuda")
    assert done.returncode == 4
    assert b"--device cpu" in done.stderr
    assert cnncli(task, *[CAT] * 70, "--device", "auto", "-q").returncode == 0


def test_model_file_may_be_renamed_linked_and_copied(task: str, cnncli, tmp_path: Path) -> None:
    from cnncli.io.store import model_path

    original = model_path(TASKS[task].default_model)
    (tmp_path / "renamed copy.safetensors").write_bytes(original.read_bytes())
    (tmp_path / "link.safetensors").symlink_to(original)
    expected = records(cnncli(task, CAT).stdout)
    for name in ("renamed copy.safetensors", "link.safetensors"):
        assert records(cnncli(task, CAT, "--weights", name).stdout) == expected


def test_every_model_answers(task: str, cnncli) -> None:
    for name, entry in MODELS.items():
        if entry.task == task:
            assert records(cnncli(task, CAT, "-m", name).stdout)[0]["model"] == name


def test_engines_agree(task: str, cnncli) -> None:
    onnx = records(cnncli(task, PHOTOS, "--engine", "onnx").stdout)
    torch = records(cnncli(task, PHOTOS, "--engine", "torch").stdout)
    assert_same_answers(onnx, torch, tolerance=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batch_size_changes_nothing(task: str, batch: int, cnncli) -> None:
    words = [PHOTOS] * 3
    assert_same_answers(records(cnncli(task, *words).stdout), records(cnncli(task, *words, "-b", str(batch)).stdout))


def test_environment_and_settings_file_are_below_flags(task: str, cnncli, tmp_path: Path) -> None:
    small = next(name for name, entry in MODELS.items() if entry.task == task and name != TASKS[task].default_model)
    default = TASKS[task].default_model

    def model(*arguments: str, **variables: str) -> str:
        done = cnncli(task, CAT, *arguments, env={**os.environ, **variables})
        return records(done.stdout)[0]["model"]

    assert model(CNNCLI_MODEL=small) == small
    (tmp_path / "cnncli.toml").write_text(f'model = "{small}"\n')
    assert model() == small
    assert model(CNNCLI_MODEL=default) == default
    assert model("-m", default, CNNCLI_MODEL=small) == default
    (tmp_path / "cnncli.toml").write_text(f'[{task}]\nmodel = "{small}"\n')
    assert model() == small
    (tmp_path / "cnncli.toml").write_text("modell = 1\n")
    done = cnncli(task, CAT)
    assert done.returncode == 2
    assert b"no option 'modell'" in done.stderr


def assert_same_answers(first: list[dict], second: list[dict], tolerance: float = 1e-5) -> None:
    """Equal records, but for numbers within the tolerance, times, and which engine gave them."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
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
