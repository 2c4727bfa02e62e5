"""Where weights files live: beside the package (shipped) and in the user's cache folder (pulled)."""

import os
from collections.abc import Iterator
from pathlib import Path

from cnncli.errors import WeightsError

SUFFIX = ".safetensors"
CACHE_VARIABLE = "CNNCLI_CACHE"


def shipped_folder() -> Path:
    """`weights/` inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def cache_folder() -> Path:
    """The user's cache folder; `CNNCLI_CACHE` names another."""
    if override := os.environ.get(CACHE_VARIABLE):
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cnncli"))


def pulled_folder() -> Path:
    return cache_folder() / "weights"


def model_path(name: str) -> Path:
    """The weights file of a model by name. WeightsError where there is none."""
    for folder in (shipped_folder(), pulled_folder()):
        path = folder / f"{name}{SUFFIX}"
        if path.is_file():
            return path
    if "." in name:
        raise WeightsError(f"model '{name}' is not on this machine; fetch it with 'cnncli weights pull {name}'")
    raise WeightsError(f"there is no model '{name}'; see 'cnncli weights list'")


def installed_models() -> Iterator[Path]:
    """All weights files, shipped ones first."""
    for folder in (shipped_folder(), pulled_folder()):
        yield from sorted(folder.glob(f"*{SUFFIX}"))
