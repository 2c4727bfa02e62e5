"""Help pages are read by strangers: every command and option says what it does."""

import pytest
import typer
from typer.testing import CliRunner

from cnncli.cli.app import application
from tests.cli.test_startup import commands

COMMANDS = list(commands())


def command_of(words: tuple[str, ...]):
    command = typer.main.get_command(application())
    for word in words:
        command = command.commands[word]
    return command


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_explained(words: tuple[str, ...]) -> None:
    command = command_of(words)
    assert command.help
    context = command.context_class(command, info_name="cnncli")
    for parameter in command.params:
        _, explanation = parameter.get_help_record(context)
        assert explanation, f"{words}: {parameter.name}"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_names_the_command(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(application(), [*words, "--help"])
    assert result.exit_code == 0
    assert " ".join(words) in result.stdout


def test_short_options_mean_the_same_everywhere() -> None:
    meaning: dict[str, str] = {}
    for words in COMMANDS:
        for parameter in command_of(words).params:
            for option in parameter.opts:
                if len(option) == 2 and option.startswith("-"):
                    assert meaning.setdefault(option, parameter.name) == parameter.name


def test_completion_offers_models() -> None:
    from cnncli.cli.options import complete_model

    assert complete_model("efficientnet_lite") == ["efficientnet_lite2", "efficientnet_lite0"]
    assert complete_model("zzz") == []


@pytest.mark.parametrize("words", [(), ("eval",), ("weights",)], ids=" ".join)
def test_a_group_alone_shows_its_page(words: tuple[str, ...], cnncli) -> None:
    done = cnncli(*words)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().strip() == cnncli(*words, "--help").stdout.decode().strip().rstrip(".")
