"""Which place a default comes from, and what is refused."""

from pathlib import Path

import pytest
import typer

from cnncli.cli import settings_file
from cnncli.cli.app import application
from cnncli.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def defaults() -> dict:
    group = typer.main.get_command(application())
    return settings_file.defaults(group, lambda: group)


def test_is_empty_without_file_and_variables(folder: Path) -> None:
    assert defaults()["classify"] == {}


def test_holds_for_all_commands_or_for_one(folder: Path) -> None:
    (folder / "cnncli.toml").write_text('threads = "1"\n[classify]\ntop-k = 2\n[eval.classify]\nthreads = "3"\n')
    found = defaults()
    assert found["classify"] == {"threads": "1", "top_k": 2}
    assert found["eval"]["classify"]["threads"] == "3"
    assert found["bench"]["classify"]["threads"] == "1"


def test_working_folder_is_before_the_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "user" / "cnncli").mkdir(parents=True)
    (folder / "user" / "cnncli" / "cnncli.toml").write_text("top-k = 7\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "user"))
    assert defaults()["classify"] == {"top_k": 7}
    (folder / "cnncli.toml").write_text("top-k = 8\n")
    assert defaults()["classify"] == {"top_k": 8}


def test_environment_is_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cnncli.toml").write_text("[classify]\ntop-k = 7\n")
    monkeypatch.setenv("CNNCLI_TOP_K", "9")
    monkeypatch.setenv("CNNCLI_SOMETHING_ELSE", "ignored")
    assert defaults()["classify"] == {"top_k": "9"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("top-q = 1", "no option 'top-q'"),
        ("[clasify]\ntop-k = 1", "no command 'clasify'"),
        ("[merge]\ntop-k = 1", "'merge' has no option 'top-k'"),
        ("top-k = = 1", "as TOML"),
    ],
)
def test_rejects_what_it_does_not_know(folder: Path, text: str, words: str) -> None:
    (folder / "cnncli.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        defaults()
