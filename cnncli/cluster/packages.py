"""Packages that only a cluster needs, imported when they are used."""

import importlib
from typing import Any

from cnncli.errors import UsageError


def import_ray() -> Any:
    """Ray. UsageError where it is not installed."""
    return _import("ray", "cnncli cluster runs on Ray")


def import_pyarrow(module: str) -> Any:
    """A module of pyarrow. UsageError where it is not installed."""
    return _import(module, "Parquet is read and written by pyarrow")


def _import(module: str, why: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{why}, which is not installed: pip install 'cnncli[ray]'") from error
