"""The well-kept libraries that do a part of the explaining; they come with the extra `explain`."""

import importlib
from types import ModuleType

from cnncli.errors import UsageError


def package(name: str) -> ModuleType:
    """An imported package of the extra. UsageError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise UsageError(f"this needs the package {name}; install it with: pip install 'cnncli[explain]'") from error
