"""What the options of models mean, held by every task that runs one."""

import os
from pathlib import Path

import pytest

from cnncli.io.store import model_path
from tests.cli.tasks import WITH_MODELS, default_model, form, second_model, shipped_models
from tests.conftest import PHOTOS, records

pytestmark = pytest.mark.parametrize("task", WITH_MODELS)
CAT = PHOTOS / "chelsea.png"


def test_weights_errors(task: str, here, tmp_path: Path) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for arguments in (["-m", "no_such_model"], ["--weights", "junk.safetensors"], ["--weights", "missing.safetensors"]):
        done = here(*form(task), CAT, *arguments)
        assert done.returncode == 3, done.stderr
        assert done.stderr.decode().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "onnx", "--precision", "bf16"], "fp32"),
        (["--engine", "onnx", "--device", "cuda"], "runs on the CPU"),
        (["--engine", "opencv"], "runs a network"),
        (["--model", "a", "--weights", "b"], "give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(task: str, arguments: list[str], words: str, here) -> None:
    done = here(*form(task), CAT, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_models_of_other_tasks_are_refused(task: str, here) -> None:
    other = default_model("classify" if task != "classify" else "detect")
    for arguments in (["-m", other], ["--weights", model_path(other)]):
        done = here(*form(task), CAT, *arguments)
        assert done.returncode == 3
        assert b"made for" in done.stderr


def test_model_file_may_be_renamed_linked_and_copied(task: str, album: Path, here, tmp_path: Path) -> None:
    from cnncli.io.store import model_path

    original = model_path(default_model(task))
    (tmp_path / "renamed copy.safetensors").write_bytes(original.read_bytes())
    (tmp_path / "link.safetensors").symlink_to(original)
    expected = records(here(*form(task), album / "chelsea.png").stdout)
    for name in ("renamed copy.safetensors", "link.safetensors"):
        assert records(here(*form(task), album / "chelsea.png", "--weights", name).stdout) == expected


def test_every_model_answers(task: str, album: Path, here) -> None:
    for name, options in shipped_models(task):
        assert records(here(*form(task), album / "chelsea.png", "-m", name, *options).stdout)[0]["model"] == name


def test_environment_and_settings_file_are_below_flags(task: str, album: Path, cnncli, tmp_path: Path) -> None:
    second, default = second_model(task), default_model(task)

    def model(*arguments: str, **variables: str) -> str:
        done = cnncli(*form(task), album / "chelsea.png", *arguments, env={**os.environ, **variables})
        return records(done.stdout)[0]["model"]

    assert model(CNNCLI_MODEL=second) == second
    (tmp_path / "cnncli.toml").write_text(f'model = "{second}"\n')
    assert model() == second
    assert model(CNNCLI_MODEL=default) == default
    assert model("-m", default, CNNCLI_MODEL=second) == default
    (tmp_path / "cnncli.toml").write_text(f'[{task}]\nmodel = "{second}"\n')
    assert model() == second
    (tmp_path / "cnncli.toml").write_text("modell = 1\n")
    done = cnncli(*form(task), album / "chelsea.png")
    assert done.returncode == 2
    assert b"no option 'modell'" in done.stderr


def test_resume_refuses_another_model(task: str, album: Path, here, tmp_path: Path) -> None:
    assert here(*form(task), album / "chelsea.png", "--records", "r.jsonl").returncode == 0
    before = (tmp_path / "r.jsonl").read_bytes()
    done = here(*form(task), album / "chelsea.png", "-m", second_model(task), "--records", "r.jsonl", "--resume")
    assert done.returncode == 2
    assert b"was made with model" in done.stderr
    assert (tmp_path / "r.jsonl").read_bytes() == before
