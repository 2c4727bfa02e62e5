"""What is known of each model without loading it."""

from collections.abc import Iterator
from typing import Any

from cnncli.catalog import MODELS, TASKS

COMMANDS = {"foreground": "segment", "find-face": "verify-face", "embed-face": "verify-face"}  # that are no task's name


def here() -> Iterator[dict[str, Any]]:
    """The models on this machine: shipped with the package, or fetched."""
    from cnncli.io.store import installed_models, shipped_folder
    from cnncli.io.weights import parameter_count, read_info

    for path in installed_models():
        info = read_info(path)
        where = "shipped" if path.parent == shipped_folder() else "fetched"
        yield _entry(info, where, parameter_count(path), _macs(info.name))


def official() -> Iterator[dict[str, Any]]:
    """torchvision's official classification weights that are not here."""
    from cnncli.io.store import pulled_folder
    from cnncli.nn.official import entries

    for entry, parameters, macs in entries():
        if not (pulled_folder() / f"{entry.name}.safetensors").exists():
            yield _entry(entry.info, "to fetch", parameters, macs)


def _macs(name: str) -> int:
    if name in MODELS:
        return MODELS[name].macs
    from cnncli.nn.named import network_macs

    return network_macs(name)


def _entry(info: Any, where: str, parameters: int, macs: int) -> dict[str, Any]:
    return {
        "model": info.name,
        "task": info.task,
        "command": info.task if info.task in TASKS else COMMANDS[info.task],
        "backbone": info.backbone,
        "where": where,
        "input": "x".join(str(size) for size in (len(info.mean), *info.recipe["input"])),
        "any_size": "sizes" in info.recipe,
        "classes": len(info.classes),
        "parameters": parameters,
        "macs": macs,
        "measured": dict(info.measured),
        "licence": info.licence,
    }
