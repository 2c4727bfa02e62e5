"""Defaults from the environment (CNNCLI_DEVICE=cpu) and from cnncli.toml, below the flags.

The file is looked for in the working folder, then in the user's configuration folder. Keys are option names;
keys of a table named after a command ([classify], [eval.classify]) hold for that command alone.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnncli.errors import UsageError

FILE = "cnncli.toml"
PREFIX = "CNNCLI_"
NOT_OPTIONS = {"CNNCLI_CACHE", "CNNCLI_DEBUG", "CNNCLI_MIRROR"}


def defaults(group: Any, whole: Callable[[], Any]) -> dict[str, Any]:
    """The default map of the command line's parser: for each command of a group, its options' values.

    `whole` makes the group of all commands: a file may speak of any of them.
    """
    path, settings = _read_file()
    group = whole() if settings else group
    known = {parameter for command in _commands(group) for parameter in _parameters(command)}
    environment = _environment(known)
    return _map(group, settings, environment, known, path)


def _map(
    group: Any, settings: Mapping[str, Any], environment: Mapping[str, str], known: set[str], path: Path
) -> dict[str, Any]:
    """Values for a group's commands: what the file says for all, for the command, then the environment."""
    common = {_key(name): value for name, value in settings.items() if not isinstance(value, dict)}
    unknown = sorted(set(common) - known)
    if unknown:
        raise UsageError(f"{path}: there is no option '{unknown[0].replace('_', '-')}'")
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    stray = sorted(set(tables) - set(group.commands))
    if stray:
        raise UsageError(f"{path}: there is no command '{stray[0]}'")
    mapped: dict[str, Any] = {}
    for name, command in group.commands.items():
        own = {**common, **tables.get(name, {})}
        if hasattr(command, "commands"):
            mapped[name] = _map(command, own, environment, known, path)
            continue
        own = {_key(key): value for key, value in own.items()}
        missing = sorted(set(own) - set(common) - set(_parameters(command)))
        if missing:
            raise UsageError(f"{path}: '{name}' has no option '{missing[0].replace('_', '-')}'")
        mapped[name] = {**own, **environment}
    return mapped


def _read_file() -> tuple[Path, Mapping[str, Any]]:
    for path in _places():
        if path.is_file():
            try:
                import tomllib
            except ModuleNotFoundError:  # Python 3.10
                import tomli as tomllib
            try:
                return path, tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UsageError(f"{path}: can't be read as TOML ({error})") from error
    return Path(FILE), {}


def _places() -> Iterator[Path]:
    yield Path(FILE)
    base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA") or os.path.expanduser("~/.config")
    yield Path(base) / "cnncli" / FILE


def _environment(known: set[str]) -> dict[str, str]:
    entries = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name not in NOT_OPTIONS}
    return {key: value for name, value in entries.items() if (key := _key(name.removeprefix(PREFIX))) in known}


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


def _commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from _commands(command)
        else:
            yield command


def _parameters(command: Any) -> list[str]:
    return [parameter.name for parameter in command.params]
