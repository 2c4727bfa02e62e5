"""Help pages in plain text, options under the headings of their panels.

Typer would draw them with rich: importing it and drawing thirty options takes longer than all else that a command
does before it starts, and the page is read in pipes and by programs as much as on terminals.
"""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

HELP_OPTIONS = ("--help", "-h")


class _Page:
    """Adds headings to a command's page; for commands and groups alike."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(_heading(parameter), []).append(record)
        for heading, records in _ordered(sections):
            with formatter.section(heading):
                formatter.write_dl(records)
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)


class PageCommand(_Page, TyperCommand):
    """A command with such a page."""


class PageGroup(_Page, TyperGroup):
    """A group with such a page."""


def new_app(**options: Any) -> typer.Typer:
    """A Typer application whose pages, and those of its commands, are plain."""
    return typer.Typer(cls=PageGroup, rich_markup_mode=None, **options)


def page(app: typer.Typer, name: str, arguments: list[str]) -> str | None:
    """The page that `COMMAND... --help` asks for; None where the arguments ask for anything else.

    Made without parsing: Typer loads pydantic for the first option that it reads, which doubles the time of a page.
    """
    *words, last = arguments or [""]
    if last not in HELP_OPTIONS:
        return None
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name=name, **command.context_settings)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return None
        context = command.context_class(command, info_name=word, parent=context, **command.context_settings)
    return command.get_help(context)


def _heading(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or "Options"


def _ordered(sections: dict[str, list[tuple[str, str]]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Arguments first, the options of all commands last."""
    rank = {"Arguments": 0, "Options": 2}
    return iter(sorted(sections.items(), key=lambda entry: rank.get(entry[0], 1)))
